//! Making processes.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Pid, buffers, raw};

/// A process of this program, which is to be made with [`Spawn::start`]: a name that the run knows
/// (`peri run --with NAME=FILE`), or nothing for the caller's own program.
pub fn spawn(program: &str) -> Spawn {
    Spawn { program: program.as_bytes().to_vec(), ..Spawn::default() }
}

/// A process that is to be made.
#[derive(Clone, Debug, Default)]
#[must_use = "call start()"]
pub struct Spawn {
    program: Vec<u8>,
    args: Vec<u8>,
    argument: Vec<u8>,
    /// Why it cannot be made.
    error: Option<Error>,
}

impl Spawn {
    /// Of the program with this content hash.
    pub fn hash(hash: &[u8; 32]) -> Spawn {
        Spawn { program: hash.to_vec(), ..Spawn::default() }
    }

    /// Another argument as a command has them ([`std::env::args`]).
    pub fn arg(mut self, arg: &str) -> Spawn {
        self.args.extend(arg.bytes().filter(|byte| *byte != 0));
        self.args.push(0);
        self
    }

    /// Other arguments.
    pub fn args<'a>(self, args: impl IntoIterator<Item = &'a str>) -> Spawn {
        args.into_iter().fold(self, Spawn::arg)
    }

    /// What [`argument`] is to give it, encoded with postcard.
    pub fn argument<T: Serialize + ?Sized>(mut self, argument: &T) -> Spawn {
        match postcard::to_allocvec(argument) {
            Ok(bytes) => self.argument = bytes,
            Err(error) => self.error = Some(error.into()),
        }
        self
    }

    /// What [`argument_bytes`] is to give it.
    pub fn argument_bytes(mut self, argument: &[u8]) -> Spawn {
        self.argument = argument.to_vec();
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// [`Error::NoProgram`], [`Error::TooMany`], [`Error::TooLong`] (over 64 KiB of arguments), [`Error::NotPermitted`].
    pub fn start(&self) -> Result<Pid, Error> {
        match self.error {
            Some(error) => Err(error),
            None => start(&self.program, &self.args, &self.argument),
        }
    }
}

fn start(program: &[u8], args: &[u8], argument: &[u8]) -> Result<Pid, Error> {
    let mut pid = Pid::NOBODY;
    Error::check(raw::spawn(program, args, argument, pid.bytes_mut()))?;
    Ok(pid)
}

/// Who has spawned this process. `None`: somebody outside.
#[must_use]
pub fn parent() -> Option<Pid> {
    let mut pid = Pid::NOBODY;
    raw::parent(pid.bytes_mut());
    Some(pid).filter(|pid| *pid != Pid::NOBODY)
}

/// What this process was given when it was spawned.
///
/// # Errors
/// [`Error::Misunderstood`]: nothing, or a value of another type.
pub fn argument<T: DeserializeOwned>() -> Result<T, Error> {
    with_argument(|bytes| Ok(postcard::from_bytes(bytes)?))
}

/// The bytes that this process was given when it was spawned.
#[must_use]
pub fn argument_bytes() -> Vec<u8> {
    with_argument(<[u8]>::to_vec)
}

fn with_argument<R>(act: impl FnOnce(&[u8]) -> R) -> R {
    buffers::for_call(|buffer| {
        // It fits, always.
        let len = Error::check(raw::argument(buffer)).unwrap_or(0);
        act(&buffer[..len])
    })
}

/// Begins the argument of a process that runs a function: then come two function addresses and the function's argument.
const FUNCTION: &[u8; 8] = b"\0peri:fn";

/// Reads the argument of a function and gives what is to be called.
type Prepare = fn(usize, &[u8]) -> Option<Box<dyn FnOnce()>>;

/// Makes a process of this program that runs this function, and then ends. The program's `main` has the attribute
/// [`peripatos::main`](crate::main).
///
/// ```no_run
/// fn worker(number: u32) {
///     println!("worker {number}");
/// }
///
/// #[peripatos::main]
/// fn main() -> Result<(), peripatos::Error> {
///     peripatos::spawn_fn(worker, &7)?;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// As [`Spawn::start`].
///
/// # Panics
/// `main` has not the attribute: the process would begin in it, and not in the function.
pub fn spawn_fn<A>(function: fn(A), argument: &A) -> Result<Pid, Error>
where
    A: Serialize + DeserializeOwned + 'static,
{
    assert!(BEGUN.get(), "put #[peripatos::main] before fn main");
    let prepare: Prepare = prepare::<A>;
    let mut message = [0; 16];
    message[..8].copy_from_slice(FUNCTION);
    message[8..12].copy_from_slice(&(prepare as usize as u32).to_le_bytes());
    message[12..].copy_from_slice(&(function as usize as u32).to_le_bytes());
    buffers::for_call(|buffer| {
        buffer[..16].copy_from_slice(&message);
        let len = 16 + postcard::to_slice(argument, &mut buffer[16..])?.len();
        start(b"", b"", &buffer[..len])
    })
}

fn prepare<A: DeserializeOwned + 'static>(
    function: usize,
    argument: &[u8],
) -> Option<Box<dyn FnOnce()>> {
    // SAFETY: `spawn_fn` has written both addresses, and knew the type.
    let function: fn(A) = unsafe { raw::function(function) };
    let argument: A = postcard::from_bytes(argument).ok()?;
    Some(Box::new(move || function(argument)))
}

thread_local! {
    static BEGUN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// What [`peripatos::main`](crate::main) does first: runs the function of a process that was made for one. `false`: it is
/// to go on with `main`.
#[doc(hidden)]
pub fn begin() -> bool {
    BEGUN.set(true);
    let function = with_argument(|bytes| {
        let rest = bytes.strip_prefix(FUNCTION)?;
        let (prepare, rest) = rest.split_first_chunk()?;
        let (function, argument) = rest.split_first_chunk()?;
        let [prepare, function] = [*prepare, *function].map(|at| u32::from_le_bytes(at) as usize);
        // SAFETY: such an argument is made by `spawn_fn` of this program only: whoever else may spawn it could as well
        // give it another program.
        let prepare: Prepare = unsafe { raw::function(prepare) };
        prepare(function, argument)
    });
    function.map(|run| run()).is_some()
}
