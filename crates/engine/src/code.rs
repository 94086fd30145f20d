//! A loaded program: its bytes, its compiled hot module, and the continuations made of it so far.

use crate::LoadTimings;

/// The export that makes a module a handler server instead of a program.
pub const HANDLER_EXPORT: &str = "peripatos_handle";

/// What kind of process a module becomes; follows from its exports, never from a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Runs on a fiber of its own and may block in host calls.
    Program,
    /// Exports [`HANDLER_EXPORT`]: is called for each message on the caller's stack; unwinds and is parked where a
    /// program would block.
    Handler,
}

/// Whether a program was loaded to be freezable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeKind {
    /// Rewritten by the pass: can be frozen at every check.
    Hot,
    /// Rewritten, and every check counts down: freezes at each N-th (`ProcessOptions::freeze_every`).
    CountDown,
    /// As it came: cannot be frozen.
    Plain,
}

/// How to load a program.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Hot, counting, or plain.
    pub kind: CodeKind,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions { kind: CodeKind::Hot }
    }
}

/// Sizes of a loaded program.
#[derive(Clone, Copy, Debug, Default)]
pub struct CodeSize {
    /// Bytes of the original module.
    pub original_bytes: usize,
    /// Bytes of machine code of the module that runs.
    pub machine_code_bytes: usize,
}

/// A loaded program, shared by all processes made of it. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Code {}

impl Code {
    /// blake3 of the original bytes.
    pub fn hash(&self) -> [u8; 32] {
        todo!()
    }

    /// The original bytes.
    pub fn original(&self) -> &[u8] {
        todo!()
    }

    /// Program or handler.
    pub fn form(&self) -> Form {
        todo!()
    }

    /// How it was loaded.
    pub fn kind(&self) -> CodeKind {
        todo!()
    }

    /// What loading it took.
    pub fn timings(&self) -> LoadTimings {
        todo!()
    }

    /// How large it is.
    pub fn size(&self) -> CodeSize {
        todo!()
    }
}
