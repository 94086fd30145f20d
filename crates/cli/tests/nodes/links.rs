//! Nodes that take their cluster to be too large for links with everybody: what runs on them sees no difference.

use rustix::process::Signal;

use crate::program::Program;
use crate::support::{Cluster, until};
use crate::talking::{COUNTER, assembled, exits, run};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Each node has two beside it, and three have the token and links with each other.
const LINKS_MAX: usize = 9;
/// Looks for the counter, and has a message counted.
const CUSTOMER: &str = r#"
    (func (export "_start") (call $find) (call $ask) (call $exit (i32.const 42)))"#;

/// Six nodes that keep links with those beside them, in the order in which they stand in their circle.
fn sparse() -> (Cluster, Vec<String>) {
    let mut cluster = Cluster::new();
    for name in NAMES {
        let join = cluster.join.clone();
        let mut words = if join.is_empty() { vec!["up".to_owned()] } else { join };
        let sparse = ["--links-kept", "2", "--link-idle", "2s", "--unreachable-after", "3s"];
        words.extend(sparse.map(str::to_owned));
        cluster.up_with(name, &words);
    }
    cluster.until_linked();
    let mut rows = cluster.nodes_at("a");
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    (cluster, rows.into_iter().map(|row| row.node).collect())
}

/// How many links stand, as the nodes' logs say.
fn links(cluster: &Cluster) -> usize {
    let logs = cluster.logs();
    let said = |what: &str| logs.lines().filter(|line| line.contains(what)).count();
    said(") is linked").saturating_sub(said("the link to node")).div_ceil(2)
}

fn until_few(cluster: &Cluster) {
    until(&|| cluster.logs(), |_| links(cluster) <= LINKS_MAX);
}

#[test]
fn programs_are_found_called_and_moved_over_links_that_are_made_on_need() {
    let (mut cluster, circle) = sparse();
    until_few(&cluster);
    let customer = assembled(&cluster, "customer", CUSTOMER);
    let counter = run(&cluster, &circle[0], "counter", COUNTER, &[]);
    // Its name is told to all, and found wherever somebody asks for it.
    for at in circle.iter().chain(&circle) {
        let program = Program::begin(cluster.peri(["run", "--at", at, &customer]));
        exits(&cluster, program, 42);
    }
    // It goes from one to the other, asked for at a third.
    for to in [3, 5, 1] {
        cluster.migrate(&circle[(to + 2) % 6], &counter.pid(), &circle[to]);
        cluster.until_at(&circle[(to + 4) % 6], &counter.pid(), &circle[to]);
        let asks = &circle[(to + 3) % 6];
        let program = Program::begin(cluster.peri(["run", "--at", asks, &customer]));
        exits(&cluster, program, 42);
    }
    until_few(&cluster);
    for name in NAMES {
        assert_eq!(cluster.node(name).said("is silent"), 0, "{}", cluster.logs());
    }
}

#[test]
fn who_waits_for_a_node_without_a_link_hears_of_its_silence() {
    let (mut cluster, circle) = sparse();
    // They are not beside each other, and the second one does not keep the token.
    let (near, far) = (&circle[0], &circle[3]);
    let mut program = Program::dialogue(&cluster, near);
    cluster.migrate(near, &program.pid(), far);
    program.say();
    assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
    // It waits for its next line, and needs no link for that.
    let closed = format!("the link to node {far} is closed: nobody needs it");
    cluster.node(near).until_said(&closed);
    program.say();
    assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
    let node = cluster.node(near);
    let times = node.said(&closed);
    until(&|| node.log(), |_| node.said(&closed) > times);
    // It was not lost.
    assert_eq!(cluster.node(near).said(&format!("the link to node {far} is gone")), 0);
    cluster.node(far).signal(Signal::STOP);
    cluster.node(near).until_said(&format!("node {far} is silent: who waits for it is told"));
    cluster.node(far).signal(Signal::CONT);
    cluster.node(far).until_said("others had given this node up; it has told them that it lives");
    program.say();
    assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
    program.finish(&cluster);
}
