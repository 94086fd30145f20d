//! What goes from kernel to kernel: to another core as it is, to another node by a link.

use peripatos_abi::Pid;
use peripatos_abi::message::Status;

/// A kernel: which node's, which core's. A kernel only compares these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The node.
    pub node: u128,
    /// One of its cores.
    pub core: u32,
}

/// One of a kernel's words to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The kernel that says it.
    pub source: Place,
    /// The kernel to which it goes; `None`: whichever has the process `to`.
    pub target: Option<Place>,
    /// The process that has sent, or that the word is about.
    pub from: Pid,
    /// The process that it is for.
    pub to: Pid,
    /// What.
    pub body: Body,
}

/// What a packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `from` sends to `to`, and waits.
    Send {
        /// Which of its sends this is.
        transaction: u64,
        /// What.
        message: Vec<u8>,
    },
    /// `to`'s send was replied to by `from`, or has failed.
    Reply {
        /// Which send.
        transaction: u64,
        /// The reply.
        result: Result<Vec<u8>, Status>,
    },
    /// Bits for `to`.
    Notify(u64),
    /// `from` is not here (any more): `to`'s send has to look elsewhere.
    NotHere {
        /// Which send.
        transaction: u64,
        /// What was sent.
        message: Vec<u8>,
    },
}
