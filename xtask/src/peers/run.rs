//! Running a program on some of the machine's CPUs, for no longer than it may take.

use anyhow::{Context as _, Result, bail};
use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What takes longer hangs.
const TIME_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// CPUs that programs are kept to. Whoever asks how many there are gets this many for an answer.
pub(super) struct Cpus {
    list: String,
    /// `taskset` is there. Without it everybody has all CPUs.
    can_pin: bool,
}

impl Cpus {
    pub(super) fn new(numbers: &[usize]) -> Cpus {
        let list: Vec<String> = numbers.iter().map(usize::to_string).collect();
        let asked = Command::new("taskset").arg("--version").stdout(Stdio::null()).status();
        let can_pin = asked.is_ok_and(|status| status.success());
        if !can_pin {
            eprintln!("xtask: without taskset programs run on all CPUs");
        }
        Cpus { list: list.join(","), can_pin }
    }

    /// This command, on these CPUs.
    fn pin(&self, program: &Command) -> Command {
        let mut command = if self.can_pin {
            let mut command = Command::new("taskset");
            command.args(["-c", &self.list]).arg(program.get_program());
            command
        } else {
            Command::new(program.get_program())
        };
        command.args(program.get_args());
        command
    }

    /// Runs a command: what it wrote to its standard output. Errors: it fails, or hangs.
    pub(super) fn output(&self, program: &Command) -> Result<String> {
        let mut command = self.pin(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start")?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > TIME_MAX {
                child.kill()?;
                child.wait()?;
                bail!("it has not ended within {} s", TIME_MAX.as_secs());
            }
            thread::sleep(LOOK_EVERY);
        };
        // They write a few lines, which a pipe holds.
        let (mut said, mut errors) = (String::new(), String::new());
        if let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) {
            out.read_to_string(&mut said)?;
            err.read_to_string(&mut errors)?;
        }
        if !status.success() {
            bail!("{status}: {}", errors.lines().last().unwrap_or_default());
        }
        Ok(said)
    }
}

/// The CPUs that this process may use; never empty.
pub(super) fn allowed_cpus() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cpus = list.map(numbers).unwrap_or_default();
    if cpus.is_empty() {
        return (0..thread::available_parallelism().map_or(1, usize::from)).collect();
    }
    cpus
}

/// `0-2,5`: 0, 1, 2 and 5.
fn numbers(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn lists_of_cpus() {
        let check = |list, expected: &[usize]| assert_eq!(numbers(list), expected);
        check("\t0-1", &[0, 1]);
        check("3", &[3]);
        check("0-2,5,7-8", &[0, 1, 2, 5, 7, 8]);
        check("", &[]);
    }
}
