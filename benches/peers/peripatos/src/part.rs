//! What is said to servants. The first byte of a servant's argument is its part; so is the first byte of a message what
//! is wanted, where there is a choice. Two programs use this, each its half.
#![allow(dead_code, reason = "two programs use it, each its half")]

/// A servant's part: adds up the numbers that it gets (8 bytes, little-endian), and replies with the sum.
pub(crate) const COUNTER: u8 = 1;
/// Brings chameneos together. Its argument goes on with the meetings that are to be (8 bytes).
pub(crate) const MALL: u8 = 2;
/// A fork of a philosopher's.
pub(crate) const FORK: u8 = 3;

/// From the mall: there are no more meetings.
pub(crate) const FADED: u8 = u8::MAX;

/// To a fork: the reply comes when the sender has it.
pub(crate) const TAKE: u8 = 1;
/// To a fork: the sender needs it no more.
pub(crate) const GIVE: u8 = 2;
/// To a fork: how often was it given back? 8 bytes.
pub(crate) const USES: u8 = 3;
