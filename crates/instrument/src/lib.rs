//! The compiler pass that makes a program freezable: WebAssembly in, WebAssembly out.
//!
//! A program is analysed once ([`Program::analyse`]). From the analysis come
//! - the *hot module* ([`Program::hot_module`]): the original, with a check after each call that may
//!   unwind and at loop headers. While nothing is asked for, a check is a load and a branch; no
//!   value lives across its slow path, so the register allocator does not see it;
//! - *continuations* ([`Program::continuation`]): modules that hold, for chosen sites, only the code
//!   that runs after that site. They are built when a frozen process is to go on there.
//!
//! To freeze, every function on the call stack saves its live locals as a frame in a private memory
//! and returns. To thaw, the host calls the slot of the outermost frame's site in a private table;
//! each continuation calls the next frame's slot, down to the innermost, and the program goes on.
//!
//! Invariants:
//! - an instrumented program behaves as the original;
//! - site ids and frame layouts are a pure function of the original's bytes and [`PASS_VERSION`]:
//!   an image can be thawed wherever that pair is the same ([`Program::layout_hash`]);
//! - the output is valid whenever the input was;
//! - counting down ([`Options::count_down`]) changes checks, never sites or frames.
//!
//! The pass does not know wasmtime, files or processes. How the host plays its part, from the names
//! of imports and exports to the layout of the save memory, is written down in [`layout`] and in
//! docs/freeze.md.
//!
//! The pipeline, a pass a file: `bulk` → `module` → `graph` → (a function at a time: `build` →
//! `liveness` → `polls` → `emit`) → `hot`, or `forward` and `continuation`.

mod error;
pub mod layout;

mod module;

mod bulk;
mod graph;
mod limits;

mod build;
mod liveness;
mod polls;
mod tree;

mod continuation;
mod emit;
mod forward;
mod helpers;
mod hot;
mod space;

pub use error::Error;
pub use hot::NAMESPACE;
pub use module::function_name;

use wasmparser::FuncValidatorAllocations;

/// Changes whenever the same original would get other site ids or other frame layouts.
pub const PASS_VERSION: u32 = 1;

/// What the pass is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// Every check counts down in guest memory, and acts when it reaches zero. Same sites, same frames.
    pub count_down: bool,
}

/// A place where a process can be frozen; also its slot in the table of continuations.
///
/// Ids below the number of imported functions stand for "the call of that import, to be made again".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub u32);

/// A second module: the forward code after some sites.
#[derive(Clone, Debug)]
pub struct Continuation {
    /// The module. Instantiating it fills its sites' slots.
    pub wasm: Vec<u8>,
    /// For each import of `wasm`, in order: the name of the hot instance's export that satisfies it,
    /// or `import.X` for the function that the host gave the hot module as `peripatos`.`X`.
    pub imports: Vec<String>,
}

/// What being freezable means for a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Functions that the original defines.
    pub functions: u32,
    /// Those of them that may unwind.
    pub instrumented_functions: u32,
    /// Site ids.
    pub sites: u32,
    /// Checks behind calls.
    pub call_checks: u32,
    /// Polls at loop headers (loops whose ways round all pass another check have none).
    pub loop_polls: u32,
    /// Polls at entries of functions reached by tail calls.
    pub entry_polls: u32,
}

/// The analysis of one original module; everything else is made from it.
#[derive(Debug)]
pub struct Program {
    /// The original, bulk operations lowered.
    wasm: Vec<u8>,
    module: module::Module,
    graph: graph::Graph,
    options: Options,
    layout_hash: [u8; 32],
}

impl Program {
    /// Reads a module's declarations and scans its code.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not a module, [`Error::Refused`] if it uses what cannot be frozen.
    /// Function bodies are validated when they are used: by [`Self::hot_module`], all of them.
    pub fn analyse(wasm: &[u8], options: Options) -> Result<Program, Error> {
        let layout_hash = layout_hash(wasm);
        let analyse = || {
            let wasm = bulk::lower(wasm)?.into_owned();
            let module = module::Module::parse(&wasm)?;
            let graph = graph::Graph::new(&wasm, &module)?;
            Ok(Program { wasm, module, graph, options, layout_hash })
        };
        analyse().map_err(|error| module::diagnose(wasm, error))
    }

