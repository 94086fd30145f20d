//! The project's conscience, through the binary: a program's output is the same however often it is frozen.
//!
//! All runs of the guests that are short enough. The engine's own identity test freezes them far more often; this one
//! has the origin's real files and streams, and a build without debug assertions freezes at every check
//! (`cargo test --release -p peri --test identity`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{User, text};
use peripatos_guests::{Guest, Run, Work};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

/// Checks between two freezes of tiny and of small runs. Primes, so that the freezes do not fall on the same sites in
/// every turn of a loop.
const FREEZE_EVERY: [&str; 2] =
    if cfg!(debug_assertions) { ["97", "10007"] } else { ["1", "10007"] };

/// Larger programs are frozen only without debug assertions: there are hundreds of continuations to compile.
const FROZEN_BYTES_MAX: usize = if cfg!(debug_assertions) { 50_000 } else { usize::MAX };

#[test]
fn every_guest_is_as_it_should_be_undisturbed() {
    for_each_run(&[Work::Tiny, Work::Small], &[]);
}

#[test]
fn tiny_runs_frozen_often() {
    for_each_run(&[Work::Tiny], &["--freeze-every", FREEZE_EVERY[0]]);
}

#[test]
fn small_runs_frozen_now_and_then() {
    for_each_run(&[Work::Small], &["--freeze-every", FREEZE_EVERY[1]]);
}

#[test]
fn runs_frozen_at_random_times() {
    for_each_run(&[Work::Tiny, Work::Small], &["--freeze-random", "7"]);
}

fn for_each_run(work: &[Work], options: &[&str]) {
    let user = User::new();
    for guest in peripatos_guests::all().unwrap().iter().filter(|guest| guest.committed) {
        let program = user.work().join(format!("{}.wasm", guest.name));
        let module = guest.module().unwrap();
        if !options.is_empty() && module.len() > FROZEN_BYTES_MAX {
            continue;
        }
        fs::write(&program, module).unwrap();
        for run in guest.runs.iter().filter(|run| work.contains(&run.work)) {
            check(&user, guest, run, &program, options);
        }
    }
}

fn check(user: &User, guest: &Guest, run: &Run, program: &Path, options: &[&str]) {
    let data = user.work().join("data");
    let _ = fs::remove_dir_all(&data);
    fs::create_dir(&data).unwrap();
    for (name, source) in &run.files {
        fs::copy(peripatos_guests::directory().join(source), data.join(name)).unwrap();
    }
    let output = execute(user, run, program, &data, options);
    if output.status.code() == Some(126) && text(&output.stderr).contains("function references") {
        // Refused with its reason, as documented.
        return;
    }

    let what = format!("{} {:?} {options:?}: {}", guest.name, run.args, text(&output.stderr));
    assert_eq!(text(&output.stdout), run.stdout, "{what}");
    match run.trap {
        None => assert_eq!(output.status.code(), Some(i32::from(run.exit)), "{what}"),
        Some(_) => assert!(matches!(output.status.code(), Some(134 | 139)), "{what}"),
    }
    for (name, contents) in &run.leaves {
        assert_eq!(text(&fs::read(data.join(name)).unwrap()), *contents, "{what}");
    }
}

fn execute(user: &User, run: &Run, program: &Path, data: &Path, options: &[&str]) -> Output {
    let mut command = user.peri(["run"]);
    command.args(options);
    if run.directory {
        command.arg("--dir").arg(format!("{}::/data", data.display()));
    }
    command.arg(program).args(&run.args);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that ends without reading closes the pipe under the writer: that is its right.
    let _ = child.stdin.take().unwrap().write_all(run.stdin.as_bytes());
    child.wait_with_output().unwrap()
}
