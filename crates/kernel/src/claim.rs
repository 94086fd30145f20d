//! What a kernel stands up for until it has come to its end: a send, a watch, a word that nobody waits for.
//!
//! A packet to another node may be lost, come twice, or find that the process has moved on. So whoever has said
//! something there says it again until it was acknowledged, and asks after it until it was answered. Between cores of one
//! node nothing is lost, and nothing is asked.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use peripatos_abi::Pid;
use serde::{Deserialize, Serialize};

use crate::limits::{ASK_NS, GIVE_UP_NS, REDIRECTS_MAX, RETRY_NS_MAX, RETRY_NS_MIN, TRIES_MAX};
use crate::packet::Place;
use crate::routes::Routes;
use crate::ties::Watch;

/// Which of a process's claims, or of a kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Concern {
    /// A process's send.
    Send {
        /// Which of its sends.
        transaction: u64,
        /// How often it was forwarded.
        hop: u32,
    },
    /// A process's watch.
    Watch {
        /// How it watches.
        watch: Watch,
        /// Which of its watches.
        number: u64,
    },
    /// A kernel's word on somebody's behalf.
    Errand {
        /// Which of its words.
        number: u64,
    },
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// The kernel that was told last. `None`: the host looks for it.
    pub(crate) place: Option<Place>,
    /// Who should know the place does not: the host is asked next.
    pub(crate) astray: bool,
    /// How often it was said there.
    pub(crate) aimed: u32,
    /// How often it was redirected since it was looked at last.
    pub(crate) redirects: u32,
    /// It was acknowledged.
    pub(crate) got: bool,
    /// When that was, or when it began. In a process that moves: how long ago.
    pub(crate) since: u64,
    /// How often it was said, since then.
    pub(crate) tries: u32,
    /// When it will be looked at. 0: it is not looked at.
    pub(crate) due: u64,
}

impl Claim {
    pub(crate) fn new(place: Option<Place>, now: u64) -> Claim {
        Claim {
            place,
            astray: false,
            aimed: 0,
            redirects: 0,
            got: false,
            since: now,
            tries: 0,
            due: 0,
        }
    }

    /// One that a process has which was in the same table until now.
    pub(crate) fn known(place: Place, now: u64) -> Claim {
        Claim { got: true, ..Claim::new(Some(place), now) }
    }

    /// Whether what was said there may be lost.
    pub(crate) fn is_lossy(&self, here: Place) -> bool {
        self.place.is_none_or(|place| !place.is_near(here))
    }

    /// When it is to be looked at next, if it is.
    pub(crate) fn arm(&mut self, here: Place, now: u64) -> Option<u64> {
        if !self.is_lossy(here) {
            self.due = 0;
            return None;
        }
        Some(self.wait(now))
    }

    /// When it is to be looked at next.
    pub(crate) fn wait(&mut self, now: u64) -> u64 {
        let retry = RETRY_NS_MIN.saturating_mul(1 << self.tries.min(16)).min(RETRY_NS_MAX);
        self.due = now + if self.got && self.tries == 0 { ASK_NS } else { retry };
        self.due
    }

    /// Where it is to be said, if it is known from here or otherwise. What was tried in vain is not known.
    pub(crate) fn aim(&mut self, here: Place, routes: &mut Routes, to: Pid) -> Option<Place> {
        let in_vain = self.aimed >= TRIES_MAX;
        if let (true, Some(place)) = (in_vain, self.place) {
            routes.not_at(to, place);
        }
        let known = self.place.filter(|place| *place != here).or(routes.get(to));
        self.place = if self.astray || in_vain { None } else { known };
        self.aimed = match self.place {
            Some(_) => self.aimed + 1,
            // From now on both are asked in turn.
            None if in_vain => TRIES_MAX - 1,
            None => 0,
        };
        self.astray = false;
        self.place
    }

    /// It was said once, to nobody in particular, and nothing was heard of it.
    pub(crate) fn is_first(&self) -> bool {
        let unheard = !self.got && !self.astray && self.redirects == 0;
        self.place.is_none() && self.tries == 1 && unheard
    }

    /// What was said to nobody in particular goes there, in the same node.
    pub(crate) fn aim_at(&mut self, near: Place) {
        (self.place, self.aimed, self.due) = (Some(near), 1, 0);
    }

    /// Whether what is heard from there is about the last try. Within the node, whoever it was passed on to may say so.
    pub(crate) fn was_tried(&self, here: Place, source: Place) -> bool {
        let near = source.node == here.node || !self.is_lossy(here);
        near || self.place.is_none_or(|place| place == source)
    }

