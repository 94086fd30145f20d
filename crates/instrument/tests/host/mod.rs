//! The smallest host that can freeze: guests are unwound to the host and resumed in place, in one
//! store. What the pass must get right shows here; images are the engine's.
//!
//! A store holds any number of instrumented instances, each with its state in [`Host::guests`].
//! Everything the pass writes is validated on its way into wasmtime.

#![allow(dead_code, reason = "each test file uses its part")]

mod references;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use peripatos_instrument::{Options, Program, SiteId, layout};
use wasmtime::{
    AsContext, AsContextMut, Caller, Config, Engine, Extern, ExternRef, Func, Instance, Linker,
    Memory, Module, OwnedRooted, Ref, Store, Table, Val,
};

/// After so many freezes, one call is frozen at every [`RARELY`]-th check only.
const FREEZES_OFTEN: u64 = 3_000;
const RARELY: i32 = 997;
/// No call of a test freezes more often.
const FREEZES_MAX: u64 = 1_000_000;

/// What the store knows.
#[derive(Default)]
pub(crate) struct Host {
    guests: Vec<Guest>,
    functions: Vec<Option<Func>>,
    externs: Vec<Option<OwnedRooted<ExternRef>>>,
    exceptions: Vec<Option<OwnedRooted<wasmtime::ExnRef>>>,
    /// Freezes so far, of all guests.
    pub(crate) freezes: u64,
    /// What host functions noted down.
    pub(crate) trace: Vec<String>,
    /// Set when the guest calls `env.entered`.
    pub(crate) entered: Arc<AtomicBool>,
}

/// An instrumented instance.
struct Guest {
    program: Arc<Program>,
    instance: Instance,
    save: Memory,
    flags: Memory,
    slots: Table,
    /// The host functions that the pass asks for, by name.
    imports: Vec<(String, Func)>,
    /// Frame sizes of the sites whose slots are filled.
    filled: HashMap<u32, u32>,
    /// Freeze at every so-many-th check; 0: never.
    every: i32,
}

/// Which instrumented instance of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GuestId(usize);

/// An engine that takes what the pass takes.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config.wasm_exceptions(true).wasm_multi_memory(true).wasm_branch_hinting(true);
    config.wasm_tail_call(true).wasm_memory64(true).wasm_gc(false);
    config.wasm_relaxed_simd(true).wasm_extended_const(true).wasm_function_references(false);
    config.parallel_compilation(false);
    config
}

/// An instrumented module, compiled.
#[derive(Clone)]
pub(crate) struct Hot {
    program: Arc<Program>,
    module: Module,
}

impl Hot {
    /// Runs the pass. `every`: what the guests will be called with; > 0 needs counting down.
    pub(crate) fn new(engine: &Engine, wasm: &[u8], every: i32) -> Result<Hot> {
        let program = Program::analyse(wasm, Options { count_down: every > 0 })?;
        let (hot, _) = program.hot_module()?;
        Ok(Hot { program: Arc::new(program), module: compile(engine, &hot)? })
    }
}

impl Hot {
    pub(crate) fn module(&self) -> &Module {
        &self.module
    }
}

/// Validates and compiles what the pass wrote.
fn compile(engine: &Engine, wasm: &[u8]) -> Result<Module> {
    let valid = wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(wasm)
        .map(|_| ())
        .context("the pass wrote an invalid module");
    valid
        .and_then(|()| Ok(Module::new(engine, wasm)?))
        .with_context(|| wasmprinter::print_bytes(wasm).unwrap_or_default())
}

/// Instantiates `hot` with the original's imports, in order. Its start function has not run yet.
pub(crate) fn instantiate(
    store: &mut Store<Host>,
    hot: &Hot,
    imports: &[Extern],
    every: i32,
) -> wasmtime::Result<GuestId> {
    let id = GuestId(store.data().guests.len());
    let own = references::imports(store, id, &hot.module)?;
    let own_externs = own.iter().map(|(_, function)| Extern::Func(*function));
    let externs = imports.iter().cloned().chain(own_externs).collect::<Vec<_>>();
    let instance = Instance::new(&mut *store, &hot.module, &externs)?;
    let save = instance.get_memory(&mut *store, "peripatos.save").expect("every hot module has it");
    let slots =
        instance.get_table(&mut *store, "peripatos.slots").expect("every hot module has it");
    let flags =
        instance.get_memory(&mut *store, "peripatos.flags").expect("every hot module has it");
    let (program, filled) = (hot.program.clone(), HashMap::new());
    let guest = Guest { program, instance, save, flags, slots, imports: own, filled, every };
    store.data_mut().guests.push(guest);
    Ok(id)
}

