//! The engine on whole programs: one binary, so that wasmtime is linked once.

#![allow(clippy::unwrap_used, reason = "a test ends where anything is missing")]

mod cache;
mod common;
mod control;
mod deep;
mod errors;
mod handlers;
mod identity;
mod images;
mod memories;
mod pool;
mod precopy;
mod sleep;
mod writer;
