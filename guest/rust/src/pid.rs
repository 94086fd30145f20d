//! The names of processes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::raw;

/// A process, wherever it runs. Whoever has its pid can send to it; it cannot be guessed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(transparent)]
pub struct Pid([u8; 16]);

impl Pid {
    /// One's own.
    #[must_use]
    pub fn own() -> Pid {
        let mut pid = Pid::NOBODY;
        raw::own_pid(&mut pid.0);
        pid
    }

    /// As it goes into a message of bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// What a message of bytes has brought. Bytes that are nobody's pid are nobody.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Pid {
        Pid(bytes)
    }

    /// Nobody's.
    pub(crate) const NOBODY: Pid = Pid([0; 16]);

    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; 16] {
        &mut self.0
    }
}

/// `p81-00f3a9c2d4e5b677`, as `peri ps` calls it; the short form, `{:#}`, is `p81`.
impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_le_bytes(self.0);
        write!(f, "p{}", (bits >> 64) as u64)?;
        if f.alternate() { Ok(()) } else { write!(f, "-{:016x}", bits as u64) }
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
