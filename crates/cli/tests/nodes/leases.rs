//! Nodes with leases in etcd: gone is whose lease has expired, and whoever cannot renew his ends before that.

use std::process::Command;

use rustix::process::Signal;

use crate::etcd::Etcd;
use crate::program::Program;
use crate::restarts::{answers, counting, ends_well, until_restarted};
use crate::support::{Cluster, guest, text, until};

/// With `--etcd` nodes end by this.
const FENCED: i32 = 78;
/// Programs that print.
const PRINTERS: usize = 8;
const NUMBERS: &str = "local n = 0 while true do n = n + 1 print(n) io.flush() end";

fn words(cluster: &Cluster, etcd: Option<&Etcd>) -> Vec<String> {
    let join = cluster.join.clone();
    let mut words = if join.is_empty() { vec!["up".to_owned()] } else { join };
    words.extend(["--unreachable-after", "900ms"].map(str::to_owned));
    let etcd = etcd.map(|etcd| ["--etcd".to_owned(), etcd.url(), "--etcd-ttl".into(), "8s".into()]);
    words.extend(etcd.into_iter().flatten());
    words
}

fn up(cluster: &mut Cluster, name: &str, etcd: Option<&Etcd>) {
    let words = words(cluster, etcd);
    cluster.up_with(name, &words);
}

/// A cluster of nodes with leases.
fn cluster(etcd: &Etcd, names: &[&str]) -> Cluster {
    let mut cluster = Cluster::new();
    names.iter().for_each(|name| up(&mut cluster, name, Some(etcd)));
    cluster.until_linked();
    cluster
}

fn id_of(cluster: &Cluster, name: &str) -> String {
    cluster.nodes_at(name).into_iter().find(|row| row.node == name).unwrap().id
}

/// Whether nodes can be in pid namespaces of their own, where others do not see that they have ended.
fn has_namespaces() -> bool {
    let tried = Command::new("unshare").args(["--pid", "--fork", "--kill-child", "true"]).output();
    let has = tried.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("passed over: there are no pid namespaces here");
    }
    has
}

#[test]
fn what_ran_on_a_node_that_dies_is_started_again_when_its_lease_has_expired() {
    let Some(etcd) = Etcd::start().filter(|_| has_namespaces()) else { return };
    let mut cluster = cluster(&etcd, &["a"]);
    let peri = cluster.peri(words(&cluster, Some(&etcd)));
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(peri.get_program());
    command.args(peri.get_args()).args(["--name", "b", "--cores", "1", "--no-balance"]);
    let command = cluster.here(command);
    cluster.start_node("b", command);
    cluster.until_linked();
    let id = id_of(&cluster, "b");
    let mut program = counting(&cluster, "on-node-loss");
    answers(&cluster, &mut program, "x\n", "1 x\n");
    assert_eq!(etcd.alive_of(&id), 1);

    cluster.node("b").kill();
    cluster.until_cut("a", "b");
    let errors = program.errors.clone();
    until(&|| format!("{}{}", errors.text(), cluster.logs()), |_| {
        let restarted = errors.text().contains("started again");
        // Asked behind it: what has expired does not come back.
        assert!(!restarted || etcd.alive_of(&id) == 0, "too early{}", cluster.logs());
        restarted
    });
    until_restarted(&cluster, &program, 1);
    assert_eq!(cluster.node("a").said("node b is gone: its lease in etcd has expired"), 1);
    answers(&cluster, &mut program, "y\n", "1 y\n");
    // It comes back as another OS process, with another lease.
    up(&mut cluster, "b", Some(&etcd));
    cluster.until_linked();
    cluster.migrate("a", &program.pid(), "b");
    answers(&cluster, &mut program, "z\n", "2 z\n");
    ends_well(program);
}