    /// The module that runs, and counts of what is in it. It has no start section: where the
    /// original had one, the host calls the export `peripatos.start` first.
    ///
    /// # Errors
    /// As [`Self::analyse`].
    pub fn hot_module(&self) -> Result<(Vec<u8>, Stats), Error> {
        let assembled = limits::with_stack(self.graph.nesting, || hot::assemble(self));
        assembled.map_err(|error| module::diagnose(&self.wasm, error))
    }

    /// A module with the forward code of `sites`, in any order.
    ///
    /// # Errors
    /// [`Error::NoSuchSite`]: the sites come from another program or a damaged image.
    pub fn continuation(&self, sites: &[SiteId]) -> Result<Continuation, Error> {
        limits::with_stack(self.graph.nesting, || continuation::assemble(self, sites))
    }

    /// Size in bytes, header included, of the frames of a site; `None` if there is no such site.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the site's function is not valid.
    pub fn frame_size(&self, site: SiteId) -> Result<Option<u32>, Error> {
        match self.frame_sizes(&[site]) {
            Ok(sizes) => Ok(sizes.first().copied()),
            Err(Error::NoSuchSite(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sizes in bytes, headers included, of the frames of several sites, in their order. Each
    /// function is decoded once a run of its sites: sorted sites are cheapest.
    ///
    /// # Errors
    /// [`Error::NoSuchSite`], and [`Error::Invalid`] if a site's function is not valid.
    pub fn frame_sizes(&self, sites: &[SiteId]) -> Result<Vec<u32>, Error> {
        limits::with_stack(self.graph.nesting, || self.sizes_of(sites))
    }

    fn sizes_of(&self, sites: &[SiteId]) -> Result<Vec<u32>, Error> {
        let mut sizes = Vec::with_capacity(sites.len());
        let mut allocations = FuncValidatorAllocations::default();
        for group in sites.chunk_by(|a, b| self.function_of(*a) == self.function_of(*b)) {
            let function = self.function_of(group[0]).ok_or(Error::NoSuchSite(group[0].0))?;
            if self.module.is_imported(function) {
                let params = self.module.function_type(function).params();
                let size = layout::frame_size(params.iter().copied());
                sizes.extend(group.iter().map(|_| size));
                continue;
            }
            let tree = hot::tree(self, function, &mut allocations)?;
            for site in group {
                let check = forward::find(&tree, site.0).ok_or(Error::NoSuchSite(site.0))?;
                sizes.push(emit::frame_size(&tree.locals, check));
            }
        }
        Ok(sizes)
    }

    /// Hash of all that site ids and frame layouts depend on.
    pub fn layout_hash(&self) -> [u8; 32] {
        self.layout_hash
    }

    /// Number of site ids; slots in the table.
    pub fn site_count(&self) -> u32 {
        self.graph.site_count
    }

    /// Where frames begin in the save memory.
    pub fn frames_base(&self) -> u32 {
        let is_drop = |s: &&space::Symbol| {
            matches!(s, space::Symbol::DropData { .. } | space::Symbol::DropElement { .. })
        };
        let drops = self.graph.segments.iter().filter(is_drop).count() as u32;
        (layout::DROPPED + drops).next_multiple_of(8)
    }

    /// Index of the original's function in which a site lies.
    pub fn function_of(&self, site: SiteId) -> Option<u32> {
        self.graph.function_of(site.0)
    }
}

/// Hash of an original and of the pass's version: equal hashes mean equal sites and frames.
pub fn layout_hash(wasm: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"peripatos frame layout");
    hasher.update(&PASS_VERSION.to_le_bytes());
    hasher.update(wasm);
    *hasher.finalize().as_bytes()
}
