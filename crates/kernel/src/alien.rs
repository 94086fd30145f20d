//! Senders of other kernels, as this one knows them.
//!
//! A sender that is elsewhere has an *alien* here (the V kernel's word) for each process that it has sent to: which of
//! its sends was the last, and what was answered. That is the filter of duplicates: a send that comes again finds its
//! alien, and is not delivered twice, or is answered again. Aliens belong to the receiver, and move with it; they are
//! forgotten when nothing of them can be on its way any more.

use std::collections::{BTreeSet, VecDeque};

use peripatos_abi::Pid;
use peripatos_abi::message::Status;
use serde::{Deserialize, Serialize};

use crate::aged::Aged;
use crate::bytes::Bytes;
use crate::limits::{ALIEN_NS, ALIENS_MAX, REPLIES_MAX};
use crate::packet::Place;

/// What became of a send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It was replied to.
    Replied(Bytes),
    /// It has failed.
    Failed(Status),
    /// It is to be sent again, to that process: whoever had it has forwarded it.
    Forwarded {
        /// To whom.
        to: Pid,
        /// What.
        message: Bytes,
    },
    /// The operation on a lease is done, with so many bytes.
    Done(u32),
}

impl Answer {
    pub(crate) fn len(&self) -> usize {
        match self {
            Answer::Replied(message) | Answer::Forwarded { message, .. } => message.len(),
            Answer::Failed(_) | Answer::Done(_) => 0,
        }
    }
}

/// A send, as kernels name it beside its sender: which one it is, and how often it was forwarded.
pub(crate) type Send = (u64, u32);

/// A sender of another kernel, to one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Alien {
    pub(crate) place: Place,
    /// How often it had moved when it was there.
    pub(crate) moved: u32,
    pub(crate) send: Send,
    pub(crate) stage: Stage,
    /// Its receiver has the message, and may reply. Where that moves to the queue says so.
    #[serde(skip)]
    pub(crate) taken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// It waits.
    Waits,
    /// It was answered. Kept in case that was lost.
    Answered(Answer),
    /// It has heard the answer, or has gone, or is here itself. Kept because what it has sent may come again.
    Over,
}

impl Alien {
    pub(crate) fn new(place: Place, moved: u32, send: Send) -> Alien {
        Alien { place, moved, send, stage: Stage::Waits, taken: false }
    }
}

/// Who has sent, and to whom.
pub(crate) type Pair = (Pid, Pid);

/// The senders of other kernels.
#[derive(Debug)]
pub(crate) struct Aliens {
    of: Aged<Pair, Alien>,
    /// The same pairs, the receiver first: a receiver's are found without looking at all.
    by_receiver: BTreeSet<Pair>,
    /// Whose answers are kept, oldest first.
    answered: VecDeque<(Pair, Send)>,
}

impl Default for Aliens {
    fn default() -> Aliens {
        Aliens {
            of: Aged::new(ALIENS_MAX + 1),
            by_receiver: BTreeSet::new(),
            answered: VecDeque::new(),
        }
    }
}

impl Aliens {
    /// Remembers a sender's send, unless a later one is known.
    pub(crate) fn insert(&mut self, pair: Pair, alien: Alien, now: u64) {
        let (send, answered) = (alien.send, matches!(alien.stage, Stage::Answered(_)));
        match self.of.get_mut(pair) {
            Some(known) if known.send > send => return,
            Some(_) => drop(self.of.insert(pair, alien, now)),
            None => {
                self.by_receiver.insert(turned(pair));
                if let Some(oldest) = self.of.insert(pair, alien, now) {
                    self.by_receiver.remove(&turned(oldest));
                }
            }
        }
        if answered {
            self.keep_answer(pair, send);
        }
    }

    pub(crate) fn get(&self, pair: Pair) -> Option<&Alien> {
        self.of.get(pair)
    }

    pub(crate) fn get_mut(&mut self, pair: Pair) -> Option<&mut Alien> {
        self.of.get_mut(pair)
    }

    /// Whether this send waits for its answer.
    pub(crate) fn waits(&self, pair: Pair, send: Send) -> bool {
        self.of.get(pair).is_some_and(|one| one.send == send && one.stage == Stage::Waits)
    }

    /// A send that waits is answered: where its sender is, and which of its forwards it is. `None`: it does not wait.
    pub(crate) fn answer(
        &mut self,
        pair: Pair,
        transaction: u64,
        answer: &Answer,
        now: u64,
    ) -> Option<(Place, Send)> {
        let waits = |alien: &Alien| alien.send.0 == transaction && alien.stage == Stage::Waits;
        let alien = self.of.touch_if(pair, now, waits)?;
        alien.stage = Stage::Answered(answer.clone());
        let (place, send) = (alien.place, alien.send);
        self.keep_answer(pair, send);
        Some((place, send))
    }

