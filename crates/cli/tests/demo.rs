//! `peri demo` moves programs between nodes of its own, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{User, text};

#[test]
fn programs_come_out_identical_and_nothing_is_left() {
    let user = User::new();
    let work = user.work();
    let output = user.peri(["demo", "--quick"]).env("TMPDIR", &work).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.contains("identical to that of undisturbed runs: 7 of 7"), "{said}");
    assert!(!said.contains('\x1b'), "plain lines where there is no terminal: {said}");
    assert_eq!(std::fs::read_dir(work).unwrap().count(), 0);
    assert!(user.sockets().is_empty(), "the user's own nodes are not touched");
}
