//! What has really happened: what processes are told is compared with it.

use std::collections::{BTreeMap, BTreeSet};

use peripatos_abi::message::Status;

use crate::actor::Id;

/// A send.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Who has sent.
    pub from: Id,
    /// To whom, and to whom it was forwarded.
    pub chain: Vec<Id>,
    /// When.
    pub begun: u64,
    /// How often it was delivered, by how often it had been forwarded.
    pub delivered: Vec<u32>,
    /// Whose reply the kernel has taken.
    pub replied: Option<Id>,
    /// What its sender was told.
    pub told: Option<Result<(), Status>>,
}

/// A link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// Who has made it last: the other one may not know of it yet.
    pub by: Id,
    /// When that was.
    pub made: u64,
    /// When it was undone.
    pub undone: Option<u64>,
    /// One of them has been told that the other one has ended, or is lost.
    pub told: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    /// All sends, by number.
    pub sends: Vec<Sending>,
    /// Who watches whom, and has neither been told nor thought better of it.
    pub monitors: BTreeSet<(Id, Id)>,
    /// All pairs that are or were linked, the lower one first.
    pub links: BTreeMap<(Id, Id), Link>,
    /// Children that their parents have wanted ended.
    pub killed: Vec<(Id, Id)>,
    /// Processes whose origins' nodes know of them.
    pub adopted: BTreeSet<Id>,
    /// Processes whose origins were told of their ends.
    pub origins: BTreeSet<Id>,
    /// Processes that have their name, as far as they know.
    pub named: BTreeSet<Id>,
    /// When nodes have last not reached each other.
    pub trouble: Option<u64>,
    /// Which nodes have crashed, and when.
    pub crashes: Vec<(usize, u64)>,
    /// When somebody has last ended or been told that a send has failed: circles may have been broken.
    pub broken: u64,
}

/// A pair of linked processes, the lower one first.
#[must_use]
pub fn pair(one: Id, other: Id) -> (Id, Id) {
    (one.min(other), one.max(other))
}
