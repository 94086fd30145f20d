//! A name that is taken on both sides of a partition: the lower pid keeps it, and the other one is told.

use rustix::process::Signal;

use crate::program::Program;
use crate::support::{Cluster, text, until};
use crate::talking::{exits, run};

/// Takes the name when nobody has it, and answers who asks with its letter. Exits with 42 when it is told that somebody else
/// has the name, and all that it is told is right.
fn claimant(letter: char, waits: bool) -> String {
    let find = if waits { "(call $find)" } else { "" };
    format!(
        r#"
    (func $check (param $holds i32) (param $code i32)
        (if (i32.eqz (local.get $holds)) (then (call $exit (local.get $code)))))
    ;; A name of 7 bytes does not fit where messages lie: it is received once more, at 256.
    (func $receive_name (result i32) (call $waited
        (call $receive_now (i32.const 0) (i32.const 256) (i32.const 64) (i32.const 96) (i64.const -1))))
    (func $is_told
        (call $check (i32.eq (i32.load (i32.const 120)) (i32.const 7)) (i32.const 50))
        (call $check (i32.eq (call $receive_name) (i32.const 7)) (i32.const 51))
        (call $check (i32.eq (i32.load (i32.const 124)) (i32.const 3)) (i32.const 52))
        (call $check (i32.eq (i32.load (i32.const 256)) (i32.load (i32.const 0))) (i32.const 53))
        (call $check (i32.eq (i32.load (i32.const 259)) (i32.load (i32.const 3))) (i32.const 54))
        ;; Who has it is whom the envelope names.
        (call $check (i32.eqz (call $lookup (i32.const 0) (i32.const 7) (i32.const 320))) (i32.const 55))
        (call $check (i64.eq (i64.load (i32.const 320)) (i64.load (i32.const 96))) (i32.const 56))
        (call $check (i64.eq (i64.load (i32.const 328)) (i64.load (i32.const 104))) (i32.const 57))
        (call $check (i32.eq (call $register (i32.const 0) (i32.const 7)) (i32.const -11)) (i32.const 58))
        ;; It answers this one, too.
        (i64.store (i32.const 16) (i64.load (i32.const 320)))
        (i64.store (i32.const 24) (i64.load (i32.const 328)))
        (call $ask)
        (call $exit (i32.const 42)))
    (func (export "_start")
        (local $r i32)
        {find}
        (loop $again
            (if (call $register (i32.const 0) (i32.const 7))
                (then (drop (call $receive (i64.const 10000000))) (br $again))))
        (loop $next
            (local.set $r (call $receive (i64.const -1)))
            (if (i32.eq (i32.load (i32.const 124)) (i32.const 3)) (then (call $is_told)))
            (call $done (local.get $r))
            (i32.store8 (i32.const 64) (i32.const {}))
            ;; Who has asked may have given up by now.
            (drop (call $reply (i32.const 96) (i32.const 64) (i32.const 1)))
            (br $next)))"#,
        u32::from(letter)
    )
}

/// Waits until whoever has the name, as this node has it, answers so.
#[track_caller]
fn until_answers(cluster: &Cluster, program: &mut Program, at: &str, letter: &str) {
    until(&|| cluster.logs(), |_| {
        let ended = program.child.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?} {}{}", program.errors.text(), cluster.logs());
        let output = cluster.output(["call", "--at", at, "--timeout", "2", "counter", ""]);
        output.status.success() && text(&output.stdout).trim_end() == letter
    });
}

/// The node `b` is cut off, and its program's name is taken at `a`, by one that was started before or after that.
fn taken_twice(first_started_at: &str) {
    let mut cluster = Cluster::of(&["a", "b"]);
    // On `a` it takes the name when it is free again there.
    let start_a = |cluster: &Cluster| run(cluster, "a", "at_a", &claimant('a', true), &[]);
    let start_b = |cluster: &Cluster| run(cluster, "b", "at_b", &claimant('b', false), &[]);
    let (mut at_a, mut at_b): (Program, Program) = if first_started_at == "a" {
        let at_a = start_a(&cluster);
        (at_a, start_b(&cluster))
    } else {
        let at_b = start_b(&cluster);
        (start_a(&cluster), at_b)
    };
    until_answers(&cluster, &mut at_b, "a", "b");
    cluster.node("b").signal(Signal::STOP);
    cluster.until_cut("a", "b");
    until_answers(&cluster, &mut at_a, "a", "a");
    cluster.node("b").signal(Signal::CONT);
    // The numbers of pids are those of OS processes, which begin anew now and then.
    let a_keeps = at_a.child.id() < at_b.child.id();
    let (loser, letter) = if a_keeps { ("b", "a") } else { ("a", "b") };
    let (mut keeper, lost) = if a_keeps { (at_a, at_b) } else { (at_b, at_a) };
    exits(&cluster, lost, 42);
    let said = format!("two have the name \"counter\": {} keeps it", keeper.pid());
    cluster.node(loser).until_said(&said);
    for at in ["a", "b"] {
        until_answers(&cluster, &mut keeper, at, letter);
    }
}

#[test]
fn who_has_taken_it_where_the_first_one_was_cut_off_loses_it() {
    taken_twice("b");
}

#[test]
fn who_had_it_first_loses_it_to_a_lower_pid() {
    taken_twice("a");
}
