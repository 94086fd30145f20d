//! The identity test: whatever is frozen, however often and into whatever, ends as the undisturbed
//! run does.

use std::collections::HashMap;

use peripatos_engine::{
    Backend, CaptureOptions, Code, CodeKind, LoadError, LoadOptions, Outcome, Process, Runtime,
    Settings, ThawOptions, block_on,
};

use crate::common::{
    Case, Origin, Run, cases, load, options, pid, run_frozen, run_plain, runtime, runtime_with,
    thaw_options, through_bytes,
};

/// Freezes with these distances, from far to near: odd and even, so that every check is hit.
const EVERY: [u32; 8] = [1_000_000, 100_000, 10_001, 1_000, 101, 7, 2, 1];
/// Distances that would freeze a run more often than this are left out: of small programs, whose
/// continuations are made at once, and of large ones.
const FREEZES_MAX: [usize; 2] = [600, 15];
/// Bytes of a module from which on a program is large.
const LARGE_BYTES: usize = 30_000;

#[test]
fn frozen_guests_end_as_plain_ones() {
    let runtime = runtime();
    let mut codes: HashMap<String, Code> = HashMap::new();
    let mut frozen = 0;
    for case in cases() {
        let code = match codes.get(&case.name) {
            Some(code) => code.clone(),
            None => match load_counting(&runtime, &case) {
                Some(code) => codes.entry(case.name.clone()).or_insert(code).clone(),
                None => continue,
            },
        };
        frozen += check(&runtime, &case, &code);
    }
    assert!(frozen > 5_000, "only {frozen} freezes");
}

/// `None`: the pass refuses it, with a message.
fn load_counting(runtime: &Runtime, case: &Case) -> Option<Code> {
    let options = LoadOptions { kind: CodeKind::CountDown };
    match runtime.load(case.wasm.clone().into(), options) {
        Err(LoadError::Refused(reason)) if reason.contains("function references") => None,
        code => Some(code.unwrap()),
    }
}

/// Runs one case with all distances that are not too near for it. How many freezes?
fn check(runtime: &Runtime, case: &Case, code: &Code) -> usize {
    let plain = run_plain(runtime, case);
    let freezes_max = FREEZES_MAX[usize::from(case.wasm.len() >= LARGE_BYTES)];
    let mut frozen = 0;
    let mut checks = 0;
    for every in EVERY {
        if checks / every as usize > freezes_max {
            break;
        }
        // Each request is pending once, so calls are interrupted before their effect too.
        let origin = if every % 2 == 0 { Origin::default() } else { Origin::slow(1) };
        let (run, freezes) = run_frozen(case, &[code], every, &origin);
        assert!(run == plain, "{}, every {every}, {freezes} freezes: {run}", case.name);
        checks = (freezes + 1) * every as usize;
        frozen += freezes;
    }
    frozen
}

#[test]
fn native_and_interpreted_take_turns() {
    let native = runtime();
    let pulley = runtime_with(Settings { backend: Backend::Pulley, ..Settings::default() });
    for case in cases() {
        if !["blocks", "exnref", "tables", "simd", "setjmp"].contains(&&*case.name) {
            continue;
        }
        let plain = run_plain(&native, &case);
        let codes =
            [&native, &pulley].map(|runtime| load(runtime, &case.wasm, CodeKind::CountDown));
        for every in [1_000, 101] {
            let places = [&codes[0], &codes[1]];
            let (run, _) = run_frozen(&case, &places, every, &Origin::default());
            assert!(run == plain, "{}, every {every}: {run}", case.name);
        }
    }
}

#[test]
fn both_halves_of_a_fork_are_right() {
    let runtime = runtime();
    let case = cases().into_iter().find(|case| case.name == "blocks").unwrap();
    let plain = run_plain(&runtime, &case);
    let code = load(&runtime, &case.wasm, CodeKind::CountDown);
    let origin = Origin::default();
    let mut process = Process::spawn(&code, options(&origin, Some(20))).unwrap();
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen);
    let image = through_bytes(&process.capture(CaptureOptions::default()).unwrap());
    let child_pid = peripatos_abi::Pid::new(2, 3);
    origin.fork(pid(), child_pid);
    for pid in [pid(), child_pid] {
        let options = ThawOptions { pid: Some(pid), ..thaw_options(&origin, None) };
        let mut process = Process::thaw(&code, &image, options).unwrap();
        assert_eq!(process.pid(), pid);
        let end = format!("{:?}", block_on(process.run()).unwrap());
        assert_eq!(Run { end, output: origin.output(pid) }, plain);
    }
}
