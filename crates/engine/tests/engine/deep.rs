//! Call stacks near the end of the machine's stack: frozen and thawed they go on, or end with an error
//! that says why.

use peripatos_engine::{
    CaptureOptions, Code, CodeKind, Image, Outcome, Process, ProcessError, RESTORABLE_STACK_SHARE,
    TrapKind, block_on,
};

use crate::common::{Origin, load, options, runtime, thaw_options, through_bytes};

/// Deeper than the stack of the tests can ever be.
const DEPTH_MAX: u32 = 1 << 20;

/// Recurses to this depth, where its first check is, and adds up on the way back. `before` is what each
/// call does before it recurses, `after` what it does to its result.
fn guest(depth: u32, before: &str, after: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
            (memory 1 16384)
            (func $deep (param $n i64) (result i64) {locals}
                (if (i64.eqz (local.get $n)) (then (return (i64.extend_i32_u (call $yield)))))
                {before}
                (call $deep (i64.sub (local.get $n) (i64.const 1)))
                (i64.add (local.get $n))
                {after})
            (func (export "_start")
                (if (i64.ne (call $deep (i64.const {depth})) (i64.const {sum}))
                    (then (call $exit (i32.const 1))))))"#,
        locals = "(local i64)".repeat(LOCALS as usize),
        sum = u64::from(depth) * (u64::from(depth) + 1) / 2,
    );
    wat::parse_str(text).unwrap()
}

/// Constants that are alive over the call: the hot code makes them anew, the continuation has read them
/// from the frame and keeps them on the stack.
const LOCALS: u32 = 40;

/// Sets the locals to constants, and adds and subtracts them again.
fn constants() -> (String, String) {
    let all = |each: &dyn Fn(u32) -> String| (1..=LOCALS).map(each).collect::<String>();
    let before = all(&|local| format!("(local.set {local} (i64.const {local}))"));
    let after =
        all(&|local| format!("(i64.xor (local.get {local})) (i64.xor (i64.const {local}))"));
    (before, after)
}

fn run(process: &mut Process) -> Result<Outcome, ProcessError> {
    let result = block_on(process.run());
    if let Err(error) = &result {
        let overflow = matches!(error, ProcessError::Trap { kind: TrapKind::StackOverflow, .. });
        assert!(overflow, "{error}");
    }
    result
}

fn frozen(code: &Code) -> Option<Image> {
    let mut process = Process::spawn(code, options(&Origin::default(), Some(1))).unwrap();
    let outcome = run(&mut process).ok()?;
    assert_eq!(outcome, Outcome::Frozen);
    Some(through_bytes(&process.capture(CaptureOptions::default()).unwrap()))
}

/// Greatest depth below `end` for which `holds`, if it holds for all up to there.
fn greatest(end: u32, holds: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, end);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}

/// How deep the guest can run, and be frozen and thawed. Every depth tried ends well or in an overflow.
fn depths(before: &str, after: &str) -> [u32; 3] {
    let runtime = runtime();
    let code = |depth| load(&runtime, &guest(depth, before, after), CodeKind::CountDown);
    let runs = greatest(DEPTH_MAX, |depth| {
        let mut process = Process::spawn(&code(depth), options(&Origin::default(), None)).unwrap();
        run(&mut process).is_ok_and(|outcome| outcome == Outcome::Exited(0))
    });
    let freezes = greatest(runs + 1, |depth| frozen(&code(depth)).is_some());
    let thaws = greatest(freezes + 1, |depth| {
        let code = code(depth);
        let image = frozen(&code).unwrap();
        let mut process =
            Process::thaw(&code, &image, thaw_options(&Origin::default(), None)).unwrap();
        match run(&mut process) {
            Ok(outcome) => {
                assert_eq!(outcome, Outcome::Exited(0), "depth {depth}");
                true
            }
            Err(error) => {
                assert!(error.to_string().contains("save or restore"), "{error}");
                assert!(
                    Process::thaw(&code, &image, thaw_options(&Origin::default(), None)).is_ok()
                );
                false
            }
        }
    });
    println!("runs to depth {runs}, freezes to {freezes}, thaws to {thaws}");
    [runs, freezes, thaws]
}

#[test]
fn a_deep_stack_comes_back() {
    let [runs, freezes, thaws] = depths("", "");
    assert!(runs > 1_000);
    assert!(freezes > runs - runs / 20, "{freezes} of {runs}");
    assert!(thaws > freezes / 4, "{thaws} of {freezes}");
}

#[test]
fn a_stack_that_grows_when_it_is_restored_is_told() {
    let (before, after) = constants();
    let [runs, freezes, thaws] = depths(&before, &after);
    assert!(freezes > runs - runs / 20, "{freezes} of {runs}");
    assert!(thaws < freezes, "else this guest tests nothing");
    assert!(thaws > freezes / RESTORABLE_STACK_SHARE as u32, "{thaws} of {freezes}");
}
