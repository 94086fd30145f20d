//! Bytes that claim to be packets of message kernels: the check of the host crate's test `hostile`, for as long as one likes.
#![no_main]

#[allow(dead_code, reason = "valid inputs are the test's")]
#[path = "../../crates/host/tests/hostile/packet.rs"]
mod packet;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| packet::check(bytes));
