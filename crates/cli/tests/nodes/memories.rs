//! Programs with several memories, or memories of 64 bits, move as others do.

use std::fs;

use peripatos_cluster::message::Content;

use crate::fake::Fake;
use crate::moves::copies;
use crate::program::Program;
use crate::support::Cluster;
use crate::writer::{WRITERS, Written, writer, written};

/// While they write they are copied, wherever pages can be tracked, and move as often as they can. (Not each time: one that has just come, or
/// is about to end, may move as it is.)
#[test]
fn a_program_is_copied_while_it_runs_whatever_memories_it_has() {
    for memories in WRITERS {
        // On a busy machine it may have ended before it has moved often: then it has more to do.
        let turns = [100_000_000, 400_000_000, 1_600_000_000];
        let enough = turns.into_iter().any(|turns| copies_of(memories, turns) >= 3);
        assert!(enough, "it has ended before it had moved three times");
    }
}

/// See [`copies`].
fn copies_of(memories: &[Written], turns: u32) -> usize {
    let cluster = Cluster::of(&["a", "b"]);
    let path = cluster.work().join("writer.wasm");
    fs::write(&path, writer(memories, turns, true)).unwrap();
    let wasm = path.to_str().unwrap();
    let program = Program::start(&cluster, "a", cluster.peri(["run", "--at", "a", wasm]));
    copies(&cluster, program, &mut cluster.peri(["run", "--local", "--plain", wasm]))
}

/// A node that sends pages of memories that are not there, or from behind their ends.
#[test]
fn pages_of_what_is_not_there_are_refused() {
    let mut cluster = Cluster::of(&["a"]);
    let mut program = Program::dialogue(&cluster, "a");
    let two = writer(&[written("i32", 1, 2), written("i64", 2, 3)], 1, false);
    let code = *blake3::hash(&two).as_bytes();
    let mut fake = Fake::join(&cluster, "liar");
    let mut first = true;
    let mut check = |page: u64, memory: u16, says: &str| {
        let migration = fake.offer(code);
        if std::mem::take(&mut first) {
            fake.is_asked_for(code);
            fake.bulk(Content::Code(code), &two, true);
        }
        fake.is_ready(migration);
        let head = [&page.to_le_bytes()[..], &1_u16.to_le_bytes(), &memory.to_le_bytes()].concat();
        let stream = [b"peripag\n", &head[..], &[7; 4096]].concat();
        fake.bulk(Content::Image(migration), &stream, true);
        let reason = fake.is_refused(migration);
        assert!(reason.contains(says), "page {page} of memory {memory}: {reason}");
    };
    check(0, 0, "cut short");
    check(0, 1, "cut short");
    check(0, 2, "pages were copied of its memory 2, but it has 2");
    check(0, u16::MAX, "pages were copied of its memory 65535, but it has 2");
    check(2 * 16, 0, "from behind the end of its memory 0");
    check(3 * 16, 1, "from behind the end of its memory 1");
    check(u64::MAX, 1, "the image is damaged (copied pages)");
    // It goes on as before.
    program.say();
    assert!(program.answers());
    assert!(cluster.ps_at("a").len() == 1);
    cluster.up("b");
    cluster.until_linked();
    let pid = program.pid();
    cluster.migrate("a", &pid, "b");
    program.say();
    assert!(program.answers());
    program.finish(&cluster);
}