/// Runs the start function, if there is one.
pub(crate) fn start(store: &mut Store<Host>, id: GuestId) -> wasmtime::Result<()> {
    let instance = instance(&*store, id);
    match instance.get_func(&mut *store, "peripatos.start") {
        Some(start) => call(store, id, start, &[]).map(|_| ()),
        None => Ok(()),
    }
}

pub(crate) fn instance(store: impl AsContext<Data = Host>, id: GuestId) -> Instance {
    store.as_context().data().guests[id.0].instance
}

/// Calls a function of a guest; whenever the call freezes, resumes it, until it returns. After a
/// trap the guest can be called again.
pub(crate) fn call(
    mut store: impl AsContextMut<Data = Host>,
    id: GuestId,
    function: Func,
    args: &[Val],
) -> wasmtime::Result<Vec<Val>> {
    let mut store = store.as_context_mut();
    let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
    set_counter(&mut store, id, 0);
    let mut outcome = function.call(&mut store, args, &mut results);
    let mut freezes = 0;
    while outcome.is_ok() && flags(&mut store, id)[layout::UNWINDING as usize] != 0 {
        freezes += 1;
        store.data_mut().freezes += 1;
        assert!(freezes < FREEZES_MAX, "no end of freezes");
        let root = prepare(&mut store, id).expect("frames and continuations are sound");
        set_counter(&mut store, id, freezes);
        outcome = root.call(&mut store, &[], &mut results);
    }
    let base = store.data().guests[id.0].program.frames_base();
    let top = word(save(&mut store, id), layout::STACK_POINTER).expect("a constant");
    if outcome.is_ok() {
        assert_eq!(top, base, "frames are left");
    }
    flags(&mut store, id)[layout::UNWINDING as usize] = 0;
    put_word(save(&mut store, id), layout::STACK_POINTER, base);
    outcome.map(|()| results)
}

/// Makes a frozen guest ready to go on: the function to call.
fn prepare(mut store: impl AsContextMut<Data = Host>, id: GuestId) -> Result<Func> {
    let mut store = store.as_context_mut();
    let sites = frames(&mut store, id)?;
    fill(&mut store, id, sites.iter().copied())?;
    check_sizes(&mut store, id, &sites)?;
    flags(&mut store, id)[layout::UNWINDING as usize] = 0;
    let (root, _) = *sites.last().context("frozen without a frame")?;
    let slots = store.data().guests[id.0].slots;
    let Some(Ref::Func(Some(slot))) = slots.get(&mut store, u64::from(root)) else {
        bail!("slot {root} is empty");
    };
    Ok(slot)
}

/// Sites and frame sizes on the stack, innermost first.
fn frames(mut store: impl AsContextMut<Data = Host>, id: GuestId) -> Result<Vec<(u32, u32)>> {
    let base = store.as_context().data().guests[id.0].program.frames_base();
    let save = save(&mut store, id);
    let mut frames = vec![];
    let mut top = word(save, layout::STACK_POINTER)?;
    while top > base {
        let (site, size) = (word(save, top - 8)?, word(save, top - 4)?);
        ensure!((layout::FRAME_HEADER..=top - base).contains(&size), "site {site}: size {size}");
        frames.push((site, size));
        top -= size;
    }
    frames.reverse();
    Ok(frames)
}

/// Builds one continuation module for all slots that are still empty.
fn fill(
    mut store: impl AsContextMut<Data = Host>,
    id: GuestId,
    sites: impl Iterator<Item = (u32, u32)>,
) -> Result<()> {
    let mut store = store.as_context_mut();
    let guest = &store.data().guests[id.0];
    let (program, instance) = (guest.program.clone(), guest.instance);
    let mut missing =
        sites.map(|(site, _)| site).filter(|s| !guest.filled.contains_key(s)).collect::<Vec<_>>();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let ids = missing.iter().copied().map(SiteId).collect::<Vec<_>>();
    let continuation = program.continuation(&ids)?;
    let module = compile(store.engine(), &continuation.wasm)?;
    let mut externs = vec![];
    for name in &continuation.imports {
        let imports = &store.data().guests[id.0].imports;
        let host = name.strip_prefix("import.").and_then(|name| {
            imports.iter().find(|(n, _)| n == name).map(|(_, f)| Extern::Func(*f))
        });
        let found = host.or_else(|| instance.get_export(&mut store, name));
        externs.push(found.with_context(|| format!("no {name}"))?);
    }
    Instance::new(&mut store, &module, &externs)?;
    let sizes = program.frame_sizes(&ids)?;
    store.data_mut().guests[id.0].filled.extend(missing.into_iter().zip(sizes));
    Ok(())
}

