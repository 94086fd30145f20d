//! Finding the compilers, and saying which versions they are.
//!
//! A tool is what `PATH` finds (`CLANG`, `RUSTC`, `GO` and `ZIG` name others) and is tried by asking its version.

use peripatos_guests::{Guest, Language};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where WebAssembly C libraries are, below a system root.
const LIBC: &str = "lib/wasm32-wasi/libc.a";

/// One compiler: how it is started, and what it is.
pub(super) struct Tool {
    program: OsString,
    first: &'static [&'static str],
    /// Name and version, on one line, as it goes into `guests/TOOLCHAINS`.
    pub(super) version: String,
}

impl Tool {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.first);
        command
    }
}

/// clang with a C library for WASI.
pub(super) struct Clang {
    pub(super) tool: Tool,
    pub(super) sysroot: PathBuf,
    libc: String,
}

/// zig, and the directory of the sources that it brings.
pub(super) struct Zig {
    pub(super) tool: Tool,
    pub(super) library: PathBuf,
}

/// rustc with the standard library for WASI.
pub(super) struct Rust {
    pub(super) tool: Tool,
    library: String,
}

/// The compilers of this machine.
pub(super) struct Tools {
    pub(super) clang: Option<Clang>,
    pub(super) rust: Option<Rust>,
    pub(super) zig: Option<Zig>,
    pub(super) go: Option<Tool>,
}

impl Tools {
    pub(super) fn find() -> Tools {
        Tools { clang: find_clang(), rust: find_rust(), zig: find_zig(), go: find_go() }
    }

    pub(super) fn can_build(&self, language: Language) -> bool {
        self.versions(language).is_some()
    }

    /// The versions of all that has a part in compiling `language`; `None`: something is missing.
    pub(super) fn versions(&self, language: Language) -> Option<Vec<&str>> {
        let clang =
            || self.clang.as_ref().map(|clang| vec![clang.tool.version.as_str(), &clang.libc]);
        let zig = || self.zig.as_ref().map(|zig| vec![zig.tool.version.as_str()]);
        match language {
            Language::C => clang(),
            Language::Cpp => Some([clang()?, zig()?].concat()),
            Language::Rust => {
                self.rust.as_ref().map(|rust| vec![rust.tool.version.as_str(), &rust.library])
            }
            Language::ZigC => zig(),
            Language::Go => self.go.as_ref().map(|go| vec![go.version.as_str()]),
            Language::Wat => Some(Vec::new()),
        }
    }

    /// What these guests need and is not here, and how it would be had.
    pub(super) fn missing(&self, guests: &[Guest]) -> Vec<(&'static str, &'static str)> {
        let needs =
            |languages: &[Language]| guests.iter().any(|guest| languages.contains(&guest.language));
        let mut missing = Vec::new();
        if self.clang.is_none() && needs(&[Language::C, Language::Cpp]) {
            missing.push((
                "clang for wasm32-wasip1",
                "Debian: clang-22 lld-22 wasi-libc libclang-rt-22-dev-wasm32 (CLANG and WASI_SYSROOT name others)",
            ));
        }
        if self.rust.is_none() && needs(&[Language::Rust]) {
            missing.push(("rustc's target wasm32-wasip1", "rustup target add wasm32-wasip1"));
        }
        if self.zig.is_none() && needs(&[Language::ZigC, Language::Cpp]) {
            missing.push((
                "zig (for zig cc, and for the sources of the C++ exception runtime)",
                "PyPI: ziglang (ZIG names another)",
            ));
        }
        if self.go.is_none() && needs(&[Language::Go]) {
            missing.push(("go", "Debian: golang-go, 1.23 or newer (GO names another)"));
        }
        missing
    }
}

fn find_clang() -> Option<Clang> {
    let program = named("CLANG", "clang");
    let version = first_line(Command::new(&program).arg("--version"))?;
    let sysroot = match std::env::var_os("WASI_SYSROOT") {
        Some(given) => PathBuf::from(given),
        None => beside(&program)?,
    };
    let libc = fingerprint(&sysroot.join(LIBC))?;
    let tool = Tool { program, first: &[], version };
    Some(Clang { tool, sysroot, libc: format!("wasi-libc {libc}") })
}

/// The system root that clang itself is installed in: Debian has clang in `/usr/lib/llvm-N/bin`, its libraries in
/// `/usr/lib/wasm32-wasi`.
fn beside(clang: &OsString) -> Option<PathBuf> {
    let own = first_line(Command::new(clang).arg("-print-prog-name=clang"))?;
    let own = std::fs::canonicalize(own).ok()?;
    own.ancestors().skip(1).find(|directory| directory.join(LIBC).is_file()).map(Path::to_path_buf)
}

fn find_rust() -> Option<Rust> {
    let program = named("RUSTC", "rustc");
    let version = first_line(Command::new(&program).arg("--version"))?;
    let directory = first_line(Command::new(&program).args([
        "--print",
        "target-libdir",
        "--target",
        "wasm32-wasip1",
    ]))?;
    let entries = std::fs::read_dir(directory).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let own = paths.find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libstd-"))
    })?;
    let library = format!("rust-std {}", fingerprint(&own)?);
    Some(Rust { tool: Tool { program, first: &[], version }, library })
}

fn find_zig() -> Option<Zig> {
    let direct = named("ZIG", "zig");
    let candidates: [(OsString, &'static [&'static str]); 2] =
        [(direct, &[]), ("python3".into(), &["-m", "ziglang"])];
    candidates.into_iter().find_map(|(program, first)| {
        let number = first_line(Command::new(&program).args(first).arg("version"))?;
        let environment = all_lines(Command::new(&program).args(first).arg("env"))?;
        let library = environment.lines().find_map(|line| {
            let (key, value) = line.split_once(['=', ':'])?;
            (key.trim().trim_matches(['.', '"']) == "lib_dir")
                .then(|| PathBuf::from(value.trim().trim_matches([',', '"'])))
        })?;
        Some(Zig { tool: Tool { program, first, version: format!("zig {number}") }, library })
    })
}

fn find_go() -> Option<Tool> {
    let program = named("GO", "go");
    let version = first_line(Command::new(&program).arg("version"))?;
    Some(Tool { program, first: &[], version })
}

fn named(variable: &str, default: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| default.into())
}

fn first_line(command: &mut Command) -> Option<String> {
    all_lines(command)?.lines().next().map(str::to_owned)
}

fn all_lines(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// FNV-1a of a file, in hexadecimal: libraries have no version that could be asked for.
fn fingerprint(path: &Path) -> Option<String> {
    let hash = std::fs::read(path).ok()?.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Some(format!("{hash:016x}"))
}
