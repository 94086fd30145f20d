//! Placeholder
use crate::Error;
pub(crate) fn lower(wasm: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(wasm.to_vec())
}
