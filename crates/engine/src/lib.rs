//! The engine: loads a program, runs it as a process, freezes it into an image and thaws it again, on wasmtime.
//!
//! The life of a process here:
//! [`Runtime::load`] turns bytes into [`Code`] (the hot module, compiled or taken from the disk cache);
//! [`Process::spawn`] makes a process of it; [`Process::run`] runs it until it exits, traps or is frozen;
//! [`Process::capture`] makes an [`Image`]; [`Process::thaw`] makes a process of an image, which `run` continues.
//! Another thread holds a [`Control`] and asks for a freeze.
//!
//! Invariants:
//! * A process is deterministic but for what its devices answer, and cannot tell that it has been frozen.
//! * Nothing that comes from a file is believed: an image is checked before anything is allocated or run, compiled
//!   code is only loaded from a cache entry that this user's own secret authenticates.
//! * A freeze never waits for a compilation.
//! * All `unsafe` of the project is in this crate, in the modules that say so on their first lines.
//!
//! What it does not do: open files or read clocks (that is `Devices`, implemented by the host), schedule processes,
//! or know of other nodes.

mod compile;
mod engines;
mod runtime;

pub mod beneath;
mod cache;
mod code;
mod continuations;
mod link;
mod load;
mod metadata;

mod checks;
mod control;
mod flags;
mod handler;
mod hostcalls;
mod limits;
mod pool;
mod process;
mod references;
mod save;
mod state;
mod trap;

mod capture;
mod image;
mod initial;
mod memory;
mod messages;
mod pages;
mod precopy;
mod restore;
mod sleep;
mod values;
mod view;

mod error;
mod executor;
mod timings;
pub mod wasi;

pub use code::{Code, CodeKind, CodeSize, Form, HANDLER_EXPORT, LoadOptions};
pub use control::Control;
pub use error::{ImageError, LoadError, ProcessError, RuntimeError, SpawnError, TrapKind};
pub use executor::block_on;
pub use handler::{Handled, Handler};
pub use image::{IMAGE_CHECKSUM_BYTES, IMAGE_VERSION, Image, ImageLimits, ImagePieces, Outline};
pub use limits::Limits;
pub use messages::{Answer, Messages, Span, Watch};
pub use pool::places;
pub use precopy::{PreCopy, page_tracking};
pub use process::{CaptureOptions, Outcome, Process, ProcessOptions, ThawOptions};
pub use restore::Room;
pub use runtime::{
    Backend, CacheCounts, CacheSettings, RESTORABLE_STACK_SHARE, Runtime, Settings, Warning,
};
pub use sleep::{Sleeping, SleepingHandler, awake};
pub use timings::{FreezeTimings, LoadTimings, ThawTimings};
