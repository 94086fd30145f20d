//! Compiled code on disk, by content: module, pass, engine and settings.
//!
//! Invariants:
//! * what is loaded was written by this user ([`directory`], [`entry`]); anything else is ignored,
//!   counted, and replaced when the code has been compiled again;
//! * a cache that does not work costs time, never an answer: errors become warnings.
//!
//! Files: `p-KEY` a program; `c-NAME` a module of continuations; `s-NAME`, for each site of such a
//! module, the name of the file that has it.

mod contents;
mod directory;
mod entry;

use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wasmtime::Engine;

use crate::code::CodeKind;
use crate::continuations::Compiled;
use crate::engines;
use crate::runtime::{CacheCounts, CacheSettings, Warning};

use contents::Authentic;
pub(crate) use contents::Entry;
use directory::Directory;

/// Entries larger than this are neither written nor read, bytes.
const ENTRY_BYTES_MAX: u64 = 1 << 30;
/// Writes between two looks at the directory's size.
const WRITES_BETWEEN_TRIMS: u64 = 16;

/// Names compiled code: equal keys mean interchangeable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// The key of a program loaded in this way for this engine.
    pub(crate) fn new(engine: &Engine, module: [u8; 32], kind: CodeKind) -> Key {
        let mut hasher = blake3::Hasher::new_derive_key("peripatos 2026 compiled code");
        hasher.update(&module);
        hasher.update(&engines::compatibility(engine).to_le_bytes());
        hasher.update(&peripatos_instrument::PASS_VERSION.to_le_bytes());
        hasher.update(&build().to_le_bytes());
        hasher.update(&[match kind {
            CodeKind::Hot => 0,
            CodeKind::CountDown => 1,
            CodeKind::Plain => 2,
        }]);
        Key(*hasher.finalize().as_bytes())
    }

    /// A key below this one.
    fn below(&self, what: &[u8]) -> Key {
        Key(*blake3::keyed_hash(&self.0, what).as_bytes())
    }

    fn file(&self, kind: char) -> String {
        format!("{kind}-{}", blake3::Hash::from(self.0).to_hex())
    }
}

/// Tells builds of this program apart: the pass may write other code without another version.
fn build() -> u64 {
    let mut hasher = engines::Fnv::default();
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    if let Ok(metadata) = std::env::current_exe().and_then(std::fs::metadata) {
        metadata.len().hash(&mut hasher);
        metadata.modified().ok().hash(&mut hasher);
    }
    hasher.finish()
}

/// The cache; or, without a usable directory, nothing.
pub(crate) struct Cache {
    store: Option<Store>,
    notes: Mutex<Notes>,
}

struct Store {
    directory: Directory,
    secret: [u8; 32],
    size_bytes_max: u64,
}

#[derive(Default)]
struct Notes {
    counts: CacheCounts,
    warnings: Vec<Warning>,
}

impl Cache {
    /// Opens the directory, if one is set. One that is not usable is a warning.
    pub(crate) fn open(settings: Option<&CacheSettings>) -> Cache {
        let mut notes = Notes::default();
        let store = settings.and_then(|settings| match Store::open(settings) {
            Ok(store) => Some(store),
            Err(message) => {
                notes.warnings.push(Warning::CacheUnusable(message));
                None
            }
        });
        Cache { store, notes: Mutex::new(notes) }
    }

    pub(crate) fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut self.notes().warnings)
    }

    pub(crate) fn counts(&self) -> CacheCounts {
        self.notes().counts
    }

    /// A program that was stored under this key.
    pub(crate) fn load_program(&self, engine: &Engine, key: &Key) -> Option<Entry> {
        self.load(key, 'p', |content| contents::read_program(engine, content))
    }

    /// Stores a program.
    pub(crate) fn store_program(&self, key: &Key, entry: &Entry) {
        self.store(|| Some(vec![(key.file('p'), *key, contents::write_program(entry)?)]));
    }

    /// A module of continuations that has this site.
    pub(crate) fn load_continuation(
        &self,
        engine: &Engine,
        program: &Key,
        site: u32,
    ) -> Option<Compiled> {
        let index = program.below(&site.to_le_bytes());
        let name = self.load(&index, 's', |content| content.0.try_into().ok().map(Key))?;
        let compiled =
            self.load(&name, 'c', |content| contents::read_continuation(engine, content))?;
        compiled.frame_size(site).is_some().then_some(compiled)
    }

    /// Stores a module of continuations, and that it has its sites.
    pub(crate) fn store_continuation(&self, program: &Key, compiled: &Compiled) {
        self.store(|| {
            let sites = compiled.sites.iter().map(|(site, _)| *site);
            let list: Vec<u8> = sites.clone().flat_map(u32::to_le_bytes).collect();
            let name = program.below(b"module").below(&list);
            let mut files = vec![(name.file('c'), name, contents::write_continuation(compiled)?)];
            for site in sites {
                let index = program.below(&site.to_le_bytes());
                files.push((index.file('s'), index, name.0.to_vec()));
            }
            Some(files)
        });
    }

    fn load<T>(
        &self,
        key: &Key,
        kind: char,
        read: impl FnOnce(&Authentic<'_>) -> Option<T>,
    ) -> Option<T> {
        let store = self.store.as_ref()?;
        let bytes = match store.directory.read(&key.file(kind), ENTRY_BYTES_MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                self.notes().counts.misses += 1;
                return None;
            }
            Err(_) => {
                self.notes().counts.refused += 1;
                return None;
            }
        };
        let content = entry::open(&store.secret, &key.0, &bytes);
        let value = content.and_then(|content| read(&Authentic(content)));
        let mut notes = self.notes();
        match value {
            Some(_) => notes.counts.hits += 1,
            None => notes.counts.refused += 1,
        }
        value
    }

    /// Writes files: name, key, content. Only made if there is somewhere to write to.
    fn store(&self, files: impl FnOnce() -> Option<Vec<(String, Key, Vec<u8>)>>) {
        let Some(store) = &self.store else { return };
        for (name, key, content) in files().unwrap_or_default() {
            if content.len() as u64 > ENTRY_BYTES_MAX.min(store.size_bytes_max) {
                continue;
            }
            let (header, mac) = entry::seal(&store.secret, &key.0, &content);
            let written = store.directory.write(&name, &[&header, &content, &mac]);
            let mut notes = self.notes();
            match written {
                Ok(()) => notes.counts.written += 1,
                Err(error) => {
                    let message = std::io::Error::from(error).to_string();
                    notes.warnings.push(Warning::CacheWrite(message));
                    return;
                }
            }
            if notes.counts.written % WRITES_BETWEEN_TRIMS == 1 {
                notes.counts.trimmed += store.trim();
            }
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Counts and a list: whole whoever panicked.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn open(settings: &CacheSettings) -> Result<Store, String> {
        let directory = Directory::open(&settings.directory)?;
        let secret = directory.secret().map_err(|error| {
            format!("{}: {}", settings.directory.display(), std::io::Error::from(error))
        })?;
        Ok(Store { directory, secret, size_bytes_max: settings.size_bytes_max })
    }

    /// Removes the oldest files until the directory keeps its limit. How many?
    fn trim(&self) -> u64 {
        // Not to be listed means not to be trimmed; writing will fail and tell.
        let mut files = self.directory.list().unwrap_or_default();
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        files.sort_by_key(|file| file.changed);
        let mut trimmed = 0;
        for file in files {
            if total <= self.size_bytes_max {
                break;
            }
            if self.directory.remove(&file.name).is_ok() {
                total -= file.bytes;
                trimmed += 1;
            }
        }
        trimmed
    }
}
