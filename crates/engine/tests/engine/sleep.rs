//! Whatever is put to sleep, however often, ends as the undisturbed run does; and it takes little room meanwhile.

use std::task::Waker;

use peripatos_engine::{
    CodeKind, Handled, Handler, LoadError, LoadOptions, Outcome, Process, awake, block_on,
};

use crate::common::{Origin, Run, cases, load, options, pid, run_plain, runtime};

/// Guests that have between them all that a process can hold. The others have their turn in the identity test.
const GUESTS: [&str; 6] = ["blocks", "exnref", "memories", "memory64", "simd", "tables"];
/// Distances between two sleeps, in checks.
const EVERY: [u32; 2] = [1_001, 101];
const SLEEPS_MAX: usize = 100;

#[test]
fn guests_that_sleep_end_as_plain_ones() {
    let runtime = runtime();
    let mut slept = 0;
    for case in cases().into_iter().filter(|case| GUESTS.contains(&&*case.name)) {
        let counting = LoadOptions { kind: CodeKind::CountDown };
        let code = match runtime.load(case.wasm.clone().into(), counting) {
            Err(LoadError::Refused(_)) => continue,
            code => code.unwrap(),
        };
        let plain = run_plain(&runtime, &case);
        let mut checks = 0;
        for every in EVERY {
            if checks / every as usize > SLEEPS_MAX {
                break;
            }
            let origin = Origin::slow(1);
            let mut options = options(&origin, Some(every));
            options.args.clone_from(&case.args);
            let mut process = Process::spawn(&code, options).unwrap();
            let mut sleeps = 0;
            let end = loop {
                let result = block_on(process.run());
                if !matches!(result, Ok(Outcome::Frozen)) {
                    break result.map_or_else(|error| error.to_string(), |end| format!("{end:?}"));
                }
                let control = process.control();
                let mut sleeping = process.sleep().map_err(|(_, error)| error).unwrap();
                assert!(control.is_asleep() && sleeping.pid() == pid());
                process = sleeping.wake().unwrap();
                assert!(!control.is_asleep());
                sleeps += 1;
            };
            let run = Run { end, output: origin.output(pid()) };
            assert!(run == plain, "{}, every {every}, {sleeps} sleeps: {run}", case.name);
            checks = (sleeps + 1) * every as usize;
            slept += sleeps;
        }
    }
    assert!(slept > 20, "only {slept} sleeps");
}

/// Keeps a sum, a text that it never changes, and a table.
const KEEPER: &str = r#"(module
    (memory (export "memory") 2)
    (global $sum (mut i32) (i32.const 0))
    (table $t 4 funcref)
    (elem declare func $one $two)
    (func $one (result i32) (i32.const 1))
    (func $two (result i32) (i32.const 2))
    (data (i32.const 70000) "TEXT")
    (func (export "peripatos_handle") (param i32) (result i32)
        (global.set $sum (i32.add (global.get $sum) (local.get 0)))
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (local.get 0)))
        ;; What instantiation has written is changed now and then, and cleared.
        (if (i32.eq (local.get 0) (i32.const 5)) (then (i32.store (i32.const 70004) (i32.const 0))))
        (if (i32.eq (local.get 0) (i32.const 6)) (then (memory.fill (i32.const 70000) (i32.const 0) (i32.const 4000))))
        (table.set $t (i32.const 1) (if (result funcref) (i32.and (local.get 0) (i32.const 1))
            (then (ref.func $one)) (else (ref.func $two))))
        (i32.add
            (i32.add (global.get $sum) (i32.load (i32.const 8)))
            (i32.add (i32.load (i32.const 71000)) (call_indirect $t (result i32) (i32.const 1))))))"#;

#[test]
fn a_handler_that_sleeps_between_calls_answers_the_same() {
    let runtime = runtime();
    let text = KEEPER.replace("TEXT", &"peripatos ".repeat(2000));
    let code = load(&runtime, &wat::parse_str(text).unwrap(), CodeKind::Hot);
    let make = || Handler::spawn(&code, options(&Origin::default(), None)).unwrap();
    let (mut awake_one, mut sleeper) = (make(), make());
    for argument in 1..20 {
        let [expected, answer] = [&mut awake_one, &mut sleeper]
            .map(|handler| handler.handle(Waker::noop(), argument).unwrap());
        assert!(matches!(answer, Handled::Reply(_)) && answer == expected, "{argument}");
        let mut sleeping = sleeper.sleep().map_err(|(_, error)| error).unwrap();
        // Twenty thousand bytes of text are the program's.
        assert!(argument >= 6 || sleeping.image_bytes() < 1000, "{}", sleeping.image_bytes());
        sleeper = sleeping.wake().unwrap();
    }
}

#[test]
fn who_sleeps_is_not_awake_and_can_be_dropped() {
    let runtime = runtime();
    let code = load(&runtime, &wat::parse_str(KEEPER).unwrap(), CodeKind::Hot);
    let handler = Handler::spawn(&code, options(&Origin::default(), None)).unwrap();
    assert!(awake() > 0);
    let control = handler.control();
    let sleeping = handler.sleep().map_err(|(_, error)| error).unwrap();
    // To nobody's harm.
    control.preempt();
    control.freeze();
    drop(sleeping);
    control.preempt();
}
