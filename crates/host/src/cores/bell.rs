//! A bell: something that a thread can wait for together with sockets, and others ring.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// See the module. Rung, it can be read from until it is quiet.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    /// A quiet one.
    ///
    /// # Errors
    /// The system has no more of them.
    pub(super) fn new() -> io::Result<Bell> {
        Ok(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(super) fn ring(&self) {
        // It fails only if it was rung 2^64 - 1 times.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub(super) fn quiet(&self) {
        // It fails if nobody has rung.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
