//! Names the feature for which the pass refuses a module.

use wasmparser::{Validator, WasmFeatures};

/// The first feature whose addition makes the module valid.
pub(super) fn reason(wasm: &[u8]) -> &'static str {
    let refused = WasmFeatures::GC | WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::THREADS;
    let taken = WasmFeatures::WASM3.difference(refused) | WasmFeatures::GC_TYPES;
    let typed = WasmFeatures::FUNCTION_REFERENCES;
    let candidates = [
        ("refused: typed function references", typed),
        ("refused: GC types", typed | WasmFeatures::GC),
        ("refused: threads", WasmFeatures::THREADS),
        ("refused: legacy exceptions", WasmFeatures::LEGACY_EXCEPTIONS),
        ("refused: custom page sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
        ("refused: wide arithmetic", WasmFeatures::WIDE_ARITHMETIC),
    ];
    let valid = |features| Validator::new_with_features(features).validate_all(wasm).is_ok();
    let found = candidates.into_iter().find(|(_, feature)| valid(taken | *feature));
    found.map_or("refused: something else", |(reason, _)| reason)
}
