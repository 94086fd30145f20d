//! The identity test: whatever is frozen, however often and into whatever, ends as the undisturbed
//! run does.

use peripatos_engine::{
    Backend, CaptureOptions, CodeKind, LoadError, LoadOptions, Outcome, Process, Settings,
    ThawOptions, block_on,
};

use crate::common::{
    Origin, Run, guests, load, options, pid, run_frozen, run_plain, runtime, runtime_with,
    thaw_options, through_bytes,
};

/// Freezes with these distances, from far to near: odd and even, so that every check is hit.
const EVERY: [u32; 6] = [10_000, 1_000, 100, 7, 2, 1];
/// Distances that would freeze a guest more often than this are left out.
const FREEZES_MAX: usize = 1_000;

#[test]
fn frozen_guests_end_as_plain_ones() {
    let runtime = runtime();
    let mut frozen = 0;
    for (name, wasm) in guests() {
        let plain = run_plain(&runtime, &wasm);
        let options = LoadOptions { kind: CodeKind::CountDown };
        let code = match runtime.load(wasm.into(), options) {
            // Typed function references are refused by the pass, with a message.
            Err(LoadError::Refused(reason)) if reason.contains("function references") => continue,
            code => code.unwrap(),
        };
        let mut checks = 0;
        for every in EVERY {
            if checks / every as usize > FREEZES_MAX {
                break;
            }
            // Each request is pending once, so calls are interrupted before their effect too.
            let origin = if every % 2 == 0 { Origin::default() } else { Origin::slow(1) };
            let (run, freezes) = run_frozen(&[(&runtime, &code)], every, &origin);
            assert_eq!(run, plain, "{name}, every {every}, {freezes} freezes");
            checks = checks.max((freezes + 1) * every as usize);
            frozen += freezes;
        }
    }
    assert!(frozen > 1_000, "only {frozen} freezes");
}

#[test]
fn native_and_interpreted_take_turns() {
    let native = runtime();
    let pulley = runtime_with(Settings { backend: Backend::Pulley, ..Settings::default() });
    for (name, wasm) in guests() {
        if !["blocks", "exnref", "tables"].contains(&&*name) {
            continue;
        }
        let plain = run_plain(&native, &wasm);
        let codes = [&native, &pulley].map(|runtime| load(runtime, &wasm, CodeKind::CountDown));
        for every in [100, 7] {
            let places = [(&native, &codes[0]), (&pulley, &codes[1])];
            let (run, _) = run_frozen(&places, every, &Origin::default());
            assert_eq!(run, plain, "{name}, every {every}");
        }
    }
}

#[test]
fn both_halves_of_a_fork_are_right() {
    let runtime = runtime();
    let (name, wasm) = guests().remove(0);
    let plain = run_plain(&runtime, &wasm);
    let code = load(&runtime, &wasm, CodeKind::CountDown);
    let origin = Origin::default();
    let mut process = Process::spawn(&runtime, &code, options(&origin, Some(20))).unwrap();
    assert_eq!(block_on(process.run()).unwrap(), Outcome::Frozen, "{name}");
    let image = through_bytes(&process.capture(CaptureOptions::default()).unwrap());
    let child_pid = peripatos_abi::Pid::new(2, 3);
    origin.fork(pid(), child_pid);
    for pid in [pid(), child_pid] {
        let options = ThawOptions { pid: Some(pid), ..thaw_options(&origin, None) };
        let mut process = Process::thaw(&runtime, &code, &image, options).unwrap();
        assert_eq!(process.pid(), pid);
        let end = format!("{:?}", block_on(process.run()).unwrap());
        assert_eq!(Run { end, output: origin.output(pid) }, plain);
    }
}
