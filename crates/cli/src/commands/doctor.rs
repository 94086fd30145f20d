//! `peri doctor`: what this machine offers, and what falls back to what.
//!
//! It looks and does not touch: no setting is changed, and only the cache and runtime directories may be made.

use crate::exit::{Code, End, Result};
use crate::output::{Align, Format, Table};
use crate::{place, secret};
use peripatos_engine::{Backend, CodeKind, LoadOptions, Runtime, Settings};
use peripatos_host::control::RuntimeDirectory;
use peripatos_host::cores::awake_max;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use std::fs;

/// Tells what this machine offers and what falls back to what.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As wished.
    Ok,
    /// Works, with less.
    Fallback,
    /// Something will not work.
    Problem,
}

#[derive(Serialize)]
struct Finding {
    what: &'static str,
    level: Level,
    found: String,
    consequence: String,
}

/// The smallest module.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

pub(crate) fn run(options: &Doctor) -> Result<End> {
    let findings = [
        backend(),
        cores(),
        address_space(),
        mappings(),
        page_tracking(),
        cache(),
        runtime_directory(),
        vouchers(),
    ];
    options.output.show(&findings, || render(&findings))?;
    let problem = findings.iter().any(|finding| finding.level == Level::Problem);
    Ok(if problem { End::Exit(Code::Resources.number()) } else { End::SUCCESS })
}

fn render(findings: &[Finding]) -> String {
    let left = Align::Left;
    let mut table = Table::new(&[("", left), ("WHAT", left), ("FOUND", left), ("MEANS", left)]);
    for finding in findings {
        let mark = match finding.level {
            Level::Ok => "ok",
            Level::Fallback => "fallback",
            Level::Problem => "PROBLEM",
        };
        table.row(vec![
            mark.into(),
            finding.what.into(),
            finding.found.clone(),
            finding.consequence.clone(),
        ]);
    }
    table.render()
}

fn finding(
    what: &'static str,
    level: Level,
    found: impl Into<String>,
    consequence: impl Into<String>,
) -> Finding {
    Finding { what, level, found: found.into(), consequence: consequence.into() }
}

fn backend() -> Finding {
    let works = |backend| {
        let settings = Settings { backend, ..Settings::default() };
        let runtime = Runtime::new(settings).map_err(|error| error.to_string())?;
        let loaded = runtime.load(EMPTY_MODULE.into(), LoadOptions { kind: CodeKind::Plain });
        loaded.map(drop).map_err(|error| error.to_string())
    };
    let here = std::env::consts::ARCH;
    match (works(Backend::Native), works(Backend::Pulley)) {
        (Ok(()), _) => finding(
            "engine",
            Level::Ok,
            format!("native code, {here}"),
            "programs run at full speed",
        ),
        (Err(why), Ok(())) => finding(
            "engine",
            Level::Fallback,
            format!("interpreter: {why}"),
            "programs run, 10 to 30 times slower",
        ),
        (Err(why), Err(_)) => finding("engine", Level::Problem, why, "no program can run"),
    }
}

fn cores() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match cores {
        1 => finding(
            "cores",
            Level::Fallback,
            "1",
            "one process runs at a time; the two nodes of `peri demo` share the core",
        ),
        _ => finding("cores", Level::Ok, cores.to_string(), "processes run side by side"),
    }
}

fn address_space() -> Finding {
    match getrlimit(Resource::As).current {
        None => finding(
            "address space",
            Level::Ok,
            "unlimited",
            "memories are reserved whole, without bounds checks",
        ),
        Some(bytes) => finding(
            "address space",
            Level::Problem,
            format!("limited to {} MiB", bytes >> 20),
            "a memory reserves 4 GiB: raise it (ulimit -v unlimited)",
        ),
    }
}

fn mappings() -> Finding {
    let path = "/proc/sys/vm/max_map_count";
    let count = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let (level, found) = match count {
        Some(count) => (Level::Ok, format!("{count} for each OS process")),
        None => (Level::Fallback, "unknown".to_owned()),
    };
    let awake = awake_max();
    let meaning =
        format!("{awake} processes are awake at a time, more sleep until they are needed");
    finding("memory mappings", level, found, meaning)
}

fn page_tracking() -> Finding {
    match peripatos_engine::page_tracking() {
        Ok(()) => finding(
            "page tracking",
            Level::Ok,
            "PAGEMAP_SCAN and userfaultfd",
            "a process is copied while it runs, and stands still for a moment when it moves",
        ),
        Err(why) => finding(
            "page tracking",
            Level::Fallback,
            why,
            "a process stands still while it is copied to another node",
        ),
    }
}

fn cache() -> Finding {
    let slower = "programs are compiled at every start";
    let Some(directory) = place::cache_directory() else {
        return finding("code cache", Level::Fallback, "no HOME, or switched off", slower);
    };
    let warnings = match place::runtime(Backend::Native, false) {
        Ok(runtime) => runtime.take_warnings(),
        Err(failure) => return finding("code cache", Level::Fallback, failure.to_string(), slower),
    };
    match warnings.as_slice() {
        [] => finding(
            "code cache",
            Level::Ok,
            directory.display().to_string(),
            "programs are compiled once",
        ),
        [why, ..] => finding(
            "code cache",
            Level::Fallback,
            format!("{}: {why}", directory.display()),
            slower,
        ),
    }
}

fn runtime_directory() -> Finding {
    match RuntimeDirectory::open() {
        Ok(directory) => finding(
            "runtime directory",
            Level::Ok,
            directory.path().display().to_string(),
            "`peri ps` and `peri freeze` find running processes",
        ),
        Err(why) => finding(
            "runtime directory",
            Level::Fallback,
            why.to_string(),
            "programs run, but cannot be listed or frozen",
        ),
    }
}

fn vouchers() -> Finding {
    match secret::voucher_key() {
        Some(_) => finding(
            "image vouchers",
            Level::Ok,
            "secret present",
            "your own images get their directories back unasked",
        ),
        None => finding(
            "image vouchers",
            Level::Fallback,
            "no place for a secret",
            "`peri thaw` needs --dir for the directories of an image",
        ),
    }
}
