//! Another thread asks for attention while a loop runs that neither stores nor calls.
//!
//! Cranelift merges loads of one address between which it sees no store and no call. Two checks of a
//! function must therefore not read the same byte, or the second one never looks again: see
//! [`layout`](peripatos_instrument::layout). Each program here calls something and then stays in pure
//! loops, far longer than the test waits. It counts that the guest froze, not how soon.
//!
//! The host of these tests has no unsafe code: the other thread writes the guest's flags through the
//! operating system, as a debugger would.
#![cfg(target_os = "linux")]

mod host;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use host::Process;
use peripatos_instrument::layout;
use wasmtime::Val;

/// Until the guest is in its loop. Asking earlier would make the test weaker, not wrong.
const UNTIL_IN_LOOP: Duration = Duration::from_millis(20);

/// Runs `wat`'s export `run`, asks for attention from another thread, and sees that it froze.
fn check(name: &str, wat: &str) {
    let wasm = wat::parse_str(wat).expect("the text is right");
    let mut process = Process::new(&wasm, 0).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let entered = Arc::new(AtomicBool::new(false));
    process.store.data_mut().entered = entered.clone();
    let flags = host::flags(&mut process.store, process.id).as_ptr() as u64;
    let asking = std::thread::spawn(move || {
        while !entered.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        std::thread::sleep(UNTIL_IN_LOOP);
        let memory = OpenOptions::new().write(true).open("/proc/self/mem").expect("Linux has it");
        let ones = [1; (layout::LOOP_CLASSES_END - layout::LOOP_CLASSES) as usize];
        memory.write_all_at(&[1], flags + u64::from(layout::PREEMPT)).expect("writable");
        memory.write_all_at(&ones, flags + u64::from(layout::LOOP_CLASSES)).expect("writable");
    });
    let run = process.instance().get_func(&mut process.store, "run").expect("exported");
    let outcome = run.call(&mut process.store, &[Val::I64(1 << 32)], &mut [Val::I64(0)]);
    asking.join().expect("the other thread is well");
    outcome.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let unwinding = host::flags(&mut process.store, process.id)[layout::UNWINDING as usize];
    assert_eq!(unwinding, 1, "{name}: the loop ran to its end without looking");
}

/// A loop that counts `$limit` down to zero and does nothing else that could be seen.
fn pure_loop(limit: &str) -> String {
    format!(
        "(local.set $i {limit})
        (loop $again
            (local.set $s (i64.xor (i64.mul (local.get $s) (i64.const 31)) (local.get $i)))
            (br_if $again (i64.ne (i64.const 0)
                (local.tee $i (i64.sub (local.get $i) (i64.const 1))))))"
    )
}

fn program(body: &str) -> String {
    format!(
        r#"(module
        (import "env" "entered" (func $entered))
        (func $step (param i64) (result i64) (loop) (local.get 0))
        (func (export "run") (param $n i64) (result i64) (local $i i64) (local $j i64) (local $s i64)
            (local.set $s (call $step (local.get $n)))
            (call $entered)
            {body}
            (local.get $s)))"#
    )
}

#[test]
fn a_pure_loop_after_a_call() {
    check("loop", &program(&pure_loop("(local.get $n)")));
}

#[test]
fn sibling_pure_loops() {
    let body = pure_loop("(i64.const 3)") + &pure_loop("(local.get $n)");
    check("two", &program(&body));
    let body = pure_loop("(i64.const 3)").repeat(100) + &pure_loop("(local.get $n)");
    check("a hundred", &program(&body));
    // More loops than there are ways to read the bytes.
    let body = pure_loop("(i64.const 3)").repeat(1_200) + &pure_loop("(local.get $n)");
    check("twelve hundred", &program(&body));
}

#[test]
fn nested_pure_loops() {
    let inner = |limit: &str| {
        format!(
            "(local.set $j (local.get $n))
            (loop $outer
                {}
                (br_if $outer (i64.ne (i64.const 0)
                    (local.tee $j (i64.sub (local.get $j) (i64.const 1))))))",
            pure_loop(limit)
        )
    };
    check("short inner loop", &program(&inner("(i64.const 2)")));
    check("long inner loop", &program(&inner("(local.get $n)")));
}

#[test]
fn a_loop_of_calls() {
    // A loop whose way round always passes a call has no poll of its own: the call's check serves.
    let body = "(loop $again
            (local.set $s (call $step (local.get $s)))
            (br_if $again (i64.ne (i64.const 0)
                (local.tee $n (i64.sub (local.get $n) (i64.const 1))))))";
    check("loop of calls", &program(body));
}
