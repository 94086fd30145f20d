//! Where `peri` keeps compiled code, and the engine that uses it.

use crate::exit::{Code, Failure, Result};
use peripatos_engine::{Backend, CacheSettings, Runtime, RuntimeError, Settings};
use std::env;
use std::path::PathBuf;

/// Compiled code beyond this is removed, oldest first.
const CACHE_BYTES_MAX: u64 = 1 << 30;

/// `PERI_CACHE_DIR`, `XDG_CACHE_HOME/peripatos`, or `~/.cache/peripatos`; `None` where there is none of them, or
/// `PERI_CACHE_DIR` is empty.
pub(crate) fn cache_directory() -> Option<PathBuf> {
    if let Some(chosen) = env::var_os("PERI_CACHE_DIR") {
        return (!chosen.is_empty()).then(|| chosen.into());
    }
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("peripatos"))
}

/// The engine as the commands use it: with the disk cache.
pub(crate) fn runtime(backend: Backend, canonical_nan: bool) -> Result<Runtime> {
    engine(backend, canonical_nan).map_err(|error| Failure::new(Code::Resources, "engine", error))
}

/// The same, for a node.
pub(crate) fn engine(
    backend: Backend,
    canonical_nan: bool,
) -> std::result::Result<Runtime, RuntimeError> {
    let cache = cache_directory()
        .map(|directory| CacheSettings { directory, size_bytes_max: CACHE_BYTES_MAX });
    Runtime::new(Settings { backend, canonical_nan, cache, ..Settings::default() })
}

/// An engine with the caller's settings.
pub(crate) fn with_settings(settings: Settings) -> Result<Runtime> {
    Runtime::new(settings).map_err(|error| Failure::new(Code::Resources, "engine", error))
}
