//! A console that keeps what is written to it, for the demo and the benches. Standard input is at its end.

use peripatos_host::origin::{Origin, Streams};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Seek as _};

/// What the processes of an origin wrote to their standard output and error.
#[derive(Debug)]
pub(crate) struct Console {
    written: File,
}

/// An origin whose processes write to a console of their own.
pub(crate) fn captured() -> io::Result<(Origin, Console)> {
    let written = File::from(memfd_create("console", MemfdFlags::CLOEXEC)?);
    let files = [File::open("/dev/null")?, written.try_clone()?, written.try_clone()?];
    Ok((Origin::with_streams(Streams::Files(files)), Console { written }))
}

impl Console {
    /// How much was written so far, bytes.
    pub(crate) fn written(&mut self) -> io::Result<u64> {
        self.written.stream_position()
    }

    /// All that was written so far.
    pub(crate) fn contents(&mut self) -> io::Result<Vec<u8>> {
        let length = self.written()?;
        let mut contents = vec![0; length as usize];
        std::os::unix::fs::FileExt::read_exact_at(&self.written, &mut contents, 0)?;
        Ok(contents)
    }
}
