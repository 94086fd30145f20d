//! `cargo xtask guests`: builds the guest programs again wherever their toolchains are installed.
//!
//! The modules are committed, so that nobody needs a WebAssembly toolchain to build or test the project. This is how
//! they are made, and how it is checked that they come from the sources beside them. Toolchains are looked for and
//! never downloaded; only the C sources of the real programs come through cargo's registry, under a lock file.
//!
//! Byte equality is asked for only where the toolchain is the recorded one (`guests/TOOLCHAINS`): another compiler
//! makes other, equally right modules, and whether those behave the same is for the tests to say.

mod compile;
mod packages;
mod record;
mod talking;
mod tools;

use crate::shell::root;
use anyhow::{Context as _, Result, bail};
use peripatos_guests::{Guest, Language};
use record::Record;
use std::fs;
use std::path::{Path, PathBuf};
use tools::Tools;

const USAGE: &str =
    "usage: cargo xtask guests [--check] [NAME... | talking] | guests --all DIRECTORY";

/// What has been asked for.
enum Task {
    /// Build into `guests/` and record the toolchains.
    Rebuild,
    /// Build elsewhere and compare with what is committed.
    Check,
    /// Build every guest, those too large to be committed included, into this directory.
    All(PathBuf),
}

/// Errors: a guest asked for by name has no toolchain, a compiler fails, a checked module differs.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    match args {
        ["talking"] => return talking::rebuild(&Tools::find(), &scratch()),
        ["--check", "talking"] => return talking::check(&Tools::find(), &scratch()),
        _ => {}
    }
    let (task, names) = match args {
        ["--all", directory] => (Task::All(PathBuf::from(directory)), &[][..]),
        ["--check", names @ ..] => (Task::Check, names),
        names => (Task::Rebuild, names),
    };
    if let Some(option) = names.iter().find(|name| name.starts_with('-')) {
        bail!("no such option: {option}\n{USAGE}");
    }
    let guests = choose(names, matches!(task, Task::All(_)))?;
    let tools = Tools::find();
    for (tool, help) in tools.missing(&guests) {
        eprintln!("xtask: {tool} is missing; {help}");
    }
    let (buildable, left): (Vec<Guest>, Vec<Guest>) =
        guests.into_iter().partition(|guest| tools.can_build(guest.language));
    if !left.is_empty() {
        let left: Vec<&str> = left.iter().map(|guest| guest.name.as_str()).collect();
        eprintln!("xtask: not built: {}", left.join(" "));
        if !names.is_empty() {
            bail!("no toolchain for {}", left.join(" "));
        }
    }
    match task {
        Task::Rebuild => {
            if names.is_empty() {
                talking::rebuild(&tools, &scratch())?;
            }
            rebuild(&buildable, &tools, peripatos_guests::directory())
        }
        Task::Check => {
            if names.is_empty() {
                talking::check(&tools, &scratch())?;
            }
            check(&buildable, &tools)
        }
        Task::All(directory) => {
            build(&buildable, &tools, &directory)?;
            eprintln!("xtask: {} guests in {}", buildable.len(), directory.display());
            Ok(())
        }
    }
}

/// The guests of these names, or all committed ones if there is no name; the text format needs no building, but for
/// those that the binary carries.
fn choose(names: &[&str], uncommitted_too: bool) -> Result<Vec<Guest>> {
    let mut guests = peripatos_guests::all()?;
    if let Some(name) = names.iter().find(|name| !guests.iter().any(|guest| guest.name == **name)) {
        bail!("no such guest: {name}");
    }
    guests.retain(|guest| match names {
        [] => guest.committed || uncommitted_too,
        _ => names.contains(&guest.name.as_str()),
    });
    guests.retain(|guest| guest.language != Language::Wat || uncommitted_too || !names.is_empty());
    Ok(guests)
}

/// Builds into `directory`, each module as `NAME.wasm`.
fn build(guests: &[Guest], tools: &Tools, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("{}", directory.display()))?;
    let packages = if guests.iter().any(|guest| guest.package.is_some()) {
        packages::find()?
    } else {
        packages::Packages::default()
    };
    let scratch = scratch();
    let compiler = compile::Compiler::new(tools, &packages, &scratch);
    for guest in guests {
        let module = directory.join(format!("{}.wasm", guest.name));
        compiler.compile(guest, &module).with_context(|| format!("guest {}", guest.name))?;
    }
    Ok(())
}

fn rebuild(guests: &[Guest], tools: &Tools, directory: &Path) -> Result<()> {
    build(guests, tools, directory)?;
    let mut record = Record::read()?;
    record.update(tools, guests);
    record.write()?;
    eprintln!("xtask: {} guests built", guests.len());
    Ok(())
}

fn check(guests: &[Guest], tools: &Tools) -> Result<()> {
    let directory = scratch().join("check");
    build(guests, tools, &directory)?;
    let record = Record::read()?;
    let mut differing = Vec::new();
    let mut unrecorded = Vec::new();
    for guest in guests {
        let built = fs::read(directory.join(format!("{}.wasm", guest.name)))?;
        let same = guest.committed && guest.module()? == built;
        match (same, record.matches(tools, guest.language)) {
            (true, _) => {}
            (false, true) => differing.push(guest.name.as_str()),
            (false, false) => unrecorded.push(guest.name.as_str()),
        }
    }
    eprintln!(
        "xtask: {} guests built, {} of them as committed",
        guests.len(),
        guests.len() - differing.len() - unrecorded.len()
    );
    if !unrecorded.is_empty() {
        eprintln!(
            "xtask: built by another toolchain than the recorded one, and so left to the tests: {}",
            unrecorded.join(" ")
        );
    }
    if !differing.is_empty() {
        bail!("not what their sources make: {}; run `cargo xtask guests`", differing.join(" "));
    }
    Ok(())
}

/// Where object files and modules to be compared go.
fn scratch() -> PathBuf {
    root().join("target").join("guests")
}
