//! Bytes that claim to be a node's message to another one: the check of the host crate's test `hostile`, for as long as one likes.
#![no_main]

#[allow(dead_code, reason = "valid inputs are the test's")]
#[path = "../../crates/host/tests/hostile/message.rs"]
mod message;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| message::check(bytes));
