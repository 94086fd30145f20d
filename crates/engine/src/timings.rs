//! Where the time of loading, freezing and thawing went: data for benches and messages, never a basis for decisions.

use std::time::Duration;

/// The parts of [`crate::Runtime::load`].
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadTimings {
    /// Analysis of the original and writing of the hot module; zero if it came from the cache.
    pub instrument: Duration,
    /// Compilation to machine code; zero if it came from the cache.
    pub compile: Duration,
    /// Reading and checking a cache entry.
    pub cache: Duration,
    /// Whether the compiled code came from the disk cache.
    pub from_cache: bool,
}

/// The parts of a freeze.
#[derive(Clone, Copy, Debug, Default)]
pub struct FreezeTimings {
    /// From the request ([`crate::Control::freeze`]) to all frames being in the save memory.
    pub stop: Duration,
    /// [`crate::Process::capture`]: reading memories, globals, tables and frames.
    pub capture: Duration,
}

/// The parts of a thaw, up to the moment before the first instruction runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThawTimings {
    /// Making a store and an instance of the hot module.
    pub instantiate: Duration,
    /// Writing memories, globals, tables and frames.
    pub restore: Duration,
    /// Writing continuation modules (wasm); zero if all were at hand.
    pub generate: Duration,
    /// Compiling them, or loading them from the disk cache.
    pub compile: Duration,
    /// Making instances of them.
    pub link: Duration,
    /// How many continuations had to be compiled.
    pub compiled: u32,
}
