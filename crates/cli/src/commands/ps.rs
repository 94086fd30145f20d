//! `peri ps`: the processes of the cluster, and those that run in a `peri run` of this user without a node.

use crate::cluster::{At, failure};
use crate::exit::{Code, End, Failure, Result, say};
use crate::output::{Align, Format, Table};
use peripatos_abi::Pid;
use peripatos_cluster::message::{Doing, ProcessRow, RowState};
use peripatos_host::control::{Entry, RuntimeDirectory, Status};
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// Lists running processes, wherever they run.
#[derive(Debug, clap::Args)]
pub(crate) struct Ps {
    #[command(flatten)]
    at: At,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// One process in JSON.
#[derive(Serialize)]
struct Row {
    pid: String,
    program: String,
    args: Vec<String>,
    /// The node that runs it; none for a `peri run` without one.
    node: Option<String>,
    /// The core of that node that last ran it.
    core: Option<u32>,
    /// running, ready, send, receive, reply (of messages), waiting (for its devices), moving, in-doubt, unresponsive.
    state: &'static str,
    /// In state send and reply: for which process; in state receive, if it is for a certain one.
    waits_for: Option<String>,
    /// It was put aside until something comes for it.
    asleep: bool,
    started_unix_seconds: u64,
    cpu_ms: u64,
    /// None where it is not known.
    memory_bytes: Option<u64>,
    moves: u32,
    /// How long it stood still for its last move, and for the longest.
    freeze_us_last: Option<u64>,
    freeze_us_max: Option<u64>,
    pinned: bool,
    /// Of a process without a node: the `peri run`, how often it was frozen, and whether it can be.
    os_process: Option<u32>,
    freezes: Option<u64>,
    freezable: bool,
    #[serde(skip)]
    short: String,
    #[serde(skip)]
    waits_for_short: Option<String>,
}

pub(crate) fn run(options: &Ps) -> Result<End> {
    let mut rows = on_nodes(&options.at)?;
    if options.at.at.is_none() {
        rows.extend(without_node()?);
    }
    rows.sort_by(|a, b| (a.started_unix_seconds, &a.pid).cmp(&(b.started_unix_seconds, &b.pid)));
    options.output.show(&rows, || table(&rows))?;
    Ok(End::SUCCESS)
}

/// A list of so many lines may be cut: all lines go in one frame.
const LONG: usize = 50;

fn on_nodes(at: &At) -> Result<Vec<Row>> {
    let Some(mut client) = at.find()? else { return Ok(Vec::new()) };
    let failed = |error| failure("ps", &error);
    let listing = client.processes().map_err(failed)?;
    let nodes = client.nodes().map_err(failed)?;
    for silent in &listing.silent {
        say(format_args!("node {silent} does not answer; what runs there is not listed"));
    }
    let name = |row: &ProcessRow| {
        let known = nodes.iter().find(|node| node.node == row.node);
        known.map_or_else(|| format!("{:#}", row.node), |node| node.name.clone())
    };
    // What nodes say of each other is a moment old: only a long list is known to be cut.
    let all = nodes.iter().map(|node| node.processes as usize).sum::<usize>();
    let more = all.saturating_sub(listing.processes.len());
    if listing.processes.len() >= LONG && more > 0 {
        say(format_args!("... and {more} more; those that sleep are left out first"));
    }
    Ok(listing.processes.iter().map(|row| of_node(row, name(row))).collect())
}

fn of_node(row: &ProcessRow, node: String) -> Row {
    let command = &row.process.command;
    let moved = Some(row.costs).filter(|costs| costs.moves > 0);
    let (state, waits_for) = state_of(row);
    Row {
        pid: row.process.pid.to_string(),
        program: command.first().cloned().unwrap_or_default(),
        args: command.iter().skip(1).cloned().collect(),
        node: Some(node),
        core: row.core,
        state,
        waits_for: waits_for.map(|pid| pid.to_string()),
        asleep: row.state == RowState::Asleep,
        started_unix_seconds: row.process.started_unix_seconds,
        cpu_ms: row.cpu_ms,
        memory_bytes: Some(row.memory_bytes),
        moves: row.moves,
        freeze_us_last: moved.map(|costs| costs.freeze_us_last),
        freeze_us_max: moved.map(|costs| costs.freeze_us_max),
        pinned: row.pinned,
        os_process: None,
        freezes: None,
        freezable: true,
        short: format!("{:#}", row.process.pid),
        waits_for_short: waits_for.map(|pid| format!("{pid:#}")),
    }
}

/// What a process does, in QNX's words, and for whom it waits.
fn state_of(row: &ProcessRow) -> (&'static str, Option<Pid>) {
    match (row.state, row.doing) {
        (RowState::Moving, _) => ("moving", None),
        (RowState::InDoubt, _) => ("in-doubt", None),
        (_, Some(Doing::Running)) => ("running", None),
        (_, Some(Doing::Ready)) => ("ready", None),
        (_, Some(Doing::Send(to))) => ("send", Some(to)),
        (_, Some(Doing::Reply(of))) => ("reply", Some(of)),
        (_, Some(Doing::Receive)) => ("receive", None),
        (_, Some(Doing::ReceiveFrom(from))) => ("receive", Some(from)),
        // Its core has not said more in time.
        (RowState::Running, None) => ("running", None),
        (_, Some(Doing::Device)) | (RowState::Waiting | RowState::Asleep, None) => {
            ("waiting", None)
        }
    }
}

fn without_node() -> Result<Vec<Row>> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(Code::Unreadable, "runtime directory", error);
    let directory = RuntimeDirectory::open().map_err(|error| failed(&error))?;
    let entries = directory.processes().map_err(|error| failed(&error))?;
    Ok(entries.into_iter().map(of_command).collect())
}

