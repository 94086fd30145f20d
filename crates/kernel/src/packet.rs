//! What goes from kernel to kernel: to another core as it is, to another node by a link.
//!
//! Its wire form is its serialised form; nodes compare versions when they meet. What has come by a link is an
//! allegation: [`Packet::check`].

use peripatos_abi::Pid;
use peripatos_abi::message::{MESSAGE_BYTES_MAX, Status};
use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::ties::Watch;

/// A kernel: which node's, which core's. A kernel only compares these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The node.
    pub node: u128,
    /// One of its cores.
    pub core: u32,
}

/// One of a kernel's words to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// `from` sends to `to`, and waits.
    Send {
        /// Which of its sends this is.
        transaction: u64,
        /// What.
        message: Bytes,
    },
    /// `to`'s send was replied to by `from`, or has failed.
    Reply {
        /// Which send.
        transaction: u64,
        /// The reply.
        result: Result<Bytes, Status>,
    },
    /// Bits for `to`.
    Notify(u64),
    /// `from` is not here (any more): `to`'s send has to look elsewhere.
    NotHere {
        /// Which send.
        transaction: u64,
        /// What was sent.
        message: Bytes,
    },
    /// `from` watches `to`.
    Watch {
        /// How.
        watch: Watch,
        /// Which of its watches this is.
        number: u64,
    },
    /// `from` does not watch `to` any more.
    Unwatch {
        /// How it did.
        watch: Watch,
        /// This watch, or an earlier one.
        number: u64,
    },
    /// `from`, which `to` watches, has ended.
    Ended {
        /// An [`EndReason`](peripatos_abi::EndReason), as a number.
        reason: u64,
    },
    /// `from` ends `to`, if it has spawned it.
    Kill,
}

/// Why a packet is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// A message or a reply of more than [`MESSAGE_BYTES_MAX`] bytes.
    #[error("a message of {0} bytes, more than {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
}

impl Packet {
    /// Whether what has come by a link keeps to the limits.
    ///
    /// # Errors
    /// See [`PacketError`]: the packet is to be dropped.
    pub fn check(&self) -> Result<(), PacketError> {
        let len = match &self.body {
            Body::Send { message, .. } | Body::NotHere { message, .. } => message.len(),
            Body::Reply { result: Ok(message), .. } => message.len(),
            _ => 0,
        };
        if len > MESSAGE_BYTES_MAX { Err(PacketError::TooLong(len)) } else { Ok(()) }
    }
}
