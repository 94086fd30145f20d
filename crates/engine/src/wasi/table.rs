//! The functions of preview 1 by name: signature and the two halves of each.

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::{DefaultAction, Errno, Signal};

use super::{clock, descriptor, path, poll, socket, strings, strings::Strings};

/// One function of preview 1.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The WebAssembly types of its parameters.
    pub parameters: &'static [Parameter],
    /// How it is served. All but [`Kind::Exit`] return one `i32`: 0 or the error's number.
    pub kind: Kind,
}

/// The WebAssembly type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// `i32`.
    I32,
    /// `i64`.
    I64,
}

/// First half of a device function: makes the request. Nothing has happened when it fails.
pub type Begin = fn(&[u8], Args<'_>) -> Result<Request, Errno>;

/// Second half: writes a reply that is not `Reply::Failed` into the guest's memory.
pub type Finish = fn(&mut [u8], Args<'_>, &Reply) -> Result<(), Errno>;

/// How a function is served.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// From the process's own strings.
    Own(fn(&mut [u8], Args<'_>, &Strings) -> Result<(), Errno>),
    /// By the devices: see [`Function::begin`] and [`Function::finish`].
    Device(Begin, Finish),
    /// The process ends: see [`exit_code`]. Does not return.
    Exit,
    /// The process raises a signal against itself: see [`raised_signal`].
    Raise,
    /// Nothing: the process goes on.
    Yield,
}

/// The arguments of a call: each parameter's bits in a word, an `i32` zero-extended.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a>(&'a [u64]);

impl<'a> Args<'a> {
    /// The arguments in order, as many as the function has parameters.
    #[must_use]
    pub const fn new(words: &'a [u64]) -> Self {
        Self(words)
    }

    pub(super) fn u32(self, index: usize) -> u32 {
        self.0[index] as u32
    }

    pub(super) fn u64(self, index: usize) -> u64 {
        self.0[index]
    }
}

impl Function {
    /// First half of a [`Kind::Device`] function; `Errno::NoSys` for others.
    ///
    /// # Errors
    /// When the arguments are wrong; nothing has happened then, and the error is the call's result.
    pub fn begin(&self, memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
        match self.kind {
            Kind::Device(begin, _) => begin(memory, args),
            _ => Err(Errno::NoSys),
        }
    }

    /// Second half of a [`Kind::Device`] function: the number the call returns, 0 for success.
    pub fn finish(&self, memory: &mut [u8], args: Args<'_>, reply: &Reply) -> u16 {
        let result = match (self.kind, reply) {
            (_, Reply::Failed(errno)) => Err(*errno),
            (Kind::Device(_, finish), reply) => finish(memory, args, reply),
            _ => Err(Errno::NoSys),
        };
        result.map_or_else(Errno::code, |()| Errno::SUCCESS)
    }
}

/// The function of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
}

/// The exit code of a [`Kind::Exit`] call.
#[must_use]
pub fn exit_code(args: Args<'_>) -> u32 {
    args.u32(0)
}

/// The signal by which a [`Kind::Raise`] call ends the process; `None` where it does nothing.
///
/// # Errors
/// `Errno::Inval`: there is no such signal.
pub fn raised_signal(args: Args<'_>) -> Result<Option<Signal>, Errno> {
    let code = u8::try_from(args.u32(0)).map_err(|_| Errno::Inval)?;
    let signal = Signal::from_code(code).ok_or(Errno::Inval)?;
    Ok((signal.default_action() != DefaultAction::Ignore).then_some(signal))
}

/// A reply without content.
fn done(_: &mut [u8], _: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    if *reply == Reply::Done { Ok(()) } else { Err(Errno::Io) }
}

const fn device(
    name: &'static str,
    parameters: &'static [Parameter],
    begin: Begin,
    finish: Finish,
) -> Function {
    Function { name, parameters, kind: Kind::Device(begin, finish) }
}

const fn other(name: &'static str, parameters: &'static [Parameter], kind: Kind) -> Function {
    Function { name, parameters, kind }
}

use Parameter::{I32, I64};

/// All of preview 1, by name.
#[rustfmt::skip]
static FUNCTIONS: [Function; 46] = [
    other("args_get", &[I32, I32], Kind::Own(strings::args_get)),
    other("args_sizes_get", &[I32, I32], Kind::Own(strings::args_sizes_get)),
    device("clock_res_get", &[I32, I32], clock::begin_resolution, clock::finish_resolution),
    device("clock_time_get", &[I32, I64, I32], clock::begin_time, clock::finish_time),
    other("environ_get", &[I32, I32], Kind::Own(strings::environ_get)),
    other("environ_sizes_get", &[I32, I32], Kind::Own(strings::environ_sizes_get)),
    device("fd_advise", &[I32, I64, I64, I32], descriptor::begin_advise, done),
    device("fd_allocate", &[I32, I64, I64], descriptor::begin_allocate, done),
    device("fd_close", &[I32], descriptor::begin_close, done),
    device("fd_datasync", &[I32], descriptor::begin_datasync, done),
    device("fd_fdstat_get", &[I32, I32], descriptor::begin_fdstat_get, descriptor::finish_fdstat_get),
    device("fd_fdstat_set_flags", &[I32, I32], descriptor::begin_set_flags, done),
    device("fd_fdstat_set_rights", &[I32, I64, I64], descriptor::begin_set_rights, done),
    device("fd_filestat_get", &[I32, I32], descriptor::begin_filestat_get, descriptor::finish_filestat_get),
    device("fd_filestat_set_size", &[I32, I64], descriptor::begin_set_size, done),
    device("fd_filestat_set_times", &[I32, I64, I64, I32], descriptor::begin_set_times, done),
    device("fd_pread", &[I32, I32, I32, I64, I32], descriptor::begin_pread, descriptor::finish_pread),
    device("fd_prestat_dir_name", &[I32, I32, I32], descriptor::begin_prestat_name, descriptor::finish_prestat_name),
    device("fd_prestat_get", &[I32, I32], descriptor::begin_prestat_get, descriptor::finish_prestat_get),
    device("fd_pwrite", &[I32, I32, I32, I64, I32], descriptor::begin_pwrite, descriptor::finish_pwrite),
    device("fd_read", &[I32, I32, I32, I32], descriptor::begin_read, descriptor::finish_read),
    device("fd_readdir", &[I32, I32, I32, I64, I32], descriptor::begin_readdir, descriptor::finish_readdir),
    device("fd_renumber", &[I32, I32], descriptor::begin_renumber, done),
    device("fd_seek", &[I32, I64, I32, I32], descriptor::begin_seek, descriptor::finish_seek),
    device("fd_sync", &[I32], descriptor::begin_sync, done),
    device("fd_tell", &[I32, I32], descriptor::begin_tell, descriptor::finish_tell),
    device("fd_write", &[I32, I32, I32, I32], descriptor::begin_write, descriptor::finish_write),
    device("path_create_directory", &[I32, I32, I32], path::begin_create_directory, done),
    device("path_filestat_get", &[I32, I32, I32, I32, I32], path::begin_filestat_get, path::finish_filestat_get),
    device("path_filestat_set_times", &[I32, I32, I32, I32, I64, I64, I32], path::begin_set_times, done),
    device("path_link", &[I32, I32, I32, I32, I32, I32, I32], path::begin_link, done),
    device("path_open", &[I32, I32, I32, I32, I32, I64, I64, I32, I32], path::begin_open, path::finish_open),
    device("path_readlink", &[I32, I32, I32, I32, I32, I32], path::begin_readlink, path::finish_readlink),
    device("path_remove_directory", &[I32, I32, I32], path::begin_remove_directory, done),
    device("path_rename", &[I32, I32, I32, I32, I32, I32], path::begin_rename, done),
    device("path_symlink", &[I32, I32, I32, I32, I32], path::begin_symlink, done),
    device("path_unlink_file", &[I32, I32, I32], path::begin_unlink_file, done),
    device("poll_oneoff", &[I32, I32, I32, I32], poll::begin, poll::finish),
    other("proc_exit", &[I32], Kind::Exit),
    other("proc_raise", &[I32], Kind::Raise),
    device("random_get", &[I32, I32], clock::begin_random, clock::finish_random),
    other("sched_yield", &[], Kind::Yield),
    device("sock_accept", &[I32, I32, I32], socket::begin_accept, socket::finish_accept),
    device("sock_recv", &[I32, I32, I32, I32, I32, I32], socket::begin_recv, socket::finish_recv),
    device("sock_send", &[I32, I32, I32, I32, I32], socket::begin_send, socket::finish_send),
    device("sock_shutdown", &[I32, I32], socket::begin_shutdown, done),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found() {
        assert!(FUNCTIONS.is_sorted_by(|left, right| left.name < right.name));
        for function in &FUNCTIONS {
            assert_eq!(find(function.name).map(|found| found.name), Some(function.name));
        }
        assert!(find("fd_fly").is_none());
    }

    #[test]
    fn bad_pointers_fault_before_a_request_is_made() {
        // All words -1: every pointer and length is out of any memory.
        for function in &FUNCTIONS {
            let Kind::Device(begin, _) = function.kind else { continue };
            let result = begin(&[0; 64], Args::new(&[u64::from(u32::MAX); 9]));
            let takes_pointer = !matches!(
                function.name,
                "fd_allocate"
                    | "fd_close"
                    | "fd_datasync"
                    | "fd_fdstat_set_rights"
                    | "fd_filestat_set_size"
                    | "fd_renumber"
                    | "fd_sync"
            );
            assert_eq!(result.is_err(), takes_pointer, "{}", function.name);
        }
    }

    #[test]
    fn signals() {
        assert_eq!(raised_signal(Args::new(&[6])), Ok(Some(Signal::Abrt)));
        assert_eq!(raised_signal(Args::new(&[16])), Ok(None));
        assert_eq!(raised_signal(Args::new(&[31])), Err(Errno::Inval));
        assert_eq!(raised_signal(Args::new(&[256 + 6])), Err(Errno::Inval));
    }
}