    /// It was heard of.
    pub(crate) fn touch(&mut self, pair: Pair, now: u64) -> Option<&mut Alien> {
        self.of.touch(pair, now)
    }

    /// What a process that moves is to know of those who have sent to it.
    pub(crate) fn leave_with(&mut self, to: Pid) -> Vec<(Pid, Alien)> {
        let senders: Vec<Pid> = self.senders_to(to).collect();
        let mut gone = Vec::with_capacity(senders.len());
        for sender in senders {
            self.by_receiver.remove(&(to, sender));
            gone.extend(self.of.remove((sender, to)).map(|alien| (sender, alien)));
        }
        gone
    }

    /// Who has sent to a process, and may not have heard the answer.
    pub(crate) fn senders_to(&self, to: Pid) -> impl Iterator<Item = Pid> {
        let (first, last) = (Pid::from_bits(0), Pid::from_bits(u128::MAX));
        self.by_receiver.range((to, first)..=(to, last)).map(|(_, sender)| *sender)
    }

    /// A sender is here, or waits no more: what was known of its last send.
    pub(crate) fn close(&mut self, pair: Pair) -> Option<Stage> {
        let alien = self.of.get_mut(pair)?;
        Some(std::mem::replace(&mut alien.stage, Stage::Over))
    }

    /// Who waits for a reply of this process.
    pub(crate) fn clients_of(&self, to: Pid) -> impl Iterator<Item = (Pid, u64)> {
        let alien = move |sender| self.of.get((sender, to)).map(|alien| (sender, alien));
        let aliens = self.senders_to(to).filter_map(alien);
        aliens
            .filter(|(_, alien)| alien.stage == Stage::Waits)
            .map(|(sender, alien)| (sender, alien.send.0))
    }

    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }

    /// Answers to senders of other nodes that have not said that they have heard them.
    pub(crate) fn answers(&self, here: Place) -> usize {
        let kept =
            |alien: &Alien| !alien.place.is_near(here) && matches!(alien.stage, Stage::Answered(_));
        self.of.iter().filter(|(_, alien)| kept(alien)).count()
    }

    fn keep_answer(&mut self, pair: Pair, send: Send) {
        self.answered.push_back((pair, send));
        if self.answered.len() > REPLIES_MAX
            && let Some((oldest, send)) = self.answered.pop_front()
            && let Some(alien) = self.of.get_mut(oldest)
            && alien.send == send
            && matches!(alien.stage, Stage::Answered(_))
        {
            alien.stage = Stage::Answered(Answer::Failed(Status::Unreachable));
        }
    }

    /// Forgets those of whom nothing can be on its way any more. Those of this node that have waited for so long, for one that
    /// is there: who has given up while its word of that was lost, and has met the receiver since, waits for nobody.
    pub(crate) fn tick(
        &mut self,
        here: Place,
        now: u64,
        is_there: impl Fn(Pid) -> bool,
    ) -> Vec<(Pair, Alien)> {
        let mut near = Vec::new();
        let by_receiver = &mut self.by_receiver;
        self.of.expire(now, ALIEN_NS, |pair, alien| {
            let waits =
                alien.place.is_near(here) && alien.stage == Stage::Waits && is_there(pair.1);
            if waits {
                near.push((*pair, alien.clone()));
            } else {
                by_receiver.remove(&turned(*pair));
            }
            !waits
        });
        near
    }
}

fn turned((sender, receiver): Pair) -> Pair {
    (receiver, sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who waits on the node of the receiver is asked after, and not forgotten, as long as that is there.
    #[test]
    fn who_waits_near_by_is_kept_for_a_receiver_that_is_there() {
        let here = Place { node: 1, core: 0 };
        let (sender, receiver) = (Pid::new(1, 1), Pid::new(2, 2));
        for there in [true, false] {
            let mut aliens = Aliens::default();
            let alien = Alien::new(Place { node: 1, core: 1 }, 0, (1, 0));
            aliens.insert((sender, receiver), alien, 0);
            let doubted = aliens.tick(here, 2 * ALIEN_NS, |_| there);
            assert_eq!((doubted.len(), aliens.len()), if there { (1, 1) } else { (0, 0) });
            assert_eq!(aliens.senders_to(receiver).count(), usize::from(there));
        }
    }
}
