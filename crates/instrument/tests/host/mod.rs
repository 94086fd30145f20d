//! The smallest host that can freeze: everything happens in one instance, which is unwound to the
//! host and resumed in place. What the pass must get right shows here; images are the engine's.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use peripatos_instrument::{NAMESPACE, Options, Program, SiteId, layout};
use wasmtime::{
    Caller, Config, Engine, Extern, Func, FuncType, Instance, Linker, Memory, Module, Ref, Store,
    Table, Val, ValType,
};

/// What the store knows.
#[derive(Default)]
pub(crate) struct Host {
    save: Option<Memory>,
    slots: Option<Table>,
    exceptions: Vec<Option<wasmtime::OwnedRooted<wasmtime::ExnRef>>>,
    functions: Vec<Option<Func>>,
    /// Freezes so far.
    pub(crate) freezes: u64,
}

/// An instrumented program with its store.
pub(crate) struct Process {
    pub(crate) store: Store<Host>,
    pub(crate) instance: Instance,
    program: Program,
    filled: BTreeSet<u32>,
    /// Freeze at every so-many-th check.
    every: i32,
    imports: Vec<(String, Func)>,
}

pub(crate) fn engine() -> Result<Engine> {
    let mut config = Config::new();
    config.wasm_exceptions(true).wasm_multi_memory(true).wasm_branch_hinting(true);
    config.wasm_tail_call(true).wasm_memory64(true).wasm_gc(false);
    Ok(Engine::new(&config)?)
}

/// Gives the original's own imports: `env.twice : i32 -> i32`, `env.call : funcref?`.
fn original_imports(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap("env", "twice", |x: i32| x.wrapping_mul(2))?;
    linker.func_wrap("env", "note", |_: i32| {})?;
    Ok(())
}

/// Runs the original as it is.
pub(crate) fn run_plain(wasm: &[u8], export: &str, args: &[Val]) -> Result<Vec<Val>> {
    let engine = engine()?;
    let module = Module::new(&engine, wasm)?;
    let mut store = Store::new(&engine, Host::default());
    let mut linker = Linker::new(&engine);
    original_imports(&mut linker)?;
    let instance = linker.instantiate(&mut store, &module)?;
    let function = instance.get_func(&mut store, export).context("no such export")?;
    let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
    function.call(&mut store, args, &mut results)?;
    Ok(results)
}

impl Process {
    pub(crate) fn new(wasm: &[u8], every: i32) -> Result<Process> {
        let program = Program::analyse(wasm, Options { count_down: every > 0 })?;
        let (hot, _) = program.hot_module()?;
        let engine = engine()?;
        let module = Module::new(&engine, &hot).map_err(|e| {
            anyhow!("{e:?}\n{}", wasmprinter::print_bytes(&hot).unwrap_or_default())
        })?;
        let mut store = Store::new(&engine, Host::default());
        let mut linker = Linker::new(&engine);
        original_imports(&mut linker)?;
        let imports = own_imports(&mut store, &module)?;
        for (name, function) in &imports {
            linker.define(&store, NAMESPACE, name, *function)?;
        }
        let instance = linker.instantiate(&mut store, &module)?;
        let save = instance.get_memory(&mut store, "peripatos.save").context("save")?;
        let slots = instance.get_table(&mut store, "peripatos.slots").context("slots")?;
        store.data_mut().save = Some(save);
        store.data_mut().slots = Some(slots);
        let filled = BTreeSet::new();
        let mut process = Process { store, instance, program, filled, every, imports };
        process.set_counter();
        if let Some(start) = process.instance.get_func(&mut process.store, "peripatos.start") {
            process.call(start, &[])?;
        }
        Ok(process)
    }

    /// Calls an export; whenever the call freezes, resumes it, until it returns.
    pub(crate) fn run(&mut self, export: &str, args: &[Val]) -> Result<Vec<Val>> {
        let function = self.instance.get_func(&mut self.store, export).context("no such export")?;
        self.call(function, args)
    }

    fn call(&mut self, function: Func, args: &[Val]) -> Result<Vec<Val>> {
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        function.call(&mut self.store, args, &mut results)?;
        while self.save()[layout::UNWINDING as usize] != 0 {
            ensure!(self.store.data().freezes < 10_000_000, "no end of freezes");
            self.store.data_mut().freezes += 1;
            let sites = self.frames()?;
            self.fill(&sites)?;
            self.save()[layout::UNWINDING as usize] = 0;
            self.set_counter();
            let root = *sites.last().context("frozen without a frame")?;
            let slots = self.store.data().slots.context("slots")?;
            let Some(Ref::Func(Some(slot))) = slots.get(&mut self.store, u64::from(root)) else {
                bail!("slot {root} is empty");
            };
            slot.call(&mut self.store, &[], &mut results)?;
        }
        ensure!(self.frames()?.is_empty(), "frames are left");
        Ok(results)
    }

