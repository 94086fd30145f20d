//! What people see of families, and what a family may do, on nodes.

use crate::program::Program;
use crate::support::{Cluster, guest, text, until};
use crate::talking::{assembled, run};

/// Registers, takes messages, and replies to none.
const SILENT: &str = r#"
    (func (export "_start")
        (call $done (call $register (i32.const 0) (i32.const 7)))
        (loop $on (call $done (call $receive (i64.const -1))) (br $on)))"#;

/// Registers, and takes no message.
const BUSY: &str = r#"
    (func (export "_start")
        (call $done (call $register (i32.const 0) (i32.const 7)))
        (loop $on (br $on)))"#;

const ASKS: &str = r#"(func (export "_start") (call $find) (call $ask))"#;

/// What it does, and for whom it waits.
fn until_it(cluster: &Cluster, program: &Program, state: &str, waits_for: Option<&Program>) {
    let whom = waits_for.map(|other| format!("{}-", other.pid()));
    cluster.until_row("a", &program.pid(), |row| {
        let found = row.waits_for.as_deref();
        row.state == state && whom.is_some() == found.is_some() && {
            found.zip(whom.as_deref()).is_none_or(|(found, whom)| found.starts_with(whom))
        }
    });
}

#[test]
fn a_list_says_who_waits_for_whom() {
    let cluster = Cluster::of(&["a", "b"]);
    let silent = run(&cluster, "a", "silent", SILENT, &[]);
    until_it(&cluster, &silent, "receive", None);
    for at in ["a", "b"] {
        let asks = run(&cluster, at, "asks", ASKS, &[]);
        until_it(&cluster, &asks, "reply", Some(&silent));
    }
    let dialogue = Program::dialogue(&cluster, "a");
    until_it(&cluster, &dialogue, "waiting", None);
}

/// On one node: on two, whoever computes might walk.
#[test]
fn a_list_says_whose_message_was_not_taken() {
    let cluster = Cluster::of(&["a"]);
    let busy = run(&cluster, "a", "busy", BUSY, &[]);
    let asks = run(&cluster, "a", "asks", ASKS, &[]);
    until_it(&cluster, &asks, "send", Some(&busy));
    until_it(&cluster, &busy, "running", None);
    let list = cluster.done(["ps", "--at", "a"]);
    assert!(list.contains(&format!("SEND {}", busy.pid())), "{list}");
}

/// Spawns one that sends to it, and sends to that.
const PARENT: &str = r#"
    (func (export "_start")
        (call $done (call $spawn (i32.const 8) (i32.const 5) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 16)))
        (call $ask))"#;
const CHILD: &str = r#"
    (func (export "_start")
        (call $done (call $parent (i32.const 16)))
        (call $ask))"#;

#[test]
fn a_deadlock_is_told_to_the_terminal_and_to_the_log() {
    let cluster = Cluster::of(&["a"]);
    let child = assembled(&cluster, "child", CHILD);
    let parent = assembled(&cluster, "parent", PARENT);
    let output = cluster.output(["run", "--at", "a", "--with", &child, &parent]);
    let errors = text(&output.stderr);
    // Whoever was told ends, and the other one with it.
    assert!(matches!(output.status.code(), Some(102 | 107)), "{errors}");
    let told = |text: &str| {
        text.contains("deadlock: ")
            && text.contains("child p")
            && text.matches(" sends to ").count() >= 2
    };
    assert!(told(&errors), "{errors}");
    assert!(told(&cluster.logs()), "{}", cluster.logs());
}

#[test]
fn a_family_ends_with_the_node_that_it_was_started_at() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let spawns = r#"
        (func (export "_start")
            (call $done (call $spawn (i32.const 8) (i32.const 5) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 32)))
            (call $done (call $receive (i64.const -1))))"#;
    let child = assembled(&cluster, "child", "(func (export \"_start\") (loop $on (br $on)))");
    let parent = run(&cluster, "a", "parent", spawns, &[&child]);
    let of_child = || cluster.ps_at("b").into_iter().find(|row| row.program == "child");
    until(&|| cluster.logs(), |_| of_child().is_some());
    let child = of_child().unwrap();
    if child.node.as_deref() == Some("a") {
        cluster.migrate("a", child.pid.split('-').next().unwrap(), "b");
    }
    cluster.node("a").kill();
    until(&|| format!("{:?}{}", cluster.ps_at("b"), cluster.logs()), |_| {
        cluster.ps_at("b").is_empty()
    });
    drop(parent);
}

#[test]
fn a_share_of_the_cpus_goes_where_its_program_goes() {
    let cluster = Cluster::of(&["a", "b"]);
    // One that talks to nobody.
    let script = "while true do end";
    let words = ["run", "--at", "a", "--cpu-max", "1%", &guest("lua"), "-e", script];
    let program = Program::start(&cluster, "a", cluster.peri(words));
    for to in ["b", "a"] {
        // It could run, and has no core: nobody else wants one.
        cluster.until_row("a", &program.pid(), |row| row.state == "ready");
        cluster.migrate("a", &program.pid(), to);
    }
    cluster.done(["kill", "--at", "a", &program.pid()]);
}
