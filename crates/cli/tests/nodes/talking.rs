//! Programs that talk from node to node, while they walk.

use std::path::PathBuf;

use crate::program::Program;
use crate::support::{Cluster, guest, text, until};

/// What all of them import, and functions that wait for what has to be waited for.
const COMMON: &str = r#"
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "peripatos_v1" "spawn" (func $spawn (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "peripatos_v1" "parent" (func $parent (param i32) (result i32)))
    (import "peripatos_v1" "argument" (func $argument (param i32 i32) (result i32)))
    (import "peripatos_v1" "register" (func $register (param i32 i32) (result i32)))
    (import "peripatos_v1" "lookup" (func $lookup (param i32 i32 i32) (result i32)))
    (import "peripatos_v1" "monitor" (func $monitor (param i32) (result i32)))
    (import "peripatos_v1" "send" (func $send_now (param i32 i32 i32 i32 i32) (result i32)))
    (import "peripatos_v1" "receive" (func $receive_now (param i32 i32 i32 i32 i64) (result i32)))
    (import "peripatos_v1" "reply" (func $reply (param i32 i32 i32) (result i32)))
    (import "peripatos_v1" "wait" (func $wait (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "counter")
    (data (i32.const 8) "child")
    (func $waited (param $r i32) (result i32)
        (if (i32.eq (local.get $r) (i32.const -1)) (then (local.set $r (call $wait))))
        (local.get $r))
    (func $done (param $r i32)
        (if (i32.lt_s (local.get $r) (i32.const 0)) (then (call $exit (i32.sub (i32.const 100) (local.get $r))))))
    ;; To 16, from 64, the reply at 80.
    (func $ask (call $done (call $waited
        (call $send_now (i32.const 16) (i32.const 64) (i32.const 4) (i32.const 80) (i32.const 4)))))
    ;; To 64, the envelope at 96.
    (func $receive (param $timeout i64) (result i32) (call $waited
        (call $receive_now (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 96) (local.get $timeout))))
    ;; Until the counter is there.
    (func $find
        (loop $again
            (if (call $lookup (i32.const 0) (i32.const 7) (i32.const 16))
                (then (drop (call $receive (i64.const 10000000))) (br $again)))))"#;

/// Counts messages; each reply is the count.
pub(crate) const COUNTER: &str = r#"
    (func (export "_start")
        (local $count i32)
        (call $done (call $register (i32.const 0) (i32.const 7)))
        (loop $next
            (call $done (call $receive (i64.const -1)))
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (i32.store (i32.const 64) (local.get $count))
            (call $done (call $reply (i32.const 96) (i32.const 64) (i32.const 4)))
            (br $next)))"#;

/// Has 20,000 messages counted, one after the other, and computes between them.
pub(crate) const CUSTOMER: &str = r#"
    (func (export "_start")
        (local $count i32) (local $r i32)
        (call $find)
        (loop $next
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (call $ask)
            ;; Lost, or counted twice.
            (if (i32.ne (i32.load (i32.const 80)) (local.get $count)) (then (call $exit (i32.const 50))))
            (local.set $r (i32.const 1000))
            (loop $on (br_if $on (local.tee $r (i32.sub (local.get $r) (i32.const 1)))))
            (br_if $next (i32.lt_u (local.get $count) (i32.const 20000))))
        (call $exit (i32.const 42)))"#;

/// Waits for the end of the counter, and exits with the class of its reason.
const MOURNER: &str = r#"
    (func (export "_start")
        (call $find)
        (call $done (call $monitor (i32.const 16)))
        (call $done (call $receive (i64.const -1)))
        (if (i32.ne (i32.load (i32.const 124)) (i32.const 2)) (then (call $exit (i32.const 50))))
        (call $exit (i32.load (i32.const 116))))"#;

/// Spawns "child" and has it ask 20,000 times, while both walk.
const PARENT: &str = r#"
    (func (export "_start")
        (local $count i32)
        (call $done (call $spawn (i32.const 8) (i32.const 5) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 32)))
        (loop $next
            (call $done (call $receive (i64.const -1)))
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (i32.store (i32.const 64) (local.get $count))
            (call $done (call $reply (i32.const 96) (i32.const 64) (i32.const 4)))
            (br_if $next (i32.lt_u (local.get $count) (i32.const 20000))))
        (call $exit (i32.const 42)))"#;

const CHILD: &str = r#"
    (func (export "_start")
        (local $count i32) (local $r i32)
        (call $done (call $parent (i32.const 16)))
        (loop $next
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (call $ask)
            (if (i32.ne (i32.load (i32.const 80)) (local.get $count)) (then unreachable))
            (local.set $r (i32.const 1000))
            (loop $on (br_if $on (local.tee $r (i32.sub (local.get $r) (i32.const 1)))))
            (br $next)))"#;

/// Spawns the handler "child", and itself to ask it, too; each asks 5,000 times. When both are done every message has been
/// counted once.
const PATRON: &str = r#"
    (func $ask_on
        (local $count i32) (local $last i32) (local $r i32)
        (loop $next
            (call $ask)
            ;; Counted twice for somebody, or forgotten.
            (if (i32.le_u (i32.load (i32.const 80)) (local.get $last)) (then (call $exit (i32.const 50))))
            (local.set $last (i32.load (i32.const 80)))
            (local.set $r (i32.const 300000))
            (loop $on (br_if $on (local.tee $r (i32.sub (local.get $r) (i32.const 1)))))
            (br_if $next (i32.lt_u (local.tee $count (i32.add (local.get $count) (i32.const 1))) (i32.const 5000)))))
    (func (export "peripatos_spawned")
        (call $done (call $argument (i32.const 16) (i32.const 16)))
        (call $ask_on))
    (func (export "_start")
        (call $done (call $spawn (i32.const 8) (i32.const 5) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 16)))
        (call $done (call $spawn (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 16) (i32.const 16) (i32.const 32)))
        (call $done (call $monitor (i32.const 32)))
        (call $ask_on)
        ;; The other one ends, and ends well.
        (call $done (call $receive (i64.const -1)))
        (if (i32.load (i32.const 112)) (then (call $exit (i32.const 51))))
        (if (i32.load (i32.const 116)) (then (call $exit (i32.const 52))))
        (call $ask)
        (if (i32.ne (i32.load (i32.const 80)) (i32.const 10001)) (then (call $exit (i32.const 53))))
        (call $exit (i32.const 42)))"#;

/// A handler: computes, and replies with how many messages it has had.
const COUNTING: &str = r#"
    (global $count (mut i32) (i32.const 0))
    (func (export "peripatos_buffer") (result i64)
        ;; It is asked once, wherever it goes.
        (i32.store (i32.const 8192) (i32.add (i32.load (i32.const 8192)) (i32.const 1)))
        (i64.or (i64.const 4096) (i64.shl (i64.const 64) (i64.const 32))))
    (func (export "peripatos_handle") (param $len i32) (result i32)
        (local $r i32)
        (if (i32.ne (i32.load (i32.const 8192)) (i32.const 1)) (then unreachable))
        (local.set $r (i32.const 500))
        (loop $on (br_if $on (local.tee $r (i32.sub (local.get $r) (i32.const 1)))))
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.store (i32.const 4128) (global.get $count))
        (local.get $len))"#;

