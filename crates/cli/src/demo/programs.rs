//! The demo's programs, and their undisturbed runs: what they must print, and how long they take on a core of their own.

use crate::bench::process::{Guarded, Stretch, load, thread_time};
use crate::cpus;
use crate::exit::{Code as ExitCode, Failure, Result};
use crate::guests::{ALL, Guest};
use peripatos_engine::{Code, CodeKind, Runtime};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// Built-in programs with as much work as takes a core three to five seconds, and with a tenth of it.
const WORK: [(&str, &str, &str); 7] = [
    ("perft", "6", "5"),
    ("fib", "44", "39"),
    ("jacobi", "110000", "11000"),
    ("interp", "500000", "60000"),
    ("lua", "1800", "150"),
    ("bzip2", "24576", "2048"),
    ("sqlite", "750000", "75000"),
];

/// Columns of the list of programs.
const LIST_COLUMNS_MAX: usize = 79;

/// A program with its work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    pub(super) guest: &'static Guest,
    work: &'static str,
}

impl Program {
    /// All of them.
    pub(super) fn all(quick: bool) -> Vec<Program> {
        let program = |(name, long, short): &(&str, &'static str, &'static str)| {
            let guest = ALL.iter().find(|guest| guest.name == *name)?;
            Some(Program { guest, work: if quick { short } else { long } })
        };
        WORK.iter().filter_map(program).collect()
    }

    /// What they are, in a few words each.
    pub(super) fn list(programs: &[Program]) -> String {
        let what = |program: &Program| format!("{} ({})", program.name(), program.guest.what);
        let mut text = String::new();
        let mut column = 0;
        for (index, what) in programs.iter().map(what).enumerate() {
            let after = if index + 1 == programs.len() { "." } else { "," };
            if column + what.len() + 2 > LIST_COLUMNS_MAX {
                text.push('\n');
                column = 0;
            } else if column > 0 {
                text.push(' ');
            }
            column += what.len() + 2;
            text.push_str(&what);
            text.push_str(after);
        }
        text
    }

    pub(super) fn name(&self) -> &'static str {
        self.guest.name
    }

    /// Its arguments, its name first.
    pub(super) fn arguments(&self) -> Vec<Vec<u8>> {
        let mut arguments = self.guest.arguments();
        if self.name() == "sqlite" {
            arguments.push(b":memory:".to_vec());
        }
        arguments.push(self.work.as_bytes().to_vec());
        arguments
    }
}

/// An undisturbed run.
#[derive(Clone, Debug)]
pub(super) struct Alone {
    pub(super) output: Vec<u8>,
    /// Processor time, which is the time on a core that has nothing else to do.
    pub(super) time: Duration,
}

/// Runs each program undisturbed in this OS process: one at a time a CPU, on two CPUs where there are two. `told` hears
/// of each that begins or has ended.
pub(super) fn alone(
    runtime: &Runtime,
    programs: &[Program],
    mut told: impl FnMut(usize, Option<&Alone>),
) -> Result<Vec<Alone>> {
    let mut codes = Vec::new();
    for program in programs {
        codes.push(load(runtime, program.guest, CodeKind::Hot)?);
    }
    let cpus = cpus::two();
    let places = if cpus.len() == 2 { vec![Some(cpus[0]), Some(cpus[1])] } else { vec![None] };
    let open: Mutex<VecDeque<usize>> = Mutex::new((0..programs.len()).collect());
    let next = || open.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut done: Vec<Option<Alone>> = vec![None; programs.len()];
    let (tell, hear) = mpsc::channel();
    thread::scope(|scope| {
        for cpu in places {
            let (tell, codes) = (tell.clone(), &codes);
            scope.spawn(move || {
                while let Some(index) = next() {
                    let _ = tell.send((index, None));
                    let run = cpus::on(cpu, || run(runtime, &codes[index], &programs[index]));
                    let _ = tell.send((index, Some(run)));
                }
            });
        }
        drop(tell);
        for (index, run) in hear {
            let run = run.transpose()?;
            told(index, run.as_ref());
            done[index] = run;
        }
        Ok(())
    })?;
    let lost = || Failure::new(ExitCode::Internal, "demo", "an undisturbed run was lost");
    done.into_iter().map(|one| one.ok_or_else(lost)).collect()
}

fn run(runtime: &Runtime, code: &Code, program: &Program) -> Result<Alone> {
    let mut guarded = Guarded::spawn(runtime, code, program.arguments())?;
    let started = thread_time();
    let end = guarded.run()?;
    let time = thread_time() - started;
    match end {
        Stretch::Exited(0) => Ok(Alone { output: guarded.output()?, time }),
        other => {
            let cause = format!("undisturbed it ended with {other:?}");
            Err(Failure::new(ExitCode::Internal, program.name(), cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_built_in() {
        assert_eq!(Program::all(false).len(), WORK.len());
        assert!(Program::all(true).iter().all(|program| program.arguments().len() > 1));
    }
}
