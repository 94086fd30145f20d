//! A node that has the token and does not keep to the protocol: the others go on, and say why they cut it off.

use std::io::Write as _;

use peripatos_abi::Pid;
use peripatos_cluster::message::{Content, End, FailureKind, Message};
use peripatos_host::link::{Frame, PAYLOAD_BYTES_MAX, Versions};

use crate::fake::{Fake, MEMORY_BYTES_MAX, Step, Taken};
use crate::program::Program;
use crate::raw;
use crate::support::{Cluster, guest, text, until};

#[test]
fn a_lying_node_is_cut_off_and_nothing_of_it_stays() {
    let mut cluster = Cluster::of(&["a"]);
    let mut program = Program::dialogue(&cluster, "a");
    program.say();
    assert!(program.answers());
    let before = cluster.node("a").holds();

    // Each of these ends its link.
    let mut newer = Fake::new(&cluster, "newer");
    newer.hello.versions = Versions { oldest: 98, newest: 99 };
    newer.dial(&cluster.join[2]);
    newer.is_cut();
    cluster.node("a").until_said("speaks versions 98 to 99 of the link protocol");
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
    for _ in 0..200 {
        // Nobody has asked for it: it is read and thrown away.
        fake.bulk(Content::Code([1; 32]), &[0; 1 << 20], true);
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
    let migration = fake.offer([9; 32]);
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

    // A program that is none.
    let mut fake = Fake::join(&cluster, "liar");
    let nothing = *blake3::hash(b"nothing").as_bytes();
    let migration = fake.offer(nothing);
    fake.is_asked_for(nothing);
    fake.bulk(Content::Code(nothing), b"nothing", true);
    fake.is_refused(migration);

    // An image that is none, and one that never comes whole.
    let fib = std::fs::read(guest("fib")).unwrap();
    let real = *blake3::hash(&fib).as_bytes();
    let migration = fake.offer(real);
    fake.is_asked_for(real);
    fake.bulk(Content::Code(real), &fib, true);
    fake.is_ready(migration);
    fake.bulk(Content::Image(migration), &[7; 100_000], true);
    let reason = fake.is_refused(migration);
    assert!(reason.contains("not an image"), "{reason}");
    for _ in 0..40 {
        let migration = fake.offer(real);
        fake.is_ready(migration);
        fake.bulk(Content::Image(migration), &[0; 9], false);
    }
    fake.is_heard();
    drop(fake);

    // And programs that never come.
    for round in 0..40 {
        let mut fake = Fake::join(&cluster, "liar");
        fake.offer([100 + round; 32]);
        fake.is_asked_for([100 + round; 32]);
    }

    assert!(cluster.ps_at("a").len() == 1);
    cluster.node("a").until_holds_no_more_than(before);
    program.finish(&cluster);
}

/// Programs that are wanted by who takes none: more than fits into what a connection buffers.
const WANTED: usize = 24;

/// How often each lie is told.
const LIES: usize = 50;
/// Memory of the process whose image is carried: what leaks of it shows.
const BALLAST_BYTES: usize = 1 << 20;

/// Every kind of lie in a move, told again and again.
#[test]
fn lies_about_moves_leave_nothing_behind_however_often_they_are_told() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let mut fake = Fake::join(&cluster, "liar");
    let Taken { luggage, image, .. } = real_move(&cluster, &mut fake);
    let mut program = Program::heavy_dialogue(&cluster, "a", BALLAST_BYTES);
    program.say();
    assert!(program.answers());

    let mut again_and_again =
        |cluster: &mut Cluster, fake: &mut Fake, lie: &dyn Fn(&mut Fake, u64)| {
            // What is made at the first time is there to stay.
            lie(fake, 0);
            let before = cluster.node("a").holds();
            (1..=LIES as u64).for_each(|round| lie(fake, round));
            // While the link stands: what is let go when it breaks has been kept until then.
            let node = cluster.node("a");
            until(&|| format!("{:?} after {before:?}", node.holds()), |_| {
                fake.is_heard();
                node.holds().are_hardly_more_than(before)
            });
            program.say();
            assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
        };
    again_and_again(&mut cluster, &mut fake, &|fake, round| {
        let mut other = luggage.clone();
        other.process.pid = Pid::new(7, round);
        let migration = fake.offer_luggage(other);
        fake.is_ready(migration);
        fake.bulk(Content::Image(migration), &image, true);
        assert_eq!(fake.is_refused(migration), "the image is of another process");
    });
    again_and_again(&mut cluster, &mut fake, &|fake, round| {
        let code = *blake3::hash(&round.to_le_bytes()).as_bytes();
        let migration = fake.offer(code);
        fake.is_asked_for(code);
        fake.bulk(Content::Code(code), b"another program", true);
        assert_eq!(fake.is_refused(migration), "what came is another program");
    });
    again_and_again(&mut cluster, &mut fake, &|fake, round| {
        // It is asked for, and then nobody waits for it any more.
        let code = *blake3::hash(&[round as u8; 9]).as_bytes();
        let migration = fake.offer(code);
        fake.is_asked_for(code);
        fake.say(&Message::Abort { migration });
        fake.is_heard();
    });
    let records: [(&[u8], &str); 3] = [
        (&[0xff; 5], "malformed record"),
        (&[&[8, 0, 0, 0, 1], &[0; 8 + 16][..]].concat(), "forged record"),
        (&[8, 0, 0, 0, 0, 1], "not an image"),
    ];
    for (record, says) in records {
        again_and_again(&mut cluster, &mut fake, &|fake, _| {
            let migration = fake.offer_luggage(luggage.clone());
            fake.is_ready(migration);
            fake.image_by_lane(migration, record);
            let reason = fake.is_refused(migration);
            assert!(reason.contains(says), "{reason}");
        });
    }
    again_and_again(&mut cluster, &mut fake, &|fake, _| {
        let migration = fake.offer_luggage(luggage.clone());
        fake.is_ready(migration);
        fake.bulk(Content::Image(migration), &image, true);
        fake.hears(|said| matches!(said, Message::Prepared { .. }).then_some(()));
        fake.say(&Message::Abort { migration });
        fake.is_heard();
    });

    // Moves go on, and a process that is really given is taken.
    let pid = program.pid();
    for to in ["b", "a"] {
        cluster.migrate("a", &pid, to);
        program.say();
        assert!(program.answers());
    }
    let migration = fake.offer_luggage(luggage.clone());
    fake.is_ready(migration);
    fake.bulk(Content::Image(migration), &image, true);
    fake.hears(|said| matches!(said, Message::Prepared { .. }).then_some(()));
    fake.say(&Message::Commit { migration });
    cluster.until_at("a", &format!("{:#}", luggage.process.pid), "a");
    cluster.done(["kill", &luggage.process.pid.to_string()]);
    program.finish(&cluster);
}

