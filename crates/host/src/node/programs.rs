//! The programs that this node has compiled, by the name under which nodes speak of them.

use std::collections::HashMap;
use std::sync::Arc;

use peripatos_cluster::message::CodeHash;
use peripatos_engine::{Code, CodeKind, LoadError, LoadOptions, Runtime, RuntimeError};

use super::MakeRuntime;

/// Programs kept compiled in memory; the least recently used one goes first. They stay in the disk cache.
const PROGRAMS_MAX: usize = 256;
/// Longest program that is taken in, bytes.
pub(super) const PROGRAM_BYTES_MAX: u64 = 1 << 30;

/// The compiled programs, and the engines behind them.
pub(super) struct Programs {
    make_runtime: Arc<MakeRuntime>,
    /// Without canonical NaNs, and with; made when first needed.
    runtimes: [Option<Runtime>; 2],
    compiled: HashMap<CodeHash, (Code, u64)>,
    uses: u64,
}

/// Why a program cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    /// It is not the one that was asked for.
    #[error("what came is another program")]
    Other,
    /// There is no engine for it.
    #[error(transparent)]
    Engine(#[from] RuntimeError),
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// A program to be compiled, on any thread.
pub(super) struct Compilation {
    runtime: Runtime,
    wasm: Arc<[u8]>,
}

impl Programs {
    pub(super) fn new(make_runtime: MakeRuntime) -> Programs {
        let runtimes = [None, None];
        Programs {
            make_runtime: Arc::new(make_runtime),
            runtimes,
            compiled: HashMap::new(),
            uses: 0,
        }
    }

    /// The name of a program among nodes: its content hash, and whether its NaNs are made canonical, for the two are
    /// compiled differently.
    pub(super) fn name(wasm_hash: [u8; 32], canonical_nan: bool) -> CodeHash {
        match canonical_nan {
            false => wasm_hash,
            true => blake3::derive_key("peripatos 2026-11 canonical NaN program", &wasm_hash),
        }
    }

    pub(super) fn get(&mut self, name: CodeHash) -> Option<Code> {
        self.uses += 1;
        let (code, used) = self.compiled.get_mut(&name)?;
        *used = self.uses;
        Some(code.clone())
    }

    /// Prepares the compilation of these bytes, which should be the program of that name.
    ///
    /// # Errors
    /// They are another program; there is no engine.
    pub(super) fn compilation(
        &mut self,
        name: CodeHash,
        wasm: Arc<[u8]>,
    ) -> Result<Compilation, ProgramError> {
        let hash = *blake3::hash(&wasm).as_bytes();
        let canonical = [false, true].into_iter().find(|one| Programs::name(hash, *one) == name);
        let canonical = canonical.ok_or(ProgramError::Other)?;
        let runtime = &mut self.runtimes[usize::from(canonical)];
        let runtime = match runtime {
            Some(runtime) => runtime.clone(),
            None => runtime.insert((self.make_runtime)(canonical)?).clone(),
        };
        Ok(Compilation { runtime, wasm })
    }

    pub(super) fn put(&mut self, name: CodeHash, code: Code) {
        self.uses += 1;
        self.compiled.insert(name, (code, self.uses));
        if self.compiled.len() > PROGRAMS_MAX {
            let oldest = self.compiled.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(name, _)| *name) {
                self.compiled.remove(&oldest);
            }
        }
    }
}

impl Compilation {
    pub(super) fn run(self) -> Result<Code, ProgramError> {
        Ok(self.runtime.load(self.wasm, LoadOptions { kind: CodeKind::Hot })?)
    }
}
