//! The origin by its protocol alone: requests in, replies out, no engine.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod duplicates;
mod files;
mod support;
mod survival;
mod waiting;
