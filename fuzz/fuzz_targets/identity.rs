//! A generated module behaves the same after the pass, frozen or not: the check of the instrument
//! crate's test `generated`, for as long as one likes.
#![no_main]

#[path = "../../crates/instrument/tests/host/mod.rs"]
mod host;
#[path = "../../crates/instrument/tests/smith/mod.rs"]
mod smith;

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use wasmtime::Engine;

static ENGINE: LazyLock<Engine> = LazyLock::new(smith::engine);

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some(wasm) = smith::generate(bytes) else { return Corpus::Reject };
    if let Err(error) = smith::check(&ENGINE, &wasm) {
        let text = wasmprinter::print_bytes(&wasm).unwrap_or_default();
        panic!("{error:?}\n{text}");
    }
    Corpus::Keep
});
