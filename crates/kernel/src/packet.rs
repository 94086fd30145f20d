//! What goes from kernel to kernel: to another core as it is, to another node by a link.
//!
//! A link may lose, repeat, reorder and delay packets, up to a limit; the way to another core of the node does not, and
//! keeps their order. A packet's wire form is its serialised form; nodes compare versions when they meet. What has come
//! by a link is an allegation: [`Packet::check`].

use peripatos_abi::Pid;
use peripatos_abi::message::MESSAGE_BYTES_MAX;
use serde::{Deserialize, Serialize};

use crate::alien::Answer;
use crate::budget::Toll;
use crate::bytes::Bytes;
use crate::circle::Circle;
use crate::claim::Concern;
use crate::lease::Access;
use crate::limits::{CIRCLE_PIDS_MAX, RELAYS_MAX};
use crate::ties::Watch;

/// A kernel: which node's, which core's. A kernel only compares these. When a node starts again its kernels are at the same places
/// as those before, which others still know: see the era of [`Kernel::new`](crate::Kernel::new).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The node, as its host counts them.
    pub node: u128,
    /// One of its cores.
    pub core: u32,
}

/// The core of a place that is with a node, and on none of its cores: where a process is that leaves the node.
pub const OUTSIDE: u32 = u32::MAX;

impl Place {
    /// Whether nothing is lost between the two: both are cores of one node.
    pub(crate) fn is_near(self, other: Place) -> bool {
        self.node == other.node && self.core != OUTSIDE && other.core != OUTSIDE
    }
}

/// One of a kernel's words to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// The kernel that says it.
    pub source: Place,
    /// The kernel to which it goes; `None`: whichever has the process `to`. A host that does not know which, and does
    /// not know either that none has, drops it: it will come again.
    pub target: Option<Place>,
    /// The process that has sent, or that the word is about.
    pub from: Pid,
    /// The process that it is for.
    pub to: Pid,
    /// How often `from` had moved when it was said, if its own kernel has said it: of what is said of where it is, the
    /// latest counts.
    pub moved: u32,
    /// How many kernels have passed it on.
    pub relays: u8,
    /// What.
    pub body: Body,
    /// Whose program pays for it while it is on its way within a node.
    #[serde(skip)]
    pub toll: Toll,
}

/// What a packet says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// `from` sends to `to`, and waits.
    Send {
        /// Which of its sends this is.
        transaction: u64,
        /// How often it was forwarded.
        hop: u32,
        /// What.
        message: Bytes,
    },
    /// `from`, which has sent to `to`, asks what has become of it.
    Ask {
        /// Which send.
        transaction: u64,
        /// How often it was forwarded.
        hop: u32,
    },
    /// `to`'s send was answered by `from`, or for it.
    Reply {
        /// Which send.
        transaction: u64,
        /// How often it was forwarded.
        hop: u32,
        /// With what.
        answer: Answer,
    },
    /// `from` waits for the answer to this send no more.
    Over {
        /// Which send.
        transaction: u64,
        /// How often it was forwarded.
        hop: u32,
    },
    /// It has come to `from`.
    Got(Concern),
    /// `from`, for which it was, is not here, but there, or nobody here knows.
    NotHere {
        /// What was for it.
        concern: Concern,
        /// Where it went from here.
        at: Option<Place>,
    },
    /// `from`, for which `to` waits or which it watches, has left the node.
    Moved {
        /// Where it went.
        at: Place,
    },
    /// Bits for `to`.
    Notify {
        /// Which of its kernel's words this is; 0: it need not be acknowledged.
        errand: u64,
        /// The bits.
        bits: u64,
    },
    /// `from` watches `to`.
    Watch {
        /// How.
        watch: Watch,
        /// Which of its watches this is.
        number: u64,
        /// It was acknowledged before.
        again: bool,
    },
    /// `from` does not watch `to` any more.
    Unwatch {
        /// Which of its kernel's words this is; 0: it need not be acknowledged.
        errand: u64,
        /// How it did.
        watch: Watch,
        /// This watch, or an earlier one.
        number: u64,
        /// Of a link: the last one of `to`'s watches that `from`'s kernel had heard of when it was undone.
        theirs: u64,
    },
    /// `from`, which `to` watches, has ended.
    Ended {
        /// An [`EndReason`](peripatos_abi::EndReason), as a number.
        reason: u64,
    },
    /// `from` ends `to`, if it has spawned it.
    Kill {
        /// Which of its kernel's words this is; 0: it need not be acknowledged.
        errand: u64,
    },
    /// `from` waits for `to`, and so does `origin`, directly or through others. Whether a circle closes.
    Probe {
        /// Who looks for one.
        origin: Pid,
        /// What it knows this one by.
        token: u64,
        /// Which of `from`'s sends waits.
        edge: (u64, u32),
        /// Kernels that it has come through.
        steps: u32,
        /// Whom it has met, `from` included.
        passed: Circle,
    },
    /// `from` reads or writes what `to` lends it, and waits.
    Access {
        /// Which of its sends this is.
        transaction: u64,
        /// Never forwarded.
        hop: u32,
        /// What it does.
        access: Access,
        /// What it writes.
        bytes: Bytes,
    },
}

impl Body {
    /// Whether it is of somebody who sends, or hands on what was sent.
    #[must_use]
    pub fn is_call(&self) -> bool {
        matches!(self, Body::Send { .. } | Body::Reply { answer: Answer::Forwarded { .. }, .. })
    }
}

/// Why a packet is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// A message or a reply of more than [`MESSAGE_BYTES_MAX`] bytes.
    #[error("a message of {0} bytes, more than {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
    /// It says that it was passed on more often than it may be.
    #[error("a packet that was passed on {0} times")]
    Relays(u8),
    /// It names more processes than it may.
    #[error("a circle of {0} processes by name, more than {CIRCLE_PIDS_MAX}")]
    Circle(usize),
}

impl Packet {
    /// Whether what has come by a link keeps to the limits.
    ///
    /// # Errors
    /// See [`PacketError`]: the packet is to be dropped.
    pub fn check(&self) -> Result<(), PacketError> {
        let len = match &self.body {
            Body::Send { message, .. } => message.len(),
            Body::Access { access, bytes, .. } => bytes.len().max(access.len as usize),
            Body::Reply { answer, .. } => answer.len(),
            _ => 0,
        };
        if len > MESSAGE_BYTES_MAX {
            return Err(PacketError::TooLong(len));
        }
        if let Body::Probe { passed, .. } = &self.body
            && passed.pids.len() > CIRCLE_PIDS_MAX
        {
            return Err(PacketError::Circle(passed.pids.len()));
        }
        if self.relays > RELAYS_MAX { Err(PacketError::Relays(self.relays)) } else { Ok(()) }
    }

    /// Whose kernel will say it again, unless it is answered.
    pub(crate) fn concern(&self) -> Option<Concern> {
        match self.body {
            Body::Send { transaction, hop, .. }
            | Body::Ask { transaction, hop }
            | Body::Access { transaction, hop, .. } => Some(Concern::Send { transaction, hop }),
            Body::Watch { watch, number, .. } => Some(Concern::Watch { watch, number }),
            Body::Notify { errand, .. } | Body::Unwatch { errand, .. } | Body::Kill { errand } => {
                Some(Concern::Errand { number: errand })
            }
            _ => None,
        }
    }
}
