//! A loaded program: its bytes, its compiled hot module, and the continuations made of it so far.

use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use peripatos_abi::message::SPAWNED;
use peripatos_instrument::{self as instrument, Program, SiteId};
use wasmtime::{AsContextMut, Engine, Extern, InstancePre, Linker, Module, ModuleExport};

use crate::cache::Key;
use crate::capture::memory_name;
use crate::compile::Job;
use crate::continuations::{Compiled, Continuations, Wait};
use crate::initial::InitialContents;
use crate::metadata::Metadata;
use crate::pool::Footprint;
use crate::process::ENTRY;
use crate::state::State;
use crate::{LoadTimings, Runtime, wasi};

/// The export that makes a module a handler server instead of a program.
pub const HANDLER_EXPORT: &str = peripatos_abi::message::HANDLER;

/// What kind of process a module becomes; follows from its exports, never from a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Runs on a fiber of its own and may block in host calls.
    Program,
    /// Exports [`HANDLER_EXPORT`]: is called for each message on the caller's stack; unwinds and is
    /// parked where a program would block.
    Handler,
}

/// Whether a program was loaded to be freezable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeKind {
    /// Rewritten by the pass: can be frozen at every check.
    Hot,
    /// Rewritten, and every check counts down: freezes at each N-th
    /// ([`crate::ProcessOptions::freeze_every`]).
    CountDown,
    /// As it came: cannot be frozen.
    Plain,
}

/// How to load a program.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Hot, counting, or plain.
    pub kind: CodeKind,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions { kind: CodeKind::Hot }
    }
}

/// Sizes of a loaded program.
#[derive(Clone, Copy, Debug, Default)]
pub struct CodeSize {
    /// Bytes of the original module.
    pub original_bytes: usize,
    /// Bytes of machine code of the module that runs.
    pub machine_code_bytes: usize,
}

/// A loaded program, shared by all processes made of it. Cloning is cheap.
#[derive(Clone)]
pub struct Code(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) runtime: Runtime,
    pub(crate) original: Arc<[u8]>,
    pub(crate) hash: [u8; 32],
    /// Made when first asked for: it reads all of the original.
    pub(crate) layout: OnceLock<[u8; 32]>,
    pub(crate) kind: CodeKind,
    /// Names its compiled code in the disk cache.
    pub(crate) key: Key,
    pub(crate) engine: Engine,
    pub(crate) module: Module,
    pub(crate) linker: Linker<State>,
    pub(crate) instance: InstancePre<State>,
    pub(crate) metadata: Metadata,
    /// Made when the first of its processes sleeps.
    pub(crate) initial: OnceLock<InitialContents>,
    pub(crate) exports: Exports,
    /// Index and name of the globals that the hot module shows the host.
    pub(crate) global_exports: Vec<(u32, String)>,
    pub(crate) timings: LoadTimings,
    /// The pass's analysis; only made when a continuation has to be written.
    pub(crate) program: OnceLock<Result<Program, String>>,
    pub(crate) continuations: Continuations,
    pub(crate) footprint: Arc<Footprint>,
}

/// What each instance is asked for when it is made, found once. The pass's own are absent in plain code.
pub(crate) struct Exports {
    pub(crate) memory: Option<ModuleExport>,
    pub(crate) save: Option<ModuleExport>,
    pub(crate) flags: Option<ModuleExport>,
    pub(crate) slots: Option<ModuleExport>,
    pub(crate) functions: Option<ModuleExport>,
    /// The program's memories, in their order.
    pub(crate) memories: Vec<ModuleExport>,
    /// Whether there is a function [`ENTRY`].
    pub(crate) has_entry: bool,
    /// Whether there is a function [`SPAWNED`].
    pub(crate) has_spawned: bool,
}

impl Exports {
    pub(crate) fn of(module: &Module) -> Exports {
        let has = |name| module.get_export(name).is_some_and(|export| export.func().is_some());
        Exports {
            has_entry: has(ENTRY),
            has_spawned: has(SPAWNED),
            memory: module.get_export_index(wasi::MEMORY_EXPORT),
            save: module.get_export_index("peripatos.save"),
            flags: module.get_export_index("peripatos.flags"),
            slots: module.get_export_index("peripatos.slots"),
            functions: module.get_export_index("peripatos.funcs"),
            memories: (0..).map_while(|at| module.get_export_index(&memory_name(at))).collect(),
        }
    }
}

/// What making continuations took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Made {
    pub(crate) generate: Duration,
    /// Loading from the disk cache included.
    pub(crate) compile: Duration,
    /// Modules compiled, as opposed to loaded.
    pub(crate) modules: u32,
}

impl Code {
    pub(crate) fn new(inner: Inner) -> Code {
        Code(Arc::new(inner))
    }

    /// blake3 of the original bytes.
    pub fn hash(&self) -> [u8; 32] {
        self.0.hash
    }

