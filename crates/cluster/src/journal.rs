//! What became of moves, and why, for people: `peri events` and `peri explain`.
//!
//! Each node remembers the moves of processes away from it, those that came to nothing, and for each node that asked in vain what it was
//! answered last. As [`crate::message`], a wire form.

use std::collections::VecDeque;
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_balancer::{Load, Terms, Why};
use serde::{Deserialize, Serialize};

use crate::limits::{HAPPENINGS_MAX, REASON_BYTES_MAX};
use crate::message::MoveCost;
use crate::{NodeId, Time};

/// How loaded a node was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Its kernel threads.
    pub cores: u32,
    /// What one of them does in a second, in thousandths of what a core of the reference does.
    pub speed_permille: u32,
    /// Processes that want one, in thousandths.
    pub demand_permille: u32,
}

/// What speaks for a move, and what against it: see [`Terms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighed {
    /// The node that has the process, with it.
    pub giving: Loaded,
    /// The other one, without it.
    pub taking: Loaded,
    /// What all processes together would save in a second, in microseconds.
    pub gain_us: i64,
    /// Of that, as it would talk with others on the same node; negative: as it does here.
    pub talk_us: i64,
    /// And what counts as saved as it prefers the other node; negative: as lost.
    pub preference_us: i64,
    /// How much longer the process is expected to want a core, microseconds.
    pub goes_on_us: u64,
    /// What the move takes, microseconds.
    pub price_us: u64,
}

/// Why a process was to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// For the balance.
    Balance(Weighed),
    /// Its node is being emptied.
    Emptied,
    /// It may not run on its node.
    Unsuited,
    /// Somebody wanted it.
    ByHand,
}

/// Why a process is not given to a node that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    /// That node takes nothing.
    Closed,
    /// That node may not run it.
    Unsuited,
    /// That node does not have the memory.
    NoMemory,
    /// It has more memory than its own node carries in time, at the rate that it was given.
    MoveRate,
    /// The two are about equally loaded, or would be more unequal.
    Balanced(Weighed),
    /// It is not expected to go on long enough for what the move takes.
    Dear(Weighed),
}

/// One thing that has happened to a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happening {
    /// It has moved.
    Moved {
        /// Why.
        reason: Reason,
        /// What it has taken.
        cost: MoveCost,
    },
    /// It was to move, and stays.
    Failed {
        /// Why it was to.
        reason: Reason,
        /// Why it has not.
        why: String,
    },
    /// A node has asked, and this process came nearest to being given.
    Kept {
        /// Why it was not.
        why: Kept,
        /// How often in a row.
        times: u32,
    },
}

/// The same, with where and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The process.
    #[serde(with = "crate::message::pid_bits")]
    pub pid: Pid,
    /// The node that had it.
    pub at: NodeId,
    /// The other one.
    pub to: NodeId,
    /// How long ago, milliseconds.
    pub age_ms: u64,
    /// What.
    pub happening: Happening,
}

/// What would become of a process, as its node sees it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The node.
    pub node: NodeId,
    /// How loaded it is.
    pub here: Loaded,
    /// How much the process wants a core, in thousandths.
    pub demand_permille: u32,
    /// Processor time it has used so far.
    pub cpu_ms: u64,
    /// Memory it has.
    pub memory_bytes: u64,
    /// Memory it has, or is to have.
    pub memory_bytes_needed: u64,
    /// Whether it is on its way to another node.
    pub moving: bool,
    /// Whether the node gives processes away for the balance.
    pub balancing: bool,
    /// It stays where it is so long, milliseconds, as it has just moved, or was put there; `u64::MAX`: until it is released.
    pub stays_ms: u64,
    /// Somebody has put it there.
    pub pinned: bool,
    /// The other nodes that it could go to, and what speaks against each, if anything does.
    pub others: Vec<(NodeId, Result<Weighed, Kept>)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Journal(VecDeque<Entry>);

#[derive(Debug)]
struct Entry {
    pid: Pid,
    to: NodeId,
    at: Time,
    happening: Happening,
}

