//! The cluster's token is rotated: nodes tell each other, whoever has the one before is taken for a while or told, and who was
//! away is helped by hand.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use peripatos_cluster::message::Message;
use peripatos_cluster::{Certified, Identity, Secret, Tokens};
use rustix::process::Signal;

use crate::fake::Fake;
use crate::program::Program;
use crate::support::{Cluster, Collected, guest, text, until};

const ROTATED: &str = "the cluster's token was rotated; `peri token show`";

fn token_at(cluster: &Cluster, at: &str) -> String {
    cluster.done(["token", "show", "--at", at]).trim().to_owned()
}

#[track_caller]
fn until_token(cluster: &Cluster, at: &str, expected: &str) {
    until(&|| cluster.logs(), |_| token_at(cluster, at) == expected);
}

/// Nobody is let in with this token, neither as a node nor as a command from elsewhere.
#[track_caller]
fn is_refused(cluster: &Cluster, token: &str) {
    let (address, elsewhere) = (cluster.address("a"), Cluster::new());
    let words = ["up", "--name", "late", "--join", &address, "--token", token];
    let refused =
        [elsewhere.output(words), elsewhere.output(["nodes", "--at", &address, "--token", token])];
    for output in refused {
        let line = text(&output.stderr);
        assert_eq!(output.status.code(), Some(68), "{line}");
        assert!(line.starts_with("peri: ") && line.contains(ROTATED), "{line:?}");
    }
}

#[test]
fn a_new_token_is_told_to_all_and_the_one_before_is_accepted_for_a_while() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let old = cluster.join[4].clone();
    assert_eq!(token_at(&cluster, "b"), old);
    let mut program = Program::dialogue(&cluster, "a");
    let new = cluster.done(["token", "rotate", "--at", "b"]).trim().to_owned();
    assert_ne!(new, old);
    until_token(&cluster, "a", &new);
    let path = cluster.runtime().join("nodes/a/token");
    assert!(fs::read_to_string(&path).unwrap().starts_with(&new));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

    // By the old one, and then by the new one; and one that was told while it was away.
    cluster.up("c");
    until_token(&cluster, "c", &new);
    cluster.join[4] = new.clone();
    cluster.node("b").kill();
    cluster
        .up_with("b", &["up", "--join", &cluster.address("c"), "--token", &old].map(str::to_owned));
    until_token(&cluster, "b", &new);
    cluster.until_linked();
    let elsewhere = Cluster::new();
    for token in [&old, &new] {
        elsewhere.done(["nodes", "--at", &cluster.address("a"), "--token", token]);
    }
    for to in ["c", "b", "a"] {
        cluster.migrate("a", &program.pid(), to);
        program.say();
        assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
    }
    program.finish(&cluster);
}

#[test]
fn a_token_that_is_accepted_no_more_opens_nothing() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let old = cluster.join[4].clone();
    // Somebody has it, on another machine, and is connected.
    let elsewhere = Cluster::new();
    let address = cluster.address("a");
    let lua = guest("lua");
    let words = ["run", "--at", &address, "--token", &old, &lua, "-e", "while true do end"];
    let mut run = elsewhere.peri(words);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = Collected::of(run.stderr.take().unwrap());
    until(&|| said.text(), |_| !cluster.ps_at("a").is_empty());

    let new = cluster.done(["token", "rotate", "--now", "--at", "a"]).trim().to_owned();
    until(&|| said.text(), |_| run.try_wait().unwrap().is_some());
    assert_eq!(run.wait().unwrap().code(), Some(76), "{}", said.text());
    until_token(&cluster, "b", &new);
    is_refused(&cluster, &old);
    // Who belongs to it goes on, also after a new start.
    cluster.until_linked();
    cluster.join[4] = new.clone();
    cluster.node("b").kill();
    cluster.up_again("b", "a");
    cluster.until_linked();
    is_refused(&cluster, &old);
}

#[test]
fn a_removed_node_has_a_token_that_opens_nothing() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let old = cluster.join[4].clone();
    cluster.done(["node", "remove", "--at", "a", "c"]);
    assert_eq!(cluster.node("c").ended().code(), Some(77));
    assert_ne!(token_at(&cluster, "a"), old);
    until_token(&cluster, "b", &token_at(&cluster, "a"));
    // Neither under its own name nor as another one.
    is_refused(&cluster, &old);
    let kept = fs::read_to_string(cluster.runtime().join("nodes/c/token")).unwrap();
    assert_eq!(kept.trim(), old, "it was not told the new one");
}

#[test]
fn nobody_is_believed_a_token_who_does_not_have_the_one_before() {
    let mut cluster = Cluster::of(&["a"]);
    let token = token_at(&cluster, "a");
    let mut fake = Fake::join(&cluster, "fake");
    let tokens = |generation, previous| Tokens {
        generation,
        current: Secret([7; 32]),
        previous: Some((Secret(previous), 0)),
    };
    for lie in [tokens(1, [8; 32]), tokens(u64::MAX, [8; 32]), tokens(0, [0; 32])] {
        fake.say(&Message::Identity(Identity::Tokens(lie)));
    }
    let certified = Certified {
        generation: 9,
        authority: vec![1; 40],
        previous: None,
        chain: vec![vec![2; 40]],
        made: 0,
        gossip: vec![Secret([3; 32])],
    };
    fake.say(&Message::Identity(Identity::Certified(certified)));
    // It is a node, so it is signed for.
    fake.say(&Message::Identity(Identity::Certify));
    let certified = fake.hears(|said| match said {
        Message::Identity(Identity::Certified(certified)) => Some(certified),
        _ => None,
    });
    assert_eq!((certified.generation, certified.chain.len()), (0, 1));
    assert_eq!(token_at(&cluster, "a"), token);
    assert_eq!(cluster.node("a").said("the cluster has a new token"), 0);
}

#[test]
fn a_node_that_was_away_is_told_what_to_do() {
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
    let mut program = Program::dialogue(&cluster, "b");
    cluster.node("b").signal(Signal::STOP);
    cluster.until_cut("a", "b");
    let new = cluster.done(["token", "rotate", "--now", "--at", "a"]).trim().to_owned();
    cluster.node("b").signal(Signal::CONT);
    cluster.node("b").until_said(ROTATED);

    let output = cluster.output(["token", "use", "--at", "b", "short"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    cluster.done(["token", "use", "--at", "b", &new]);
    cluster.until_linked();
    cluster.migrate("a", &program.pid(), "a");
    program.say();
    assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
    program.finish(&cluster);
}