/// What a fake target is given of a process that was on the first node and is not any more.
fn real_move(cluster: &Cluster, fake: &mut Fake) -> Taken {
    let mut program = Program::heavy_dialogue(cluster, "a", BALLAST_BYTES);
    program.say();
    assert!(program.answers());
    let pid = program.pid();
    let moving = cluster.begin_move("a", &pid, &fake.hello.name);
    let taken = fake.takes(Step::Image);
    let (migration, reason) = (taken.migration, "it has seen enough".to_owned());
    fake.say(&Message::Refused { migration, reason });
    let refused = moving.wait_with_output().unwrap();
    assert!(text(&refused.stderr).contains("seen enough"), "{}", text(&refused.stderr));
    cluster.done(["kill", &pid]);
    program.ends_with(137, "ended by somebody");
    taken
}

/// Bytes of an image beyond its process's memory that a node takes in. The memory it takes three times, for a process may be
/// copied while it runs.
const OVERHEAD_BYTES: usize = 2 << 30;

#[test]
fn a_link_that_carries_too_much_is_cut() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let mut program = Program::dialogue(&cluster, "a");
    let (mut fake, address) = (Fake::new(&cluster, "liar"), cluster.join[2].clone());
    // Longer than a frame may be: no room is made for it.
    let frames = [[0xfe, 0xff, 0xff, 0xff, 0], [0xfe, 0xff, 0xff, 0xff, 1], [9, 0, 0, 0, 99]];
    let before = cluster.node("a").holds();
    for frame in frames.iter().cycle().take(frames.len() * LIES) {
        let mut link = raw::dial(&address, &fake);
        link.write_all(frame).unwrap();
        raw::is_cut(link);
    }
    let node = cluster.node("a");
    node.until_holds_no_more_than(before);
    let until_said = |why: &str, times: usize| {
        let line = format!("the link to node liar is gone: {why}");
        until(&|| node.log(), |_| node.said(&line) == times);
    };
    until_said("frame of 4294967293 bytes is too long", 2 * LIES);
    until_said("unexpected frame of kind 99", LIES);

    // An image that does not end.
    let fib = std::fs::read(guest("fib")).unwrap();
    let code = *blake3::hash(&fib).as_bytes();
    fake.dial(&address);
    let migration = fake.offer(code);
    fake.is_asked_for(code);
    fake.bulk(Content::Code(code), &fib, true);
    fake.is_ready(migration);
    let content = Content::Image(migration);
    fake.say(&Message::Bulk { stream: 99, content, lane: None });
    let piece = Frame::Bulk { stream: 99, last: false, bytes: vec![0; PAYLOAD_BYTES_MAX] };
    for _ in 0..=(OVERHEAD_BYTES + 3 * MEMORY_BYTES_MAX) / PAYLOAD_BYTES_MAX {
        fake.frame(&piece);
    }
    fake.is_cut();
    until_said("it sent more than was agreed", 1);
    node.until_holds_no_more_than(before);

    let pid = program.pid();
    for to in ["b", "a"] {
        cluster.migrate("a", &pid, to);
        program.say();
        assert!(program.answers());
    }
    program.finish(&cluster);
}

#[test]
fn a_node_that_takes_nothing_is_cut_off() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let mut program = Program::dialogue(&cluster, "a");
    program.say();
    assert!(program.answers());
    let code = *blake3::hash(&std::fs::read(guest("lua")).unwrap()).as_bytes();
    // One speaks on, the other does not. Both keep their ends of the connections open.
    let names = ["talker", "silent"];
    let mut fakes = names.map(|name| Fake::join(&cluster, name));
    let before = cluster.node("a").holds();
    for fake in &mut fakes {
        for _ in 0..WANTED {
            fake.say(&Message::WantCode { code });
        }
    }
    let node = cluster.node("a");
    until(&|| node.log(), |_| {
        fakes[0].say(&Message::Nothing);
        names.iter().all(|name| node.said(&format!("the link to node {name} is gone")) == 1)
    });
    node.until_holds_no_more_than(before);
    cluster.migrate("a", &program.pid(), "b");
    program.say();
    assert!(program.answers());
    program.finish(&cluster);
}
