//! How much a process may use, and wasmtime's question whether it may have more.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::control::Shared;
use crate::engines::one_line;
use crate::view::View;

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

/// Keeps a process to its [`Limits`].
///
/// wasmtime tells no more of a memory that is to grow than its maximum. The pass gives its own
/// memories maxima that no memory of the program has, so that tells them apart.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: Limits,
    memory_bytes: u64,
    save_bytes_max: Option<usize>,
    flags_bytes_max: Option<usize>,
    /// Is told what has been granted.
    shared: Arc<Shared>,
    /// Is forgotten when a memory grows.
    pub(crate) view: View,
    /// Why a memory did not grow that it had allowed to.
    grow_failure: Option<String>,
}

impl Limiter {
    /// For code whose save and flags memories have these maxima ([`crate::Code::private_maxima`]).
    pub(crate) fn new(limits: Limits, maxima: [Option<usize>; 2], shared: Arc<Shared>) -> Limiter {
        let [save_bytes_max, flags_bytes_max] = maxima;
        let view = View::default();
        Limiter {
            limits,
            memory_bytes: 0,
            save_bytes_max,
            flags_bytes_max,
            shared,
            view,
            grow_failure: None,
        }
    }
}

impl Limiter {
    /// To what the process is kept.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Why a memory has just not grown.
    pub(crate) fn why_not_grown(&mut self) -> String {
        match self.grow_failure.take() {
            Some(cause) => format!("there is no room for its memory: {cause}"),
            None => "its memory is over the limit".to_owned(),
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.view.forget();
        self.grow_failure = None;
        if maximum.is_some() && maximum == self.save_bytes_max {
            return Ok(maximum.is_none_or(|maximum| desired <= maximum));
        }
        if maximum.is_some() && maximum == self.flags_bytes_max {
            // One page, and it never grows.
            return Ok(desired <= 1 << 16);
        }
        let grown = self.memory_bytes.saturating_add(desired.saturating_sub(current) as u64);
        let allowed =
            grown <= self.limits.memory_bytes && maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.memory_bytes = grown;
            self.shared.set_memory_bytes(grown);
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // It still counts: this is also told of what was never asked for, and to count too little would give more than is allowed.
        self.grow_failure = Some(one_line(&error));
        Ok(())
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
    fn why_a_memory_did_not_grow_is_told() {
        let limits = Limits { memory_bytes: 100, table_elements: 10 };
        let mut limiter = Limiter::new(limits, [None, None], Arc::default());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("Cannot allocate memory")).unwrap();
        let why = limiter.why_not_grown();
        assert!(why.contains("no room for its memory: Cannot allocate memory"), "{why}");
        assert!(!limiter.memory_growing(60, 160, None).unwrap());
        assert_eq!(limiter.why_not_grown(), "its memory is over the limit");
    }

    #[test]
    fn memories_are_counted_together() {
        let limits = Limits { memory_bytes: 100, table_elements: 10 };
        let mut limiter = Limiter::new(limits, [Some(1 << 30), Some(1 << 34)], Arc::default());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 50, None).unwrap());
        assert!(limiter.memory_growing(60, 100, Some(200)).unwrap());
        assert!(limiter.memory_growing(0, 1 << 20, Some(1 << 30)).unwrap());
        assert!(!limiter.memory_growing(0, 1 << 20, Some(1 << 29)).unwrap());
        assert!(limiter.memory_growing(0, 1 << 16, Some(1 << 34)).unwrap());
        assert!(!limiter.table_growing(0, 11, None).unwrap());
    }
}
