//! The guest programs as data: what each is, how it is run, and what must come out.
//!
//! `guests.toml` is the list; this reads it, for the tests, the benches and `cargo xtask guests`. It is a development
//! dependency only: nothing of it ships. It runs no program and builds none; a guest in the text format is assembled
//! on reading, all others are read as they are committed.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why a guest cannot be had. Nothing has been changed in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of this directory cannot be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// `guests.toml` does not say what it should.
    #[error("guests.toml: {0}")]
    List(#[from] toml::de::Error),
    /// A guest in the text format cannot be assembled.
    #[error("{0}: {1}")]
    Assemble(PathBuf, wat::Error),
}

/// One program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// Its name, and its module's: `guests/NAME.wasm`, or `guests/src/NAME.wat`.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// What it is there to exercise: one line.
    pub exercises: String,
    /// Source file in `guests/src`.
    pub source: String,
    /// What the compiler is told beyond the language's common flags.
    #[serde(default)]
    pub flags: Vec<String>,
    /// The package of cargo's registry that it is built from.
    pub package: Option<Package>,
    /// False: too large for the repository; built on demand only.
    #[serde(default = "yes")]
    pub committed: bool,
    /// How it is run, and what comes out.
    #[serde(default, rename = "run")]
    pub runs: Vec<Run>,
}

/// What a guest is written in, and so who compiles it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// C, by clang.
    C,
    /// C++ with exceptions, by clang.
    Cpp,
    /// Rust, by the toolchain that builds the project.
    Rust,
    /// C, by `zig cc`.
    ZigC,
    /// Go.
    Go,
    /// The WebAssembly text format: assembled on reading.
    Wat,
}

/// C sources that come through cargo's registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The crate's name; its version is in `guests/sources/Cargo.lock`.
    pub name: String,
    /// Directory of the headers, in the package.
    pub include: String,
    /// Source files in `include`; `*` stands for any characters within one path component.
    pub sources: Vec<String>,
    /// File names among `sources` that are left out.
    #[serde(default)]
    pub without: Vec<String>,
}

/// One run of a program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Arguments after the program's name.
    #[serde(default)]
    pub args: Vec<String>,
    /// Bytes on standard input; empty: at its end from the start.
    #[serde(default)]
    pub stdin: String,
    /// True: an empty directory is given to the program as `/data`.
    #[serde(default)]
    pub directory: bool,
    /// What to put into that directory first: name there -> path of a file under `guests`.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Standard output, byte for byte.
    pub stdout: String,
    /// Exit code, if the program ends by itself.
    #[serde(default)]
    pub exit: u8,
    /// The trap by which it ends instead.
    pub trap: Option<Trap>,
    /// What must be in the directory afterwards: name -> contents.
    #[serde(default)]
    pub leaves: BTreeMap<String, String>,
    /// How much work it is.
    #[serde(default)]
    pub work: Work,
}

/// How a program that breaks a rule ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Trap {
    /// `unreachable`: a panic or an abort.
    Unreachable,
    /// Integer division by zero.
    DivideByZero,
    /// The runtime's stack is used up.
    StackOverflow,
    /// An access outside of a memory.
    OutOfBounds,
    /// An exception that nobody caught.
    UncaughtException,
}

/// How much work a run is, by the number of calls and loop turns.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// At most some ten thousand: can be frozen at each of them.
    Tiny,
    /// Milliseconds undisturbed: can be frozen at every thousandth.
    #[default]
    Small,
    /// Tenths of a second and more.
    Large,
}

fn yes() -> bool {
    true
}

/// The directory of the guests.
pub fn directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All guests, in the order of the list. Errors: the list cannot be read.
pub fn all() -> Result<Vec<Guest>, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        guest: Vec<Guest>,
    }
    let text = String::from_utf8_lossy(&read(&directory().join("guests.toml"))?).into_owned();
    Ok(toml::from_str::<List>(&text)?.guest)
}

impl Guest {
    /// Where its module is committed; for the text format, its source.
    pub fn path(&self) -> PathBuf {
        match self.language {
            Language::Wat => directory().join("src").join(&self.source),
            _ => directory().join(format!("{}.wasm", self.name)),
        }
    }

    /// Its module in the binary format. Errors: not committed, or the text cannot be assembled.
    pub fn module(&self) -> Result<Vec<u8>, Error> {
        let path = self.path();
        let bytes = read(&path)?;
        if self.language != Language::Wat {
            return Ok(bytes);
        }
        match wat::parse_bytes(&bytes) {
            Ok(module) => Ok(module.into_owned()),
            Err(error) => Err(Error::Assemble(path, error)),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::Read(path.to_path_buf(), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Bytes of all committed modules together.
    const COMMITTED_BYTES_MAX: usize = 3 << 20;

    #[test]
    fn every_committed_guest_is_a_module_and_has_a_run() {
        let mut total = 0;
        for guest in all().unwrap() {
            assert!(!guest.runs.is_empty(), "{}: no run", guest.name);
            if guest.committed {
                let module = guest.module().unwrap();
                assert!(module.starts_with(b"\0asm\x01\0\0\0"), "{}: not a module", guest.name);
                // One in the text format is committed as a module, too, where the binary has to carry it.
                let assembled = directory().join(format!("{}.wasm", guest.name));
                if guest.language == Language::Wat && assembled.exists() {
                    assert!(
                        read(&assembled).unwrap() == module,
                        "{}: assemble it again",
                        guest.name
                    );
                }
                total += if guest.language == Language::Wat { 0 } else { module.len() };
            }
        }
        assert!(total <= COMMITTED_BYTES_MAX, "{total} bytes of committed modules");
    }

    #[test]
    fn names_are_unique_and_no_file_lacks_its_entry() {
        let guests = all().unwrap();
        let names: BTreeSet<&str> = guests.iter().map(|guest| guest.name.as_str()).collect();
        assert_eq!(names.len(), guests.len());
        let sources: BTreeSet<&str> = guests.iter().map(|guest| guest.source.as_str()).collect();
        for (place, known) in [("src", &sources), (".", &names)] {
            for entry in std::fs::read_dir(directory().join(place)).unwrap() {
                let file = entry.unwrap().file_name().into_string().unwrap();
                let module = file.strip_suffix(".wasm");
                if place == "src" || module.is_some() {
                    assert!(
                        known.contains(module.unwrap_or(&file)),
                        "{place}/{file} is in no list"
                    );
                }
            }
        }
    }

    #[test]
    fn files_that_runs_ask_for_exist() {
        for guest in all().unwrap() {
            for run in &guest.runs {
                assert!(
                    run.directory || (run.files.is_empty() && run.leaves.is_empty()),
                    "{}",
                    guest.name
                );
                for file in run.files.values() {
                    assert!(directory().join(file).is_file(), "{}: {file}", guest.name);
                }
            }
        }
    }
}
