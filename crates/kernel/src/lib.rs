//! One core's kernel: processes that send, receive and reply.
//!
//! After Thoth, V and QNX: *send* blocks until the reply; *receive* blocks until a message comes; *reply* does not
//! block. What is here decides, and copies messages between memories that it is shown; it knows no thread, clock,
//! socket or WebAssembly. Whoever drives it (the host's core, a simulation) runs the processes that it says can go on.
//!
//! Invariants:
//! * A process has one call under way at most, so it is in one [`State`], and a send is named by its sender and the
//!   sender's count of sends.
//! * A message is copied once if its receiver waits for it, or is a server that can be called; otherwise it is kept
//!   until it is received. So nobody needs the memory of a process that is blocked.
//! * Who waits for a process is told when it ends: nobody waits for nobody.
//! * A kernel cannot tell another core from another machine: what leaves it is a [`Packet`].
//! * A pid that was not given cannot be guessed, and what is sent to one that nobody has looks like what is sent to
//!   one who has ended.
//!
//! * What is said to another node is said again until it was heard, and given up in time; what comes again acts once.
//! * Everything that is kept has a limit, and is forgotten in time ([`limits`]).
//!
//! What a host owes it: packets within a node arrive, in order; a packet older than [`limits::PACKET_NS_MAX`] does not;
//! [`Kernel::tick`] is called; a packet without a target goes to whoever has the process, or back ([`Kernel::nobody`]) if
//! surely nobody has, or nowhere, if that is not known; a process that moves is adopted once, there or where it was.
//!
//! What it does not do: decide who runs next, or for how long; find out where a process is ([`Routes`] is told).

mod aged;
mod alien;
mod arrive;
mod ask;
mod budget;
mod buffer;
mod bytes;
mod call;
mod callers;
mod circle;
mod claim;
mod deadlock;
mod dispute;
mod errand;
mod group;
mod groups;
mod kept;
mod kernel;
mod lease;
pub mod limits;
mod lost_name;
mod moving;
mod moving_wire;
mod mutation;
mod names;
mod packet;
mod pass;
mod probe;
mod process;
mod receive;
mod remote;
mod routes;
mod send;
mod serve;
mod table;
mod tick;
mod ties;
mod watch;
mod watch_away;

pub use alien::Answer;
pub use budget::{Budget, FREE_BYTES_MAX, Toll};
pub use bytes::Bytes;
pub use call::Outcome;
pub use circle::Circle;
pub use claim::Concern;
pub use dispute::NameLost;
pub use group::principal;
pub use kept::Kept;
pub use kernel::{Kernel, Woken};
pub use lease::{Access, AccessKind, Lender};
pub use moving::Moving;
pub use moving_wire::DecodeError;
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use names::{NameChange, Names};
pub use packet::{Body, OUTSIDE, Packet, PacketError, Place};
pub use process::{Form, State};
pub use routes::Routes;
pub use send::Sent;
pub use table::{PidMap, Slot};
pub use ties::Watch;