fn check_sizes(
    store: &mut impl AsContextMut<Data = Host>,
    id: GuestId,
    sites: &[(u32, u32)],
) -> Result<()> {
    let store = store.as_context_mut();
    let filled = &store.data().guests[id.0].filled;
    for (site, size) in sites {
        let expected = filled[site];
        ensure!(*size == expected, "site {site}: {size} bytes, not {expected}");
    }
    Ok(())
}

fn set_counter(mut store: impl AsContextMut<Data = Host>, id: GuestId, freezes: u64) {
    let every = store.as_context().data().guests[id.0].every;
    let every = if every > 0 && freezes > FREEZES_OFTEN { RARELY } else { every };
    put_word(save(&mut store, id), layout::COUNTER, every as u32);
}

/// The save memory.
pub(crate) fn save(store: &mut impl AsContextMut<Data = Host>, id: GuestId) -> &mut [u8] {
    let save = store.as_context().data().guests[id.0].save;
    save.data_mut(store.as_context_mut())
}

/// The flags memory.
pub(crate) fn flags(store: &mut impl AsContextMut<Data = Host>, id: GuestId) -> &mut [u8] {
    let flags = store.as_context().data().guests[id.0].flags;
    flags.data_mut(store.as_context_mut())
}

fn word(bytes: &[u8], at: u32) -> Result<u32> {
    let bytes = bytes.get(at as usize..at as usize + 4).context("outside")?;
    Ok(u32::from_le_bytes(bytes.try_into()?))
}

fn put_word(bytes: &mut [u8], at: u32, value: u32) {
    bytes[at as usize..at as usize + 4].copy_from_slice(&value.to_le_bytes());
}

/// One instrumented program alone in its store, with a few functions to import from `env`.
pub(crate) struct Process {
    pub(crate) store: Store<Host>,
    pub(crate) id: GuestId,
}

impl Process {
    pub(crate) fn new(wasm: &[u8], every: i32) -> Result<Process> {
        let engine = Engine::new(&config())?;
        let hot = Hot::new(&engine, wasm, every)?;
        let mut store = Store::new(&engine, Host::default());
        let imports = environment(&mut store, &Module::new(&engine, wasm)?)?;
        let id = instantiate(&mut store, &hot, &imports, every)?;
        start(&mut store, id)?;
        Ok(Process { store, id })
    }

    /// Calls an export to its end.
    pub(crate) fn run(&mut self, export: &str, args: &[Val]) -> Result<Vec<Val>> {
        let instance = self.instance();
        let function = instance.get_func(&mut self.store, export).context("no such export")?;
        Ok(call(&mut self.store, self.id, function, args)?)
    }

    pub(crate) fn instance(&self) -> Instance {
        instance(&self.store, self.id)
    }
}

/// Runs the original as it is.
pub(crate) fn run_plain(wasm: &[u8], export: &str, args: &[Val]) -> Result<Vec<Val>> {
    let engine = Engine::new(&config())?;
    let module = Module::new(&engine, wasm)?;
    let mut store = Store::new(&engine, Host::default());
    let imports = environment(&mut store, &module)?;
    let instance = Instance::new(&mut store, &module, &imports)?;
    let function = instance.get_func(&mut store, export).context("no such export")?;
    let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
    function.call(&mut store, args, &mut results)?;
    Ok(results)
}

/// What `original` imports: `env.twice : i32 -> i32`, `env.entered : [] -> []`.
fn environment(store: &mut Store<Host>, original: &Module) -> Result<Vec<Extern>> {
    let mut linker = Linker::new(store.engine());
    linker.func_wrap("env", "twice", |x: i32| x.wrapping_mul(2))?;
    linker.func_wrap("env", "entered", |caller: Caller<'_, Host>| {
        caller.data().entered.store(true, Ordering::Release);
    })?;
    let imports = original.imports();
    imports.map(|import| linker.get_by_import(&mut *store, &import).context("an import")).collect()
}
