//! Names of processes.

use crate::{Error, Pid, raw};

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 256;

/// A name of this process is somebody else's from now on: both had it, on nodes that had not heard of each other, and the other
/// one's pid is the lower one. Who looks the name up finds that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameLost {
    /// Which.
    pub name: String,
    /// Who has it.
    pub owner: Pid,
}

impl NameLost {
    pub(crate) fn new(name: &[u8], owner: Pid) -> NameLost {
        NameLost { name: String::from_utf8_lossy(name).into_owned(), owner }
    }
}

/// Gives the calling process a name. It may lose it again, and is told then: [`Received::NameLost`](crate::Received).
///
/// # Errors
/// [`Error::NameTaken`], [`Error::TooLong`] (over 256 bytes), [`Error::NotPermitted`], [`Error::TooMany`] (it has 4,096).
pub fn register(name: &str) -> Result<(), Error> {
    Error::check(raw::register(name.as_bytes())).map(drop)
}

/// Gives up a name of the calling process. A process that ends does so with all of its names.
///
/// # Errors
/// [`Error::NoName`]: it has none such.
pub fn unregister(name: &str) -> Result<(), Error> {
    Error::check(raw::unregister(name.as_bytes())).map(drop)
}

/// Finds the process of this name.
///
/// # Errors
/// [`Error::NoName`], [`Error::NotPermitted`].
pub fn lookup(name: &str) -> Result<Pid, Error> {
    let mut pid = Pid::NOBODY;
    Error::check(raw::lookup(name.as_bytes(), pid.bytes_mut()))?;
    Ok(pid)
}

/// All names that begin so, in the order of their bytes, each as it is when it is come to.
#[must_use]
pub fn names(prefix: &str) -> Names<'_> {
    Names { prefix, after: Vec::new() }
}

/// See [`names`].
#[derive(Debug)]
pub struct Names<'a> {
    prefix: &'a str,
    after: Vec<u8>,
}

impl Iterator for Names<'_> {
    type Item = (String, Pid);

    fn next(&mut self) -> Option<(String, Pid)> {
        let (mut name, mut pid) = ([0; NAME_BYTES_MAX], Pid::NOBODY);
        let answer =
            raw::next_name(self.prefix.as_bytes(), &self.after, &mut name, pid.bytes_mut());
        let len = Error::check(answer).ok()?;
        self.after = name[..len].to_vec();
        Some((String::from_utf8_lossy(&self.after).into_owned(), pid))
    }
}