    /// Sites on the stack, innermost first; their sizes are checked.
    fn frames(&mut self) -> Result<Vec<u32>> {
        let base = self.program.frames_base();
        let program = &self.program;
        let save = self.store.data().save.context("save")?.data(&self.store);
        let word = |at: u32| -> Result<u32> {
            let bytes = save.get(at as usize..at as usize + 4).context("outside")?;
            Ok(u32::from_le_bytes(bytes.try_into()?))
        };
        let mut sites = vec![];
        let mut top = word(layout::STACK_POINTER)?;
        while top > base {
            let (site, size) = (word(top - 8)?, word(top - 4)?);
            let expected = program.frame_size(SiteId(site))?.context("no such site")?;
            ensure!(size == expected, "site {site}: {size} bytes, not {expected}");
            sites.push(site);
            top -= size;
        }
        ensure!(top == base, "frames do not add up");
        sites.reverse();
        Ok(sites)
    }

    fn fill(&mut self, sites: &[u32]) -> Result<()> {
        let missing: Vec<_> =
            sites.iter().copied().filter(|s| self.filled.insert(*s)).map(SiteId).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let continuation = self.program.continuation(&missing)?;
        let module = Module::new(self.store.engine(), &continuation.wasm).map_err(|e| {
            let text = wasmprinter::print_bytes(&continuation.wasm).unwrap_or_default();
            anyhow!("{e:?}\n{text}")
        })?;
        let mut externs = vec![];
        for name in &continuation.imports {
            let host = name.strip_prefix("import.").and_then(|name| {
                self.imports.iter().find(|(n, _)| n == name).map(|(_, f)| Extern::Func(*f))
            });
            let found = host.or_else(|| self.instance.get_export(&mut self.store, name));
            externs.push(found.ok_or_else(|| anyhow!("no {name}"))?);
        }
        Instance::new(&mut self.store, &module, &externs)?;
        Ok(())
    }

    fn set_counter(&mut self) {
        let every = self.every;
        let at = layout::COUNTER as usize;
        self.save()[at..at + 4].copy_from_slice(&every.to_le_bytes());
    }

    pub(crate) fn save(&mut self) -> &mut [u8] {
        let save = self.store.data().save.expect("set at instantiation");
        save.data_mut(&mut self.store)
    }
}

fn own_imports(store: &mut Store<Host>, module: &Module) -> Result<Vec<(String, Func)>> {
    let mut found = vec![];
    for import in module.imports().filter(|i| i.module() == NAMESPACE) {
        let ty: FuncType = import.ty().func().context("a function")?.clone();
        let function = match import.name() {
            "poll" => Func::wrap(&mut *store, poll),
            "save_func" => Func::new(&mut *store, ty, |mut caller, args, results| {
                let Val::FuncRef(function) = args[0] else { bail_wasm("save_func")? };
                caller.data_mut().functions.push(function);
                results[0] = Val::I32(caller.data().functions.len() as i32 - 1);
                Ok(())
            }),
            "load_func" => Func::new(&mut *store, ty, |caller, args, results| {
                let handle = args[0].unwrap_i32() as usize;
                results[0] = Val::FuncRef(caller.data().functions[handle]);
                Ok(())
            }),
            "save_exn" => Func::new(&mut *store, ty, |mut caller, args, results| {
                let Val::ExnRef(exception) = args[0] else { bail_wasm("save_exn")? };
                let owned = exception.map(|e| e.to_owned_rooted(&mut caller)).transpose()?;
                caller.data_mut().exceptions.push(owned);
                results[0] = Val::I32(caller.data().exceptions.len() as i32 - 1);
                Ok(())
            }),
            "load_exn" => Func::new(&mut *store, ty, |mut caller, args, results| {
                let handle = args[0].unwrap_i32() as usize;
                let owned = caller.data().exceptions[handle].clone();
                results[0] = Val::ExnRef(owned.map(|e| e.to_rooted(&mut caller)));
                Ok(())
            }),
            "save_extern" => {
                let i32 = [ValType::I32];
                let ty = FuncType::new(store.engine(), [ValType::EXTERNREF], i32);
                Func::new(&mut *store, ty, |_, _, results| {
                    results[0] = Val::I32(0);
                    Ok(())
                })
            }
            "load_extern" => Func::new(&mut *store, ty, |_, _, results| {
                results[0] = Val::ExternRef(None);
                Ok(())
            }),
            other => bail!("unknown import {other}"),
        };
        found.push((import.name().to_string(), function));
    }
    Ok(found)
}

fn bail_wasm<T>(what: &str) -> wasmtime::Result<T> {
    Err(wasmtime::Error::msg(what.to_string()))
}

/// Always freezes: the guest asks only when something is asked of it, or when a slot has to be filled.
fn poll(mut caller: Caller<'_, Host>) -> wasmtime::Result<()> {
    let save = caller.data().save.expect("set at instantiation");
    let bytes = save.data_mut(&mut caller);
    bytes[layout::UNWINDING as usize] = 1;
    bytes[layout::PREEMPT as usize] = 0;
    bytes[layout::LOOP_CLASSES as usize..layout::LOOP_CLASSES_END as usize].fill(0);
    Ok(())
}
