//! `cargo xtask bench spread`: how well work is spread over two nodes of one core each, by `peri bench balance` and by other
//! systems, as far as they are installed: `benches/DATE-spread.json`, and the same as a table.
//!
//! Each system does the same list of work in a language of its own, and measures its own speed before and after, while both nodes
//! are busy. A figure is what it took against the ideal: all work at that speed, divided by two.

use super::record::median;
use super::run::{Cpus, allowed_cpus};
use super::systems::{peri, said, scratch, sources};
use crate::bench::{commit, processor};
use crate::date::today;
use crate::shell::{cargo, root, step};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const USAGE: &str = "usage: cargo xtask bench spread [--rounds N] [--quick]";

/// As `peri bench balance` has them (`skewed.rs`, `walks.rs`): many programs of a Pareto distribution, milliseconds each.
const PROGRAMS: u32 = 200;
const UNITS_MIN: f64 = 40.0;
const SHAPE: f64 = 1.5;
/// Two long ones on one node, two short ones on the other.
const STUCK: [u32; 4] = [3_000, 3_000, 500, 500];

const SKEWED: &str = "200 programs, Pareto durations, all started on one node";
const STUCK_WHAT: &str = "four long ones, two on each node; those on one node end early";

/// What does the work.
#[derive(Clone, Copy, PartialEq)]
enum System {
    Peri,
    Erlang,
    Mpi,
    Ray,
    Dask,
}

/// A figure: of a system, under this name in the table.
struct Row {
    what: &'static str,
    name: &'static str,
    system: System,
    /// Ours: the metric. The others': what they call the workload.
    workload: &'static str,
}

const fn row(
    what: &'static str,
    name: &'static str,
    system: System,
    workload: &'static str,
) -> Row {
    Row { what, name, system, workload }
}

const ROWS: [Row; 13] = [
    row(SKEWED, "Peripatos", System::Peri, "balance.skewed.makespan_ratio"),
    row(SKEWED, "Peripatos, balancing off", System::Peri, "balance.skewed.off_ratio"),
    row(SKEWED, "`xargs -P2 peri run`", System::Peri, "balance.skewed.xargs_ratio"),
    row(SKEWED, "Erlang, spawn", System::Erlang, "skewed_spawn"),
    row(SKEWED, "Erlang, workers that ask a master", System::Erlang, "skewed_pull"),
    row(SKEWED, "Open MPI, workers that ask a master", System::Mpi, "skewed"),
    row(SKEWED, "Ray, tasks", System::Ray, "skewed"),
    row(SKEWED, "Dask, futures", System::Dask, "skewed"),
    row(STUCK_WHAT, "Peripatos", System::Peri, "balance.stuck.makespan_ratio"),
    row(STUCK_WHAT, "Erlang", System::Erlang, "stuck"),
    row(STUCK_WHAT, "Open MPI", System::Mpi, "stuck"),
    row(STUCK_WHAT, "Ray, actors", System::Ray, "stuck"),
    row(STUCK_WHAT, "Dask, workers", System::Dask, "stuck"),
];

struct Options {
    rounds: usize,
    profile: &'static str,
}

fn options(mut args: &[&str]) -> Result<Options> {
    let mut options = Options { rounds: 3, profile: "release" };
    loop {
        args = match args {
            [] => return Ok(options),
            ["--quick", rest @ ..] => {
                options.profile = "quick";
                rest
            }
            ["--rounds", number, rest @ ..] => {
                options.rounds = number.parse().context(USAGE)?;
                ensure!(options.rounds > 0, USAGE);
                rest
            }
            _ => bail!(USAGE),
        };
    }
}

