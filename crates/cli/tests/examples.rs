//! `peri run` of the examples of the kits for C and Rust, and of what is in `examples/`, as they are committed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{User, text};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Runs `program` of `directory` with the others that it may spawn; its output, after it has ended well.
fn run(directory: &str, with: &[&str], program: &[&str]) -> String {
    run_with_input(directory, with, program, "")
}

fn run_with_input(directory: &str, with: &[&str], program: &[&str], input: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let module = |name: &str| -> PathBuf { root.join(directory).join(format!("{name}.wasm")) };
    let user = User::new();
    let mut command = user.peri(["run", "--local"]);
    for name in with {
        command.arg("--with").arg(module(name));
    }
    let (name, args) = program.split_first().unwrap();
    command.arg(module(name)).args(args).stdin(Stdio::piped());
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    let (written, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{directory}/{name}: {written}{errors}");
    written
}

const C: &str = "guest/c/examples";
const RUST: &str = "guest/rust/examples";
const PHILOSOPHERS: &str = "examples/philosophers";

#[test]
fn the_readmes_begin_with_what_works() {
    for directory in [C, RUST] {
        assert_eq!(run(directory, &[], &["hello"]), "Theophrastus is here\n");
    }
}

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
    let expected = "all have had it\nall have had it\n";
    assert_eq!(run(RUST, &["lock_handler"], &["later"]), expected);
}

#[test]
fn a_megabyte_is_lent() {
    assert_eq!(run(C, &[], &["lease"]), "sum 133693440\n");
    assert_eq!(run(RUST, &[], &["lease"]), "sum 133693440, first 255, last 0\n");
}

#[test]
fn ends_are_told() {
    let expected = "exits: class 0, detail 0\nexits: class 0, detail 3\n\
                    is ended: class 3, detail 0\nwho has ended long ago is told of, too\n";
    assert_eq!(run(C, &[], &["monitor"]), expected);
    let expected = "exits: Exited(0)\nexits: Exited(3)\n\
                    is ended: Killed\nwho has ended long ago is told of, too\nits child has ended: Killed\n";
    assert_eq!(run(RUST, &[], &["monitor"]), expected);
}

/// The program itself exits with 1 if its counts do not agree, or somebody has had nothing.
#[test]
fn philosophers_dine() {
    for (number, meals, total) in [("5", "300", 1500), ("60", "20", 1200)] {
        let output = run(PHILOSOPHERS, &["fork"], &["philosophers", number, "--meals", meals]);
        let counted =
            format!("by philosophers: {total}, by tables: {total}, by forks: {} uses", 2 * total);
        assert!(output.contains(&counted), "{output}");
    }
}

#[test]
fn philosophers_tables_and_plates_come_and_go() {
    // More philosophers than plates, for a time: they take turns.
    let commands =
        "add 4\nplates +3\ntables +1\nremove 3\nplates -2\nreport\nadd 2\ntables -1\nstop\n";
    let program = ["philosophers", "6", "--seconds", "600"];
    let output = run_with_input(PHILOSOPHERS, &["fork"], &program, commands);
    assert!(output.contains("table 0: 7 philosophers, 7 plates"), "{output}");
    assert!(output.contains("table 1: 6 philosophers, 4 plates"), "{output}");
    // 6, 4 more, 6 at the other table, and 2.
    assert!(output.contains("18 philosophers, "), "{output}");
}

#[test]
fn the_workloads_for_comparisons_count_right() {
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
        let words: Vec<&str> = ["workloads"].into_iter().chain(workload.split(' ')).collect();
        let said = run("benches/peers/peripatos", &["servant"], &words);
        let expected = format!("{} {items} ", words[1]);
        assert!(said.starts_with(&expected), "{workload}: {said}");
    }
}