pub(crate) fn assembled(cluster: &Cluster, name: &str, text: &str) -> String {
    let wasm = wat::parse_str(format!("(module {COMMON} {text})")).unwrap();
    let path: PathBuf = cluster.work().join(format!("{name}.wasm"));
    std::fs::write(&path, wasm).unwrap();
    path.display().to_string()
}

pub(crate) fn run(cluster: &Cluster, at: &str, name: &str, text: &str, with: &[&str]) -> Program {
    let program = assembled(cluster, name, text);
    let mut command = cluster.peri(["run", "--at", at]);
    for with in with {
        command.args(["--with", with]);
    }
    command.arg(program);
    Program::start(cluster, at, command)
}

#[track_caller]
pub(crate) fn exits(cluster: &Cluster, mut program: Program, code: i32) {
    let ended = program.ended();
    assert_eq!(ended.code(), Some(code), "{}{}", program.errors.text(), cluster.logs());
}

#[test]
fn messages_are_counted_once_while_both_ends_walk() {
    // On a busy machine all may have been said before they have walked far: then there is more to say.
    let walked = ["20000", "200000", "2000000"].into_iter().any(|count| walks_of_both(count) > 4);
    assert!(walked, "they did not walk");
}

/// How often who asks so many times and who counts that have moved meanwhile.
fn walks_of_both(count: &str) -> usize {
    let cluster = Cluster::of(&["a", "b", "c"]);
    let counter = run(&cluster, "a", "counter", COUNTER, &[]);
    let customer = CUSTOMER.replace("20000", count);
    let mut customer = run(&cluster, "b", "customer", &customer, &[]);
    let (server, client) = (counter.pid(), customer.pid());
    let mut moves = 0;
    for (pid, to) in [(&server, "b"), (&client, "a"), (&client, "c"), (&server, "c")].iter().cycle()
    {
        if customer.child.try_wait().unwrap().is_some() {
            break;
        }
        // It may just have ended.
        let moved = cluster.output(["migrate", "--at", "a", pid, to]);
        moves += usize::from(moved.status.success());
    }
    exits(&cluster, customer, 42);
    moves
}

