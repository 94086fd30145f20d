//! The programs that talk: the examples of the kits in `guest/`, and what is in `examples/`. Each module lies beside its
//! source; `crates/cli/tests/examples.rs` runs them.

use super::compile::clang_for_wasi;
use super::record::Record;
use super::tools::Tools;
use crate::shell::{cargo, root, step};
use anyhow::{Context as _, Result, bail};
use peripatos_guests::Language;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the examples in C are: each file is a program.
const C: &str = "guest/c/examples";
/// Packages in Rust.
const RUST: [Package; 5] = [
    Package {
        directory: "guest/rust",
        what: "--examples",
        place: "guest/rust/examples",
        is_whole: true,
    },
    Package::example("examples/philosophers"),
    Package::example("examples/console"),
    Package::example("examples/journal"),
    Package::example("benches/peers/peripatos"),
];

struct Package {
    directory: &'static str,
    /// What cargo is to build of it.
    what: &'static str,
    /// Where its modules go.
    place: &'static str,
    /// It uses no other package of this tree. Cargo puts the places of such into what it names functions by, and so
    /// their modules are the same only where the tree is at the same place.
    is_whole: bool,
}

impl Package {
    const fn example(directory: &'static str) -> Package {
        Package { directory, what: "--workspace", place: directory, is_whole: false }
    }
}

/// A module that was built, and where it belongs.
struct Module {
    language: Language,
    built: PathBuf,
    place: PathBuf,
    /// The same toolchain makes the same bytes everywhere.
    is_comparable: bool,
}

/// Builds what there are toolchains for, and puts it in its place.
pub(super) fn rebuild(tools: &Tools, scratch: &Path) -> Result<()> {
    let mut record = Record::read()?;
    for Module { language, built, place, .. } in build(tools, scratch)? {
        // Not a copy: that would be executable.
        fs::write(&place, fs::read(&built)?).with_context(|| format!("{}", place.display()))?;
        record.update_talking(tools, language);
    }
    record.write()
}

/// Builds what there are toolchains for, and compares. Errors: a module differs, and was made by the recorded toolchain.
pub(super) fn check(tools: &Tools, scratch: &Path) -> Result<()> {
    let record = Record::read()?;
    let mut differing = Vec::new();
    for Module { language, built, place, is_comparable } in build(tools, scratch)? {
        let same = fs::read(&built)? == fs::read(&place).unwrap_or_default();
        if !same && is_comparable && record.matches_talking(tools, language) {
            differing.push(place.display().to_string());
        }
    }
    if !differing.is_empty() {
        bail!("not what their sources make: {}; run `cargo xtask guests`", differing.join(" "));
    }
    Ok(())
}

fn build(tools: &Tools, scratch: &Path) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    if tools.can_build(Language::C) {
        modules.extend(c(tools, &scratch.join("talking"))?);
    }
    if tools.can_build(Language::Rust) {
        for package in &RUST {
            modules.extend(rust(package, &scratch.join(package.directory))?);
        }
    }
    Ok(modules)
}

fn c(tools: &Tools, to: &Path) -> Result<Vec<Module>> {
    fs::create_dir_all(to)?;
    let clang = tools.clang.as_ref().context("clang is not installed")?;
    let directory = root().join(C);
    let mut modules = Vec::new();
    for source in files(&directory, "c")? {
        let place = source.with_extension("wasm");
        let built = to.join(place.file_name().unwrap_or_default());
        let name = source.file_name().unwrap_or_default();
        let mut command = clang_for_wasi(clang);
        command.args(["-Os", "-Wall", "-Wextra", "-Werror", "-Wl,--strip-all"]);
        if fs::read_to_string(&source)?.contains("PERI_HANDLER(") {
            command.arg("-mexec-model=reactor");
        }
        command.arg(name).arg("-o").arg(&built).current_dir(&directory);
        step(&format!("{C}/{}", name.display()), &mut command)?;
        modules.push(Module { language: Language::C, built, place, is_comparable: true });
    }
    Ok(modules)
}

/// No path of this machine may get into a module.
fn rust(package: &Package, target: &Path) -> Result<Vec<Module>> {
    let Package { directory, what, place, is_whole } = *package;
    let mut flags = format!("--remap-path-prefix={}=.", root().display());
    if let Some(registry) = registry() {
        flags += &format!(" --remap-path-prefix={}=registry", registry.display());
    }
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--target", "wasm32-wasip1", what]);
    command
        .arg("--target-dir")
        .arg(target)
        .env("RUSTFLAGS", flags)
        .current_dir(root().join(directory));
    step(directory, &mut command)?;
    let release = target.join("wasm32-wasip1/release");
    let release = if what == "--examples" { release.join("examples") } else { release };
    let place = root().join(place);
    let mut modules = Vec::new();
    for built in files(&release, "wasm")? {
        let name = built.file_name().unwrap_or_default();
        // Cargo has each under a second name, with its hash.
        if !name.to_string_lossy().contains('-') {
            let place = place.join(name);
            let language = Language::Rust;
            modules.push(Module { language, built, place, is_comparable: is_whole });
        }
    }
    Ok(modules)
}

/// Where cargo keeps its packages.
fn registry() -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    Some(named.or_else(|| Some(std::env::home_dir()?.join(".cargo")))?.join("registry/src"))
}

/// The files of a directory with this ending, in the order of their names.
fn files(directory: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("{}", directory.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new(ending)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
