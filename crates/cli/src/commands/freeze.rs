//! `peri freeze`: takes a running process out of its `peri run` and puts it into a file.

use crate::cluster::{self, At};
use crate::exit::{Code, End, Failure, Result, say};
use crate::image_file::ImageWriter;
use peripatos_abi::Pid;
use peripatos_host::control::{self, ControlError, Entry, RuntimeDirectory};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Freezes a running process into a file; its `peri run` ends with code 75.
#[derive(Debug, clap::Args)]
pub(crate) struct Freeze {
    /// The process, as `peri ps` shows it (p81), by its whole pid, or by the number of its `peri run`
    pid: String,
    /// Where to put the image; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Say nothing about success
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(options: &Freeze) -> Result<End> {
    let unreachable = |error| Failure::new(Code::NoProcess, &options.pid, error);
    let directory = RuntimeDirectory::open().map_err(unreachable)?;
    let pid = find(&options.pid, &directory.processes().map_err(unreachable)?)?;
    let started = Instant::now();
    let bytes = if options.output == Path::new("-") {
        let mut out = std::io::stdout().lock();
        control::freeze(&directory, pid, &mut out, |out| out.flush())
    } else {
        to_file(&directory, pid, &options.output)
    }
    .map_err(|error| failure(options, error))?;
    if !options.quiet {
        let milliseconds = started.elapsed().as_secs_f64() * 1e3;
        say(format_args!(
            "{pid:#}: frozen into {} ({bytes} bytes, {milliseconds:.1} ms)",
            options.output.display()
        ));
    }
    Ok(End::SUCCESS)
}

fn to_file(
    directory: &RuntimeDirectory,
    pid: Pid,
    path: &Path,
) -> std::result::Result<u64, ControlError> {
    let mut writer = ImageWriter::create(path).map_err(ControlError::Store)?;
    let received = control::freeze(directory, pid, &mut writer, ImageWriter::store)?;
    writer.keep().map_err(ControlError::Store)?;
    Ok(received)
}

fn failure(options: &Freeze, error: ControlError) -> Failure {
    match error {
        ControlError::Store(cause) => Failure::new(Code::Storage, options.output.display(), cause),
        error => Failure::new(Code::NoProcess, &options.pid, error),
    }
}

/// The process that a user means: a whole pid, its short form, or the number of the `peri` that runs it.
fn find(text: &str, processes: &[Entry]) -> Result<Pid> {
    let means = |entry: &&Entry| {
        let pid = entry.pid;
        let os_process = entry.status.as_ref().map(|status| status.os_process.to_string());
        text == pid.to_string() || text == format!("{pid:#}") || Some(text) == os_process.as_deref()
    };
    let found: Vec<&Entry> = processes.iter().filter(means).collect();
    match found.as_slice() {
        [one] => Ok(one.pid),
        [] if on_a_node(text) => Err(Failure::new(
            Code::NoProcess,
            text,
            "it runs on a node; only what `peri run --local` runs can be frozen into a file so far",
        )),
        [] => Err(Failure::new(
            Code::NoProcess,
            text,
            format!("no such process ({})", running(processes)),
        )),
        several => {
            let pids: Vec<String> = several.iter().map(|entry| entry.pid.to_string()).collect();
            Err(Failure::new(Code::NoProcess, text, format!("could be any of {}", pids.join(", "))))
        }
    }
}

/// Whether a node knows the process.
fn on_a_node(text: &str) -> bool {
    let client = At::default().find();
    client.ok().flatten().is_some_and(|mut client| cluster::process(&mut client, text).is_ok())
}

/// How many running processes a message names.
const NAMED_MAX: usize = 5;

fn running(processes: &[Entry]) -> String {
    if processes.is_empty() {
        return "nothing is running; start a program with `peri run`".into();
    }
    let names: Vec<String> =
        processes.iter().take(NAMED_MAX).map(|entry| format!("{:#}", entry.pid)).collect();
    let more = if processes.len() > NAMED_MAX { ", …" } else { "" };
    format!("running: {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use peripatos_host::control::Status;

    fn entry(number: u64, random: u64, os_process: u32) -> Entry {
        let pid = Pid::new(number, random);
        let status = Status {
            pid,
            os_process,
            program: String::new(),
            args: Vec::new(),
            started_unix_seconds: 0,
            cpu_ms: 0,
            freezes: 0,
            freezable: true,
        };
        Entry { pid, status: Some(status) }
    }

    #[test]
    fn a_process_is_found_by_each_of_its_names() {
        let processes = [entry(81, 1, 500), entry(82, 2, 501), entry(82, 3, 502)];
        let check = |text: &str, expected: std::result::Result<Pid, &str>| match (
            find(text, &processes),
            expected,
        ) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(failure), Err(expected)) => {
                assert!(failure.to_string().contains(expected), "{failure}")
            }
            (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
        };
        check("p81", Ok(Pid::new(81, 1)));
        check("500", Ok(Pid::new(81, 1)));
        check("p82-0000000000000003", Ok(Pid::new(82, 3)));
        check("p82", Err("could be any of p82-0000000000000002, p82-0000000000000003"));
        check("p9", Err("running: p81, p82, p82"));
        assert!(
            find("p1", &[])
                .is_err_and(|failure| failure.to_string().contains("nothing is running"))
        );
    }
}