#[test]
fn whoever_watches_a_process_is_told_of_its_end_on_another_node() {
    let cluster = Cluster::of(&["a", "b"]);
    let counter = run(&cluster, "a", "counter", COUNTER, &[]);
    let mourner = run(&cluster, "b", "mourner", MOURNER, &[]);
    // It waits for its message.
    cluster.until_row("b", &mourner.pid(), |row| row.state == "receive");
    cluster.migrate("a", &counter.pid(), "b");
    cluster.migrate("a", &mourner.pid(), "a");
    cluster.done(["kill", "--at", "a", &counter.pid()]);
    exits(&cluster, mourner, 3);
}

#[test]
fn parents_and_children_talk_across_nodes_and_end_together() {
    let cluster = Cluster::of(&["a", "b"]);
    let child = assembled(&cluster, "child", CHILD);
    let mut parent = run(&cluster, "a", "parent", PARENT, &[&child]);
    let of_child = || cluster.ps_at("a").into_iter().find(|row| row.program == "child");
    let mut seen = None;
    until(&|| cluster.logs(), |_| {
        // On a busy machine all may be over before anybody has looked: then nobody walks.
        seen = of_child();
        seen.is_some() || parent.child.try_wait().unwrap().is_some()
    });
    let child = seen.map_or_else(String::new, |row| row.pid);
    let child = child.split('-').next().unwrap_or_default();
    for (pid, to) in [(child, "b"), (&*parent.pid(), "b"), (child, "a")].iter().cycle() {
        if parent.child.try_wait().unwrap().is_some() {
            break;
        }
        cluster.output(["migrate", "--at", "a", pid, to]);
    }
    exits(&cluster, parent, 42);
    // The child is not left behind.
    until(&|| format!("{:?}{}", cluster.ps_at("a"), cluster.logs()), |_| {
        cluster.ps_at("a").is_empty()
    });
}

#[test]
fn a_handler_walks_between_nodes_while_both_call_it() {
    let cluster = Cluster::of(&["a", "b"]);
    let child = assembled(&cluster, "child", COUNTING);
    let mut patron = run(&cluster, "a", "patron", PATRON, &[&child]);
    let root = format!("{}-", patron.pid());
    let others = || cluster.ps_at("a").into_iter().filter(|row| !row.pid.starts_with(&root));
    until(&|| cluster.logs(), |_| others().count() == 2);
    let pid_of = |row: crate::support::Row| row.pid.split('-').next().unwrap().to_owned();
    let (handlers, askers): (Vec<_>, Vec<_>) = others().partition(|row| row.program == "child");
    let [handler, asker] = [handlers, askers].map(|rows| pid_of(rows.into_iter().next().unwrap()));
    let mut walks = 0;
    for (pid, to) in [
        (&handler, "b"),
        (&asker, "b"),
        (&handler, "a"),
        (&handler, "b"),
        (&asker, "a"),
        (&handler, "a"),
    ]
    .iter()
    .cycle()
    {
        if patron.child.try_wait().unwrap().is_some() {
            break;
        }
        // It may just have ended.
        let moved = cluster.output(["migrate", "--at", "a", pid, to]);
        walks += usize::from(moved.status.success() && *pid == &handler);
    }
    exits(&cluster, patron, 42);
    assert!(walks > 4, "it did not walk");
}

#[test]
fn a_node_with_handlers_is_emptied() {
    let cluster = Cluster::of(&["a", "b"]);
    let child = assembled(&cluster, "child", COUNTING);
    let mut patron = run(&cluster, "a", "patron", PATRON, &[&child]);
    until(&|| cluster.logs(), |_| cluster.ps_at("a").len() == 3);
    for node in ["a", "b"] {
        cluster.done(["drain", node]);
        until(&|| format!("{:?}{}", cluster.ps_at("a"), cluster.logs()), |_| {
            let ended = patron.child.try_wait().unwrap().is_some();
            ended || cluster.ps_at("a").iter().all(|row| row.node.as_deref() != Some(node))
        });
        cluster.done(["drain", "--off", node]);
    }
    exits(&cluster, patron, 42);
}

#[test]
fn a_family_on_a_node_has_its_terminal() {
    let cluster = Cluster::of(&["a"]);
    let orphan = "(func (export \"_start\") (call $done (call $spawn (i32.const 0) (i32.const 7) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32))))";
    let program = assembled(&cluster, "orphan", orphan);
    let output = cluster.output(["run", "--at", "a", &program]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(113), "{errors}");
    assert!(
        errors.contains("no program `counter` to spawn: give it with --with counter="),
        "{errors}"
    );
}

