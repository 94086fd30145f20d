//! A node among nodes, as a state machine: membership, where processes are, and the phases of a migration.
//!
//! Decides and never acts: time, messages and what the local cores report come in as [`Event`]s, what is to be done
//! goes out as [`Action`]s. Images, programs and device requests do not pass through here, only the decisions about
//! them; a host carries these out on threads and sockets, a simulation on virtual time.
//!
//! Start at [`Node::handle`]; a migration is in `source` and `target`.

mod datagram;
mod event;
mod explain;
mod identity;
mod issuers;
pub mod journal;
mod kept;
mod lane;
mod lease;
pub mod limits;
pub mod membership;
pub mod message;
mod mutation;
mod node;
pub mod promises;
mod time;
mod tokens;

mod balance;
mod command;
mod deadlocks;
mod directory;
mod families;
mod farewell;
mod heard;
mod homes;
mod links;
mod lookup;
mod luggage;
mod origins;
mod peers;
mod placement;
mod precopy;
mod preferences;
mod processes;
mod reach;
mod removed;
mod requests;
mod rows;
mod settle;
mod source;
mod starts;
mod strays;
mod survey;
mod target;
mod together;
mod traffic;

pub use datagram::Datagram;
pub use deadlocks::deadlock_text;
pub use event::{Action, Config, Event, Peer, Request, RequestId, Response, Sample};
pub use farewell::{Departure, OwnProof};
pub use identity::{Incarnation, NodeId};
pub use issuers::{IssuerStep, issuer_step};
pub use kept::Kept;
pub use lease::{Fenced, LeaseState, LeaseStep, LeaseTerms, NodeLease};
pub use lookup::Lookup;
pub use message::RowOfNode;
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use node::Node;
pub use placement::{Label, Labels, Placement};
pub use precopy::{PreCopied, Round};
pub use removed::{Proof, Removal, Signature};
pub use strays::{Step, Strays};
pub use time::Time;
pub use tokens::{Certified, Identity, Secret, Tokens};
pub use traffic::Talks;
