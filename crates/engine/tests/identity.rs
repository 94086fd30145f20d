//! The identity test: whatever is frozen, however often, ends as the undisturbed run does.

mod common;

use common::{Origin, guests, load, run_frozen, run_plain, runtime};
use peripatos_engine::CodeKind;

/// Freezes with these distances, from far to near: odd and even, so that every check is hit.
const EVERY: [u32; 6] = [10_000, 1_000, 100, 7, 2, 1];
/// Distances that would freeze a guest more often than this are left out.
const FREEZES_MAX: usize = 3_000;

#[test]
fn frozen_guests_end_as_plain_ones() {
    let runtime = runtime();
    for (name, wasm) in guests() {
        let plain = run_plain(&runtime, &wasm);
        let code = load(&runtime, &wasm, CodeKind::CountDown);
        let mut checks = 0;
        for every in EVERY {
            if checks / every as usize > FREEZES_MAX {
                break;
            }
            let (run, freezes) = run_frozen(&[(&runtime, &code)], every, &Origin::default());
            println!("{name} every {every}: {freezes} freezes, {}", run.end);
            assert_eq!(run, plain, "{name}, every {every}, {freezes} freezes");
            checks = checks.max((freezes + 1) * every as usize);
        }
    }
}
