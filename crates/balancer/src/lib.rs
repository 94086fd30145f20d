//! Policy: which process should move where, given what is known. It proposes and never moves.
//!
//! For now **idle nodes pull**: a node asks the most loaded one, if it would still be less loaded with a
//! process more; that one gives a process away if it sees it alike, and keeps its last runnable one. Pure functions of their arguments: no clock, no
//! memory, no randomness. The balancer of many nodes will replace this crate, not its callers.
//!
//! Invariants:
//! * a process is proposed only if the two nodes are less unequal after its move than before, so two
//!   idle nodes never play ball with one process;
//! * a process is proposed only if it has run longer than its move would take. What has run for a
//!   time *t* will, at the median, run for another *t* (Harchol-Balter and Downey, "Exploiting Process
//!   Lifetime Distributions for Dynamic Load Balancing", 1997), so a move pays for itself.

use std::time::Duration;

/// A move costs at least this, however small the process.
const MOVE_COST_MIN: Duration = Duration::from_millis(10);
/// Bytes of memory that a move carries in a second: what a gigabit network does.
const MOVE_BYTES_A_SECOND: u64 = 100 << 20;
/// A process that has moved stays at least this long where it is.
const REST_MIN: Duration = Duration::from_secs(1);
/// And this many times as long as its move took.
const REST_MOVES: u32 = 20;

/// How loaded a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Kernel threads that run processes.
    pub cores: u32,
    /// Processes that run or wait for a core; not those that wait for a device.
    pub runnable: u32,
    /// It is being emptied.
    pub draining: bool,
    /// It takes nothing, because it is being emptied or because somebody wants it so.
    pub closed: bool,
}

impl Load {
    /// With a process more.
    fn and_one(self) -> Load {
        Load { runnable: self.runnable.saturating_add(1), ..self }
    }

    /// Whether a process fewer would leave no core idle.
    #[must_use]
    pub fn has_spare(self) -> bool {
        self.runnable > if self.draining { 0 } else { self.cores.max(1) }
    }

    /// Whether `self` is more loaded, a core, than `other`.
    fn is_above(self, other: Load) -> bool {
        u64::from(self.runnable) * u64::from(other.cores)
            > u64::from(other.runnable) * u64::from(self.cores)
    }
}

/// A process that could be given away.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<P> {
    /// Its name.
    pub process: P,
    /// Processor time it has used.
    pub cpu: Duration,
    /// Memory that its move would carry.
    pub memory_bytes: u64,
}

/// Whom a node asks for a process: of those that would be more loaded than itself even after the move,
/// one that is being emptied, or else the most loaded.
#[must_use]
pub fn whom_to_ask<N>(own: Load, peers: impl IntoIterator<Item = (N, Load)>) -> Option<N> {
    let gives = |peer: &(N, Load)| helps(peer.1, own);
    let most = peers.into_iter().filter(gives).reduce(|most, one| {
        match (most.1.draining, one.1.draining) {
            (true, false) => most,
            (false, true) => one,
            _ if one.1.is_above(most.1) => one,
            _ => most,
        }
    });
    most.map(|(node, _)| node)
}

/// Whether a process that goes from one node to the other leaves them less unequal.
fn helps(giving: Load, taking: Load) -> bool {
    !taking.closed && giving.has_spare() && (giving.draining || giving.is_above(taking.and_one()))
}

/// What a node gives to one that asks: of the processes that may move, the one that has run longest for
/// what its move costs. `None`: nothing, a move would not help.
#[must_use]
pub fn what_to_give<P: Ord + Copy>(
    own: Load,
    asking: Load,
    candidates: &[Candidate<P>],
) -> Option<P> {
    if !helps(own, asking) {
        return None;
    }
    let pays = |one: &&Candidate<P>| own.draining || one.cpu > cost(one.memory_bytes);
    let worth = |one: &Candidate<P>| one.cpu.as_nanos() / cost(one.memory_bytes).as_nanos().max(1);
    let best = candidates.iter().filter(pays).max_by_key(|one| (worth(one), one.process));
    best.map(|one| one.process)
}

/// Where a node that is being emptied sends a process: to the least loaded one that takes any.
#[must_use]
pub fn where_to_send<N>(peers: impl IntoIterator<Item = (N, Load)>) -> Option<N> {
    let takers = peers.into_iter().filter(|(_, load)| !load.closed && load.cores > 0);
    takers.reduce(|least, one| if least.1.is_above(one.1) { one } else { least }).map(|(n, _)| n)
}

