//! The directory in which this user's running processes can be found: `XDG_RUNTIME_DIR/peripatos`, or
//! `/tmp/peripatos-UID` where there is none. One socket a process, named `PID.sock`.

use super::{ControlError, Status, client};
use peripatos_abi::Pid;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a peer may take for each read or write before it counts as dead.
const PEER_SECONDS_MAX: u64 = 10;
/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// A private directory that was found to be private.
#[derive(Clone, Debug)]
pub struct RuntimeDirectory {
    path: PathBuf,
}

/// One process in the directory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub pid: Pid,
    /// What it says about itself; `None`: it did not answer in time.
    pub status: Option<Status>,
}

impl RuntimeDirectory {
    /// The directory of this user; made if absent. Errors: it cannot be made, or others could get at it.
    pub fn open() -> Result<RuntimeDirectory, ControlError> {
        let user = rustix::process::geteuid().as_raw();
        let path = match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(base) if Path::new(&base).is_absolute() && Path::new(&base).is_dir() => {
                PathBuf::from(base).join("peripatos")
            }
            _ => PathBuf::from(format!("/tmp/peripatos-{user}")),
        };
        RuntimeDirectory::open_at(path)
    }

    /// The same at a path of the caller's choice.
    pub fn open_at(path: PathBuf) -> Result<RuntimeDirectory, ControlError> {
        let failed = |cause| ControlError::Directory { path: path.clone(), cause };
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let found = fs::symlink_metadata(&path).map_err(failed)?;
        let refused = |reason| Err(ControlError::NotPrivate { path: path.clone(), reason });
        if !found.is_dir() {
            return refused("is not a directory");
        }
        if found.uid() != rustix::process::geteuid().as_raw() {
            return refused("belongs to another user");
        }
        if found.mode() & OTHERS != 0 {
            return refused("others may enter it (wanted: mode 0700)");
        }
        Ok(RuntimeDirectory { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The processes in it, by pid; sockets that nobody answers any more are removed.
    pub fn processes(&self) -> Result<Vec<Entry>, ControlError> {
        let failed = |cause| ControlError::Directory { path: self.path.clone(), cause };
        let mut entries = Vec::new();
        for found in fs::read_dir(&self.path).map_err(failed)? {
            let name = found.map_err(failed)?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.strip_suffix(".sock")?.parse().ok())
            else {
                continue;
            };
            match self.connect(pid) {
                Ok(stream) => entries.push(Entry { pid, status: client::status_on(stream).ok() }),
                Err(ControlError::NoProcess) => {}
                Err(_) => entries.push(Entry { pid, status: None }),
            }
        }
        entries.sort_by_key(|entry| entry.pid);
        Ok(entries)
    }

    /// Connects to a process. Errors: [`ControlError::NoProcess`], and then its socket is gone too.
    pub(super) fn connect(&self, pid: Pid) -> Result<UnixStream, ControlError> {
        let socket = self.socket(pid);
        match UnixStream::connect(&socket) {
            Ok(stream) => {
                limit_waiting(&stream)?;
                Ok(stream)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Err(ControlError::NoProcess),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let _ = fs::remove_file(&socket);
                Err(ControlError::NoProcess)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Claims a pid's name: a socket that listens before it can be found, and never takes the name of one that lives.
    pub(super) fn claim(&self, pid: Pid) -> Result<(UnixListener, PathBuf), ControlError> {
        let socket = self.socket(pid);
        let hidden = self.path.join(format!(".{}-{}", std::process::id(), pid));
        let _ = fs::remove_file(&hidden);
        let listener = UnixListener::bind(&hidden)?;
        let linked = fs::hard_link(&hidden, &socket).or_else(|error| {
            let taken = error.kind() == ErrorKind::AlreadyExists;
            match taken.then(|| self.connect(pid)) {
                None => Err(ControlError::Io(error)),
                Some(Err(ControlError::NoProcess)) => Ok(fs::hard_link(&hidden, &socket)?),
                Some(_) => Err(ControlError::Claimed(pid)),
            }
        });
        let _ = fs::remove_file(&hidden);
        linked?;
        Ok((listener, socket))
    }

    fn socket(&self, pid: Pid) -> PathBuf {
        self.path.join(format!("{pid}.sock"))
    }
}

/// A dead peer must not hold this side for ever.
pub(super) fn limit_waiting(stream: &UnixStream) -> io::Result<()> {
    let limit = Some(Duration::from_secs(PEER_SECONDS_MAX));
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)
}
