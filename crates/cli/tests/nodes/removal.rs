//! A node that an operator removes is cut off by all, hears why, and comes back under no circumstances but as another node.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::SystemTime;

use peripatos_cluster::message::{Answer, Command, Message};
use peripatos_cluster::{NodeId, Proof, Removal};
use peripatos_host::link::{Keyring, Statement, Token};
use rustix::process::Signal;

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

fn told(message: Message) -> Option<Vec<Removal>> {
    match message {
        Message::Removed(removed) => Some(removed),
        _ => None,
    }
}

fn ids(removed: &[Removal]) -> Vec<NodeId> {
    removed.iter().map(|removal| removal.node).collect()
}

#[test]
fn a_link_that_stands_is_cut_when_its_end_is_removed() {
    let cluster = Cluster::of(&["a"]);
    let (mut one, mut other) = (Fake::join(&cluster, "one"), Fake::join(&cluster, "other"));
    cluster.done(["node", "remove", "--keep-token", "--at", "a", "one"]);
    assert_eq!(ids(&one.hears(told)), [one.id()]);
    one.is_cut();
    let removed = other.hears(told);
    assert_eq!(ids(&removed), [one.id()]);
    other.is_heard();
    until_listed(&cluster, "a", &["a", "other"]);
    // Another one is told when it comes, and can look at what proves it.
    let mut third = Fake::join(&cluster, "third");
    assert_eq!(third.hears(told), removed);
    let Removal { node, proof } = removed[0];
    assert!(third.credentials.prove(Statement::Removed(node), &proof, SystemTime::now()));
}

/// A node that was stolen, and that does not have the token.
#[test]
fn who_does_not_have_the_token_removes_nobody() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let mut liar = Fake::join(&cluster, "liar");
    let mut other = Fake::join(&cluster, "other");
    let id = |name: &str| -> NodeId {
        let rows = cluster.nodes_at("a").into_iter();
        rows.filter(|row| row.node == name).map(|row| row.id.parse().unwrap()).next().unwrap()
    };
    let (a, b) = (id("a"), id("b"));
    let stranger = Keyring::from(Token::generate().unwrap());
    let signed = |node| Removal { node, proof: stranger.sign(Statement::Removed(node)).unwrap() };
    for node in [a, b, other.id()] {
        liar.say(&Message::Removed(vec![Removal { node, proof: Proof::default() }]));
        liar.say(&Message::Removed(vec![signed(node)]));
        // Nor has it others do it.
        liar.say(&Message::Command { request: 9, command: Command::Remove { node } });
        let refused = liar.hears(|message| match message {
            Message::Answer { request: 9, answer } => Some(answer),
            _ => None,
        });
        assert!(matches!(refused, Answer::Refused(why) if why.contains("has the token")));
    }
    // A proof that is good for one node is not for another one.
    cluster.done(["node", "remove", "--keep-token", "--at", "a", &NodeId(99).to_string()]);
    let [Removal { proof, .. }] = liar.hears(told)[..] else { panic!("one was removed") };
    liar.say(&Message::Removed(vec![Removal { node: b, proof }]));
    liar.is_heard();
    other.is_heard();
    cluster.until_linked();
    let listed = names(&cluster.nodes_at("a")).len();
    assert_eq!(listed, 4, "{}", cluster.logs());
    assert!(!cluster.node("a").has_ended() && !cluster.node("b").has_ended());
    cluster.node("a").until_said(
        "node liar says that nodes were removed, and does not prove it: it is not believed",
    );

    // Who has it is believed, whoever brings what he has signed.
    let keyring = Keyring::from(cluster.join[4].parse::<Token>().unwrap());
    let removal = |node| Removal { node, proof: keyring.sign(Statement::Removed(node)).unwrap() };
    liar.say(&Message::Removed(vec![removal(other.id())]));
    other.is_cut();
    liar.say(&Message::Removed(vec![removal(a)]));
    assert_eq!(cluster.node("a").ended().code(), Some(77));
    cluster.node("a").until_said("node liar says that this node was removed");
}

/// It knows only the token before, by which the new one is vouched for.
#[test]
fn who_was_away_while_it_was_removed_and_the_token_rotated_ends_when_it_hears_of_it() {
    let mut cluster = Cluster::new();
    for name in ["a", "b"] {
        let mut words = cluster.join.clone();
        if words.is_empty() {
            words.push("up".to_owned());
        }
        words.extend(["--unreachable-after", "900ms"].map(str::to_owned));
        cluster.up_with(name, &words);
    }
    cluster.until_linked();
    cluster.node("b").signal(Signal::STOP);
    cluster.until_cut("a", "b");
    cluster.done(["node", "remove", "--at", "a", "b"]);
    cluster.node("b").signal(Signal::CONT);
    assert_eq!(cluster.node("b").ended().code(), Some(77), "{}", cluster.logs());
    cluster.node("b").until_said(REMOVED);
}

/// Behind a rotation it is signed anew, so that who is told later believes it.
#[test]
fn who_was_removed_before_a_rotation_stays_so() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let mut fake = Fake::join(&cluster, "fake");
    // The token is rotated with it, and once more.
    cluster.done(["node", "remove", "--at", "a", "fake"]);
    fake.is_cut();
    let token_at = |at: &str| cluster.done(["token", "show", "--at", at]).trim().to_owned();
    until(&|| cluster.logs(), |_| token_at("a") == token_at("b"));
    cluster.done(["token", "rotate", "--at", "b", "--grace", "1h"]);
    until(&|| cluster.logs(), |_| token_at("a") == token_at("b"));
    let token = token_at("b");
    let proof_at = |at: &str| -> String {
        let kept = fs::read_to_string(path_of(&cluster, at, "removed")).unwrap_or_default();
        kept.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    until(&|| cluster.logs(), |_| proof_at("a") == proof_at("b"));
    cluster.node("b").kill();
    cluster.join[4] = token;
    cluster.up_again("b", "a");
    cluster.up("c");
    cluster.until_linked();
    until_listed(&cluster, "c", &["a", "b", "c"]);
    until(&|| cluster.logs(), |_| {
        let kept = fs::read_to_string(path_of(&cluster, "c", "removed")).unwrap_or_default();
        kept.starts_with(&fake.id().to_string())
    });
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
