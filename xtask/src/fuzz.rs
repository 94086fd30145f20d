//! Long runs of the fuzz targets in `fuzz/`, each for a bounded time.
//!
//! libFuzzer's instrumentation needs unstable compiler flags. `RUSTC_BOOTSTRAP=1` lets the pinned stable compiler take
//! them, so that no nightly is asked for. cargo-fuzz itself must be installed (`cargo install cargo-fuzz --locked`).

use crate::shell::{cargo, output, root, step};
use anyhow::{Context as _, Result, bail};

/// Seconds that each target runs if nobody says otherwise.
const SECONDS_DEFAULT: u64 = 60;

/// `args`: seconds for each target. Errors: cargo-fuzz is missing, or a target found something.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let seconds = match args {
        [] => SECONDS_DEFAULT,
        [text] => text.parse().with_context(|| format!("not a number of seconds: {text}"))?,
        _ => bail!("fuzz takes at most one argument: seconds for each target"),
    };
    let directory = root().join("fuzz");
    if !directory.join("Cargo.toml").exists() {
        bail!("there are no fuzz targets yet (fuzz/Cargo.toml is missing)");
    }
    let targets = output("list fuzz targets", cargo().args(["fuzz", "list"]))
        .context("cargo-fuzz is needed: cargo install cargo-fuzz --locked")?;
    for target in targets.lines() {
        let limit = format!("-max_total_time={seconds}");
        step(
            &format!("fuzz {target}"),
            cargo().env("RUSTC_BOOTSTRAP", "1").args([
                "fuzz",
                "run",
                "--sanitizer",
                "none",
                target,
                "--",
                &limit,
            ]),
        )?;
    }
    Ok(())
}
