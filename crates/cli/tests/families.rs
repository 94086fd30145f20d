//! `peri run` of programs that talk and spawn.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{User, text};
use std::fs;
use std::path::PathBuf;

/// What all of them import.
const IMPORTS: &str = r#"
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "peripatos_v1" "spawn" (func $spawn (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "peripatos_v1" "parent" (func $parent (param i32) (result i32)))
    (import "peripatos_v1" "register" (func $register (param i32 i32) (result i32)))
    (import "peripatos_v1" "send" (func $send_now (param i32 i32 i32 i32 i32) (result i32)))
    (import "peripatos_v1" "receive" (func $receive_now (param i32 i32 i32 i32 i64) (result i32)))
    (import "peripatos_v1" "reply" (func $reply (param i32 i32 i32) (result i32)))
    (import "peripatos_v1" "wait" (func $wait (result i32)))
    (memory (export "memory") 1)
    (func $done (param $r i32)
        (if (i32.eq (local.get $r) (i32.const -1)) (then (local.set $r (call $wait))))
        (if (i32.lt_s (local.get $r) (i32.const 0)) (then (call $exit (i32.sub (i32.const 100) (local.get $r))))))"#;

/// Spawns "child" with the argument "word", waits for its message, and exits with its first byte.
const PARENT: &str = r#"
    (data (i32.const 0) "child")
    (data (i32.const 8) "word\00")
    (func (export "_start")
        (call $done (call $spawn (i32.const 0) (i32.const 5) (i32.const 8) (i32.const 5)
            (i32.const 0) (i32.const 0) (i32.const 32)))
        (call $done (call $receive_now (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 96) (i64.const -1)))
        (call $done (call $reply (i32.const 96) (i32.const 64) (i32.const 0)))
        (call $exit (i32.load8_u (i32.const 64))))"#;

/// Prints, sends its parent 42, and then waits for ever.
const CHILD: &str = r#"
    (data (i32.const 0) "\10\00\00\00\09\00\00\00")
    (data (i32.const 16) "a child!\0a")
    (data (i32.const 128) "\2a")
    (func (export "_start")
        (call $done (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (call $done (call $parent (i32.const 32)))
        (call $done (call $send_now (i32.const 32) (i32.const 128) (i32.const 1) (i32.const 64) (i32.const 0)))
        (call $done (call $receive_now (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 96) (i64.const -1))))"#;

fn program(user: &User, name: &str, text: &str) -> PathBuf {
    let wasm = wat::parse_str(format!("(module {IMPORTS} {text})")).unwrap();
    let path = user.work().join(format!("{name}.wasm"));
    fs::write(&path, wasm).unwrap();
    path
}

#[test]
fn a_family_has_one_terminal_and_ends_with_its_first() {
    let user = User::new();
    let parent = program(&user, "parent", PARENT).display().to_string();
    let child = program(&user, "child", CHILD).display().to_string();
    for with in [child.clone(), format!("child={child}")] {
        let output = user.output(["run", "--local", "--with", &with, &parent]);
        assert_eq!(text(&output.stdout), "a child!\n", "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(42));
    }
}

#[test]
fn what_is_not_there_is_refused() {
    let user = User::new();
    let parent = program(&user, "parent", PARENT).display().to_string();
    let child = program(&user, "child", CHILD).display().to_string();
    let check = |args: &[&str], code: i32| {
        let mut all = vec!["run", "--local"];
        all.extend_from_slice(args);
        let output = user.output(&all);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
    };
    check(&[&parent], 113);
    let lacking = text(&user.output(["run", "--local", &parent]).stderr);
    assert!(
        lacking.contains("no program `child` to spawn: give it with --with child="),
        "{lacking}"
    );
    for wrong in ["0", "many", "-5%"] {
        check(&["--cpu-max", wrong, &parent], 2);
    }
    check(&["--cpu-max", "50%", "--plain", &parent], 2);
    check(&["--with", &child, "--processes-max", "1", &parent], 115);
    check(&["--with", "=x", &parent], 2);
    check(&["--with", "gone.wasm", &parent], 66);
    check(&["--with", &child, "--with", &child, &parent], 2);
    check(&["--with", &child, "--plain", &parent], 2);
}

#[test]
fn messages_that_wait_are_limited() {
    let user = User::new();
    // Its child never takes the message, which is longer than what is free.
    let parent = r#"
        (data (i32.const 0) "child")
        (func (export "_start")
            (call $done (call $spawn (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 32)))
            (call $done (call $send_now (i32.const 32) (i32.const 1024) (i32.const 2000)
                (i32.const 64) (i32.const 0))))"#;
    let parent = program(&user, "parent", parent).display().to_string();
    let child = "(func (export \"_start\") (loop $on (br $on)))";
    let child = program(&user, "child", child).display().to_string();
    let words = ["run", "--local", "--messages-max", "0", "--with", &child, &parent];
    let output = user.output(words);
    assert_eq!(output.status.code(), Some(109), "{}", text(&output.stderr));
}

#[test]
fn a_deadlock_is_told_of() {
    let user = User::new();
    let spawns = r#"
        (data (i32.const 0) "child")
        (func (export "_start")
            (call $done (call $spawn (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 32)))
            (call $done (call $send_now (i32.const 32) (i32.const 64) (i32.const 1)
                (i32.const 64) (i32.const 0))))"#;
    let asks = r#"
        (func (export "_start")
            (call $done (call $parent (i32.const 32)))
            (call $done (call $send_now (i32.const 32) (i32.const 64) (i32.const 1)
                (i32.const 64) (i32.const 0))))"#;
    let parent = program(&user, "parent", spawns).display().to_string();
    let child = program(&user, "child", asks).display().to_string();
    let output = user.output(["run", "--local", "--with", &child, &parent]);
    let errors = text(&output.stderr);
    assert!(matches!(output.status.code(), Some(102 | 107)), "{errors}");
    assert!(errors.contains("peri: deadlock: ") && errors.contains("child p"), "{errors}");
}

#[test]
fn a_program_that_talks_to_nobody_keeps_to_its_share_and_is_the_same() {
    let user = User::new();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let fib = root.join("guests/fib.wasm").display().to_string();
    let output = user.output(["run", "--local", "--cpu-max", "20%", &fib, "22"]);
    assert_eq!(
        (text(&output.stdout).as_str(), output.status.code()),
        ("fib 22 = 17711\n", Some(0))
    );
}

#[test]
fn a_child_that_fails_is_named() {
    let user = User::new();
    let parent = program(&user, "parent", PARENT).display().to_string();
    let child = "(func (export \"_start\") unreachable)";
    let child = program(&user, "child", child).display().to_string();
    // The parent waits for ever: for a second.
    let mut command = user.peri(["run", "--local", "--with", &child, &parent]);
    let mut running = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut errors = std::io::BufReader::new(running.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut errors, &mut line).unwrap();
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(line.contains("child") && line.contains("unreachable"), "{line}");
}

#[test]
fn names_are_within_the_prefix() {
    let user = User::new();
    let registers = r#"
        (data (i32.const 0) "lab/adder")
        (func (export "_start") (call $done (call $register (i32.const 0) (i32.const 9))))"#;
    let program = program(&user, "registers", registers).display().to_string();
    for (prefix, code) in [("", 0), ("lab/", 0), ("lobby/", 114)] {
        let output = user.output(["run", "--local", "--name-prefix", prefix, &program]);
        assert_eq!(output.status.code(), Some(code), "{prefix}");
    }
}
