//! How much a process may use, and wasmtime's question whether it may have more.

use peripatos_instrument::layout::{FLAGS_PAGES_MAX, SAVE_PAGES_MAX};
use wasmtime::ResourceLimiter;

/// How much a process may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of linear memory, all memories of the program together; beyond, `memory.grow`
    /// answers -1. What a deep call stack takes to be saved is bounded by the pass and not counted.
    pub memory_bytes: u64,
    /// Elements of one table; beyond, `table.grow` answers -1.
    pub table_elements: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_bytes: 4 << 30, table_elements: 10_000_000 }
    }
}

/// Instances in one store: the program and its continuations. wasmtime frees them only with the
/// store, but each site is linked at most once in a store, so a process reaches this only with more
/// live sites than any program known to us has; it then ends with an error that says so.
pub(crate) const INSTANCES_MAX: usize = 100_000;

/// The save memory is told from the program's memories by its maximum. A program that declares the
/// same maximum escapes the limit up to that: 1 GiB.
const SAVE_BYTES_MAX: usize = (SAVE_PAGES_MAX as usize) << 16;

/// The flags memory is told in the same way; it is one page and never grows.
const FLAGS_BYTES_MAX: usize = (FLAGS_PAGES_MAX as usize) << 16;

/// Keeps a process to its [`Limits`].
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: Limits,
    memory_bytes: u64,
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Limiter {
        Limiter { limits, memory_bytes: 0 }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum == Some(SAVE_BYTES_MAX) {
            return Ok(desired <= SAVE_BYTES_MAX);
        }
        if maximum == Some(FLAGS_BYTES_MAX) && desired <= 1 << 16 {
            return Ok(true);
        }
        let grown = self.memory_bytes.saturating_add(desired.saturating_sub(current) as u64);
        let allowed =
            grown <= self.limits.memory_bytes && maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.memory_bytes = grown;
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired as u64 <= self.limits.table_elements;
        Ok(allowed && maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        INSTANCES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_counted_together() {
        let mut limiter = Limiter::new(Limits { memory_bytes: 100, table_elements: 10 });
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 50, None).unwrap());
        assert!(limiter.memory_growing(60, 100, Some(200)).unwrap());
        assert!(limiter.memory_growing(0, 1 << 20, Some(SAVE_BYTES_MAX)).unwrap());
        assert!(!limiter.table_growing(0, 11, None).unwrap());
    }
}