#[test]
fn a_node_that_is_stopped_past_its_lease_ends_before_it_does_anything_else() {
    let Some(etcd) = Etcd::start() else { return };
    let mut cluster = cluster(&etcd, &["a", "b"]);
    let mut program = counting(&cluster, "on-node-loss");
    answers(&cluster, &mut program, "x\n", "1 x\n");
    // What has its terminal at that node: they print as fast as they can.
    let words = ["run", "--at", "b", &guest("lua"), "-e", NUMBERS];
    let print = |_| Program::start(&cluster, "b", cluster.peri(words));
    let mut printers: Vec<Program> = (0..PRINTERS).map(print).collect();
    let said = |printers: &[Program]| -> Vec<usize> {
        printers.iter().map(|one| one.said.text().len()).collect()
    };
    until(&|| cluster.logs(), |_| said(&printers).iter().all(|bytes| *bytes > 100));

    cluster.node("b").signal(Signal::STOP);
    until_restarted(&cluster, &program, 1);
    cluster.node("a").until_said("node b is gone: its lease in etcd has expired");
    answers(&cluster, &mut program, "y\n", "1 y\n");
    let before = said(&printers);
    cluster.node("b").signal(Signal::CONT);
    assert_eq!(cluster.node("b").ended().code(), Some(FENCED), "{}", cluster.logs());
    cluster.node("b").until_said("the node ends, with all that runs on it: its lease in etcd was");
    printers.iter_mut().for_each(|one| one.ends_with(76, ""));
    assert_eq!(said(&printers), before);
    answers(&cluster, &mut program, "z\n", "2 z\n");
    ends_well(program);
}

#[test]
fn nodes_end_when_etcd_does_not_answer_and_nobody_is_started_again_meanwhile() {
    let Some(etcd) = Etcd::start() else { return };
    let mut cluster = cluster(&etcd, &["a", "b"]);
    let mut program = counting(&cluster, "on-node-loss");
    etcd.signal(Signal::STOP);
    for name in ["a", "b"] {
        assert_eq!(cluster.node(name).ended().code(), Some(FENCED), "{}", cluster.logs());
        cluster.node(name).until_said("was not renewed for ");
        assert_eq!(cluster.node(name).said("panicked"), 0);
    }
    let errors = program.errors.clone();
    program.ends_with(76, "");
    assert!(!errors.text().contains("started again"), "{}", errors.text());
    // A node that starts meanwhile says so.
    let output = cluster.output(words(&Cluster::new(), Some(&etcd)));
    assert_eq!(output.status.code(), Some(71), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no lease: no answer from etcd at "));
    etcd.signal(Signal::CONT);
    let mut cluster = Cluster::new();
    up(&mut cluster, "a", Some(&etcd));
}

#[test]
fn who_has_no_lease_is_never_taken_for_gone() {
    let Some(etcd) = Etcd::start() else { return };
    let mut cluster = cluster(&etcd, &["a"]);
    up(&mut cluster, "b", None);
    cluster.until_linked();
    let mut program = counting(&cluster, "on-node-loss");
    answers(&cluster, &mut program, "x\n", "1 x\n");
    cluster.node("b").signal(Signal::STOP);
    cluster.node("a").until_said("node b is silent, and has no lease in this etcd");
    assert!(!program.errors.text().contains("started again"));
    cluster.node("b").signal(Signal::CONT);
    cluster.until_linked();
    answers(&cluster, &mut program, "y\n", "2 y\n");
    ends_well(program);
}

#[test]
fn a_node_that_ends_in_order_gives_its_lease_back() {
    let Some(etcd) = Etcd::start() else { return };
    let mut cluster = cluster(&etcd, &["a", "b"]);
    assert_eq!(etcd.alive(), 2);
    cluster.done(["down", "--at", "b"]);
    assert_eq!(cluster.node("b").ended().code(), Some(0));
    assert_eq!(etcd.alive(), 1);
    cluster.node("a").until_said("node b has left");
}

#[test]
fn a_node_does_not_start_without_the_etcd_that_it_is_to_use() {
    let cluster = Cluster::new();
    let refused = |words: &[&str], code: i32, says: &str| {
        let output = cluster.output([&["up", "--name", "a"], words].concat());
        let line = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(line.contains(says), "{line:?}");
    };
    refused(&["--etcd", "http://127.0.0.1:9"], 71, "no lease: no answer from etcd at http://127");
    refused(&["--etcd", "127.0.0.1:9"], 2, "is no address of etcd");
    refused(&["--etcd", "https://127.0.0.1:9"], 2, "needs the certificate");
    refused(&["--etcd", "http://h", "--etcd-ttl", "1s"], 2, "from 6 to 3600");
    let silence = ["--etcd", "http://h", "--unreachable-after", "8s"];
    refused(&silence, 2, "with this --etcd-ttl at most 7500 ms");
    let missing = ["--etcd", "https://h", "--etcd-ca", "/nonexistent"];
    refused(&missing, 66, "/nonexistent: ");
}
