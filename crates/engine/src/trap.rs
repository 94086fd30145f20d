//! What a failed call into a guest means.

use wasmtime::{ThrownException, Trap};

use crate::checks::Unavailable;
use crate::engines::one_line;
use crate::hostcalls::Ended;
use crate::process::Outcome;
use crate::{ProcessError, TrapKind};

/// The outcome or the error behind what wasmtime returned.
pub(crate) fn classify(error: wasmtime::Error) -> Result<Outcome, ProcessError> {
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return Ok(match *ended {
            Ended::Exit(code) => Outcome::Exited(code),
            Ended::Raise(signal) => Outcome::Raised(signal),
        });
    }
    Err(if let Some(trap) = error.downcast_ref::<Trap>() {
        ProcessError::Trap { kind: kind(*trap), message: message(*trap) }
    } else if error.is::<ThrownException>() {
        ProcessError::Exception
    } else if let Some(Unavailable(message)) = error.downcast_ref() {
        ProcessError::Continuation(message.clone())
    } else if error.downcast_ref::<wasmtime::GcHeapOutOfMemory<()>>().is_some() {
        let message = "no memory for exceptions".to_owned();
        ProcessError::Trap { kind: TrapKind::OutOfMemory, message }
    } else {
        ProcessError::Internal(one_line(&error))
    })
}

fn kind(trap: Trap) -> TrapKind {
    match trap {
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => TrapKind::MemoryOutOfBounds,
        Trap::TableOutOfBounds => TrapKind::TableOutOfBounds,
        Trap::IndirectCallToNull | Trap::BadSignature | Trap::NullReference => {
            TrapKind::BadReference
        }
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => {
            TrapKind::Arithmetic
        }
        Trap::StackOverflow => TrapKind::StackOverflow,
        Trap::AllocationTooLarge => TrapKind::OutOfMemory,
        _ => TrapKind::Other,
    }
}

/// wasmtime's words without its prefix.
fn message(trap: Trap) -> String {
    let text = trap.to_string();
    text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
}
