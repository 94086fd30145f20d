//! The fast path before a commit. The whole of it, end-to-end checks included, is `.ci/run`.

use crate::shell::{cargo, step};
use crate::tidy;
use anyhow::Result;

/// Format, clippy, unit tests, tidy; stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    step("format", cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run()?;
    step(
        "clippy",
        cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    step("quick tests", cargo().args(["test", "--workspace", "--lib", "--bins", "--locked"]))
}
