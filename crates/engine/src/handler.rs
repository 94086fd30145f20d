//! Handlers.
use crate::state::State;
use crate::wasi::Function;
use wasmtime::{Caller, Val};
pub(crate) fn call(
    _caller: Caller<'_, State>,
    _function: &'static Function,
    _import: u32,
    _params: &[Val],
    _results: &mut [Val],
) -> wasmtime::Result<()> {
    Ok(())
}
pub(crate) fn poll(_caller: Caller<'_, State>) -> wasmtime::Result<()> {
    Ok(())
}
