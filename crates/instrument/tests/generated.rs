//! Generated modules behave the same after the pass, frozen or not: see `smith`.
//!
//! A bounded run over fixed seeds. The fuzz target `identity` runs for as long as one likes.

mod host;
mod smith;

use std::sync::atomic::{AtomicU64, Ordering};

use smith::{Checked, check, engine, generate};

const MODULES: u64 = 300;
const THREADS: usize = 2;
/// Bytes from which a module is generated.
const INPUT_LEN: usize = 3_000;
const STACK_SIZE: usize = 16 << 20;

/// Bytes that look random and are the same everywhere (splitmix64).
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as u8
    };
    std::iter::repeat_with(next).take(INPUT_LEN).collect()
}

#[test]
fn generated_modules_behave_the_same() {
    let seed = AtomicU64::new(0);
    let work = || {
        let engine = engine();
        let mut sum = Checked::default();
        loop {
            let seed = seed.fetch_add(1, Ordering::Relaxed);
            if seed >= MODULES {
                return sum;
            }
            let Some(wasm) = generate(&bytes(seed)) else { continue };
            let checked = check(&engine, &wasm).unwrap_or_else(|error| {
                let text = wasmprinter::print_bytes(&wasm).unwrap_or_default();
                panic!("seed {seed}: {error:?}\n{text}")
            });
            sum = add(sum, checked);
        }
    };
    let sum = std::thread::scope(|scope| {
        let threads = [(); THREADS].map(|()| {
            let thread = std::thread::Builder::new().stack_size(STACK_SIZE);
            thread.spawn_scoped(scope, work).expect("a thread")
        });
        let sums = threads.map(|thread| thread.join().expect("no failure"));
        sums.into_iter().fold(Checked::default(), add)
    });
    println!("{sum:?}");
    assert!(sum.modules > MODULES / 2, "too few modules: {sum:?}");
    assert!(sum.freezes > MODULES, "hardly ever frozen: {sum:?}");
    assert!(sum.returned > sum.modules, "hardly any call returned: {sum:?}");
}

fn add(a: Checked, b: Checked) -> Checked {
    Checked {
        modules: a.modules + b.modules,
        refused: a.refused + b.refused,
        freezes: a.freezes + b.freezes,
        calls: a.calls + b.calls,
        returned: a.returned + b.returned,
    }
}