impl Journal {
    /// A move is over, or has come to nothing.
    pub(crate) fn note(&mut self, now: Time, pid: Pid, to: NodeId, happening: Happening) {
        if self.0.len() >= HAPPENINGS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Entry { pid, to, at: now, happening });
    }

    /// A node has asked in vain. What it was answered before is forgotten.
    pub(crate) fn kept(&mut self, now: Time, pid: Pid, to: NodeId, why: Kept) {
        let answers =
            |entry: &Entry| entry.to == to && matches!(entry.happening, Happening::Kept { .. });
        let before = self.0.iter().position(answers).and_then(|at| self.0.remove(at));
        let before = before.filter(|entry| entry.pid == pid);
        let times = match before.map(|entry| entry.happening) {
            Some(Happening::Kept { times, .. }) => times.saturating_add(1),
            _ => 1,
        };
        self.note(now, pid, to, Happening::Kept { why, times });
    }

    /// The last ones, oldest first: of a process or of all.
    pub(crate) fn told(&self, node: NodeId, now: Time, of: Option<Pid>, max: usize) -> Vec<Told> {
        let of = |entry: &&Entry| of.is_none_or(|pid| pid == entry.pid);
        let told = |entry: &Entry| Told {
            pid: entry.pid,
            at: node,
            to: entry.to,
            age_ms: now.since(entry.at).as_millis() as u64,
            happening: entry.happening.clone(),
        };
        let mut told: Vec<Told> = self.0.iter().rev().filter(of).take(max).map(told).collect();
        told.reverse();
        told
    }
}

/// A text for the journal, cut if it is long: it may be another node's.
pub(crate) fn brief(mut text: String) -> String {
    let end = text.floor_char_boundary(REASON_BYTES_MAX);
    text.truncate(end);
    text
}

impl From<Load> for Loaded {
    fn from(load: Load) -> Loaded {
        let Load { cores, speed_permille, demand_permille, .. } = load;
        Loaded { cores, speed_permille, demand_permille }
    }
}

impl From<Terms> for Weighed {
    fn from(terms: Terms) -> Weighed {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Weighed {
            giving: terms.giving.into(),
            taking: terms.taking.into(),
            gain_us: (terms.gain * 1e6).round() as i64,
            talk_us: (terms.talk * 1e6).round() as i64,
            preference_us: (terms.preference * 1e6).round() as i64,
            goes_on_us: us(terms.goes_on),
            price_us: us(terms.price),
        }
    }
}

impl From<Why> for Kept {
    fn from(why: Why) -> Kept {
        match why {
            Why::Closed => Kept::Closed,
            Why::NoMemory => Kept::NoMemory,
            Why::Balanced(terms) => Kept::Balanced(terms.into()),
            Why::Dear(terms) => Kept::Dear(terms.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn pid(number: u64) -> Pid {
        Pid::new(number, 7)
    }

    fn moved() -> Happening {
        Happening::Failed { reason: Reason::ByHand, why: "it ended".into() }
    }

    #[test]
    fn who_asks_in_vain_is_remembered_once() {
        let mut journal = Journal::default();
        let (one, two) = (NodeId(1), NodeId(2));
        let now = |ms| Time(Duration::from_millis(ms));
        journal.kept(now(1), pid(1), one, Kept::Closed);
        journal.note(now(2), pid(1), two, moved());
        (3..6).for_each(|ms| journal.kept(now(ms), pid(1), one, Kept::Closed));
        journal.kept(now(6), pid(2), two, Kept::Closed);
        let told = journal.told(NodeId(9), now(10), None, 10);
        let seen: Vec<_> = told.iter().map(|one| (one.pid, one.age_ms)).collect();
        assert_eq!(seen, [(pid(1), 8), (pid(1), 5), (pid(2), 4)]);
        assert_eq!(told[1].happening, Happening::Kept { why: Kept::Closed, times: 4 });
        journal.kept(now(7), pid(1), two, Kept::Closed);
        let told = journal.told(NodeId(9), now(10), Some(pid(2)), 10);
        assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn only_so_much_is_remembered_and_told() {
        let mut journal = Journal::default();
        for number in 0..2 * HAPPENINGS_MAX as u64 {
            journal.note(Time::default(), pid(number), NodeId(1), moved());
        }
        let told = journal.told(NodeId(9), Time::default(), None, 2);
        assert_eq!(told.last().map(|one| one.pid), Some(pid(2 * HAPPENINGS_MAX as u64 - 1)));
        assert_eq!(told.len(), 2);
        assert_eq!(journal.0.len(), HAPPENINGS_MAX);
        assert_eq!(brief("ä".repeat(1_000)).len(), REASON_BYTES_MAX);
    }
}
