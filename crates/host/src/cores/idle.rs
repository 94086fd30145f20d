//! Which cores have nothing to do: each a standing offer to take a process, which one other core may
//! take up.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// One bit a core.
#[derive(Debug)]
pub(super) struct Idle(Box<[AtomicU64]>);

impl Idle {
    pub(super) fn new(cores: usize) -> Idle {
        Idle((0..cores.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// This core would take a process. A fence follows before anything that the caller does next.
    pub(super) fn offer(&self, core: usize) {
        self.0[core / 64].fetch_or(1 << (core % 64), Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// This core looks for itself again. (A process may be on its way already.)
    pub(super) fn withdraw(&self, core: usize) {
        self.0[core / 64].fetch_and(!(1 << (core % 64)), Ordering::SeqCst);
    }

    /// Whether some core would take a process.
    pub(super) fn any(&self) -> bool {
        self.0.iter().any(|word| word.load(Ordering::SeqCst) != 0)
    }

    /// Takes up an offer: this core is to be sent a process, by the caller and by nobody else.
    pub(super) fn claim(&self) -> Option<usize> {
        self.0.iter().enumerate().find_map(|(at, word)| {
            let mut bits = word.load(Ordering::SeqCst);
            while bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                let before = word.fetch_and(!(1 << bit), Ordering::SeqCst);
                if before & (1 << bit) != 0 {
                    return Some(at * 64 + bit);
                }
                bits = before;
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_taken_up_once() {
        let idle = Idle::new(70);
        for core in [69, 3, 64, 8] {
            idle.offer(core);
        }
        idle.withdraw(8);
        assert!(idle.any());
        let claimed: Vec<_> = std::iter::from_fn(|| idle.claim()).collect();
        assert_eq!(claimed, [3, 64, 69]);
        assert!(!idle.any());
    }
}
