//! A private directory: this user's, readable by nobody else, reached through one open handle.
//!
//! Invariants: every file is opened relative to that handle and never through a symbolic link; a
//! file appears under its name complete or not at all; nothing is written outside.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, Result};

/// Name of the file that holds the directory's secret.
const SECRET: &str = "secret";
/// Bytes of the secret.
const SECRET_BYTES: usize = 32;
/// Names of unfinished files begin so.
const UNFINISHED: &str = "tmp-";

/// An open private directory.
pub(super) struct Directory {
    handle: OwnedFd,
    next_temporary: AtomicU64,
}

/// A file of the directory.
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Seconds since 1970 of the last change.
    pub(super) changed: i64,
}

impl Directory {
    /// Opens the directory, made if absent; its parent too. The message says why it is not usable.
    pub(super) fn open(path: &Path) -> std::result::Result<Directory, String> {
        let say = |what: &str| format!("{}: {what}", path.display());
        let failed = |error: Errno| say(&std::io::Error::from(error).to_string());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| say(&error.to_string()))?;
        }
        match fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = fs::openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
        let stat = fs::fstat(&handle).map_err(failed)?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(say("it belongs to another user"));
        }
        if stat.st_mode & 0o077 != 0 {
            return Err(say("other users have access to it (its mode should be 0700)"));
        }
        Ok(Directory { handle, next_temporary: AtomicU64::new(0) })
    }

    /// The directory's secret, drawn when it is first asked for.
    pub(super) fn secret(&self) -> Result<[u8; SECRET_BYTES]> {
        if let Some(secret) = self.read_secret()? {
            return Ok(secret);
        }
        let mut secret = [0; SECRET_BYTES];
        File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut secret)).map_err(io)?;
        match self.write_as(SECRET, &[&secret], RenameFlags::NOREPLACE) {
            // Somebody else was faster: theirs counts.
            Ok(()) | Err(Errno::EXIST) => self.read_secret()?.ok_or(Errno::IO),
            Err(error) => Err(error),
        }
    }

    /// A file's bytes; `None` if there is none.
    pub(super) fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = fs::fstat(&file)?;
        let len = u64::try_from(stat.st_size).map_err(|_| Errno::INVAL)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || len > bytes_max {
            return Err(Errno::INVAL);
        }
        let mut bytes = Vec::with_capacity(len as usize);
        file.take(bytes_max).read_to_end(&mut bytes).map_err(io)?;
        Ok(Some(bytes))
    }

    /// Writes a file, in place of what has its name.
    pub(super) fn write(&self, name: &str, parts: &[&[u8]]) -> Result<()> {
        self.write_as(name, parts, RenameFlags::empty())
    }

    /// Removes a file; one that is not there is no error.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        match fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All files but the secret, unfinished ones included.
    pub(super) fn list(&self) -> Result<Vec<Listed>> {
        let mut list = Vec::new();
        for entry in Dir::read_from(&self.handle)? {
            let Ok(name) = entry?.file_name().to_str().map(str::to_owned) else { continue };
            if [".", "..", SECRET].contains(&&*name) {
                continue;
            }
            // It may be gone by now.
            if let Ok(stat) = fs::statat(&self.handle, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                let bytes = u64::try_from(stat.st_size).unwrap_or(0);
                list.push(Listed { name, bytes, changed: stat.st_mtime });
            }
        }
        Ok(list)
    }

    fn read_secret(&self) -> Result<Option<[u8; SECRET_BYTES]>> {
        let Some(bytes) = self.read(SECRET, SECRET_BYTES as u64 + 1)? else { return Ok(None) };
        bytes.try_into().map(Some).map_err(|_| Errno::INVAL)
    }

    fn write_as(&self, name: &str, parts: &[&[u8]], flags: RenameFlags) -> Result<()> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let process = rustix::process::getpid().as_raw_nonzero();
        let temporary = format!("{UNFINISHED}{process}-{number}");
        let how =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // A crashed process of the same number may have left one.
        self.remove(&temporary)?;
        let file = fs::openat(&self.handle, &*temporary, how, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        let written = parts.iter().try_for_each(|part| file.write_all(part)).map_err(io);
        let renamed = written.and_then(|()| {
            if flags.is_empty() {
                fs::renameat(&self.handle, &*temporary, &self.handle, name)
            } else {
                fs::renameat_with(&self.handle, &*temporary, &self.handle, name, flags)
            }
        });
        if renamed.is_err() {
            // Nothing half-done stays; that it cannot be removed either changes nothing.
            let _ = self.remove(&temporary);
        }
        renamed
    }
}

fn io(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_a_private_directory_is_used() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let directory = Directory::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(directory.secret().unwrap(), directory.secret().unwrap());

        let link = parent.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(Directory::open(&link).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(Directory::open(&path).is_err());
    }

    #[test]
    fn files_come_and_go_and_links_are_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("cache");
        let directory = Directory::open(&path).unwrap();
        directory.write("one", &[b"12", b"3"]).unwrap();
        assert_eq!(directory.read("one", 10).unwrap().unwrap(), b"123");
        assert!(directory.read("one", 2).is_err());
        assert!(directory.read("two", 2).unwrap().is_none());
        symlink(path.join("one"), path.join("two")).unwrap();
        assert!(directory.read("two", 10).is_err());
        assert_eq!(directory.list().unwrap().len(), 2);
        directory.remove("one").unwrap();
        directory.remove("one").unwrap();
        assert!(directory.read("one", 10).unwrap().is_none());
    }
}
