//! Senders of other kernels, as this one knows them.
//!
//! A sender that is elsewhere has an *alien* here (the V kernel's word), named by its pid: which of its sends is under
//! way, for whom, and what was answered. That is the filter of duplicates: a send that comes again finds its alien, and
//! is not delivered twice, or is answered again. It is forgotten when nothing of it can be on its way any more.

use std::collections::VecDeque;

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

/// A sender of another kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Alien {
    pub(crate) place: Place,
    pub(crate) to: Pid,
    pub(crate) send: Send,
    pub(crate) stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// It waits.
    Waits,
    /// It was answered. Kept in case that was lost.
    Answered(Answer),
    /// It has heard the answer, or has gone, or is here itself. Kept because what it has sent may come again.
    Over,
    /// Its receiver has moved, and knows more of it. Kept for the same reason.
    Left,
}

impl Alien {
    pub(crate) fn new(place: Place, to: Pid, send: Send) -> Alien {
        Alien { place, to, send, stage: Stage::Waits }
    }

    /// Whether this send, to that process, waits for its reply.
    pub(crate) fn waits(&self, to: Pid, transaction: u64) -> bool {
        self.to == to && self.send.0 == transaction && self.stage == Stage::Waits
    }
}

/// The senders of other kernels.
#[derive(Debug)]
pub(crate) struct Aliens {
    of: Aged<Pid, Alien>,
    /// Whose answers are kept, oldest first.
    answered: VecDeque<(Pid, Send)>,
}

impl Default for Aliens {
    fn default() -> Aliens {
        Aliens { of: Aged::new(ALIENS_MAX + 1), answered: VecDeque::new() }
    }
}

impl Aliens {
    /// Remembers a sender's send, unless a later one is known.
    pub(crate) fn insert(&mut self, pid: Pid, alien: Alien, now: u64) {
        if self.of.get(pid).is_none_or(|known| known.send <= alien.send) {
            let answered = matches!(alien.stage, Stage::Answered(_));
            let send = alien.send;
            self.of.insert(pid, alien, now);
            if answered {
                self.keep_answer(pid, send);
            }
        }
    }

    pub(crate) fn get(&self, pid: Pid) -> Option<&Alien> {
        self.of.get(pid)
    }

    pub(crate) fn get_mut(&mut self, pid: Pid) -> Option<&mut Alien> {
        self.of.get_mut(pid)
    }

    /// It was heard of.
    pub(crate) fn touch(&mut self, pid: Pid, now: u64) -> Option<&mut Alien> {
        self.of.touch(pid, now)
    }

    /// What a process that moves is to know of those who have sent to it.
    pub(crate) fn leave_with(&mut self, to: Pid) -> Vec<(Pid, Alien)> {
        let mut clients = Vec::new();
        for (pid, alien) in self.of.iter_mut() {
            if alien.to == to && matches!(alien.stage, Stage::Waits | Stage::Answered(_)) {
                clients.push((*pid, alien.clone()));
                alien.stage = Stage::Left;
            }
        }
        clients
    }

    /// A sender is here, or waits no more: what was known of its last send.
    pub(crate) fn close(&mut self, pid: Pid) -> Option<Stage> {
        let alien = self.of.get_mut(pid)?;
        Some(std::mem::replace(&mut alien.stage, Stage::Over))
    }

    /// Who waits for a reply of this process.
    pub(crate) fn clients_of(&self, to: Pid) -> impl Iterator<Item = (Pid, u64)> {
        let waits = move |alien: &Alien| alien.to == to && alien.stage == Stage::Waits;
        self.of
            .iter()
            .filter(move |(_, alien)| waits(alien))
            .map(|(pid, alien)| (*pid, alien.send.0))
    }

    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }

    /// Answers whose senders have not said that they have heard them.
    pub(crate) fn answers(&self) -> usize {
        self.of.iter().filter(|(_, alien)| matches!(alien.stage, Stage::Answered(_))).count()
    }

    pub(crate) fn keep_answer(&mut self, from: Pid, send: Send) {
        self.answered.push_back((from, send));
        if self.answered.len() > REPLIES_MAX
            && let Some((oldest, send)) = self.answered.pop_front()
            && let Some(alien) = self.of.get_mut(oldest)
            && alien.send == send
            && matches!(alien.stage, Stage::Answered(_))
        {
            alien.stage = Stage::Answered(Answer::Failed(Status::Unreachable));
        }
    }

    /// Forgets those of whom nothing can be on its way any more. One that is on this node does not ask.
    pub(crate) fn tick(&mut self, here: Place, now: u64) {
        let may = |alien: &Alien| alien.place.node != here.node || alien.stage != Stage::Waits;
        self.of.expire(now, ALIEN_NS, may);
    }
}
