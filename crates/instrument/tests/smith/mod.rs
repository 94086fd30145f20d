//! Compares a generated module with what the pass makes of it.
//!
//! Both get the same bounded fuel, as a global that the module counts down itself, so that they end
//! at the same operator. NaN bits are canonical on both sides (wasmtime's NaN canonicalisation):
//! WebAssembly leaves them open, and two compilations may choose differently.
//!
//! Compared are results, kinds of traps, exceptions, the calls of host functions with their
//! arguments, and afterwards all exported memories, globals and tables.

#![allow(dead_code, reason = "the fuzz target does not count")]

use anyhow::{Context as _, Result, ensure};
use arbitrary::Unstructured;
use peripatos_instrument::Error;
use wasm_smith::{Config, Module as Generated};
use wasmtime::{
    Engine, Extern, ExternType, Func, FuncType, Global, Instance, Memory, Module, Ref, Store,
    Table, Tag, ThrownException, Trap, Val, ValType,
};

use crate::host::{self, GuestId, Host, Hot};

/// What a module may do before its own counter stops it: loops' iterations and calls.
const FUEL: u32 = 500;
/// So many functions of a module are called.
const CALLS_MAX: usize = 5;
/// Freeze at every so-many-th check.
const EVERY: [i32; 4] = [0, 1, 3, 13];

/// What a run of a module shows to the outside.
#[derive(Debug, PartialEq, Eq)]
struct Observation {
    /// How instantiation or the call ended.
    end: String,
    trace: Vec<String>,
    state: Vec<String>,
}

/// What was found out about one input.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    pub(crate) modules: u64,
    pub(crate) refused: u64,
    pub(crate) freezes: u64,
    /// Calls of rewritten functions.
    pub(crate) calls: u64,
    /// Those that returned; the others trapped or threw.
    pub(crate) returned: u64,
}

pub(crate) fn engine() -> Engine {
    let mut config = host::config();
    config.cranelift_nan_canonicalization(true);
    // Traps of generated modules are many and their places do not matter.
    config.wasm_backtrace_max_frames(None);
    Engine::new(&config).expect("a sound configuration")
}

/// A module made of `bytes`, with fuel; `None` if they are too few.
pub(crate) fn generate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut input = Unstructured::new(bytes);
    let config = Config {
        bulk_memory_enabled: true,
        exceptions_enabled: true,
        multi_value_enabled: true,
        reference_types_enabled: true,
        simd_enabled: true,
        relaxed_simd_enabled: false,
        tail_call_enabled: true,
        memory64_enabled: true,
        extended_const_enabled: true,
        gc_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        compact_imports_enabled: false,
        custom_page_sizes_enabled: false,
        // Half of the modules cannot trap, so that they come further.
        disallow_traps: bytes.first().is_some_and(|byte| byte & 1 == 0),
        export_everything: true,
        allow_start_export: true,
        min_funcs: 3,
        max_funcs: 12,
        max_imports: 6,
        max_instructions: 200,
        max_memories: 3,
        max_tables: 3,
        max_memory32_bytes: 4 << 16,
        max_memory64_bytes: 4 << 16,
        max_table_elements: 50,
        // Without a maximum one memory.grow makes 256 GiB, all of which would be compared.
        memory_max_size_required: true,
        table_max_size_required: true,
        max_type_size: 100,
        ..Config::default()
    };
    let mut module = Generated::new(config, &mut input).ok()?;
    module.ensure_termination(FUEL).ok()?;
    Some(module.to_bytes())
}

/// Runs a module and what the pass makes of it, and compares: each function in fresh instances, since
/// what one function burns of the fuel is lost for the next.
pub(crate) fn check(engine: &Engine, wasm: &[u8]) -> Result<Checked> {
    let original = Module::new(engine, wasm)?;
    let is_function = |export: &wasmtime::ExportType<'_>| export.ty().func().is_some();
    let functions = original.exports().filter(is_function).map(|e| e.name().to_string());
    let functions = functions.take(CALLS_MAX).collect::<Vec<_>>();
    let mut checked = Checked { modules: 1, ..Checked::default() };
    let run_plain = |function: &String| -> Result<Observation> {
        let mut store = Store::new(engine, Host::default());
        let imports = imports(&mut store, &original)?;
        Ok(observe(&mut store, &original, function, |store| {
            Ok(Running { instance: Instance::new(store, &original, &imports)?, guest: None })
        }))
    };
    let expected = functions.iter().map(run_plain).collect::<Result<Vec<_>>>()?;
    for every in EVERY {
        let hot = match Hot::new(engine, wasm, every) {
            Ok(hot) => hot,
            Err(error) if matches!(error.downcast_ref(), Some(Error::Refused { .. })) => {
                return Ok(Checked { refused: 1, ..Checked::default() });
            }
            Err(error) => return Err(error.context("the pass")),
        };
        for (function, expected) in functions.iter().zip(&expected) {
            let mut store = Store::new(engine, Host::default());
            let imports = self::imports(&mut store, &original)?;
            let got = observe(&mut store, &original, function, |store| {
                let id = host::instantiate(store, &hot, &imports, every)?;
                host::start(store, id)?;
                Ok(Running { instance: host::instance(&*store, id), guest: Some(id) })
            });
            ensure!(
                got == *expected,
                "{function}, frozen at every {every}: {got:#?}\nplain: {expected:#?}"
            );
            checked.freezes += store.data().freezes;
            checked.calls += 1;
            checked.returned += u64::from(got.end.starts_with("returned"));
        }
    }
    Ok(checked)
}

