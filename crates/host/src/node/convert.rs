//! The engine's words in the cluster's.

use std::time::Duration;

use peripatos_abi::Signal;
use peripatos_cluster::NodeId;
use peripatos_cluster::message::{Doing, End, FailureKind};
use peripatos_engine::{ProcessError, TrapKind};

use super::programs::ProgramError;
use super::protocol::BadProgram;
use crate::cores::{ProcessEnd, Sample, Talks};
use crate::talk;

/// How a process ended, for whoever waits for it.
pub(super) fn end(end: ProcessEnd) -> End {
    match end {
        ProcessEnd::Exited(code) => End::Exited(code),
        ProcessEnd::Raised(signal) => End::Raised(signal_number(signal)),
        ProcessEnd::Killed => End::Killed,
        ProcessEnd::Failed(error) => {
            End::Failed { kind: failure_kind(&error), message: error.to_string() }
        }
    }
}

/// How a process does; `before`: processor time that it had used before it came to the cores again.
pub(super) fn sample(sample: Sample, before: Duration) -> peripatos_cluster::Sample {
    let Sample { pid, core, cpu, runnable, asleep, memory_bytes, talks } = sample;
    let (core, cpu) = (core as u32, cpu + before);
    let Talks { near, partner, away, away_node } = talks;
    let away_node = Some(NodeId(away_node)).filter(|node| node.0 != 0);
    let talks = peripatos_cluster::Talks { near, partner, away, away_node };
    peripatos_cluster::Sample { pid, core, cpu, runnable, asleep, memory_bytes, talks }
}

/// What a process does, for whoever lists it.
pub(super) fn doing(doing: talk::Doing) -> Doing {
    match doing {
        talk::Doing::Running => Doing::Running,
        talk::Doing::Ready => Doing::Ready,
        talk::Doing::Sends(to) => Doing::Send(to),
        talk::Doing::WaitsForReply(of) => Doing::Reply(of),
        talk::Doing::Receives(None) => Doing::Receive,
        talk::Doing::Receives(Some(from)) => Doing::ReceiveFrom(from),
        talk::Doing::Asks => Doing::Device,
    }
}

fn failure_kind(error: &ProcessError) -> FailureKind {
    match error {
        ProcessError::Trap { kind: TrapKind::StackOverflow | TrapKind::SaveOverflow, .. } => {
            FailureKind::StackOverflow
        }
        ProcessError::Trap { kind: TrapKind::OutOfMemory, .. } => FailureKind::OutOfMemory,
        ProcessError::Trap { .. } | ProcessError::Exception => FailureKind::Trap,
        ProcessError::Continuation(_) | ProcessError::Ended | ProcessError::Internal(_) => {
            FailureKind::Internal
        }
    }
}

/// The operating system's number of a signal. WASI counts as Linux does, but leaves out number 16.
fn signal_number(signal: Signal) -> i32 {
    let number = i32::from(signal.code());
    if number < 16 { number } else { number + 1 }
}

pub(super) fn bad_program(error: &ProgramError) -> BadProgram {
    use peripatos_engine::LoadError;
    match error {
        ProgramError::Load(LoadError::UnknownImport { .. } | LoadError::ImportType { .. }) => {
            BadProgram::UnknownImport
        }
        ProgramError::Load(LoadError::Compile(_)) | ProgramError::Engine(_) => {
            BadProgram::Resources
        }
        ProgramError::Load(_) | ProgramError::Other => BadProgram::NotProgram,
    }
}
