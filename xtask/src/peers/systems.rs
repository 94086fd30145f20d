//! The systems: whether they are there, how their programs are built, and how one runs.

use super::Row;
use super::run::Cpus;
use crate::shell::{cargo, root, step};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What a run is to take, and how long one takes that tells how fast it is, in seconds.
const TARGET: f64 = 1.0;
const TELLING: f64 = 0.1;
/// How the size grows until then, and how far.
const GROWTH: u64 = 8;
const SIZE_MAX: u64 = 1 << 30;

pub(super) struct System {
    pub(super) name: &'static str,
    /// `None`: it is not installed, or its programs cannot be built.
    pub(super) version: Option<String>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Peripatos { profile: &'static str },
    Erlang,
    Go,
    Rust,
}

/// Ours first. Builds the programs of those that are there.
pub(super) fn all(profile: &'static str) -> Vec<System> {
    let peri = said(Command::new(peri(profile)).arg("--version"));
    let ours = System { name: "Peripatos", version: peri, kind: Kind::Peripatos { profile } };
    vec![
        ours,
        System { name: "Erlang", version: erlang(), kind: Kind::Erlang },
        System { name: "Go", version: go(), kind: Kind::Go },
        System { name: "kameo", version: rust(), kind: Kind::Rust },
    ]
}

/// Where what is built for others goes.
pub(super) fn scratch() -> PathBuf {
    root().join("target").join("peers")
}

pub(super) fn sources(language: &str) -> PathBuf {
    root().join("benches/peers").join(language)
}

pub(super) fn peri(profile: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    target.map_or_else(|| root().join("target"), PathBuf::from).join(profile).join("peri")
}

/// The first line that a command says. `None`: there is no such command, or it fails.
pub(super) fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}

/// What is there and cannot be built is as good as absent, but not silently.
fn built(version: String, outcome: Result<()>) -> Option<String> {
    outcome.inspect_err(|error| eprintln!("xtask: {error:#}")).ok().map(|()| version)
}

fn erlang() -> Option<String> {
    let ask = "io:format(\"Erlang/OTP ~s, ERTS ~s\", [erlang:system_info(otp_release), \
               erlang:system_info(version)]), halt().";
    let version = said(Command::new("erl").args(["-noshell", "-eval", ask]))?;
    let build = || {
        fs::create_dir_all(scratch())?;
        let source = sources("erlang").join("workloads.erl");
        step("erlc", Command::new("erlc").arg("-o").arg(scratch()).arg(source))
    };
    built(version, build())
}

fn go() -> Option<String> {
    let version = said(Command::new("go").arg("version"))?;
    let mut command = Command::new("go");
    command.current_dir(sources("go")).args(["build", "-o"]).arg(scratch().join("go")).arg(".");
    built(version, step("go build", &mut command))
}

fn rust() -> Option<String> {
    let lock = fs::read_to_string(sources("rust").join("Cargo.lock")).ok()?;
    let version = |name: &str| {
        let after = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?.1;
        Some(after.split_once('"')?.0.to_owned())
    };
    let version = format!("kameo {}, tokio {}", version("kameo")?, version("tokio")?);
    let mut command = cargo();
    command.current_dir(sources("rust")).args(["build", "--release", "--locked", "--target-dir"]);
    built(version, step("kameo", command.arg(scratch().join("rust"))))
}

/// A workload of a system, and how much of it.
pub(super) struct Work {
    kind: Kind,
    bench: &'static str,
    name: &'static str,
    before: Option<u32>,
    size: u64,
}

impl System {
    /// What is to be run for a row. `None`: nothing. Errors: it fails.
    pub(super) fn work(&self, row: &Row, cpus: &Cpus) -> Result<Option<Work>> {
        if self.version.is_none() {
            return Ok(None);
        }
        let (name, before) = row.theirs;
        let mut work = Work { kind: self.kind, bench: "", name, before, size: 1 };
        match (self.kind, row.ours) {
            (Kind::Peripatos { .. }, None) => return Ok(None),
            // It finds out itself how much is enough.
            (Kind::Peripatos { .. }, Some((bench, metric))) => {
                (work.bench, work.name) = (bench, metric);
            }
            // It has no way to other processes without many more dependencies.
            (Kind::Rust, _) if name == "cross_process" => return Ok(None),
            _ => work.find_size(cpus)?,
        }
        Ok(Some(work))
    }
}

impl Work {
    fn find_size(&mut self, cpus: &Cpus) -> Result<()> {
        loop {
            let (_, seconds) = self.run(cpus)?;
            if seconds >= TELLING || self.size == SIZE_MAX {
                let scaled = self.size as f64 * TARGET / seconds;
                self.size = (scaled as u64).clamp(1, SIZE_MAX);
                return Ok(());
            }
            self.size = (self.size * GROWTH).min(SIZE_MAX);
        }
    }

    /// Runs it: items a second. Errors: it fails, or has done less than it was told.
    pub(super) fn rate(&self, cpus: &Cpus) -> Result<f64> {
        match self.kind {
            Kind::Peripatos { profile } => self.bench(&peri(profile), cpus),
            _ => self.run(cpus).map(|(items, seconds)| items as f64 / seconds),
        }
    }

    fn bench(&self, peri: &PathBuf, cpus: &Cpus) -> Result<f64> {
        let mut command = Command::new(peri);
        command.args(["bench", self.bench, "--rounds", "1", "--output", "json"]);
        let text = cpus.output(command.args(["--only", self.name]))?;
        let metrics: Value = serde_json::from_str(&text)?;
        ensure!(metrics[0]["metric"] == self.name, "peri bench has not measured {}", self.name);
        metrics[0]["value"].as_f64().context("a metric without a value")
    }

    /// Items and seconds, as the program says.
    fn run(&self, cpus: &Cpus) -> Result<(u64, f64)> {
        let before = self.before.map(|number| number.to_string());
        let size = self.size.to_string();
        let args = [Some(self.name), before.as_deref(), Some(&size)].into_iter().flatten();
        let said = cpus.output(self.command().args(args).args(self.last_args()))?;
        let words: Vec<&str> = said.split_whitespace().collect();
        let [_, items, seconds] = words[..] else { anyhow::bail!("it says {said}") };
        let (items, seconds) = (items.parse()?, seconds.parse()?);
        let asked = self.size * u64::from(self.before.unwrap_or(1));
        ensure!(items >= asked, "of {asked} it has done {items}");
        Ok((items, seconds))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        if self.kind == Kind::Erlang {
            command.arg("-noshell").arg("-pa").arg(scratch());
            if self.name == "cross_process" {
                command.args(["-sname", &format!("peers-{}", std::process::id())]);
            }
            command.args(["-run", "workloads", "main"]);
        }
        command
    }

    fn program(&self) -> OsString {
        match self.kind {
            Kind::Peripatos { profile } => peri(profile).into(),
            Kind::Erlang => "erl".into(),
            Kind::Go => scratch().join("go").into(),
            Kind::Rust => scratch().join("rust/release/peer").into(),
        }
    }

    fn last_args(&self) -> &'static [&'static str] {
        if self.kind == Kind::Erlang { &["-s", "init", "stop"] } else { &[] }
    }
}
