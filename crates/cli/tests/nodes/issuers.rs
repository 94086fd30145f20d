//! Three nodes have the token, and sign for the others: who does not have it can all that a node can, and gets it when they are too few.

use std::time::{Duration, SystemTime};

use peripatos_host::control::RuntimeDirectory;
use peripatos_host::link::{Keyring, NodeKey, Token};
use peripatos_host::node::NodeDirectory;

use crate::program::Program;
use crate::support::{Cluster, text, until};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Those of these that have the token on disk.
fn issuers<'a>(cluster: &Cluster, names: &[&'a str]) -> Vec<&'a str> {
    let has = |name: &&&str| cluster.runtime().join("nodes").join(name).join("token").exists();
    names.iter().filter(has).copied().collect()
}

/// Waits until three of these nodes have the token. Those, and the others.
#[track_caller]
fn until_three<'a>(cluster: &Cluster, names: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    until(&|| cluster.logs(), |_| issuers(cluster, names).len() == 3);
    let issuers = issuers(cluster, names);
    let others = names.iter().filter(|name| !issuers.contains(name)).copied().collect();
    (issuers, others)
}

/// Starts a node again that does not have the token, and is not given it.
fn up_without(cluster: &mut Cluster, name: &str, by: &str) {
    cluster.node(name).kill();
    let address = cluster.address(by);
    cluster.up_with(name, &["up", "--join", &address].map(str::to_owned));
    cluster.until_linked();
}

#[test]
fn three_nodes_have_the_token_and_are_replaced_when_they_go() {
    let mut cluster = Cluster::of(&NAMES);
    let old = cluster.join[4].clone();
    let (first, others) = until_three(&cluster, &NAMES);
    let [one, other] = others[..] else { panic!("{others:?}") };
    let mut program = Program::dialogue(&cluster, one);
    let refused = cluster.output(["token", "show", "--at", one]);
    assert_eq!(refused.status.code(), Some(77));
    let line = text(&refused.stderr);
    assert!(line.contains("does not have the token") && line.contains(first[0]), "{line}");

    // Nor does it remove anybody; who could says the same line.
    let refused = cluster.output(["node", "remove", "--at", one, other]);
    assert_eq!(refused.status.code(), Some(77));
    let line = text(&refused.stderr);
    assert!(line.contains("does not have the token") && line.contains(first[0]), "{line}");

    // Nor do others believe that a node is gone which its operator says is: only that node itself does.
    cluster.node(other).kill();
    first.iter().for_each(|at| cluster.until_cut(at, other));
    cluster.until_cut(one, other);
    let refused = cluster.output(["forget", "--at", one, other]);
    assert_eq!(refused.status.code(), Some(77));
    let line = text(&refused.stderr);
    assert!(line.contains("does not have the token") && line.contains(first[0]), "{line}");
    assert!(line.contains(&format!("it was forgotten by {one} only")), "{line}");
    let lists = |at: &str| cluster.nodes_at(at).iter().any(|row| row.node == other);
    assert!(!lists(one) && first.iter().all(|at| lists(at)));
    cluster.done(["forget", "--at", first[0], other]);
    assert!(!first.iter().any(|at| lists(at)));

    // A node without it is a node, after a new start, too; anybody joins by it who has the token.
    up_without(&mut cluster, other, one);
    cluster.migrate(first[0], &program.pid(), other);
    program.say();
    assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());

    // Nor is the token rotated by it: nobody would know whether an operator has asked, or who has stolen that node.
    let refused = cluster.output(["token", "rotate", "--now", "--at", one]);
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(77), String::new()));
    let line = text(&refused.stderr);
    assert!(line.contains("does not have the token") && line.contains(first[0]), "{line}");
    let show =
        |cluster: &Cluster, at| cluster.done(["token", "show", "--at", at]).trim().to_owned();
    assert_eq!(show(&cluster, first[0]), old);

    // Those that have it draw a new one, and sign for the others anew.
    let new = cluster.done(["token", "rotate", "--now", "--at", first[1]]).trim().to_owned();
    assert_ne!(new, old);
    for at in &first {
        until(&|| cluster.logs(), |_| show(&cluster, at) == new);
    }
    for name in [one, other] {
        cluster.node(name).until_said("the cluster has a new token");
    }
    program.finish(&cluster);
    up_without(&mut cluster, other, one);
    let words = ["up", "--name", "f", "--join", &cluster.address(one), "--token", &old];
    let refused = cluster.output(words);
    assert_eq!(refused.status.code(), Some(68), "{}", text(&refused.stderr));

    // Two go at once.
    for gone in &first[..2] {
        cluster.node(gone).kill();
    }
    let left = [first[2], one, other];
    assert_eq!(until_three(&cluster, &left).1, [""; 0]);
    assert_eq!(show(&cluster, one), new);
    // One of them was stolen.
    cluster.done(["node", "remove", "--at", other, first[0]]);
    let newest = show(&cluster, other);
    assert_ne!(newest, new);
    for at in left {
        until(&|| cluster.logs(), |_| show(&cluster, at) == newest);
    }
    let words = ["up", "--join", &cluster.address(other), "--token", &newest].map(str::to_owned);
    cluster.up_with("f", &words);
    until(&|| cluster.logs(), |_| {
        let rows = cluster.nodes_at(first[2]);
        rows.iter().any(|row| row.node == "f" && row.state == "up")
    });
}

/// Gives a node that was never started a key, and a certificate that is so old.
fn certified(cluster: &Cluster, name: &str, age: Duration) -> NodeDirectory {
    let runtime = RuntimeDirectory::open_at(cluster.runtime()).unwrap();
    let place = NodeDirectory::open(&runtime, name).unwrap();
    let key = NodeKey::load_or_generate(&place.key()).unwrap();
    let token: Token = cluster.join[4].parse().unwrap();
    let made = SystemTime::now() - age;
    let certified = Keyring::from(token).certify(&key.public().unwrap(), made).unwrap();
    place.keep_certified(&certified).unwrap();
    place
}

#[test]
fn a_node_without_the_token_has_its_certificate_renewed_until_it_is_too_late() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let address = cluster.address("a");
    let words = ["up", "--join", &address].map(str::to_owned);

    let place = certified(&cluster, "half", 13 * HOUR);
    let before = place.certified().unwrap().unwrap();
    cluster.up_with("half", &words);
    cluster.until_linked();
    until(&|| cluster.logs(), |_| place.certified().unwrap().unwrap().made > before.made);
    let after = place.certified().unwrap().unwrap();
    assert!(after.made >= before.made + 13 * 3_600 && after.authority == before.authority);
    assert!(place.keyring().unwrap().is_none(), "three have it");

    certified(&cluster, "late", 25 * HOUR);
    let output = cluster.output(["up", "--name", "late", "--join", &address]);
    assert_eq!(output.status.code(), Some(77), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("certificate has expired; give it the token"));
    // With the token it is the node that it was.
    cluster.up("late");
    cluster.until_linked();
}
