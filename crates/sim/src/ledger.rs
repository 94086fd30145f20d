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
    /// What was lent with it.
    pub loan: Option<Loan>,
    /// It is a part of this send to a group.
    pub group: Option<usize>,
    /// Somebody was refused to reply to it, which none should be whose reply would have counted.
    pub refused: bool,
}

impl Sending {
    /// One that has just begun.
    #[must_use]
    pub fn new(from: Id, to: Id, begun: u64) -> Sending {
        Sending {
            from,
            chain: vec![to],
            begun,
            delivered: vec![0],
            replied: None,
            told: None,
            loan: None,
            group: None,
            refused: false,
        }
    }
}

/// What a process has lent with a send.
#[derive(Clone, Debug)]
pub struct Loan {
    /// What is allowed.
    pub rights: u32,
    /// What each byte may be now: one value, or more where it is not known whether something was written.
    pub may_be: Vec<Vec<u8>>,
    /// What each may have been at any time.
    pub was: Vec<Vec<u8>>,
}

/// A send to a group.
#[derive(Clone, Debug)]
pub struct Gathering {
    /// Who has sent.
    pub from: Id,
    /// It waits for all replies, not for the first one.
    pub all: bool,
    /// Its parts among the sends: the first, and how many. They are in the order of the members.
    pub parts: (usize, usize),
    /// Room for replies.
    pub room: u32,
    /// Its sender was told.
    pub told: bool,
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
    /// All sends to groups.
    pub gathers: Vec<Gathering>,
    /// Members of groups, where there are no nodes that know them.
    pub groups: BTreeSet<(usize, Id)>,
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