    /// It is not where it was looked for from `here`, but perhaps there. Whether to try again at once.
    pub(crate) fn redirected(
        &mut self,
        here: Place,
        source: Place,
        at: Option<Place>,
        now: u64,
    ) -> bool {
        let (was_lossy, near) = (self.is_lossy(here), source.node == here.node);
        self.place = at.filter(|at| *at != here);
        self.astray = at.is_none();
        if !was_lossy && self.tries <= 1 {
            // Until now it was not asked after.
            self.since = now;
        }
        // Between cores nothing else would bring it on.
        let at_once =
            near && !was_lossy || (near || at.is_some()) && self.redirects < REDIRECTS_MAX;
        if at_once {
            // It is not another try.
            self.tries = self.tries.saturating_sub(1);
            (self.redirects, self.aimed) = (self.redirects + 1, 0);
        } else if near {
            (self.tries, self.due) = (1, 0);
        }
        at_once
    }

    /// `place`: where it was heard; `None`: it has gone on since, perhaps.
    pub(crate) fn acknowledged(&mut self, place: Option<Place>, now: u64) {
        (self.place, self.got, self.since, self.tries) = (place, true, now, 0);
        (self.astray, self.aimed) = (false, 0);
    }

    pub(crate) fn is_hopeless(&self, now: u64) -> bool {
        now.saturating_sub(self.since) >= GIVE_UP_NS
    }

    /// Times become spans, which mean the same to another clock. Within the node it was not asked after.
    pub(crate) fn leave(&mut self, here: Place, now: u64) {
        self.since = if self.is_lossy(here) { now.saturating_sub(self.since) } else { 0 };
        self.due = 0;
    }

    /// And times again.
    pub(crate) fn come(&mut self, now: u64) {
        self.since = now.saturating_sub(self.since);
    }
}

/// When which claim is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) due: u64,
    /// Whose claim, on whom.
    pub(crate) pid: Pid,
    pub(crate) to: Pid,
    pub(crate) concern: Concern,
}

/// All of them, in time's order. One whose claim has come to its end, or is due at another time, means nothing: nearly all
/// do, for who is answered at once needs none.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// First tries, which are all due after the same span: in the order in which they came.
    first: VecDeque<Timer>,
    others: BinaryHeap<Reverse<Timer>>,
}

impl Timers {
    pub(crate) fn push(&mut self, now: u64, timer: Timer) {
        let is_first = timer.due <= now + RETRY_NS_MIN;
        if is_first && self.first.back().is_none_or(|last| last.due <= timer.due) {
            self.first.push_back(timer);
        } else {
            self.others.push(Reverse(timer));
        }
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.earliest().map(|timer| timer.due)
    }

    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Timer> {
        let earliest = self.earliest().copied().filter(|timer| timer.due <= now)?;
        if self.first.front() == Some(&earliest) {
            self.first.pop_front()
        } else {
            self.others.pop().map(|Reverse(timer)| timer)
        }
    }

    fn earliest(&self) -> Option<&Timer> {
        let other = self.others.peek().map(|Reverse(timer)| timer);
        self.first.front().into_iter().chain(other).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_times_order_whatever_order_they_were_set_in() {
        let mut timers = Timers::default();
        let timer = |due: u64| {
            let concern = Concern::Errand { number: due };
            Timer {
                due: due * RETRY_NS_MIN,
                pid: Pid::new(due % 3, 1),
                to: Pid::new(7, 7),
                concern,
            }
        };
        for due in [5_u64, 9, 9, 3, 20, 7, 20, 1, 21, 4, 9] {
            // First tries, and others.
            let now = if due % 4 == 1 { 0 } else { (due - 1) * RETRY_NS_MIN };
            timers.push(now, timer(due));
        }
        let due = |timer: Timer| timer.due / RETRY_NS_MIN;
        assert_eq!(timers.next(), Some(RETRY_NS_MIN));
        assert_eq!(timers.pop_due(RETRY_NS_MIN - 1), None);
        let popped = std::iter::from_fn(|| timers.pop_due(20 * RETRY_NS_MIN)).map(due);
        assert_eq!(popped.collect::<Vec<_>>(), [1, 3, 4, 5, 7, 9, 9, 9, 20, 20]);
        assert_eq!(timers.pop_due(21 * RETRY_NS_MIN).map(due), Some(21));
        assert_eq!(timers.pop_due(u64::MAX), None);
    }

    /// Whoever is sent to at the same time: a kernel is told the time once for many sends.
    #[test]
    fn first_tries_of_one_time_wait_in_the_queue() {
        let mut timers = Timers::default();
        for pid in [3, 1, 2] {
            let (pid, to) = (Pid::new(pid, 1), Pid::new(7, 7));
            let concern = Concern::Errand { number: 1 };
            timers.push(0, Timer { due: RETRY_NS_MIN, pid, to, concern });
        }
        assert_eq!((timers.first.len(), timers.others.len()), (3, 0));
        let popped = std::iter::from_fn(|| timers.pop_due(RETRY_NS_MIN));
        assert_eq!(popped.count(), 3);
    }
}
