//! The host functions that the pass asks for: `poll`, and handles for references.

use peripatos_instrument::{NAMESPACE, layout};
use wasmtime::{Caller, Func, FuncType, Module, Store, Val, bail, error::Context as _};

use super::{GuestId, Host};

/// All functions that `module` imports from the pass's namespace, in order.
pub(super) fn imports(
    store: &mut Store<Host>,
    id: GuestId,
    module: &Module,
) -> wasmtime::Result<Vec<(String, Func)>> {
    let mut found = vec![];
    for import in module.imports().filter(|i| i.module() == NAMESPACE) {
        let ty: FuncType = import.ty().func().context("a function")?.clone();
        let function = match import.name() {
            "poll" => Func::wrap(&mut *store, move |caller: Caller<'_, Host>| poll(caller, id)),
            "save_func" => Func::new(&mut *store, ty, |mut caller, args, results| {
                let Val::FuncRef(function) = args[0] else { bail!("not a funcref") };
                caller.data_mut().functions.push(function);
                results[0] = Val::I32(caller.data().functions.len() as i32 - 1);
                Ok(())
            }),
            "load_func" => Func::new(&mut *store, ty, |caller, args, results| {
                let handle = args[0].unwrap_i32() as usize;
                results[0] = Val::FuncRef(caller.data().functions[handle]);
                Ok(())
            }),
            "save_extern" => Func::new(&mut *store, ty, |mut caller, args, results| {
                let Val::ExternRef(value) = args[0] else { bail!("not an externref") };
                let owned = value.map(|e| e.to_owned_rooted(&mut caller)).transpose()?;
                caller.data_mut().externs.push(owned);
                results[0] = Val::I32(caller.data().externs.len() as i32 - 1);
                Ok(())
            }),
            "load_extern" => Func::new(&mut *store, ty, |mut caller, args, results| {
                let owned = caller.data().externs[args[0].unwrap_i32() as usize].clone();
                results[0] = Val::ExternRef(owned.map(|e| e.to_rooted(&mut caller)));
                Ok(())
            }),
            "save_exn" => Func::new(&mut *store, ty, |mut caller, args, results| {
                let Val::ExnRef(exception) = args[0] else { bail!("not an exnref") };
                let owned = exception.map(|e| e.to_owned_rooted(&mut caller)).transpose()?;
                caller.data_mut().exceptions.push(owned);
                results[0] = Val::I32(caller.data().exceptions.len() as i32 - 1);
                Ok(())
            }),
            "load_exn" => Func::new(&mut *store, ty, |mut caller, args, results| {
                let owned = caller.data().exceptions[args[0].unwrap_i32() as usize].clone();
                results[0] = Val::ExnRef(owned.map(|e| e.to_rooted(&mut caller)));
                Ok(())
            }),
            other => bail!("unknown import {other}"),
        };
        found.push((import.name().to_string(), function));
    }
    Ok(found)
}

/// Always freezes: the guest asks only when something is asked of it, or when a slot has to be filled.
fn poll(mut caller: Caller<'_, Host>, id: GuestId) {
    let bytes = super::flags(&mut caller, id);
    bytes[layout::UNWINDING as usize] = 1;
    bytes[layout::PREEMPT as usize] = 0;
    bytes[layout::LOOP_CLASSES as usize..layout::LOOP_CLASSES_END as usize].fill(0);
}