struct Running {
    instance: Instance,
    guest: Option<GuestId>,
}

/// Starts a module, calls a function, and looks at everything that is exported.
fn observe(
    store: &mut Store<Host>,
    original: &Module,
    function: &str,
    start: impl FnOnce(&mut Store<Host>) -> wasmtime::Result<Running>,
) -> Observation {
    let mut state = vec![];
    let end = match start(store) {
        Err(error) => describe(store, &error),
        Ok(running) => {
            let function = running.instance.get_func(&mut *store, function);
            let end = call(store, &running, function.expect("an export of the original"));
            for export in original.exports() {
                let found = running.instance.get_export(&mut *store, export.name());
                state.extend(found.and_then(|found| look(store, found)));
            }
            end
        }
    };
    Observation { end, trace: std::mem::take(&mut store.data_mut().trace), state }
}

fn call(store: &mut Store<Host>, running: &Running, function: Func) -> String {
    let ty = function.ty(&*store);
    let Some(args) = ty.params().map(|ty| argument(&ty)).collect::<Option<Vec<_>>>() else {
        return "not called".into();
    };
    let result = match running.guest {
        Some(id) => host::call(&mut *store, id, function, &args),
        None => {
            let mut results = vec![Val::I32(0); ty.results().len()];
            function.call(&mut *store, &args, &mut results).map(|()| results)
        }
    };
    match result {
        Ok(results) => format!("returned {}", results.iter().map(show).collect::<String>()),
        Err(error) => describe(store, &error),
    }
}

fn describe(store: &mut Store<Host>, error: &wasmtime::Error) -> String {
    let _ = store.take_pending_exception();
    match error.downcast_ref::<Trap>() {
        Some(trap) => format!("{trap:?}"),
        None if error.is::<ThrownException>() => "exception".into(),
        None => format!("{error}"),
    }
}

/// Something that is not the default.
fn argument(ty: &ValType) -> Option<Val> {
    Some(match ty {
        ValType::I32 => Val::I32(7),
        ValType::I64 => Val::I64(0x1_0000_0003),
        ValType::F32 => Val::F32(1.5f32.to_bits()),
        ValType::F64 => Val::F64((-2.25f64).to_bits()),
        ValType::V128 => Val::V128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10u128.into()),
        other => Val::default_for_ty(other)?,
    })
}

/// A value as text; of references only whether they are null.
fn show(value: &Val) -> String {
    match value {
        Val::FuncRef(value) => format!("func:{} ", value.is_some()),
        Val::ExternRef(value) => format!("extern:{} ", value.is_some()),
        Val::AnyRef(value) => format!("any:{} ", value.is_some()),
        Val::ExnRef(value) => format!("exn:{} ", value.is_some()),
        value => format!("{value:?} "),
    }
}

/// What a memory, global or table holds.
fn look(store: &mut Store<Host>, export: Extern) -> Option<String> {
    match export {
        Extern::Memory(memory) => {
            let hash = blake3::hash(memory.data(&*store));
            Some(format!("memory of {} pages {hash}", memory.size(&*store)))
        }
        Extern::Global(global) => Some(format!("global {}", show(&global.get(&mut *store)))),
        Extern::Table(table) => {
            let size = table.size(&*store);
            let nulls = (0..size).map(|at| match table.get(&mut *store, at) {
                Some(value) if value.is_null() => '0',
                _ => '1',
            });
            Some(format!("table of {size} {}", nulls.collect::<String>()))
        }
        _ => None,
    }
}

/// What the module imports: functions note their calls and return values that change.
fn imports(store: &mut Store<Host>, module: &Module) -> Result<Vec<Extern>> {
    let mut externs = vec![];
    for import in module.imports() {
        let name = format!("{}.{}", import.module(), import.name());
        externs.push(match import.ty() {
            ExternType::Func(ty) => host_function(store, name, ty).into(),
            ExternType::Memory(ty) => Memory::new(&mut *store, ty)?.into(),
            ExternType::Table(ty) => {
                let null = Ref::null(ty.element().heap_type());
                Table::new(&mut *store, ty, null)?.into()
            }
            ExternType::Global(ty) => {
                let value = argument(ty.content()).context("a type with a value")?;
                Global::new(&mut *store, ty, value)?.into()
            }
            ExternType::Tag(ty) => Tag::new(&mut *store, &ty)?.into(),
        });
    }
    Ok(externs)
}

fn host_function(store: &mut Store<Host>, name: String, ty: FuncType) -> Func {
    Func::new(store, ty.clone(), move |mut caller, args, results| {
        let line = format!("{name}({})", args.iter().map(show).collect::<String>());
        caller.data_mut().trace.push(line);
        let count = caller.data().trace.len();
        for (result, ty) in results.iter_mut().zip(ty.results()) {
            *result = match ty {
                ValType::I32 => Val::I32(count as i32 % 5),
                other => argument(&other)
                    .context("no value of this type")
                    .map_err(wasmtime::Error::msg)?,
            };
        }
        Ok(())
    })
}
