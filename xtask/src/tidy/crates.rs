//! Which crate may know which: the directions of ARCHITECTURE.md, and what the pure crates must not touch.

use super::Finding;
use super::tree::File;
use crate::shell::{cargo, output};
use anyhow::{Context as _, Result};
use serde_json::Value;

/// What a crate of the workspace may depend on.
struct Rule {
    name: &'static str,
    /// Crates of this workspace that it may know.
    inner: &'static [&'static str],
    /// Everything from outside, if the crate is pure; `None`: free.
    outer: Option<&'static [&'static str]>,
}

const RULES: [Rule; 11] = [
    Rule { name: "peripatos-abi", inner: &[], outer: Some(&["postcard", "serde", "thiserror"]) },
    Rule {
        name: "peripatos-kernel",
        inner: &["peripatos-abi"],
        outer: Some(&["postcard", "serde", "thiserror"]),
    },
    Rule {
        name: "peripatos-sim",
        inner: &["peripatos-abi", "peripatos-balancer", "peripatos-cluster", "peripatos-kernel"],
        outer: Some(&["postcard"]),
    },
    Rule { name: "peripatos-balancer", inner: &[], outer: Some(&[]) },
    Rule {
        name: "peripatos-cluster",
        inner: &["peripatos-abi", "peripatos-balancer"],
        outer: Some(&["bytes", "foca", "rand", "serde", "thiserror"]),
    },
    Rule {
        name: "peripatos-instrument",
        inner: &[],
        outer: Some(&["blake3", "thiserror", "wasm-encoder", "wasmparser"]),
    },
    Rule {
        name: "peripatos-engine",
        inner: &["peripatos-abi", "peripatos-instrument"],
        outer: None,
    },
    Rule {
        name: "peripatos-host",
        inner: &["peripatos-abi", "peripatos-cluster", "peripatos-engine", "peripatos-kernel"],
        outer: None,
    },
    Rule {
        name: "peri",
        inner: &[
            "peripatos-abi",
            "peripatos-cluster",
            "peripatos-instrument",
            "peripatos-engine",
            "peripatos-host",
            "peripatos-kernel",
            "peripatos-sim",
        ],
        outer: None,
    },
    Rule {
        name: "peripatos-guests",
        inner: &[],
        outer: Some(&["serde", "thiserror", "toml", "wat"]),
    },
    Rule { name: "xtask", inner: &["peripatos-guests"], outer: None },
];

/// Only this crate knows the engine below.
const WASMTIME_OWNER: &str = "peripatos-engine";

/// Directories of crates that decide and never act, and what deciding code does not name.
const PURE: [&str; 5] = [
    "crates/abi/src/",
    "crates/balancer/src/",
    "crates/cluster/src/",
    "crates/instrument/src/",
    "crates/kernel/src/",
];
const ACTS: [&str; 7] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "SystemTime",
    "Instant::now",
];

/// A file that may name one of them, each with its reason.
const EXCEPTIONS: [(&str, &str); 1] = [
    // A thread as a stack: it starts, is waited for and is gone within one call.
    ("crates/instrument/src/limits.rs", "std::thread"),
];

/// Errors: `cargo metadata` cannot be run or read.
pub(crate) fn check(files: &[File]) -> Result<Vec<Finding>> {
    let text = output(
        "cargo metadata",
        cargo().args(["metadata", "--no-deps", "--offline", "--format-version", "1"]),
    )?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata without packages")?;
    let mut findings: Vec<Finding> = packages.iter().flat_map(edges).collect();
    findings.extend(files.iter().flat_map(acts));
    Ok(findings)
}

/// Breaches in one package's list of dependencies. Development dependencies are free: they do not ship.
fn edges(package: &Value) -> Vec<Finding> {
    let name = package["name"].as_str().unwrap_or_default();
    let finding = |what: String| Finding { path: format!("crate {name}"), line: 0, what };
    let Some(rule) = RULES.iter().find(|rule| rule.name == name) else {
        return vec![finding(
            "not in the list of crates (xtask/src/tidy/crates.rs): say what it may know".into(),
        )];
    };
    let mut findings = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let target = dependency["name"].as_str().unwrap_or_default();
        if dependency["kind"].as_str() == Some("dev") {
            continue;
        }
        let ours = RULES.iter().any(|rule| rule.name == target);
        let allowed = match (ours, rule.outer) {
            (true, _) => rule.inner.contains(&target),
            (false, Some(outer)) => outer.contains(&target),
            (false, None) => target != "wasmtime" || name == WASMTIME_OWNER,
        };
        if !allowed {
            findings.push(finding(format!("must not depend on {target}")));
        }
    }
    findings
}

/// Places where a pure crate touches the world, tests left out (they stand last in a file).
fn acts(file: &File) -> Vec<Finding> {
    if !PURE.iter().any(|directory| file.path.starts_with(directory)) {
        return Vec::new();
    }
    file.lines()
        .take_while(|(_, line)| !line.contains("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .filter_map(|(line, text)| {
            ACTS.iter().find(|act| text.contains(**act)).map(|act| (line, act))
        })
        .filter(|(_, act)| !EXCEPTIONS.contains(&(file.path.as_str(), **act)))
        .map(|(line, act)| Finding {
            path: file.path.clone(),
            line,
            what: format!("{act} in a crate that only decides"),
        })
        .collect()
}
