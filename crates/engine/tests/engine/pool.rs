//! Who ends leaves nothing to who comes after, be they more than the pool keeps.

use peripatos_engine::{CodeKind, Outcome, Process, Runtime, Settings, block_on};

use crate::common::{Origin, load, options};

/// More than the pool keeps, of two kinds.
const EACH: usize = 700;

/// Ends with 1 if its memory is not zero, and fills a part of each page of it. Calls itself, for its stack's sake.
fn filler(pages: usize) -> String {
    let bytes = pages << 16;
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") {pages})
        (func $deep (param $left i32) (result i32)
            (if (result i32) (local.get $left)
                (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get $left) (i32.const 1)))))
                (else (i32.const 0))))
        (func (export "_start") (local $at i32)
            (if (i32.ne (call $deep (i32.const 300)) (i32.const 300)) (then unreachable))
            (loop $next
                (if (i64.ne (i64.load offset=8 (local.get $at)) (i64.const 0))
                    (then (call $exit (i32.const 1))))
                (i64.store offset=8 (local.get $at) (i64.const -1))
                (local.set $at (i32.add (local.get $at) (i32.const 4096)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const {bytes}))))))"#
    )
}

#[test]
fn whoever_comes_finds_zeros() {
    let runtime = Runtime::new(Settings::default()).unwrap();
    let codes =
        [2, 3].map(|pages| load(&runtime, &wat::parse_str(filler(pages)).unwrap(), CodeKind::Hot));
    let origin = Origin::default();
    for round in 0..3 {
        let mut all = Vec::new();
        for at in 0..2 * EACH {
            let process = Process::spawn(&codes[(at + round) % 2], options(&origin, None));
            let mut process = process.unwrap();
            let outcome = block_on(process.run()).unwrap();
            assert_eq!(outcome, Outcome::Exited(0), "round {round}, process {at}");
            all.push(process);
        }
    }
}
