//! What can go wrong, and whose fault it is. Every message is one short line that a user can act on.

use std::io;

use peripatos_abi::Pid;

/// A [`crate::Runtime`] could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// wasmtime refuses these settings on this machine.
    #[error("this machine cannot run the engine: {0}")]
    Engine(String),
    /// The compile thread could not be started.
    #[error("cannot start the compile thread: {0}")]
    Thread(#[source] io::Error),
}

/// A program could not be loaded; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are not a WebAssembly module.
    #[error("not a WebAssembly module: {0}")]
    NotWasm(String),
    /// The pass cannot make this program freezable. It may still run plain.
    #[error("cannot be made freezable: {0}")]
    Refused(String),
    /// The program asks for something that is not offered here.
    #[error("it imports {module}.{name} ({kind}), which nobody offers")]
    UnknownImport {
        /// Module part of the import's name.
        module: String,
        /// Name part.
        name: String,
        /// Its type, in words or in the text format.
        kind: String,
    },
    /// A known import with another type than the one offered.
    #[error("it imports {module}.{name} as {found}, but it is {expected}")]
    ImportType {
        /// Module part of the import's name.
        module: String,
        /// Name part.
        name: String,
        /// The type the program wants.
        found: String,
        /// The type that is offered.
        expected: String,
    },
    /// The compiler failed on a valid module.
    #[error("cannot be compiled: {0}")]
    Compile(String),
}

/// A process could not be made of a program or an image; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Its memories or tables could not be allocated, or are larger than the limits allow.
    #[error("cannot start: {0}")]
    Instantiate(String),
    /// A command has to export `_start`.
    #[error("it exports no function `{0}` to start at")]
    NoEntry(String),
    /// The module's form does not fit what was asked for.
    #[error("it is a handler, not a program")]
    Handler,
    /// The image does not fit this program or this build.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A continuation could not be written or compiled.
    #[error("cannot continue: {0}")]
    Continuation(String),
}

/// Why bytes are not an image that can be thawed here. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The first bytes are not an image's.
    #[error("not an image of a process")]
    NotAnImage,
    /// Written by another version of the format.
    #[error("image format version {found}; this build reads {expected}")]
    Version {
        /// The version in the file.
        found: u32,
        /// The version this build reads and writes.
        expected: u32,
    },
    /// The stream ended early.
    #[error("the image is cut short")]
    Truncated,
    /// A checksum, a length or a value is wrong.
    #[error("the image is damaged ({0})")]
    Damaged(&'static str),
    /// A section is larger than the reader's limits.
    #[error("the image is too large ({0})")]
    TooLarge(&'static str),
    /// The image belongs to another program.
    #[error("the image belongs to another program")]
    ForeignModule,
    /// The image was written by a build whose frames are laid out otherwise.
    #[error("the image was made by an incompatible version of the compiler pass")]
    ForeignLayout,
    /// A setting that changes what programs compute differs.
    #[error("the image was made with another setting of {0}")]
    Setting(&'static str),
    /// The image has no program in it and none was given.
    #[error("the image does not carry its program")]
    NoProgram,
    /// A value that only exists inside one host.
    #[error("the process holds a reference to a host object, which cannot be put into an image")]
    HostReference,
    /// The process is not frozen.
    #[error("process {0} is not frozen")]
    NotFrozen(Pid),
    /// Pages were copied of a memory that the program does not have.
    #[error("pages were copied of its memory {index}, but it has {count}")]
    NoMemory {
        /// Which.
        index: usize,
        /// How many it has.
        count: usize,
    },
    /// Pages were copied from behind where a memory can end.
    #[error("pages were copied from behind the end of its memory {0}")]
    BehindMemory(usize),
    /// Since the last round of its copy began the process has slept and woken, or has had to move a memory for it to grow.
    #[error("its memory has moved since it was copied")]
    Moved,
    /// Reading or writing the stream failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// How a process ended other than by exiting. The process is gone.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The guest trapped: its own fault.
    #[error("trap: {message}")]
    Trap {
        /// Which kind.
        kind: TrapKind,
        /// One line.
        message: String,
    },
    /// An exception that nothing caught.
    #[error("uncaught exception")]
    Exception,
    /// A continuation could not be written or compiled: this build's fault.
    #[error("cannot continue: {0}")]
    Continuation(String),
    /// `run` was called on a process that has ended.
    #[error("the process has ended")]
    Ended,
    /// Anything else from the engine: this build's fault.
    #[error("engine failure: {0}")]
    Internal(String),
}

/// Kinds of traps, as far as a user can tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrapKind {
    /// `unreachable`, which is how most languages abort.
    Unreachable,
    /// Access outside of a memory.
    MemoryOutOfBounds,
    /// Access outside of a table.
    TableOutOfBounds,
    /// Indirect call of a null or of a function of another type; a null reference used.
    BadReference,
    /// Division by zero, overflow of a division or a conversion.
    Arithmetic,
    /// Stack overflow.
    StackOverflow,
    /// The save memory is full: the call stack is too deep to be frozen.
    SaveOverflow,
    /// Out of memory inside the engine (exception objects).
    OutOfMemory,
    /// Another trap.
    Other,
}
