//! What is said to a fork, and what it says: one byte each.
#![allow(dead_code, reason = "two programs use it, each its part")]

/// "I want you." The reply comes when nobody else has it.
pub(crate) const TAKE: u8 = 1;
/// "Have it back."
pub(crate) const GIVE: u8 = 2;
/// "How often were you used?" 8 bytes.
pub(crate) const COUNT: u8 = 3;
/// "You are not needed any more." No reply.
pub(crate) const END: u8 = 4;

/// "Done."
pub(crate) const DONE: u8 = 0;
/// "That makes no sense."
pub(crate) const REFUSED: u8 = 1;

/// Notified by a table: "leave your place, and come again".
pub(crate) const RISE_BIT: u64 = 1;
/// Notified by a table: "go home".
pub(crate) const HOME_BIT: u64 = 2;
