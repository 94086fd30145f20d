//! Whoever has no token does not disturb a node, however he knocks.

use std::io::Write as _;
use std::net::TcpStream;

use crate::program::Program;
use crate::support::Cluster;

/// Connections that say nothing.
const SILENT: usize = 200;

#[test]
fn noise_and_silence_do_not_disturb() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let mut program = Program::dialogue(&cluster, "a");
    let pid = program.pid();
    let address = cluster.join[2].clone();
    // All that it opens for its work is open.
    for to in ["b", "a"] {
        cluster.migrate("a", &pid, to);
    }
    let before = cluster.node("a").holds();

    let lane = b"PERILANE0123456789abcdef".to_vec();
    let http = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    for noise in [http, vec![0x16; 70_000], vec![0; 9], vec![], lane, b"PERIL".to_vec()] {
        for _ in 0..5 {
            let mut stream = TcpStream::connect(&address).unwrap();
            // It may be refused before all has been written.
            let _ = stream.write_all(&noise);
        }
    }
    let silent: Vec<TcpStream> =
        (0..SILENT).map(|_| TcpStream::connect(&address).unwrap()).collect();
    // Meanwhile the program moves, and those who know the token are heard.
    for to in ["b", "a", "b", "a"] {
        program.say();
        cluster.migrate("b", &pid, to);
        assert!(program.answers());
    }
    cluster.up("c");
    cluster.until_linked();
    cluster.done(["down", "--at", "c"]);
    assert!(cluster.node("c").ended().success());

    drop(silent);
    let node = cluster.node("a");
    node.until_holds_no_more_than(before);
    let refusals = node.said("was refused");
    assert!((1..=7).contains(&refusals), "{}", node.log());
    program.finish(&cluster);
}