#[test]
fn whoever_waits_for_a_process_of_a_node_that_dies_is_told() {
    let mut cluster = Cluster::of(&["a", "b"]);
    // It registers, takes a message, and never replies.
    let silent =
        "(func (export \"_start\") (call $done (call $register (i32.const 0) (i32.const 7)))
        (loop $on (call $done (call $receive (i64.const -1))) (br $on)))";
    let silent = run(&cluster, "a", "silent", silent, &[]);
    let asks = "(func (export \"_start\") (call $find) (call $ask))";
    let client = run(&cluster, "b", "asks", asks, &[]);
    let mourner = run(&cluster, "b", "mourner", MOURNER, &[]);
    for program in [&client, &mourner] {
        let waits = |state: &str| matches!(state, "waiting" | "reply" | "receive");
        cluster.until_row("b", &program.pid(), |row| waits(&row.state));
    }
    // They look for it a hundred times a second, and wait then.
    std::thread::sleep(std::time::Duration::from_secs(1));
    cluster.node("a").kill();
    // Unreachable: whether it has acted is not known. And lost, for who watches it.
    exits(&cluster, client, 103);
    exits(&cluster, mourner, 4);
    drop(silent);
}

#[test]
fn a_program_is_a_device_of_others() {
    let cluster = Cluster::of(&["a", "b"]);
    let console = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/console/console.wasm");
    let server = Program::start(&cluster, "a", cluster.peri(["run", "--at", "a", console]));
    // Lua does not know that its output goes to another program, nor that both walk.
    let script =
        "for i = 1, 300 do io.write('line ', i, '\\n') io.flush() for j = 1, 20000 do end end";
    let mut words = vec!["run".to_owned(), "--at".to_owned(), "b".to_owned()];
    words.extend(["--devices", "console", &guest("lua"), "-e", script].map(str::to_owned));
    // The name has to be known on the other node.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let mut lua = Program::start(&cluster, "b", cluster.peri(words));
    let (pid, served) = (lua.pid(), server.pid());
    for (pid, to) in [(&pid, "a"), (&served, "b"), (&pid, "b"), (&served, "a")].iter().cycle() {
        if lua.child.try_wait().unwrap().is_some() {
            break;
        }
        cluster.output(["migrate", "--at", "a", pid, to]);
    }
    exits(&cluster, lua, 0);
    let said = || server.said.text();
    until(&|| format!("{}{}", said(), cluster.logs()), |_| said().lines().count() == 300);
    for (line, number) in said().lines().zip(1..) {
        assert!(line.starts_with(&pid) && line.ends_with(&format!(": line {number}")), "{line}");
    }
}

#[test]
fn without_its_device_server_a_program_is_not_started_and_the_name_is_told() {
    let cluster = Cluster::of(&["a"]);
    let script = "if not io.write('x') or not io.flush() then os.exit(3) end";
    let output =
        cluster.output(["run", "--at", "a", "--devices", "nobody", &guest("lua"), "-e", script]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(77), "{errors}");
    assert!(errors.contains("--devices nobody"), "{errors}");
}

#[test]
fn people_call_processes_by_their_names() {
    let cluster = Cluster::of(&["a", "b"]);
    let counter = run(&cluster, "a", "counter", COUNTER, &[]);
    let names = || text(&cluster.output(["call", "--at", "b", "nobody", "x"]).stderr);
    until(&|| cluster.logs(), |_| names().contains("counter"));
    for (at, reply) in [("b", 1), ("a", 2), ("b", 3)] {
        let output = cluster.output(["call", "--at", at, "counter", "word"]);
        assert_eq!(output.stdout, u32::to_le_bytes(reply), "{}", text(&output.stderr));
        cluster.migrate("a", &counter.pid(), at);
    }
    // One that takes no message: the caller waits no longer than it wants to.
    let deaf = "(func (export \"_start\") (call $done (call $register (i32.const 8) (i32.const 5)))
        (loop $on (br $on)))";
    let _deaf = run(&cluster, "a", "deaf", deaf, &[]);
    let call = || cluster.output(["call", "--at", "a", "--timeout", "1", "child", "x"]);
    until(&|| cluster.logs(), |_| text(&call().stderr).contains("timed out"));
    let long = "x".repeat(70_000);
    let refused = cluster.output(["call", "--at", "a", "counter", &long]);
    assert!(text(&refused.stderr).contains("too long"), "{}", text(&refused.stderr));
}
