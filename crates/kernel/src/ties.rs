//! Whom a process watches, and who watches it: its kernel's record, which travels with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use peripatos_abi::Pid;
use peripatos_abi::message::WATCHES_MAX;
use serde::{Deserialize, Serialize};

use crate::budget::{Budget, Charge};
use crate::claim::Claim;
use crate::limits::{ALIEN_NS, UNDONE_MAX, WATCH_BYTES, WATCHES_FREE_MAX};
use crate::packet::Place;

/// What becomes of the watcher when the watched one ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Watch {
    /// It receives the word.
    Monitor,
    /// It is ended, too, unless the other's end was normal. Holds both ways.
    Link,
}

/// A process's monitors, links, and parent. Most have none: it stands apart from what every message needs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ties {
    /// Who has spawned it, and may end it.
    pub(crate) parent: Option<Pid>,
    /// How many watches it has begun: the number of the last one.
    pub(crate) begun: u64,
    /// Whom it watches.
    pub(crate) watching: BTreeMap<(Pid, Watch), Watching>,
    /// Who watches it.
    pub(crate) watchers: BTreeMap<(Pid, Watch), Watcher>,
    /// Who has watched it and does not any more, which of its watches was the last, and since when: what comes late
    /// does not count.
    pub(crate) undone: BTreeMap<(Pid, Watch), (u64, u64)>,
    /// Whom it has monitored and who has ended how, and it has not received the word.
    pub(crate) ended: VecDeque<(Pid, u64)>,
    /// Names that it has lost, with whoever has them, and it has not received the word. At most
    /// [`NAMES_MAX`](peripatos_abi::message::NAMES_MAX).
    pub(crate) names_lost: VecDeque<(Vec<u8>, Pid)>,
    /// For each watch beyond [`WATCHES_FREE_MAX`].
    #[serde(skip)]
    charges: Vec<Charge>,
}

/// A watch, at the watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watching {
    /// Which of its watches this is.
    pub(crate) number: u64,
    /// It has asked for it. Else it is the way back of another's link.
    pub(crate) asked: bool,
    /// Means nothing while the other one is in the same table.
    pub(crate) claim: Claim,
}

/// A watch, at the watched one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watcher {
    /// Which of the watcher's watches this is. A late word about an earlier one means nothing.
    pub(crate) number: u64,
    /// Where the watcher is. Means nothing while it is in the same table.
    pub(crate) place: Option<Place>,
    /// How often it had moved when it was there.
    pub(crate) moved: u32,
}

impl Ties {
    /// One does not watch it any more.
    pub(crate) fn undo(&mut self, by: Pid, watch: Watch, number: u64, now: u64) {
        self.undone.retain(|_, (_, since)| now.saturating_sub(*since) < ALIEN_NS);
        if self.undone.len() < UNDONE_MAX {
            self.undone.insert((by, watch), (number, now));
        }
    }

    /// Times become spans, or spans times.
    pub(crate) fn turn_times(&mut self, now: u64) {
        self.undone.values_mut().for_each(|(_, since)| *since = now.saturating_sub(*since));
    }

    /// Whether it may watch another one, and be told of its end. Many are charged to its program.
    pub(crate) fn make_room(&mut self, budget: Option<&Arc<Budget>>) -> bool {
        let kept = self.watching.len() + self.ended.len();
        // Of what is over since.
        self.charges.truncate(kept.saturating_sub(WATCHES_FREE_MAX));
        match budget.filter(|_| kept >= WATCHES_FREE_MAX) {
            _ if kept >= WATCHES_MAX => false,
            None => true,
            Some(budget) => {
                let charge = Charge::take(budget, WATCH_BYTES);
                charge.map(|charge| self.charges.push(charge)).is_ok()
            }
        }
    }

    /// The next end that it is to be told of, of that one or of anybody.
    pub(crate) fn take_ended(&mut self, from: Option<Pid>) -> Option<(Pid, u64)> {
        let wanted = |(pid, _): &(Pid, u64)| from.is_none_or(|from| from == *pid);
        let at = self.ended.iter().position(wanted)?;
        self.ended.remove(at)
    }
}
