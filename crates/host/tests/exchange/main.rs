//! A process and its origin with a network between them, no engine and no sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod behind;
mod gone;
mod network;
mod service;
mod silent;
mod support;
mod traffic;
