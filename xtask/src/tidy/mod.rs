//! Reads the tree and holds the rules that no compiler knows. Each rule is one file; each finding names its place.
//!
//! This is where ARCHITECTURE.md's invariants about the shape of the tree are checked. It reads text, not syntax: a
//! rule that needs a parser does not belong here.

mod crates;
mod golden;
mod sources;
mod tree;
mod words;

use anyhow::{Result, bail};
use std::fmt;

/// One rule broken in one place.
pub(crate) struct Finding {
    /// Path from the root of the workspace.
    path: String,
    /// Line, counted from 1; 0 is the file as a whole.
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Applies every rule; prints all findings. Errors: there is at least one.
pub(crate) fn run() -> Result<()> {
    let files = tree::read()?;
    let mut findings = Vec::new();
    findings.extend(sources::check(&files));
    findings.extend(words::check(&files));
    findings.extend(golden::check(&files));
    findings.extend(crates::check(&files)?);
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings in {} files", findings.len(), files.len());
    }
    eprintln!("xtask: tidy: {} files, nothing found", files.len());
    Ok(())
}
