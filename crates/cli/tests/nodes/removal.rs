//! A node that an operator removes is cut off by all, hears why, and comes back under no circumstances but as another node.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use peripatos_cluster::message::Message;

use crate::fake::{Fake, Step};
use crate::program::Program;
use crate::support::{Cluster, NodeRow, text, until};

const REMOVED: &str = "this node was removed from the cluster";

fn names(rows: &[NodeRow]) -> Vec<&str> {
    let mut names: Vec<&str> = rows.iter().map(|row| row.node.as_str()).collect();
    names.sort_unstable();
    names
}

/// Waits until this is who a node lists.
#[track_caller]
fn until_listed(cluster: &Cluster, at: &str, expected: &[&str]) {
    until(&|| cluster.logs(), |_| names(&cluster.nodes_at(at)) == expected);
}

fn path_of(cluster: &Cluster, node: &str, file: &str) -> std::path::PathBuf {
    cluster.runtime().join("nodes").join(node).join(file)
}

#[test]
fn a_removed_node_ends_and_is_let_in_by_nobody() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let mut program = Program::dialogue(&cluster, "a");
    program.say();
    assert!(program.answers());
    cluster.migrate("a", &program.pid(), "c");

    let output = cluster.output(["node", "remove", "--keep-token", "--at", "b", "c"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("node c (n"), "{}", text(&output.stderr));
    // What ran there counts as gone, and whoever waits for it is told.
    program.ends_with(76, "node c, which ran the process, is gone");
    assert_eq!(cluster.node("c").ended().code(), Some(77));
    cluster.node("c").until_said(REMOVED);
    for at in ["a", "b"] {
        until_listed(&cluster, at, &["a", "b"]);
        let path = path_of(&cluster, at, "removed");
        let kept = fs::read_to_string(&path).unwrap();
        assert!(kept.starts_with('n') && kept.lines().count() == 1, "{kept:?}");
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    }

    // It comes back with its key, by whichever node, and after they were started again, too.
    let again = |cluster: &Cluster, by: &str| {
        let address = cluster.address(by);
        let words = ["up", "--name", "c", "--join", &address, "--token", &cluster.join[4]];
        let output = cluster.output(words);
        assert_eq!(output.status.code(), Some(77), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(REMOVED), "{}", text(&output.stderr));
    };
    again(&cluster, "a");
    again(&cluster, "b");
    cluster.node("b").kill();
    cluster.up_again("b", "a");
    again(&cluster, "b");
    until_listed(&cluster, "a", &["a", "b"]);

    // Without it it is another node.
    fs::remove_file(path_of(&cluster, "c", "key")).unwrap();
    cluster.up_again("c", "b");
    cluster.until_linked();
    until_listed(&cluster, "a", &["a", "b", "c"]);
}

#[test]
fn a_node_that_nobody_reaches_is_removed_by_its_id_and_what_was_in_doubt_goes_on() {
    let cluster = Cluster::of(&["a"]);
    let mut fake = Fake::join(&cluster, "fake");
    let mut program = Program::dialogue(&cluster, "a");
    program.say();
    assert!(program.answers());
    let pid = program.pid();
    let mut moving = cluster.begin_move("a", &pid, "fake");
    fake.takes(Step::Committed);
    fake.hang_up();
    cluster.until_row("a", &pid, |row| row.state == "in-doubt");
    drop(moving.wait());
    let rows = cluster.nodes_at("a");
    let id = &rows.iter().find(|row| row.node == "fake").unwrap().id;
    cluster.done(["node", "remove", "--keep-token", "--at", "a", id]);
    assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
    assert!(program.expected().ends_with("line 1 of many\n"));
    program.say();
    assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
    until_listed(&cluster, "a", &["a"]);

    // Whoever dials, it hears why, and nothing else.
    assert_eq!(fake.is_refused_a_link(&cluster.join[2]), REMOVED);
    // Once more, though nobody lists it.
    cluster.done(["node", "remove", "--at", "a", id]);
    program.finish(&cluster);
}

#[test]
fn a_link_that_stands_is_cut_when_its_end_is_removed() {
    let mut cluster = Cluster::of(&["a"]);
    let (mut one, mut other) = (Fake::join(&cluster, "one"), Fake::join(&cluster, "other"));
    cluster.done(["node", "remove", "--keep-token", "--at", "a", "one"]);
    let told = |message| match message {
        Message::Removed(nodes) => Some(nodes),
        _ => None,
    };
    assert_eq!(one.hears(told), [one.id()]);
    one.is_cut();
    assert_eq!(other.hears(told), [one.id()]);
    other.is_heard();
    until_listed(&cluster, "a", &["a", "other"]);
    // Another one is told when it comes.
    let mut third = Fake::join(&cluster, "third");
    assert_eq!(third.hears(told), [one.id()]);

    // A node believes whom it is linked with.
    third.say(&Message::Removed(vec![other.id()]));
    other.is_cut();
    until_listed(&cluster, "a", &["a", "third"]);
    let own = cluster.nodes_at("a").into_iter().find(|row| row.asked).unwrap().id;
    third.say(&Message::Removed(vec![own.parse().unwrap()]));
    assert_eq!(cluster.node("a").ended().code(), Some(77));
    cluster.node("a").until_said("node third says that this node was removed");
}

#[test]
fn who_cannot_be_removed_is_said() {
    let cluster = Cluster::of(&["a"]);
    let refused = |words: &[&str], code: i32, says: &str| {
        let output = cluster.output([&["node", "remove", "--at", "a"], words].concat());
        let line = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(line.starts_with("peri: ") && line.contains(says), "{line:?}");
    };
    refused(&["a"], 77, "node a cannot remove itself");
    refused(&["b"], 68, "no such node");
    refused(&["n0f3a"], 68, "no such node");
    assert_eq!(cluster.nodes_at("a").len(), 1);
}
