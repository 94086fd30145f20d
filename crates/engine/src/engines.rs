//! The wasmtime engines: one for programs, one for handlers, because what they need is set per
//! engine. Programs block on fibers of their own and want deep stacks; handlers run on the stack of
//! whoever calls them, many at once. Memories and stacks come from a pool ([`crate::pool`]).

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use wasmtime::{Collector, Config, Engine};

use crate::pool::{Memories, Stacks};
use crate::{Backend, Form, RuntimeError, Settings};

/// Least stack of a program, bytes.
pub(crate) const PROGRAM_STACK_BYTES_MIN: usize = 1 << 20;
/// Stack of a handler, bytes: it runs on its caller's stack.
pub(crate) const HANDLER_STACK_BYTES: usize = 64 << 10;
/// Stack left to host functions on a fiber, bytes.
pub(crate) const HOST_STACK_BYTES: usize = 1 << 20;
/// Address space kept for a 32-bit memory, so that it never moves: other threads hold pointers to
/// the preempt bytes.
pub(crate) const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;
/// Behind that, for what code reaches by an offset.
pub(crate) const MEMORY_GUARD_BYTES: u64 = 32 << 20;

/// An engine for modules of this form.
pub(crate) fn build(form: Form, settings: &Settings) -> Result<Engine, RuntimeError> {
    let mut config = common(settings);
    match form {
        Form::Program => {
            let stack = settings.stack_bytes.max(PROGRAM_STACK_BYTES_MIN);
            config.max_wasm_stack(stack).async_stack_size(stack + HOST_STACK_BYTES);
        }
        Form::Handler => {
            config.max_wasm_stack(HANDLER_STACK_BYTES).async_stack_size(4 * HANDLER_STACK_BYTES);
        }
    }
    if settings.backend == Backend::Pulley {
        config.target("pulley64").map_err(|error| RuntimeError::Engine(one_line(&error)))?;
    }
    Engine::new(&config).map_err(|error| RuntimeError::Engine(one_line(&error)))
}

fn common(settings: &Settings) -> Config {
    let mut config = Config::new();
    config
        .wasm_exceptions(true)
        .wasm_multi_memory(true)
        .wasm_tail_call(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_bulk_memory(true)
        .wasm_reference_types(true)
        .wasm_function_references(true)
        .wasm_memory64(true)
        .wasm_extended_const(true)
        .wasm_branch_hinting(true)
        .collector(Collector::DeferredReferenceCounting)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .with_host_memory(Arc::new(Memories))
        .with_host_stack(Arc::new(Stacks))
        // A mapping of a file over a part of the memory: it cannot be kept for the next process. Data segments are copied.
        .memory_init_cow(false)
        .cranelift_nan_canonicalization(settings.canonical_nan)
        .epoch_interruption(settings.epoch_interruption)
        .parallel_compilation(settings.parallel_compilation)
        .generate_address_map(false)
        // For native debuggers only; they would be a part of every cache entry.
        .debug_symbols(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(None);
    config
}

/// What compiled code of this engine depends on, as a number that another OS process computes
/// alike.
pub(crate) fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = Fnv::default();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// FNV-1a: the standard library's hasher may differ from process to process.
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The first line of an error's innermost message.
pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    let text = error.root_cause().to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
