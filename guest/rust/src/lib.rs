//! Peripatos for Rust: a program is a process, which can make others and talk to them, wherever they run.
//!
//! An ordinary program with the standard library, built for `wasm32-wasip1` and run by `peri run`. The book with examples
//! is the README of this crate; what the calls mean in detail is in docs/messages.md of the project.
//!
//! * [`service`] makes typed calls of a trait: a client, and two ways to serve it ([`handler!`], [`serve`]).
//! * [`send`], [`receive`], [`notify`] and a message's [`Caller`] are the messages themselves: bytes.
//! * [`send_lending`] shows the receiver more than a message holds; [`Caller::read_lease`] reads it.
//! * [`spawn`] and [`spawn_fn`] make processes; [`monitor`] and [`link`] tell how they end.
//! * [`register`] and [`lookup`] give them names; [`join`] makes them members of groups, [`send_all`] asks all of one.
//! * [`devices`] is whoever serves files, streams and clocks, to be sent to.
//! * Time is the standard library's: [`std::time::Instant`], [`std::thread::sleep`], and [`receive_timeout`].

mod buffers;
mod devices;
mod end;
mod error;
mod group;
mod lease;
mod message;
mod names;
mod pid;
#[doc(hidden)]
pub mod raw;
mod spawn;
#[doc(hidden)]
pub mod typed;

pub use devices::devices;
pub use end::{End, Ended, end, link, monitor, unlink, unmonitor};
pub use error::Error;
pub use group::{GROUP_MEMBERS_MAX, Replies, join, leave, members, send_all, send_any};
pub use lease::{send_lending, send_lending_mut};
pub use message::{
    Caller, MESSAGE_BYTES_MAX, Message, Received, notify, receive, receive_from, receive_timeout,
    send, send_value,
};
pub use names::{NameLost, Names, lookup, names, register, unregister};
pub use peripatos_macros::{main, service};
pub use pid::Pid;
#[doc(hidden)]
pub use spawn::begin;
pub use spawn::{Spawn, argument, argument_bytes, parent, spawn, spawn_fn};
pub use typed::{Event, Interface, Reply, caller, serve, serve_events};

#[doc(hidden)]
pub use serde;
