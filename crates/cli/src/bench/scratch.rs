//! A directory for what a bench leaves on disk.

use crate::exit::{Code, Failure, Result};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

/// A private directory that is gone when the bench is.
pub(super) struct Scratch {
    pub(super) path: PathBuf,
}

impl Scratch {
    pub(super) fn new() -> Result<Scratch> {
        let path = std::env::temp_dir().join(format!("peri-bench-{}", std::process::id()));
        let failed = |error| Failure::new(Code::Storage, path.display(), error);
        DirBuilder::new().mode(0o700).recursive(true).create(&path).map_err(failed)?;
        Ok(Scratch { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
