//! Two nodes through the binary, as a user has them: they are joined with the line that the first one prints, programs
//! walk between them, and whatever breaks, a program is there once or somebody is told.
//!
//! Nothing here sleeps in place of knowing: what another OS process does is looked for, a bounded number of times. Only
//! the moment of a disturbance is drawn.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod balance;
mod deaths;
mod devices;
mod directory;
mod discovery;
mod etcd;
mod fake;
mod families;
mod farewell;
mod issuers;
mod joining;
mod leases;
mod liars;
mod links;
mod memories;
mod moves;
mod names;
mod origins;
mod program;
mod promises;
mod raw;
mod removal;
mod restarts;
mod strangers;
mod support;
mod talking;
mod targets;
mod tokens;
mod wires;
#[path = "../../../engine/tests/engine/writer.rs"]
mod writer;
mod writes;
