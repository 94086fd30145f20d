//! The engine's words in the cluster's.

use peripatos_abi::Signal;
use peripatos_cluster::message::{Doing, End, FailureKind};
use peripatos_engine::{ProcessError, TrapKind};

use super::programs::ProgramError;
use super::protocol::BadProgram;
use crate::cores::ProcessEnd;
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