fn of_command(entry: Entry) -> Row {
    let Entry { pid, status } = entry;
    let state = if status.is_some() { "running" } else { "unresponsive" };
    let Status {
        os_process, program, args, started_unix_seconds, cpu_ms, freezes, freezable, ..
    } = status.unwrap_or_else(|| unknown(pid));
    Row {
        pid: pid.to_string(),
        program,
        args,
        node: None,
        core: None,
        state,
        waits_for: None,
        asleep: false,
        started_unix_seconds,
        cpu_ms,
        memory_bytes: None,
        moves: 0,
        freeze_us_last: None,
        freeze_us_max: None,
        pinned: false,
        os_process: Some(os_process),
        freezes: Some(freezes),
        freezable,
        short: format!("{pid:#}"),
        waits_for_short: None,
    }
}

fn unknown(pid: Pid) -> Status {
    Status {
        pid,
        os_process: 0,
        program: String::new(),
        args: Vec::new(),
        started_unix_seconds: 0,
        cpu_ms: 0,
        freezes: 0,
        freezable: false,
    }
}

fn table(rows: &[Row]) -> String {
    let (left, right) = (Align::Left, Align::Right);
    let mut table = Table::new(&[
        ("PID", left),
        ("NODE", left),
        ("CORE", right),
        ("STATE", left),
        ("AGE", right),
        ("CPU", right),
        ("MEMORY", right),
        ("MOVES", right),
        ("FREEZE", right),
        ("PROGRAM", left),
    ]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let dash = || "-".to_owned();
    for row in rows {
        let command: Vec<&str> =
            [row.program.as_str()].into_iter().chain(row.args.iter().map(String::as_str)).collect();
        table.row(vec![
            row.short.clone(),
            row.node.clone().unwrap_or_else(dash),
            row.core.map_or_else(dash, |core| core.to_string()),
            state(row),
            age(now.saturating_sub(row.started_unix_seconds)),
            format!("{:.1}s", row.cpu_ms as f64 / 1e3),
            row.memory_bytes.map_or_else(dash, |bytes| format!("{:.1}M", bytes as f64 / 1e6)),
            row.moves.to_string(),
            row.freeze_us_max.map_or_else(dash, |us| format!("{:.1}ms", us as f64 / 1e3)),
            command.join(" ").chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        ]);
    }
    table.render()
}

/// `SEND p12`, `RECEIVE asleep`.
fn state(row: &Row) -> String {
    let plain = row.state == "running" && !row.freezable;
    let mut words = vec![if plain { "PLAIN".to_owned() } else { row.state.to_uppercase() }];
    words.extend(row.waits_for_short.clone());
    words.extend(row.asleep.then(|| "asleep".to_owned()));
    words.extend(row.pinned.then(|| "pinned".to_owned()));
    words.join(" ")
}

/// `59s`, `12m`, `3h`, `2d`.
pub(crate) fn age(seconds: u64) -> String {
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
