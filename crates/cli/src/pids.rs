//! Drawing pids for new processes.

use peripatos_abi::Pid;
use std::fs::File;
use std::io::{self, Read as _};

/// A new pid: its readable number is that of this OS process, so that `peri freeze $!` and `ps` agree.
pub(crate) fn draw() -> io::Result<Pid> {
    let mut random = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(Pid::new(u64::from(std::process::id()), u64::from_le_bytes(random)))
}
