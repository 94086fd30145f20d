//! The text files of the tree, read once.

use crate::shell::root;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

/// Directories that hold what is made, not what is written.
const SKIPPED: [&str; 7] =
    ["target", ".git", "fuzz/target", "fuzz/corpus", "fuzz/artifacts", "node_modules", "benches"];

/// Extensions and names that are read; everything else is data.
const READ: [&str; 14] =
    ["rs", "toml", "md", "wat", "sh", "c", "h", "go", "lua", "yml", "yaml", "json", "ts", "run"];

/// One text file of the tree.
pub(crate) struct File {
    /// Path from the root of the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The lines with their numbers, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// All text files below the root, sorted by path. Files that are not UTF-8 are left out.
pub(crate) fn read() -> Result<Vec<File>> {
    let mut files = Vec::new();
    visit(&root(), "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn visit(directory: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if SKIPPED.contains(&path.as_str()) || name == "target" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            visit(&entry.path(), &path, files)?;
        } else if READ.iter().any(|suffix| name == *suffix || name.ends_with(&format!(".{suffix}")))
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push(File { path, text });
        }
    }
    Ok(())
}
