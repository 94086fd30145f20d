//! Processes that talk, on one thread: programs in the text format, a kernel, and whoever can go on is run.
#![allow(clippy::unwrap_used, reason = "a test ends where anything is missing")]

mod crew;
mod groups;
mod handlers;
mod leases;
mod programs;
mod talking;