    /// The original bytes.
    pub fn original(&self) -> &Arc<[u8]> {
        &self.0.original
    }

    /// Program or handler.
    pub fn form(&self) -> Form {
        self.0.metadata.form()
    }

    /// Whether its processes talk to others: they need a kernel.
    pub fn talks(&self) -> bool {
        let mut imports = self.0.module.imports();
        self.form() == Form::Handler
            || imports.any(|import| import.module() == peripatos_abi::message::MODULE)
    }

    /// How it was loaded.
    pub fn kind(&self) -> CodeKind {
        self.0.kind
    }

    /// What loading it took.
    pub fn timings(&self) -> LoadTimings {
        self.0.timings
    }

    /// How large it is.
    pub fn size(&self) -> CodeSize {
        CodeSize {
            original_bytes: self.0.original.len(),
            machine_code_bytes: self.0.module.text().len(),
        }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn continuations(&self) -> &Continuations {
        &self.0.continuations
    }

    /// What site ids and frame layouts of this program depend on.
    pub(crate) fn layout_hash(&self) -> [u8; 32] {
        *self.0.layout.get_or_init(|| instrument::layout_hash(&self.0.original))
    }

    /// What instantiation puts into its memories.
    pub(crate) fn initial_contents(&self) -> &InitialContents {
        let inner = self.inner();
        inner.initial.get_or_init(|| InitialContents::of(&inner.original, &inner.metadata))
    }

    /// The host's function that the hot module imports under this name from the pass's namespace.
    pub(crate) fn host_function(
        &self,
        store: impl AsContextMut<Data = State>,
        name: &str,
    ) -> Option<Extern> {
        self.0.linker.get(store, instrument::NAMESPACE, name).ok()
    }

    /// Maxima of the save and the flags memory, bytes; none in plain code, which has neither.
    pub(crate) fn private_maxima(&self) -> [Option<usize>; 2] {
        let maximum = |name| {
            let ty = self.0.module.get_export(name)?;
            let pages = ty.memory()?.maximum()?;
            usize::try_from(pages.checked_mul(1 << 16)?).ok()
        };
        match self.0.kind {
            CodeKind::Plain => [None; 2],
            CodeKind::Hot | CodeKind::CountDown => {
                ["peripatos.save", "peripatos.flags"].map(maximum)
            }
        }
    }

    /// Asks for a site's continuation, which the compile thread makes if it is not there.
    pub(crate) fn want(&self, site: u32, waker: &Waker) -> Wait {
        self.0.continuations.want(site, waker, || {
            self.0.runtime.compile_later(Job { code: self.clone(), site });
        })
    }

    /// Makes the continuations of `sites`, on this thread: those that the disk cache has are loaded,
    /// all others become one module.
    ///
    /// # Errors
    /// The sites are not this program's, or the pass or the compiler failed: the message says which.
    pub(crate) fn make(&self, sites: &[u32]) -> Result<Made, String> {
        let started = Instant::now();
        let mut missing = Vec::new();
        for &site in sites {
            if self.0.continuations.get(site).is_some() || missing.contains(&site) {
                continue;
            }
            match self.0.runtime.cache().load_continuation(&self.0.engine, &self.0.key, site) {
                Some(compiled) => self.0.continuations.put(&Arc::new(compiled)),
                None => missing.push(site),
            }
        }
        let loading = started.elapsed();
        if missing.is_empty() {
            return Ok(Made { compile: loading, ..Made::default() });
        }
        let (compiled, mut made) = self.compile(&missing)?;
        made.compile += loading;
        self.0.runtime.cache().store_continuation(&self.0.key, &compiled);
        self.0.continuations.put(&Arc::new(compiled));
        Ok(made)
    }

    fn compile(&self, sites: &[u32]) -> Result<(Compiled, Made), String> {
        let started = Instant::now();
        let program =
            self.0.program.get_or_init(|| self.analyse()).as_ref().map_err(String::clone)?;
        let ids: Vec<SiteId> = sites.iter().map(|site| SiteId(*site)).collect();
        let sizes = program.frame_sizes(&ids).map_err(|error| error.to_string())?;
        let continuation = program.continuation(&ids).map_err(|error| error.to_string())?;
        let generate = started.elapsed();
        let module = Module::new(&self.0.engine, &continuation.wasm)
            .map_err(|error| crate::engines::one_line(&error))?;
        let compile = started.elapsed() - generate;
        let sites = sites.iter().copied().zip(sizes).collect();
        let compiled = Compiled { module, sites, imports: continuation.imports };
        Ok((compiled, Made { generate, compile, modules: 1 }))
    }

    fn analyse(&self) -> Result<Program, String> {
        let count_down = self.0.kind == CodeKind::CountDown;
        Program::analyse(&self.0.original, instrument::Options { count_down })
            .map_err(|error| error.to_string())
    }
}
