//! WASI preview 1, marshalling only: between a guest's memory and the device protocol.
//!
//! Every function is two pure halves. `begin` reads the arguments and the guest's memory and makes
//! a request; `finish` writes the reply into the guest's memory and says the error number. Between
//! them the request is with the devices, and the process may be frozen: it then makes the same call
//! again after the thaw, with the same sequence number, and gets the same reply.
//!
//! Invariants:
//! * `begin` checks every range that `finish` writes to, so a bad pointer is `Errno::Fault` before
//!   anything has happened, and `finish` cannot fail for it: memories do not shrink.
//! * A guest's words are parsed into types here (flags, enumerations, UTF-8 paths without NUL,
//!   lengths within [`peripatos_abi::limits`]); beyond this module they are never raw.
//! * Pointers need not be aligned.
//!
//! What it does not do: it holds no descriptor, knows no WebAssembly engine, and waits for nothing.

mod clock;
mod descriptor;
mod memory;
mod path;
mod poll;
mod socket;
mod strings;
mod table;

pub use strings::Strings;
pub use table::{Args, Begin, Finish, Function, Kind, Parameter, exit_code, find, raised_signal};

/// The module name programs import preview 1 from.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// The export by which a program shows its memory.
pub const MEMORY_EXPORT: &str = "memory";