/// Measures all in turn, and writes the record of today.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let Options { rounds, profile } = options(args)?;
    let cpus = allowed_cpus();
    ensure!(cpus.len() >= 2, "two CPUs are needed, one for each node");
    let cpus = Cpus::new(&cpus[..2]);
    let mut build = cargo();
    build.args(["build", "--profile", profile, "-p", "peri", "--locked"]);
    step(&format!("build ({profile})"), &mut build)?;
    let versions = versions(profile);
    let mut figures: Vec<Vec<f64>> = ROWS.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut ours = BTreeMap::new();
        for (row, figures) in ROWS.iter().zip(&mut figures) {
            eprintln!("xtask: round {} of {rounds}: {}: {}", round + 1, row.what, row.name);
            let ratio = match row.system {
                System::Peri => our_ratio(&mut ours, row.workload, profile, &cpus),
                _ if versions.iter().all(|(system, _, _)| *system != row.system) => continue,
                _ => their_ratio(row, &cpus),
            };
            match ratio {
                Ok(ratio) => figures.push(ratio),
                Err(error) => eprintln!("xtask: {}: it fails: {error:#}", row.name),
            }
        }
    }
    write(&versions, &figures, rounds, profile)
}

/// Which systems are there, and which versions. Builds the programs of those.
fn versions(profile: &'static str) -> Vec<(System, &'static str, String)> {
    let present = |name, what: Option<String>| {
        if what.is_none() {
            eprintln!("xtask: {name} is not installed");
        }
        what
    };
    let all = [
        (System::Peri, "Peripatos", said(Command::new(peri(profile)).arg("--version"))),
        (System::Erlang, "Erlang", erlang()),
        (System::Mpi, "Open MPI", mpi()),
        (System::Ray, "Ray", module("ray", "ray")),
        (System::Dask, "Dask", module("distributed", "distributed")),
    ];
    let all = all.into_iter().filter_map(|(system, name, version)| {
        present(name, version).map(|version| (system, name, version))
    });
    all.collect()
}

fn erlang() -> Option<String> {
    let ask = "io:format(\"OTP ~s\", [erlang:system_info(otp_release)]), halt().";
    let version = said(Command::new("erl").args(["-noshell", "-eval", ask]))?;
    fs::create_dir_all(scratch()).ok()?;
    let source = sources("erlang").join("spread.erl");
    step("erlc", Command::new("erlc").arg("-o").arg(scratch()).arg(source)).ok()?;
    Some(version)
}

fn mpi() -> Option<String> {
    let version = said(Command::new("mpirun").arg("--version"))?;
    fs::create_dir_all(scratch()).ok()?;
    let mut compile = Command::new("mpicc");
    compile.args(["-O2", "-o"]).arg(mpi_program()).arg(sources("mpi").join("spread.c"));
    step("mpicc", &mut compile).ok()?;
    Some(version)
}

fn mpi_program() -> PathBuf {
    scratch().join("spread-mpi")
}

/// The interpreter that has the modules, as of a virtual environment.
fn python() -> String {
    env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn module(name: &str, import: &str) -> Option<String> {
    let ask = format!("import {import}; print('{name}', {import}.__version__)");
    said(Command::new(python()).args(["-c", &ask]))
}

/// One run of a bench gives several figures.
fn our_ratio(
    known: &mut BTreeMap<String, f64>,
    metric: &str,
    profile: &str,
    cpus: &Cpus,
) -> Result<f64> {
    if let Some(ratio) = known.get(metric) {
        return Ok(*ratio);
    }
    let bench = metric.rsplit_once('.').map_or(metric, |(bench, _)| bench);
    let mut command = Command::new(peri(profile));
    command.args(["bench", "balance", "--rounds", "1", "--output", "json", "--only", bench]);
    let metrics: Value = serde_json::from_str(&cpus.output(&command)?)?;
    for one in metrics.as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (one["metric"].as_str(), one["value"].as_f64()) {
            known.insert(name.to_owned(), value);
        }
    }
    known.get(metric).copied().with_context(|| format!("peri bench has not measured {metric}"))
}

fn their_ratio(row: &Row, cpus: &Cpus) -> Result<f64> {
    let units = if row.what == STUCK_WHAT { STUCK.to_vec() } else { durations() };
    let mut command = match row.system {
        System::Peri => unreachable!("its bench says the ratio itself"),
        System::Erlang => {
            let mut command = Command::new("erl");
            let name = format!("spread-{}", std::process::id());
            command.args(["+S", "1:1", "-noshell", "-sname", &name, "-pa"]).arg(scratch());
            command.args(["-run", "spread", "main"]);
            command
        }
        System::Mpi => {
            let ranks = if row.what == STUCK_WHAT { "4" } else { "3" };
            let mut command = Command::new("mpirun");
            command.args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np"]);
            command.arg(ranks).arg(mpi_program());
            command
        }
        System::Ray | System::Dask => {
            let name = if row.system == System::Ray { "ray" } else { "dask" };
            let mut command = Command::new(python());
            command.arg("-B").arg(sources("python").join(format!("spread_{name}.py")));
            command
        }
    };
    command.arg(row.workload).args(units.iter().map(u32::to_string));
    let said = cpus.output(&command)?;
    ratio(&said, &units).with_context(|| format!("it says {said:?}"))
}

