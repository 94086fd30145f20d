//! Runs every bench of the `peri` binary and keeps the figures: `benches/DATE.json` and the same as a table.
//!
//! What is measured, and how, is the binary's business (`peri bench`): whoever has the binary can measure again. This
//! only adds the circumstances (date, commit, processor) and writes the record down.

use crate::date::today;
use crate::shell::{cargo, output, root, step};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

/// The benches of the binary, in the order of the record.
const BENCHES: [&str; 3] = ["overhead", "freeze", "migrate"];

/// Builds with the release profile, measures, writes the record of today (an earlier one of the same day is replaced).
pub(crate) fn run() -> Result<()> {
    step("build", cargo().args(["build", "--release", "--package", "peri", "--locked"]))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let peri = target.join("release").join("peri");
    let mut metrics = Vec::new();
    for bench in BENCHES {
        eprintln!("xtask: peri bench {bench}");
        let text = output(bench, Command::new(&peri).args(["bench", bench, "--output", "json"]))?;
        let list: Vec<Value> =
            serde_json::from_str(&text).with_context(|| format!("{bench}: output is not JSON"))?;
        ensure!(!list.is_empty(), "{bench}: measured nothing");
        metrics.extend(list);
    }
    let record = json!({
        "date": today(),
        "commit": commit(),
        "processor": processor(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "metrics": metrics,
    });
    let stem = root().join("benches").join(today());
    fs::create_dir_all(root().join("benches"))?;
    fs::write(stem.with_extension("json"), serde_json::to_string_pretty(&record)? + "\n")?;
    fs::write(stem.with_extension("md"), table(&record))?;
    eprintln!("xtask: record written to benches/{}.{{json,md}}", today());
    Ok(())
}

fn table(record: &Value) -> String {
    let text = |key: &str| record[key].as_str().unwrap_or("unknown").to_owned();
    let mut table = format!(
        "# Benches of {}\n\nCommit {}, {}, {} cores. Made by `cargo xtask bench`.\n\n\
         | metric | value | unit | runs | min | median |\n|---|---:|---|---:|---:|---:|\n",
        text("date"),
        text("commit"),
        text("processor"),
        record["cores"],
    );
    for metric in record["metrics"].as_array().into_iter().flatten() {
        let number =
            |key: &str| metric[key].as_f64().map_or("-".to_owned(), |value| format!("{value:.3}"));
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} |",
            metric["metric"].as_str().unwrap_or("?"),
            number("value"),
            metric["unit"].as_str().unwrap_or("?"),
            metric["runs"],
            number("min"),
            number("median"),
        );
    }
    table
}

pub(crate) fn commit() -> String {
    let asked =
        Command::new("git").current_dir(root()).args(["describe", "--always", "--dirty"]).output();
    match asked {
        Ok(answer) if answer.status.success() => {
            String::from_utf8_lossy(&answer.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}

pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':'])).to_owned()
}
