//! The image of a frozen process: everything it is, as data.
//!
//! Invariants:
//! * an image names its program by hash and its frame layout by the pass's layout hash; it is thawed
//!   only where both fit;
//! * it is plain data: no pointer, no handle of a host; the same image can be thawed any number of
//!   times;
//! * in memory it may say anything; [`crate::Process::thaw`] checks it against the program.
//!
//! [`stream`] is its form as bytes.

mod checksum;
mod contents;
mod frames;
mod outline;
mod reader;
pub(crate) mod squeeze;
mod stream;

use std::sync::Arc;

use peripatos_abi::Pid;

use crate::wasi::Strings;

pub use checksum::IMAGE_CHECKSUM_BYTES;
pub(crate) use frames::{Frames, walk};
pub use outline::{ImagePieces, Outline};
pub(crate) use reader::Parser;
pub use stream::{IMAGE_VERSION, ImageLimits};

/// Granularity of memory contents in an image, bytes.
pub(crate) const PAGE_BYTES: usize = 4096;

/// A frozen process as data: thaw it here or elsewhere, now or later, once or often.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub(crate) module: [u8; 32],
    pub(crate) layout: [u8; 32],
    pub(crate) canonical_nan: bool,
    pub(crate) pid: Pid,
    /// Number of the request that the process makes next, or makes again.
    pub(crate) sequence: u64,
    pub(crate) stage: Stage,
    /// Of a handler: where in its memory messages are put, and how many bytes.
    pub(crate) buffer: (u32, u32),
    pub(crate) strings: Strings,
    pub(crate) memories: Vec<MemoryImage>,
    pub(crate) globals: Vec<GlobalImage>,
    pub(crate) tables: Vec<TableImage>,
    pub(crate) exceptions: Vec<ExceptionImage>,
    /// The save memory from the dropped-segment flags to the stack pointer.
    pub(crate) save: Vec<u8>,
    pub(crate) frame_count: usize,
    pub(crate) devices: Vec<u8>,
    pub(crate) program: Option<Arc<[u8]>>,
}

/// Which of a program's entries runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The start function.
    Start,
    /// The entry.
    Main,
    /// The start function of a process that another one has spawned.
    StartSpawned,
    /// Its entry, in programs that have one for it.
    Spawned,
}

impl Stage {
    /// What comes after the start function. `None`: this is an entry.
    pub(crate) fn next(self) -> Option<Stage> {
        match self {
            Stage::Start => Some(Stage::Main),
            Stage::StartSpawned => Some(Stage::Spawned),
            Stage::Main | Stage::Spawned => None,
        }
    }
}

/// One linear memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryImage {
    /// Its size in pages of WebAssembly (64 KiB).
    pub(crate) size: u64,
    /// Where `bytes` lie, ascending, apart; all else is zero.
    pub(crate) runs: Vec<Run>,
    /// The contents of the runs, one after another.
    pub(crate) bytes: Vec<u8>,
}

/// Some neighbouring pages of [`PAGE_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Run {
    /// Where its contents lie in its memory.
    pub(crate) fn bytes(self) -> std::ops::Range<usize> {
        let start = self.first as usize * PAGE_BYTES;
        start..start + self.count as usize * PAGE_BYTES
    }
}

/// A mutable global.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GlobalImage {
    pub(crate) index: u32,
    pub(crate) value: Value,
}

/// A table that the program can change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TableImage {
    pub(crate) index: u32,
    pub(crate) elements: Vec<Value>,
}

/// A value outside of memories. Floating-point numbers are kept as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
    V128(u128),
    /// Position in the program's table of functions plus one; 0: null.
    Func(u32),
    /// Only null can be put into an image.
    ExternNull,
    /// Position in the image's list of exceptions plus one; 0: null.
    Exn(u32),
}

/// An exception object that a frame, a global, a table or another exception refers to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExceptionImage {
    /// By what handle frames name it.
    pub(crate) handle: u32,
    /// Index of its tag.
    pub(crate) tag: u32,
    pub(crate) fields: Vec<Value>,
}

impl Image {
    /// blake3 of the original module.
    pub fn module_hash(&self) -> [u8; 32] {
        self.module
    }

    /// The original module, if the image carries it.
    pub fn program(&self) -> Option<Arc<[u8]>> {
        self.program.clone()
    }

    /// The name the process had.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its arguments.
    pub fn args(&self) -> &[Vec<u8>] {
        &self.strings.args
    }

    /// Whether it ran with canonical NaNs: the runtime that thaws it must do the same.
    pub fn canonical_nan(&self) -> bool {
        self.canonical_nan
    }

    /// What the devices put in.
    pub fn devices(&self) -> &[u8] {
        &self.devices
    }

    /// Bytes of memory contents in the image.
    pub fn memory_bytes(&self) -> u64 {
        self.memories.iter().map(|memory| memory.bytes.len() as u64).sum()
    }

    /// Frames of the call stack.
    pub fn frames(&self) -> usize {
        self.frame_count
    }
}