/// From what a program says: seconds that all took; those of a unit before, and after.
fn ratio(said: &str, units: &[u32]) -> Option<f64> {
    let numbers: Vec<f64> =
        said.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let [took, before, after] = numbers[..] else { return None };
    let ideal = f64::from(units.iter().sum::<u32>()) * f64::midpoint(before, after) / 2.0;
    (ideal > 0.0).then(|| took / ideal)
}

fn durations() -> Vec<u32> {
    let quantile = |number: u32| {
        let above = 1.0 - (f64::from(number) + 0.5) / f64::from(PROGRAMS);
        (UNITS_MIN * above.powf(-1.0 / SHAPE)) as u32
    };
    // 77 and 200 have no common divisor: each comes once.
    (0..PROGRAMS).map(|number| quantile(number * 77 % PROGRAMS)).collect()
}

fn write(
    versions: &[(System, &'static str, String)],
    figures: &[Vec<f64>],
    rounds: usize,
    profile: &str,
) -> Result<()> {
    let value = |figures: &[f64]| median(figures.iter().copied());
    let rows = || ROWS.iter().zip(figures);
    let metrics: Vec<Value> = rows()
        .map(|(row, figures)| {
            let value = (!figures.is_empty()).then(|| value(figures));
            json!({"workload": row.what, "system": row.name, "unit": "ratio", "value": value, "rounds": figures})
        })
        .collect();
    let named: serde_json::Map<String, Value> =
        versions.iter().map(|(_, name, version)| ((*name).to_owned(), json!(version))).collect();
    let record = json!({
        "date": today(), "commit": commit(), "processor": processor(), "profile": profile, "rounds": rounds,
        "versions": named, "metrics": metrics,
    });
    let mut text = format!(
        "# Work spread over two nodes of one core each, {}\n\nCommit {}, {profile} profile; {}, {rounds} rounds. Made by `cargo xtask \
         bench spread`.\n\n",
        today(),
        commit(),
        processor(),
    );
    for (_, name, version) in versions {
        let _ = writeln!(text, "- {name}: {version}");
    }
    text += "\nTime against the ideal, which is all work at the speed that the system itself has on both nodes, divided by two; in brackets \
             the least and the most.\n\n| work | system | ratio |\n|---|---|---:|\n";
    for (row, figures) in rows() {
        let (least, most) = figures
            .iter()
            .fold((f64::INFINITY, 0.0_f64), |(least, most), one| (least.min(*one), most.max(*one)));
        let cell = if figures.is_empty() {
            "-".to_owned()
        } else {
            format!("{:.2} ({least:.2} to {most:.2})", value(figures))
        };
        let _ = writeln!(text, "| {} | {} | {cell} |", row.what, row.name);
    }
    print!("{text}");
    let stem = root().join("benches").join(format!("{}-spread", today()));
    fs::write(stem.with_extension("json"), serde_json::to_string_pretty(&record)? + "\n")?;
    fs::write(stem.with_extension("md"), text)?;
    eprintln!("xtask: record written to benches/{}-spread.{{json,md}}", today());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_say() {
        assert_eq!(ratio("3.0 0.001 0.003\n", &[1_000, 1_000]), Some(1.5));
        assert_eq!(ratio("3.0 0.001\n", &[1_000]), None);
        assert_eq!(ratio("3.0 0 0", &[1_000]), None);
        assert_eq!(ratio("error", &[1_000]), None);
    }

    #[test]
    fn there_is_as_much_work_as_in_our_own_bench() {
        let durations = durations();
        assert_eq!(durations.len(), 200);
        assert!((20_000..30_000).contains(&durations.iter().sum::<u32>()));
    }
}
