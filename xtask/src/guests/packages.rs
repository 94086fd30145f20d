//! The C sources that come through cargo's registry: where cargo has put them.
//!
//! `guests/sources` is a package of its own whose dependencies are the crates that carry the sources. cargo fetches
//! and checks them by that lock file; none of them is compiled as a crate.

use crate::shell::{cargo, output};
use anyhow::{Context as _, Result, bail};
use peripatos_guests::Package;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Package name -> its directory.
#[derive(Default)]
pub(super) struct Packages(BTreeMap<String, PathBuf>);

/// What one guest takes from its package.
pub(super) struct Sources {
    pub(super) include: PathBuf,
    /// In alphabetical order, so that the linker sees the same order everywhere.
    pub(super) files: Vec<PathBuf>,
}

/// Errors: a package cannot be fetched.
pub(super) fn find() -> Result<Packages> {
    let manifest = peripatos_guests::directory().join("sources/Cargo.toml");
    let text = output(
        "cargo metadata of guests/sources",
        cargo()
            .args(["metadata", "--locked", "--format-version", "1", "--manifest-path"])
            .arg(manifest),
    )?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let directory_of = |package: &Value| {
        let manifest = Path::new(package["manifest_path"].as_str()?);
        Some((package["name"].as_str()?.to_owned(), manifest.parent()?.to_path_buf()))
    };
    let packages = metadata["packages"].as_array().context("cargo metadata without packages")?;
    Ok(Packages(packages.iter().filter_map(directory_of).collect()))
}

impl Packages {
    /// Errors: no such package or directory, or a pattern that no file fits.
    pub(super) fn sources(&self, package: &Package) -> Result<Sources> {
        let name = &package.name;
        let root = self.0.get(name).with_context(|| format!("{name} is not in guests/sources"))?;
        let include = root.join(&package.include);
        let mut files = Vec::new();
        for pattern in &package.sources {
            let found = expand(&include, pattern, &package.without)?;
            if found.is_empty() {
                bail!("{name}: no file fits {pattern}");
            }
            files.extend(found);
        }
        files.sort();
        Ok(Sources { include, files })
    }
}

/// The files that fit `pattern`, in which only the last component may have a `*`.
fn expand(directory: &Path, pattern: &str, without: &[String]) -> Result<Vec<PathBuf>> {
    let pattern = directory.join(pattern);
    let directory = pattern.parent().context("a pattern without a directory")?;
    let last = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (start, end) = last.split_once('*').unwrap_or((&last, ""));
    let fits = |name: &str| {
        if last.contains('*') {
            name.starts_with(start) && name.ends_with(end)
        } else {
            name == last
        }
    };
    let entries = fs::read_dir(directory).with_context(|| format!("{}", directory.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let chosen = names.filter(|name| fits(name) && !without.contains(name));
    Ok(chosen.map(|name| directory.join(name)).collect())
}
