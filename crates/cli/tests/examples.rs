//! `peri run` of the examples of the kits for C and Rust, and of what is in `examples/`, as they are committed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{User, text};
use std::path::{Path, PathBuf};

/// Runs `program` of `directory` with the others that it may spawn; its output, after it has ended well.
fn run(directory: &str, with: &[&str], program: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let module = |name: &str| -> PathBuf { root.join(directory).join(format!("{name}.wasm")) };
    let user = User::new();
    let mut command = user.peri(["run", "--local"]);
    for name in with {
        command.arg("--with").arg(module(name));
    }
    let (name, args) = program.split_first().unwrap();
    let output = command.arg(module(name)).args(args).output().unwrap();
    let (written, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{directory}/{name}: {written}{errors}");
    written
}

const C: &str = "guest/c/examples";
const RUST: &str = "guest/rust/examples";

#[test]
fn a_handler_and_a_loop_serve_alike() {
    let in_c = run(C, &["adder_handler"], &["adder"]);
    assert_eq!(in_c, "the handler says 55\nthe loop says 1055\n");
    let in_rust = run(RUST, &["adder_handler"], &["adder"]);
    assert_eq!(in_rust, "the handler says 55 pebbles\nthe loop says 1055 pebbles\n");
}

#[test]
fn bytes_go_to_and_fro() {
    for directory in [C, RUST] {
        assert_eq!(run(directory, &[], &["ping_pong", "300"]), "300 round trips\n");
    }
}

#[test]
fn a_child_is_told_what_a_command_is_told() {
    assert_eq!(run(C, &[], &["arguments"]), "to whom it may concern\n");
}

#[test]
fn names_are_found_and_listed() {
    let expected = "greek/: greek/aristotle greek/plato\ngreek/: greek/aristotle\n";
    assert_eq!(run(C, &[], &["names"]), expected);
    let expected = "greeks: greek/aristotle, greek/plato\ngreeks: greek/aristotle\n";
    assert_eq!(run(RUST, &[], &["names"]), expected);
}

#[test]
fn a_server_replies_later() {
    assert_eq!(run(RUST, &[], &["later"]), "all have had it\n");
}

#[test]
fn the_workloads_of_savina_count_right() {
    for (workload, items) in [
        ("ping_pong 500", 500),
        ("counting 500", 500),
        ("thread_ring 500", 500),
        ("fork_join_create 50", 50),
        ("fork_join_throughput 600", 600),
        ("chameneos 500", 500),
        ("big 1000", 1000),
        ("philosophers 5 20", 100),
    ] {
        let words: Vec<&str> = ["savina"].into_iter().chain(workload.split(' ')).collect();
        let said = run("examples/savina", &["servant"], &words);
        let expected = format!("{} {items} ", words[1]);
        assert!(said.starts_with(&expected), "{workload}: {said}");
    }
}
