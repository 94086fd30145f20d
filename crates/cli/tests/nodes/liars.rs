//! A node that has the token and does not keep to the protocol: the others go on, and say why they cut it off.

use peripatos_cluster::message::{Content, End, FailureKind, Message};
use peripatos_host::link::{Frame, PAYLOAD_BYTES_MAX};

use crate::fake::Fake;
use crate::program::Program;
use crate::support::{Cluster, guest, until};

/// What a node may have more than before: what a compiled program maps, threads that come and go, and memory that its
/// allocator keeps.
const FILES_MORE: usize = 4;
const THREADS_MORE: usize = 4;
const MEMORY_BYTES_MORE: usize = 64 << 20;

#[test]
fn a_lying_node_is_cut_off_and_nothing_of_it_stays() {
    let mut cluster = Cluster::of(&["a"]);
    let mut program = Program::dialogue(&cluster, "a");
    program.say();
    assert!(program.answers());
    let node = cluster.node("a");
    let (files, threads, memory) = (node.files(), node.threads(), node.memory_bytes());

    // Each of these ends its link.
    Fake::with_version(&cluster, "newer", 9).is_cut();
    cluster.node("a").until_said("speaks version 9");
    let mut cut = |frame: Frame, says: &str| {
        for _ in 0..3 {
            let mut fake = Fake::join(&cluster, "liar");
            fake.frame(&frame);
            fake.is_cut();
        }
        cluster.node("a").until_said(says);
    };
    cut(Frame::Message(vec![0xff; 40]), "malformed message");
    cut(Frame::Message(vec![0xff; PAYLOAD_BYTES_MAX]), "malformed message");
    cut(Frame::Message(vec![]), "malformed message");
    cut(Frame::Hello(b"again".to_vec()), "hello twice");
    cut(Frame::Bulk { stream: 5, last: false, bytes: vec![1; 9] }, "had not announced");

    // These do not; they come to nothing.
    let mut fake = Fake::join(&cluster, "liar");
    let (code, image) = (Content::Code([1; 32]), vec![0; 1 << 20]);
    for stream in 0..200 {
        // Nobody has asked for it: it is read and thrown away.
        fake.bulk(stream, code, image.clone());
    }
    let pid = cluster.row("a", &program.pid()).unwrap().pid.parse().unwrap();
    for _ in 0..3 {
        fake.say(&Message::OriginGone { pid });
        fake.say(&Message::Ended { pid, end: End::Exited(3) });
        fake.say(&Message::Reply { pid, sequence: 1, reply: vec![0; 100] });
        fake.say(&Message::Arrived { pid, moves: 9 });
    }
    let message = "made up".to_owned();
    fake.say(&Message::Ended { pid, end: End::Failed { kind: FailureKind::Trap, message } });
    let (migration, _) = fake.offer([9; 32]);
    fake.say(&Message::Commit { migration });
    fake.hears(|said| match said {
        Message::Outcome { migration: of, committed } if of == migration => {
            assert!(!committed, "there was nothing to commit");
            Some(())
        }
        _ => None,
    });
    fake.say(&Message::Ready { migration });
    fake.say(&Message::Prepared { migration });
    fake.say(&Message::Members(Vec::new()));
    fake.is_heard();
    program.say();
    assert!(program.answers());
    drop(fake);

    // A program that is another one, or none.
    let fib = std::fs::read(guest("fib")).unwrap();
    let mut fake = Fake::join(&cluster, "liar");
    let (migration, _) = fake.offer([2; 32]);
    fake.hears(|said| matches!(said, Message::WantCode { code } if code == [2; 32]).then_some(()));
    fake.bulk(1, Content::Code([2; 32]), fib.clone());
    assert!(fake.is_refused(migration).contains("another program"));
    let nothing = *blake3::hash(b"nothing").as_bytes();
    let (migration, _) = fake.offer(nothing);
    fake.hears(|said| matches!(said, Message::WantCode { code } if code == nothing).then_some(()));
    fake.bulk(2, Content::Code(nothing), b"nothing".to_vec());
    fake.is_refused(migration);

    // An image that is none, and one that never comes whole.
    let real = *blake3::hash(&fib).as_bytes();
    let (migration, _) = fake.offer(real);
    fake.hears(|said| matches!(said, Message::WantCode { code } if code == real).then_some(()));
    fake.bulk(3, Content::Code(real), fib);
    let ready = |said: Message| matches!(said, Message::Ready { .. }).then_some(());
    fake.hears(ready);
    fake.bulk(4, Content::Image(migration), vec![7; 100_000]);
    let reason = fake.is_refused(migration);
    assert!(reason.contains("not an image"), "{reason}");
    for stream in 5..45 {
        let (migration, _) = fake.offer(real);
        fake.hears(ready);
        let announced = Message::Bulk { stream, content: Content::Image(migration), lane: None };
        fake.say(&announced);
        fake.frame(&Frame::Bulk { stream, last: false, bytes: vec![0; 9] });
    }
    fake.is_heard();
    drop(fake);

    // And programs that never come.
    for round in 0..40 {
        let mut fake = Fake::join(&cluster, "liar");
        fake.offer([100 + round; 32]);
        fake.hears(|said| matches!(said, Message::WantCode { .. }).then_some(()));
    }

    assert!(cluster.ps_at("a").len() == 1);
    let node = cluster.node("a");
    let seen = || {
        let now = (node.files(), node.threads(), node.memory_bytes());
        format!("{now:?} after {:?}\n{}", (files, threads, memory), node.log())
    };
    until(&seen, |_| {
        node.files() <= files + FILES_MORE
            && node.threads() <= threads + THREADS_MORE
            && node.memory_bytes() <= memory + MEMORY_BYTES_MORE
    });
    program.finish(&cluster);
}
