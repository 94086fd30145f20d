//! Files that must not outlive this command, however it ends: sockets, files that are half written, directories of the
//! moment.
//!
//! A [`Leftover`] removes its file when dropped. A signal ends the command without dropping anything; then
//! [`remove_all`] does it. `kill -9` leaves them: a stale socket is removed by the next command that sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static PATHS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file, or a directory with all that is in it, that is removed at the end, unless it is kept.
#[derive(Debug)]
pub(crate) struct Leftover {
    path: PathBuf,
}

impl Leftover {
    pub(crate) fn new(path: PathBuf) -> Leftover {
        paths().push(path.clone());
        Leftover { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file has become something that stays (or is gone already).
    pub(crate) fn keep(self) {
        paths().retain(|path| *path != self.path);
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let mut paths = paths();
        if let Some(index) = paths.iter().position(|path| *path == self.path) {
            paths.swap_remove(index);
            remove(&self.path);
        }
    }
}

/// Removes all that are left. For the moment before a signal ends the command.
pub(crate) fn remove_all() {
    for path in paths().drain(..) {
        remove(&path);
    }
}

/// What cannot be removed stays: there is nobody to tell.
fn remove(path: &Path) {
    if fs::remove_file(path).is_err() {
        let _ = fs::remove_dir_all(path);
    }
}

/// A list of paths is whole after any panic.
fn paths() -> MutexGuard<'static, Vec<PathBuf>> {
    PATHS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_files_go_and_kept_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = directory.path().join(name);
            fs::write(&path, "").unwrap();
            Leftover::new(path)
        };
        drop(make("dropped"));
        make("kept").keep();
        let inner = directory.path().join("directory");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("file"), "").unwrap();
        drop(Leftover::new(inner.clone()));
        assert!(!inner.exists());
        assert!(!directory.path().join("dropped").exists());
        assert!(directory.path().join("kept").exists());
    }
}