/// How long a process stays where it came, after a move that took so long.
#[must_use]
pub fn rest_after(freeze: Duration) -> Duration {
    REST_MIN.max(freeze.saturating_mul(REST_MOVES))
}

/// What a move of this much memory takes.
fn cost(memory_bytes: u64) -> Duration {
    let carrying = u128::from(memory_bytes) * 1_000_000_000 / u128::from(MOVE_BYTES_A_SECOND);
    MOVE_COST_MIN + Duration::from_nanos(u64::try_from(carrying).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn load(cores: u32, runnable: u32) -> Load {
        Load { cores, runnable, draining: false, closed: false }
    }

    const fn draining(cores: u32, runnable: u32) -> Load {
        Load { cores, runnable, draining: true, closed: true }
    }

    /// It takes nothing, and keeps what it has.
    const fn cordoned(cores: u32, runnable: u32) -> Load {
        Load { cores, runnable, draining: false, closed: true }
    }

    #[test]
    fn the_most_loaded_is_asked() {
        let check = |own, peers: &[(u8, Load)], expected| {
            assert_eq!(whom_to_ask(own, peers.iter().copied()), expected, "{own:?} {peers:?}");
        };
        check(load(1, 0), &[], None);
        check(load(1, 0), &[(1, load(1, 1))], None);
        check(load(1, 0), &[(1, load(1, 2)), (2, load(1, 4)), (3, load(4, 5))], Some(2));
        check(load(2, 1), &[(1, load(2, 3))], Some(1));
        check(load(1, 1), &[(1, load(1, 3))], Some(1));
        check(load(1, 1), &[(1, load(1, 2))], None);
        check(draining(1, 0), &[(1, load(1, 9))], None);
        check(load(1, 0), &[(1, load(1, 9)), (2, draining(1, 1))], Some(2));
        check(cordoned(1, 0), &[(1, load(1, 9))], None);
        check(load(1, 0), &[(1, cordoned(1, 9)), (2, load(1, 3))], Some(1));
    }

    #[test]
    fn what_is_given_makes_the_two_more_equal() {
        let one = |process, seconds, memory_bytes| Candidate {
            process,
            cpu: Duration::from_secs(seconds),
            memory_bytes,
        };
        let old = [one(1, 5, 1 << 20), one(2, 50, 1 << 20), one(3, 60, 1 << 30)];
        let check = |own, asking, candidates: &[Candidate<u8>], expected| {
            assert_eq!(what_to_give(own, asking, candidates), expected, "{own:?} {asking:?}");
        };
        check(load(1, 4), load(1, 0), &old, Some(2));
        check(load(1, 1), load(1, 0), &old, None);
        check(load(1, 2), load(1, 1), &old, None);
        check(load(2, 2), load(2, 0), &old, None);
        check(load(1, 4), draining(1, 0), &old, None);
        check(load(1, 4), cordoned(1, 0), &old, None);
        check(cordoned(1, 4), load(1, 0), &old, Some(2));
        check(cordoned(1, 1), load(1, 0), &old, None);
        check(draining(1, 1), load(1, 3), &old, Some(2));
        check(load(1, 4), load(1, 0), &[one(1, 0, 0)], None);
        check(load(1, 4), load(1, 0), &[], None);
    }

    #[test]
    fn four_on_one_of_two_nodes_settle_and_stay() {
        let (mut first, mut second) = (load(1, 4), load(1, 0));
        let candidate = [Candidate { process: 0, cpu: Duration::from_secs(9), memory_bytes: 0 }];
        let mut moves = 0;
        while what_to_give(first, second, &candidate).is_some() {
            (first.runnable, second.runnable) = (first.runnable - 1, second.runnable + 1);
            moves += 1;
        }
        assert_eq!((moves, first.runnable, second.runnable), (2, 2, 2));
        assert_eq!(what_to_give(second, first, &candidate), None);
    }

    #[test]
    fn a_drained_node_sends_to_the_least_loaded() {
        let peers = [(1, load(1, 2)), (2, load(4, 2)), (3, draining(9, 0))];
        assert_eq!(where_to_send(peers), Some(2));
        assert_eq!(where_to_send([(3, draining(9, 0)), (4, cordoned(9, 0))]), None);
    }
}
