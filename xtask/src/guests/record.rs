//! `guests/TOOLCHAINS`: which compilers made the committed modules, one line a language; and those of the programs that talk.

use super::tools::Tools;
use anyhow::{Context as _, Result};
use peripatos_guests::{Guest, Language};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

const HEADER: &str = "\
# What the committed modules were built with, written by `cargo xtask guests`. Where these are installed,
# `cargo xtask guests --check` asks for the same bytes.
";

/// Language -> versions of all that had a part in it.
pub(super) struct Record(BTreeMap<String, String>);

impl Record {
    /// Errors: the file is there and cannot be read.
    pub(super) fn read() -> Result<Record> {
        let path = path();
        if !path.exists() {
            return Ok(Record(BTreeMap::new()));
        }
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once(": "));
        Ok(Record(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()))
    }

    pub(super) fn write(&self) -> Result<()> {
        let lines: String = self.0.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        let path = path();
        fs::write(&path, format!("{HEADER}{lines}")).with_context(|| format!("{}", path.display()))
    }

    /// Notes the tools that have just built `guests`.
    pub(super) fn update(&mut self, tools: &Tools, guests: &[Guest]) {
        for guest in guests.iter().filter(|guest| guest.committed) {
            if let Some(versions) = tools.versions(guest.language) {
                self.0.insert(key(guest.language), versions.join("; "));
            }
        }
    }

    /// Notes the tools that have just built the programs that talk.
    pub(super) fn update_talking(&mut self, tools: &Tools, language: Language) {
        if let Some(versions) = tools.versions(language) {
            self.0.insert(talking_key(language), versions.join("; "));
        }
    }

    /// Whether this machine's tools for `language` are those that made the committed modules.
    pub(super) fn matches(&self, tools: &Tools, language: Language) -> bool {
        self.has(&key(language), tools, language)
    }

    /// The same, of the programs that talk.
    pub(super) fn matches_talking(&self, tools: &Tools, language: Language) -> bool {
        self.has(&talking_key(language), tools, language)
    }

    fn has(&self, key: &str, tools: &Tools, language: Language) -> bool {
        let here = tools.versions(language).map(|versions| versions.join("; "));
        here.is_some() && self.0.get(key) == here.as_ref()
    }
}

fn key(language: Language) -> String {
    format!("{language:?}").to_lowercase()
}

fn talking_key(language: Language) -> String {
    format!("talking {}", key(language))
}

fn path() -> PathBuf {
    peripatos_guests::directory().join("TOOLCHAINS")
}
