//! `peri ps`: the processes that this user runs here.

use crate::exit::{Code, End, Failure, Result};
use crate::output::{self, Align, Format, Table};
use peripatos_host::control::{Entry, RuntimeDirectory, Status};
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// Lists running processes.
#[derive(Debug, clap::Args)]
pub(crate) struct Ps {
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// One process in JSON.
#[derive(Serialize)]
struct Row {
    pid: String,
    os_process: u32,
    program: String,
    args: Vec<String>,
    state: &'static str,
    freezable: bool,
    started_unix_seconds: u64,
    cpu_ms: u64,
    freezes: u64,
}

pub(crate) fn run(options: &Ps) -> Result<End> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(Code::Unreadable, "runtime directory", error);
    let directory = RuntimeDirectory::open().map_err(|error| failed(&error))?;
    let entries = directory.processes().map_err(|error| failed(&error))?;
    match options.output {
        Format::Json => output::print_json(&entries.iter().map(row).collect::<Vec<_>>()),
        Format::Table => output::print(&table(&entries)),
    }
    .map_err(|error| Failure::new(Code::Storage, "standard output", error))?;
    Ok(End::SUCCESS)
}

fn row(entry: &Entry) -> Row {
    let pid = entry.pid.to_string();
    match entry.status.clone() {
        Some(Status {
            os_process,
            program,
            args,
            started_unix_seconds,
            cpu_ms,
            freezes,
            freezable,
            ..
        }) => Row {
            pid,
            os_process,
            program,
            args,
            state: "running",
            freezable,
            started_unix_seconds,
            cpu_ms,
            freezes,
        },
        None => Row {
            pid,
            os_process: 0,
            program: String::new(),
            args: Vec::new(),
            state: "unresponsive",
            freezable: false,
            started_unix_seconds: 0,
            cpu_ms: 0,
            freezes: 0,
        },
    }
}

fn table(entries: &[Entry]) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("PID", Align::Left),
        ("OS", right),
        ("STATE", Align::Left),
        ("AGE", right),
        ("CPU", right),
        ("FREEZES", right),
        ("PROGRAM", Align::Left),
    ]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for entry in entries {
        let row = row(entry);
        let state = if row.state == "running" && !row.freezable { "plain" } else { row.state };
        let command: Vec<&str> =
            [row.program.as_str()].into_iter().chain(row.args.iter().map(String::as_str)).collect();
        table.row(vec![
            format!("{:#}", entry.pid),
            row.os_process.to_string(),
            state.into(),
            age(now.saturating_sub(row.started_unix_seconds)),
            format!("{:.1}s", row.cpu_ms as f64 / 1e3),
            row.freezes.to_string(),
            command.join(" ").chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        ]);
    }
    table.render()
}

/// `59s`, `12m`, `3h`, `2d`.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages() {
        assert_eq!([0, 59, 60, 7_200, 200_000].map(age), ["0s", "59s", "1m", "2h", "2d"]);
    }
}
