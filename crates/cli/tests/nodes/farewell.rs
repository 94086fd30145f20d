//! Nodes that leave in order are not listed any more, and come back.

use rustix::process::Signal;

use crate::program::Program;
use crate::support::{Cluster, until};

/// Waits until this is who a node lists.
#[track_caller]
fn until_listed(cluster: &Cluster, at: &str, expected: &[&str]) {
    until(&|| cluster.logs(), |_| {
        let mut rows = cluster.nodes_at(at);
        rows.sort_unstable_by(|one, other| one.node.cmp(&other.node));
        rows.iter().map(|row| row.node.as_str()).eq(expected.iter().copied())
    });
}

#[test]
fn a_node_that_leaves_in_order_is_not_listed_until_it_is_back() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let mut program = Program::dialogue(&cluster, "a");
    cluster.migrate("a", &program.pid(), "b");
    // What runs there moves away first.
    cluster.done(["down", "--at", "b"]);
    for at in ["a", "c"] {
        until_listed(&cluster, at, &["a", "c"]);
        cluster.node(at).until_said("node b has left");
    }
    program.say();
    assert!(program.answers());
    cluster.up_again("b", "a");
    cluster.until_linked();
    cluster.migrate("a", &program.pid(), "b");
    program.say();
    assert!(program.answers());

    // The same of one that a signal empties, while somebody does not hear it; and of one that dies nobody says so.
    cluster.node("b").signal(Signal::STOP);
    cluster.node("c").signal(Signal::TERM);
    cluster.node("c").ended();
    until_listed(&cluster, "a", &["a", "b"]);
    cluster.node("b").signal(Signal::CONT);
    until_listed(&cluster, "b", &["a", "b"]);
    program.finish(&cluster);
    cluster.node("b").kill();
    cluster.until_cut("a", "b");
    until_listed(&cluster, "a", &["a", "b"]);
}
