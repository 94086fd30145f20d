//! The wasmtime engines, their settings, the disk cache and the compile service: one per OS process is enough.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{Code, LoadError, LoadOptions, RuntimeError};

/// What executes the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Machine code for this machine, by Cranelift.
    #[default]
    Native,
    /// wasmtime's portable interpreter: slow, and the same on every machine.
    Pulley,
}

/// Where compiled code is kept between runs.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// A private directory; made with mode 0700 if absent.
    pub directory: PathBuf,
    /// Oldest entries are removed when the directory holds more than this.
    pub size_bytes_max: u64,
}

/// Settings of a [`Runtime`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Machine code or interpreter.
    pub backend: Backend,
    /// Make NaN bits the same on every machine (costs up to 2.7x in floating-point loops).
    pub canonical_nan: bool,
    /// Stack of a program, bytes.
    pub stack_bytes: usize,
    /// Compile functions on several threads.
    pub parallel_compilation: bool,
    /// The disk cache; `None`: compile every time.
    pub cache: Option<CacheSettings>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            backend: Backend::Native,
            canonical_nan: false,
            stack_bytes: 8 << 20,
            parallel_compilation: true,
            cache: None,
        }
    }
}

/// Something that did not work and was done without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The disk cache is not used: why.
    CacheUnusable(String),
    /// An entry could not be written: why.
    CacheWrite(String),
}

/// What the disk cache did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Entries loaded.
    pub hits: u64,
    /// Entries that were not there.
    pub misses: u64,
    /// Entries that were there and were refused: foreign, truncated, tampered with.
    pub refused: u64,
    /// Entries written.
    pub written: u64,
    /// Entries removed to keep the size limit.
    pub trimmed: u64,
}

/// Compiles and runs programs. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Runtime {}

impl Runtime {
    /// A runtime with these settings. An unusable cache directory is a [`Warning`], not an error.
    pub fn new(_settings: Settings) -> Result<Runtime, RuntimeError> {
        todo!()
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        todo!()
    }

    /// Loads a program: from the disk cache, or by rewriting and compiling it.
    pub fn load(&self, _wasm: Arc<[u8]>, _options: LoadOptions) -> Result<Code, LoadError> {
        todo!()
    }

    /// Takes the warnings gathered since the last call.
    pub fn take_warnings(&self) -> Vec<Warning> {
        todo!()
    }

    /// What the disk cache did so far.
    pub fn cache_counts(&self) -> CacheCounts {
        todo!()
    }
}
