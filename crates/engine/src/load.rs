//! From bytes to a program that can be run: the whole order in one function.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use peripatos_instrument::{self as instrument, Program};
use wasmtime::{Engine, Module};

use crate::cache::{Entry, Key};
use crate::code::{Code, CodeKind, Exports, Inner, LoadOptions};
use crate::continuations::Continuations;
use crate::engines::one_line;
use crate::metadata::Metadata;
use crate::{LoadError, LoadTimings, Runtime, link};

/// A module at most this large is looked at; more is not a program but a mistake.
pub(crate) const MODULE_BYTES_MAX: usize = 1 << 30;

impl Code {
    pub(crate) fn load(
        runtime: &Runtime,
        original: Arc<[u8]>,
        options: LoadOptions,
    ) -> Result<Code, LoadError> {
        if original.len() > MODULE_BYTES_MAX {
            return Err(LoadError::NotWasm("it is larger than 1 GiB".to_owned()));
        }
        let kind = options.kind;
        let hash = *blake3::hash(&original).as_bytes();
        let form = Metadata::form_of(&original);
        let engine = runtime.engine(form).map_err(|error| LoadError::Compile(error.to_string()))?;
        let key = Key::new(engine, hash, kind);

        let started = Instant::now();
        let cached = runtime.cache().load_program(engine, &key);
        let mut timings = LoadTimings { cache: started.elapsed(), ..LoadTimings::default() };
        let program = OnceLock::new();
        let (module, metadata) = match cached {
            Some(entry) => {
                timings.from_cache = true;
                (entry.module, entry.metadata)
            }
            None => {
                let (module, metadata, analysis) = compile(engine, &original, kind, &mut timings)?;
                if let Some(analysis) = analysis {
                    let _ = program.set(Ok(analysis));
                }
                let entry = Entry { module, metadata };
                runtime.cache().store_program(&key, &entry);
                (entry.module, entry.metadata)
            }
        };
        let linker = link::linker(engine, &module, form, kind)?;
        let instance = linker
            .instantiate_pre(&module)
            .map_err(|error| LoadError::Compile(one_line(&error)))?;
        let (exports, global_exports) = (Exports::of(&module), global_exports(&module));
        Ok(Code::new(Inner {
            runtime: runtime.clone(),
            original,
            hash,
            layout: OnceLock::new(),
            kind,
            key,
            engine: engine.clone(),
            module,
            linker,
            instance,
            metadata,
            initial: OnceLock::new(),
            exports,
            global_exports,
            timings,
            program,
            continuations: Continuations::default(),
            footprint: Arc::default(),
        }))
    }
}

/// Rewrites (unless plain) and compiles.
fn compile(
    engine: &Engine,
    original: &[u8],
    kind: CodeKind,
    timings: &mut LoadTimings,
) -> Result<(Module, Metadata, Option<Program>), LoadError> {
    let started = Instant::now();
    let mut metadata = Metadata::read(original).map_err(LoadError::NotWasm)?;
    if kind == CodeKind::Plain {
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
            .validate_all(original)
            .map_err(|error| LoadError::NotWasm(first_line(error.message())))?;
        let module = compile_module(engine, original)?;
        timings.compile = started.elapsed();
        return Ok((module, metadata, None));
    }
    let count_down = kind == CodeKind::CountDown;
    let program =
        Program::analyse(original, instrument::Options { count_down }).map_err(refused)?;
    let (hot, _) = program.hot_module().map_err(refused)?;
    metadata.frames_base = program.frames_base();
    timings.instrument = started.elapsed();
    let module = compile_module(engine, &hot)?;
    timings.compile = started.elapsed() - timings.instrument;
    Ok((module, metadata, Some(program)))
}

fn compile_module(engine: &Engine, wasm: &[u8]) -> Result<Module, LoadError> {
    Module::new(engine, wasm).map_err(|error| LoadError::Compile(one_line(&error)))
}

fn refused(error: instrument::Error) -> LoadError {
    match error {
        instrument::Error::Invalid(message) => LoadError::NotWasm(first_line(&message)),
        instrument::Error::Refused { .. } => LoadError::Refused(error.to_string()),
        error => LoadError::Compile(error.to_string()),
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

/// Index and name of the globals that the hot module shows the host.
fn global_exports(module: &Module) -> Vec<(u32, String)> {
    let index = |name: &str| name.strip_prefix("peripatos.global.")?.parse().ok();
    let names = module.exports().map(|export| export.name());
    names.filter_map(|name| Some((index(name)?, name.to_owned()))).collect()
}
