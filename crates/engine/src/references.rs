//! References in frames: functions by their place in the program's table of functions, exceptions
//! and host objects by handles that live as long as the frame.
//!
//! A handle is taken when a frame is loaded: each frame is loaded once.

use std::collections::HashMap;

use wasmtime::{AsContextMut, ExnRef, ExternRef, Func, OwnedRooted, Ref, Rooted, Table};

use crate::state::State;

/// Values by handle. Handle = position + 1; 0 is null.
#[derive(Debug)]
pub(crate) struct Handles<T> {
    entries: Vec<Option<T>>,
    /// Positions that may be free; `insert` looks again.
    free: Vec<usize>,
}

impl<T> Default for Handles<T> {
    fn default() -> Handles<T> {
        Handles { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Handles<T> {
    /// A new handle on `value`.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        while let Some(at) = self.free.pop() {
            if self.entries[at].is_none() {
                self.entries[at] = Some(value);
                return at as u32 + 1;
            }
        }
        self.entries.push(Some(value));
        self.entries.len() as u32
    }

    /// Puts `value` under a handle from an image. `false`: the handle is taken or out of bounds.
    pub(crate) fn put(&mut self, handle: u32, value: T) -> bool {
        let Some(at) = (handle as usize).checked_sub(1).filter(|at| *at < HANDLES_MAX) else {
            return false;
        };
        if at >= self.entries.len() {
            self.entries.resize_with(at + 1, || None);
        }
        self.entries[at].replace(value).is_none()
    }

    /// Gives the value back; the handle is free again.
    pub(crate) fn take(&mut self, handle: u32) -> Option<T> {
        let at = (handle as usize).checked_sub(1)?;
        let value = self.entries.get_mut(at)?.take()?;
        self.free.push(at);
        Some(value)
    }

    /// All handles in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let numbered = self.entries.iter().enumerate();
        numbered.filter_map(|(at, value)| Some((at as u32 + 1, value.as_ref()?)))
    }
}

/// Handles in one image; more is damage.
pub(crate) const HANDLES_MAX: usize = 1 << 24;

/// The functions whose references can escape, by number.
#[derive(Debug, Default)]
pub(crate) struct FunctionIds {
    by_address: HashMap<usize, u32>,
}

impl FunctionIds {
    /// Reads the program's table of functions. The n-th gets the id n + 1.
    pub(crate) fn read(mut store: impl AsContextMut, table: Table) -> FunctionIds {
        let mut by_address = HashMap::new();
        for index in 0..table.size(&store) {
            if let Some(Ref::Func(Some(func))) = table.get(&mut store, index) {
                by_address.entry(address(&mut store, func)).or_insert(index as u32 + 1);
            }
        }
        FunctionIds { by_address }
    }

    /// The id of a function; `None`: it is not one of the program's.
    pub(crate) fn id(&self, store: impl AsContextMut, func: Option<Func>) -> Option<u32> {
        let Some(func) = func else { return Some(0) };
        self.by_address.get(&address(store, func)).copied()
    }
}

/// Two references to the same function have the same address.
fn address(store: impl AsContextMut, func: Func) -> usize {
    func.to_raw(store) as usize
}

/// `save_func`: the id that stands for a function in a frame.
pub(crate) fn save_func(
    mut store: impl AsContextMut<Data = State>,
    func: Option<Func>,
) -> wasmtime::Result<u32> {
    let mut store = store.as_context_mut();
    if func.is_none() {
        return Ok(0);
    }
    if store.data().function_ids.is_none() {
        let table = hot_functions(&store)?;
        let ids = FunctionIds::read(&mut store, table);
        store.data_mut().function_ids = Some(ids);
    }
    let ids = store.data_mut().function_ids.take();
    let id = ids.as_ref().and_then(|ids| ids.id(&mut store, func));
    store.data_mut().function_ids = ids;
    id.ok_or_else(|| wasmtime::Error::msg("a function that the program cannot have"))
}

/// `load_func`: the function that an id stands for.
pub(crate) fn load_func(
    mut store: impl AsContextMut<Data = State>,
    id: u32,
) -> wasmtime::Result<Option<Func>> {
    let mut store = store.as_context_mut();
    let Some(index) = id.checked_sub(1) else { return Ok(None) };
    let table = hot_functions(&store)?;
    match table.get(&mut store, u64::from(index)) {
        Some(Ref::Func(Some(func))) => Ok(Some(func)),
        _ => Err(wasmtime::Error::msg("no such function")),
    }
}

fn hot_functions(store: &wasmtime::StoreContextMut<'_, State>) -> wasmtime::Result<Table> {
    let functions = store.data().hot.as_ref().and_then(|hot| hot.functions);
    functions.ok_or_else(|| wasmtime::Error::msg("the program has no table of functions"))
}

/// `save_exn`: a handle on an exception.
pub(crate) fn save_exn(
    mut store: impl AsContextMut<Data = State>,
    exception: Option<Rooted<ExnRef>>,
) -> wasmtime::Result<u32> {
    let Some(exception) = exception else { return Ok(0) };
    let owned = exception.to_owned_rooted(&mut store)?;
    Ok(store.as_context_mut().data_mut().exceptions.insert(owned))
}

/// `load_exn`: the exception behind a handle, which is then free.
pub(crate) fn load_exn(
    mut store: impl AsContextMut<Data = State>,
    handle: u32,
) -> wasmtime::Result<Option<Rooted<ExnRef>>> {
    let mut store = store.as_context_mut();
    if handle == 0 {
        return Ok(None);
    }
    let owned = store.data_mut().exceptions.take(handle);
    let owned = owned.ok_or_else(|| wasmtime::Error::msg("no such exception"))?;
    Ok(Some(owned.to_rooted(&mut store)))
}

/// `save_extern`: a handle on a host object. It lives in this host only.
pub(crate) fn save_extern(
    mut store: impl AsContextMut<Data = State>,
    object: Option<Rooted<ExternRef>>,
) -> wasmtime::Result<u32> {
    let Some(object) = object else { return Ok(0) };
    let owned = object.to_owned_rooted(&mut store)?;
    Ok(store.as_context_mut().data_mut().externs.insert(owned))
}

/// `load_extern`: the host object behind a handle, which is then free.
pub(crate) fn load_extern(
    mut store: impl AsContextMut<Data = State>,
    handle: u32,
) -> wasmtime::Result<Option<Rooted<ExternRef>>> {
    let mut store = store.as_context_mut();
    if handle == 0 {
        return Ok(None);
    }
    let owned = store.data_mut().externs.take(handle);
    let owned = owned.ok_or_else(|| wasmtime::Error::msg("no such object"))?;
    Ok(Some(owned.to_rooted(&mut store)))
}

/// Exceptions that frames refer to.
pub(crate) type Exceptions = Handles<OwnedRooted<ExnRef>>;
/// Host objects that frames refer to.
pub(crate) type Externs = Handles<OwnedRooted<ExternRef>>;
