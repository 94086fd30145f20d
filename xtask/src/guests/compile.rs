//! One guest, one compiler call (two for C++, whose exception runtime is built first).
//!
//! No path of the building machine may get into a module: sources are named relative to the directory that the
//! compiler is started in, or their directory is mapped away.

use super::packages::Packages;
use super::tools::{Clang, Rust, Tool, Tools, Zig};
use crate::shell::step;
use anyhow::{Context as _, Result};
use peripatos_guests::{Guest, Language};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Exceptions in the form of the standard: `try_table` and exnref.
const EXCEPTIONS: [&str; 3] = ["-fwasm-exceptions", "-mllvm", "-wasm-use-legacy-eh=false"];

/// What libc++abi is made of, as far as exceptions, type information and initialisation of statics go.
const CXXABI: [&str; 16] = [
    "abort_message",
    "cxa_aux_runtime",
    "cxa_default_handlers",
    "cxa_exception",
    "cxa_exception_storage",
    "cxa_guard",
    "cxa_handlers",
    "cxa_personality",
    "cxa_vector",
    "cxa_virtual",
    "fallback_malloc",
    "private_typeinfo",
    "stdlib_exception",
    "stdlib_new_delete",
    "stdlib_stdexcept",
    "stdlib_typeinfo",
];

pub(super) struct Compiler<'a> {
    tools: &'a Tools,
    packages: &'a Packages,
    scratch: &'a Path,
}

impl<'a> Compiler<'a> {
    /// `scratch`: a directory for object files.
    pub(super) fn new(tools: &'a Tools, packages: &'a Packages, scratch: &'a Path) -> Self {
        Compiler { tools, packages, scratch }
    }

    /// Builds `guest` to the file `module`. Errors: its toolchain is missing or fails.
    pub(super) fn compile(&self, guest: &Guest, module: &Path) -> Result<()> {
        let module = std::path::absolute(module)?;
        let missing = "its toolchain is not installed";
        let mut command = match guest.language {
            Language::Wat => return Ok(fs::write(&module, guest.module()?)?),
            Language::C => self.c(guest, self.tools.clang.as_ref().context(missing)?)?,
            Language::Cpp => {
                let zig = self.tools.zig.as_ref().context(missing)?;
                self.cpp(guest, self.tools.clang.as_ref().context(missing)?, zig)?
            }
            Language::Rust => rust(guest, self.tools.rust.as_ref().context(missing)?),
            Language::ZigC => zig_c(guest, self.tools.zig.as_ref().context(missing)?),
            Language::Go => go(guest, self.tools.go.as_ref().context(missing)?),
        };
        command.arg("-o").arg(&module);
        if guest.language == Language::Go {
            command.arg(&guest.source);
        }
        command.current_dir(peripatos_guests::directory().join("src"));
        step(&guest.name, &mut command)
    }

    fn c(&self, guest: &Guest, clang: &Clang) -> Result<Command> {
        let mut command = clang_for_wasi(clang);
        command.arg("-Wl,--strip-all");
        match &guest.package {
            None => {
                command.args(["-Wall", "-Wextra", "-Werror"]);
            }
            Some(package) => {
                let sources = self.packages.sources(package)?;
                command.arg("-w").arg("-I").arg(&sources.include).args(&sources.files);
                command.arg(map_away(&sources.include));
            }
        }
        command.arg(&guest.source).args(&guest.flags);
        Ok(command)
    }

    fn cpp(&self, guest: &Guest, clang: &Clang, zig: &Zig) -> Result<Command> {
        let runtime = self.exception_runtime(clang, zig)?;
        let mut command = clang_for_wasi(clang);
        command.args(["--driver-mode=g++", "-Wl,--strip-all", "-Wall", "-Wextra", "-Werror"]);
        command.args(EXCEPTIONS).args(&guest.flags).arg(&guest.source).args(runtime);
        Ok(command)
    }

    /// Object files of the C++ exception runtime. Distributions build libc++abi for WASI without exceptions; zig
    /// brings the sources.
    fn exception_runtime(&self, clang: &Clang, zig: &Zig) -> Result<Vec<PathBuf>> {
        let directory = self.scratch.join("cxxabi");
        fs::create_dir_all(&directory).with_context(|| format!("{}", directory.display()))?;
        let library = &zig.library;
        let mut objects = Vec::new();
        let mut compile = |source: PathBuf, flags: &[&str]| {
            let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let object = std::path::absolute(directory.join(format!("{name}.o")))?;
            let mut command = clang_for_wasi(clang);
            command.args(["-w", "-Os", "-DNDEBUG", "-c"]).args(EXCEPTIONS).args(flags);
            for include in ["libcxxabi/include", "libunwind/include", "libcxx/src"] {
                command.arg("-I").arg(library.join(include));
            }
            command.arg(map_away(library)).arg(&source).arg("-o").arg(&object);
            objects.push(object);
            step(&name, &mut command)
        };
        for name in CXXABI {
            let source = library.join("libcxxabi/src").join(format!("{name}.cpp"));
            compile(
                source,
                &[
                    "-std=c++23",
                    "-D_LIBCXXABI_BUILDING_LIBRARY",
                    "-D_LIBCPP_BUILDING_LIBRARY",
                    "-DLIBCXX_BUILDING_LIBCXXABI",
                    "-DLIBCXXABI_NON_DEMANGLING_TERMINATE",
                    "-D_LIBCXXABI_HAS_NO_THREADS",
                ],
            )?;
        }
        compile(library.join("libunwind/src/Unwind-wasm.c"), &["-D_LIBUNWIND_HIDE_SYMBOLS"])?;
        compile(peripatos_guests::directory().join("runtime/exception_tag.s"), &[])?;
        Ok(objects)
    }
}

pub(super) fn clang_for_wasi(clang: &Clang) -> Command {
    let mut command = clang.tool.command();
    command.arg("--target=wasm32-wasip1").arg("--sysroot").arg(&clang.sysroot);
    command
}

fn map_away(directory: &Path) -> OsString {
    let mut flag = OsString::from("-ffile-prefix-map=");
    flag.push(directory);
    flag.push("=.");
    flag
}

fn rust(guest: &Guest, rust: &Rust) -> Command {
    let mut command = rust.tool.command();
    command.args(["--edition", "2024", "--target", "wasm32-wasip1", &guest.source]);
    command.args(["-Copt-level=3", "-Clto=fat", "-Ccodegen-units=1"]);
    command.args(["-Cpanic=abort", "-Cstrip=symbols"]).args(&guest.flags);
    command
}

fn zig_c(guest: &Guest, zig: &Zig) -> Command {
    let mut command = zig.tool.command();
    command.args(["cc", "-target", "wasm32-wasi", "-s", &guest.source]).args(&guest.flags);
    command
}

/// Go wants its source after all options.
fn go(guest: &Guest, go: &Tool) -> Command {
    let mut command = go.command();
    command.envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("CGO_ENABLED", "0")]);
    command.args(["build", "-trimpath", "-ldflags=-s -w"]).args(&guest.flags);
    command
}
