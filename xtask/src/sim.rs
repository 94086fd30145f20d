//! Long simulations of kernels and nodes: `crates/sim`, optimised.

use crate::shell::{cargo, step};
use anyhow::Result;

/// Minutes that it runs if nobody says otherwise.
const MINUTES_DEFAULT: &str = "5";

/// `args`: the simulator's own. Errors: it has found something, and says how to see it again.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let build = ["--release", "-p", "peripatos-sim"];
    if args.is_empty() {
        step(
            "kernels and nodes that do something wrong are found out",
            cargo().arg("test").args(build).args([
                "--features",
                "mutations",
                "--test",
                "mutations",
            ]),
        )?;
    }
    let args = if args.is_empty() { &["--minutes", MINUTES_DEFAULT] } else { args };
    step("simulate", cargo().arg("run").args(build).arg("--").args(args))
}
