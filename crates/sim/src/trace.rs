//! What has happened, as a number: two runs that did the same have the same.

/// FNV-1a over everything that happens; with `tell`, each is also printed.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    hash: u64,
    tell: bool,
}

impl Trace {
    /// Of a run that has not begun.
    #[must_use]
    pub(crate) fn new(tell: bool) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, tell }
    }

    /// Something has happened at that time.
    pub(crate) fn note(&mut self, now: u64, words: &[u64], what: impl FnOnce() -> String) {
        for byte in [now].iter().chain(words).flat_map(|word| word.to_le_bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.tell {
            println!("{:>12.6} {}", now as f64 / 1e9, what());
        }
    }

    /// All that has happened.
    #[must_use]
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}
