//! Running other programs: shown before they start, timed, and fatal when they fail.

use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The root of the workspace: the directory above xtask's own. As cargo says now, not when this was built: who copies a
/// tree with what was built there means the copy.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR");
    let own = own.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

/// The cargo that runs this xtask, so that a step never changes toolchain.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs `command` with this process's streams. Errors: it cannot be started, or it fails.
pub(crate) fn step(name: &str, command: &mut Command) -> Result<()> {
    eprintln!("xtask: {name}");
    let started = Instant::now();
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("{name}: cannot start"))?;
    if !status.success() {
        bail!("{name}: failed ({status})");
    }
    eprintln!("xtask: {name}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs `command` and returns what it wrote to its standard output.
pub(crate) fn output(name: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{name}: cannot start"))?;
    if !output.status.success() {
        bail!("{name}: failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name}: output is not text"))
}
