//! Freezes and time slices asked for from other threads, of the code that ships.

use std::thread;
use std::time::Duration;

use peripatos_engine::{CaptureOptions, CodeKind, Outcome, Process, block_on};

use crate::common::{Origin, load, options, pid, runtime, thaw_options, through_bytes};

/// Counts to 200 million, then prints.
const LONG: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\05\00\00\00done\n")
    (func $count (param $i i64) (result i64) (local $sum i64)
        (loop $again
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 3)) (local.get $i)))
            (br_if $again (i64.ne (local.tee $i (i64.sub (local.get $i) (i64.const 1))) (i64.const 0))))
        (local.get $sum))
    (func (export "_start")
        (if (i64.eqz (call $count (i64.const 200000000))) (then unreachable))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// Waits for a request that is never answered.
const WAITING: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\05\00\00\00done\n")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

#[test]
fn a_running_process_is_frozen_and_continued() {
    let runtime = runtime();
    let wasm = wat::parse_str(LONG).unwrap();
    let code = load(&runtime, &wasm, CodeKind::Hot);
    let origin = Origin::default();
    let mut process = Process::spawn(&code, options(&origin, None)).unwrap();
    let mut freezes = 0;
    let end = loop {
        let control = process.control();
        let asking = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            control.freeze();
        });
        let end = block_on(process.run()).unwrap();
        asking.join().unwrap();
        if end != Outcome::Frozen {
            break end;
        }
        freezes += 1;
        if freezes == 10 {
            // Not to be frozen again, so that the test ends whatever the machine's speed.
            break block_on(process.run()).unwrap();
        }
        let image = through_bytes(&process.capture(CaptureOptions::default()).unwrap());
        assert_eq!(image.frames(), process.frames());
        process = Process::thaw(&code, &image, thaw_options(&origin, None)).unwrap();
    };
    assert_eq!(end, Outcome::Exited(0));
    assert_eq!(origin.output(pid()), b"done\n");
}

#[test]
fn a_slice_ends_and_the_process_goes_on() {
    let runtime = runtime();
    let wasm = wat::parse_str(LONG).unwrap();
    let code = load(&runtime, &wasm, CodeKind::Hot);
    let origin = Origin::default();
    let mut process = Process::spawn(&code, options(&origin, None)).unwrap();
    let control = process.control();
    control.preempt();
    let asking = thread::spawn(move || {
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(2));
            control.preempt();
        }
    });
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Exited(0));
    asking.join().unwrap();
    assert_eq!(origin.output(pid()), b"done\n");
}

#[test]
fn a_waiting_process_is_frozen_and_its_call_made_again() {
    let runtime = runtime();
    let wasm = wat::parse_str(WAITING).unwrap();
    let code = load(&runtime, &wasm, CodeKind::Hot);
    let silent = Origin::silent();
    let mut process = Process::spawn(&code, options(&silent, None)).unwrap();
    let control = process.control();
    let asking = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        control.freeze();
    });
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    asking.join().unwrap();
    let image = through_bytes(&process.capture(CaptureOptions::default()).unwrap());
    assert_eq!(image.frames(), 2);
    drop(process);

    let origin = Origin::default();
    let mut process = Process::thaw(&code, &image, thaw_options(&origin, None)).unwrap();
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Exited(0));
    assert_eq!(origin.output(pid()), b"done\n");
}

/// A scheduler moves processes between threads, and polls them from any.
#[test]
fn processes_can_move_between_threads() {
    fn check<T: Send>(_: &T) {}
    fn check_shared<T: Send + Sync>(_: &T) {}
    let runtime = runtime();
    let code = load(&runtime, &wat::parse_str(WAITING).unwrap(), CodeKind::Hot);
    check_shared(&runtime);
    check_shared(&code);
    let origin = Origin::default();
    let mut process = Process::spawn(&code, options(&origin, None)).unwrap();
    check(&process);
    check_shared(&process.control());
    check(&process.run());
    thread::spawn(move || block_on(process.run()).unwrap()).join().unwrap();
    assert_eq!(origin.output(pid()), b"done\n");
}

#[test]
fn requests_outlive_the_process() {
    let runtime = runtime();
    let wasm = wat::parse_str(WAITING).unwrap();
    let code = load(&runtime, &wasm, CodeKind::Hot);
    let process = Process::spawn(&code, options(&Origin::default(), None)).unwrap();
    let control = process.control();
    drop(process);
    control.freeze();
    control.preempt();
}

#[test]
fn a_freeze_asked_for_before_the_run_stops_at_the_first_check() {
    let runtime = runtime();
    let wasm = wat::parse_str(LONG).unwrap();
    let code = load(&runtime, &wasm, CodeKind::Hot);
    let origin = Origin::default();
    let mut process = Process::spawn(&code, options(&origin, None)).unwrap();
    process.control().freeze();
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Exited(0));
}
