//! The wasmtime engines, their settings, the disk cache and the compile thread: one runtime an OS
//! process is enough.

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wasmtime::Engine;

use crate::cache::Cache;
use crate::compile::{self, Job};
use crate::{Code, Form, LoadError, LoadOptions, RuntimeError, engines};

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
    /// wasmtime's own interruption checks, with nobody who interrupts: only to measure what they
    /// cost.
    pub epoch_interruption: bool,
    /// Stack of a program, bytes; at least 1 MiB. Only what is used takes memory.
    ///
    /// A call stack takes more room when it is restored than it took before: 2.5 times with ordinary
    /// functions, 12.5 times where 40 constants are alive over each call. One that fills more than a
    /// [`RESTORABLE_STACK_SHARE`]th may end with a stack overflow when its process goes on.
    pub stack_bytes: usize,
    /// Compile functions on several threads.
    pub parallel_compilation: bool,
    /// The disk cache; `None`: compile every time.
    pub cache: Option<CacheSettings>,
}

/// Call stacks that take up to this part of the stack can be restored, by all that was measured.
pub const RESTORABLE_STACK_SHARE: usize = 16;
/// 8 MiB, what native programs have, and room to restore them.
pub(crate) const STACK_BYTES_DEFAULT: usize = RESTORABLE_STACK_SHARE * (8 << 20);

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            backend: Backend::Native,
            canonical_nan: false,
            epoch_interruption: false,
            stack_bytes: STACK_BYTES_DEFAULT,
            parallel_compilation: true,
            cache: None,
        }
    }
}

/// Something that did not work and was done without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The disk cache is not used: why.
    #[error("compiled code is not cached: {0}")]
    CacheUnusable(String),
    /// An entry could not be written: why.
    #[error("compiled code could not be written to the cache: {0}")]
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
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    settings: Settings,
    programs: Engine,
    /// Made when the first handler comes.
    handlers: OnceLock<Engine>,
    cache: Cache,
    jobs: Mutex<Sender<Job>>,
}

impl Runtime {
    /// A runtime with these settings. An unusable cache directory is a [`Warning`], not an error.
    ///
    /// # Errors
    /// This machine cannot run the engine, or start a thread.
    pub fn new(settings: Settings) -> Result<Runtime, RuntimeError> {
        let programs = engines::build(Form::Program, &settings)?;
        let jobs = compile::start().map_err(RuntimeError::Thread)?;
        let cache = Cache::open(settings.cache.as_ref());
        let handlers = OnceLock::new();
        let jobs = Mutex::new(jobs);
        Ok(Runtime(Arc::new(Inner { settings, programs, handlers, cache, jobs })))
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Loads a program: from the disk cache, or by rewriting and compiling it.
    ///
    /// # Errors
    /// See [`LoadError`]; nothing is left behind.
    pub fn load(&self, wasm: Arc<[u8]>, options: LoadOptions) -> Result<Code, LoadError> {
        Code::load(self, wasm, options)
    }

    /// Takes the warnings gathered since the last call.
    pub fn take_warnings(&self) -> Vec<Warning> {
        self.0.cache.take_warnings()
    }

    /// What the disk cache did so far.
    pub fn cache_counts(&self) -> CacheCounts {
        self.0.cache.counts()
    }

    /// The engine for modules of this form.
    pub(crate) fn engine(&self, form: Form) -> Result<&Engine, RuntimeError> {
        if form == Form::Program {
            return Ok(&self.0.programs);
        }
        if let Some(engine) = self.0.handlers.get() {
            return Ok(engine);
        }
        let engine = engines::build(form, &self.0.settings)?;
        Ok(self.0.handlers.get_or_init(|| engine))
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// Gives the compile thread something to do.
    pub(crate) fn compile_later(&self, job: Job) {
        let jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(unsent) = jobs.send(job) {
            // The thread is gone: it has panicked. Nobody must wait for it.
            let Job { code, site } = unsent.0;
            code.continuations().fail(site, "the compile thread has ended".to_owned());
        }
    }
}
