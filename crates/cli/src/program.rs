//! Reading the program that a user named, and saying what is wrong with it in words that help.

use crate::exit::{Code, Failure, Result};
use peripatos_engine::{
    Image, ImageError, ImageLimits, LoadError, ProcessError, SpawnError, TrapKind,
};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

/// Largest program that is read, bytes.
const PROGRAM_BYTES_MAX: u64 = 1 << 30;

/// First bytes of a core module, of a component, and of what people pass instead.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const WASM: &[u8] = b"\0asm";
const ELF: &[u8] = b"\x7fELF";

/// Reads a program. Errors: it cannot be read, or is something else; the message says what.
pub(crate) fn read(path: &Path) -> Result<Arc<[u8]>> {
    let unreadable =
        |cause: &dyn std::fmt::Display| Failure::new(Code::Unreadable, path.display(), cause);
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => unreadable(&"no such file"),
        _ => unreadable(&error),
    })?;
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(unreadable(&"is a directory, not a program"));
    }
    let mut bytes = Vec::new();
    file.take(PROGRAM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    match complaint(&bytes) {
        None => Ok(bytes.into()),
        Some(cause) => Err(Failure::new(Code::NotProgram, path.display(), cause)),
    }
}

/// What is wrong with bytes that are not a module, if a glance tells.
fn complaint(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    Some(match bytes {
        _ if bytes.len() as u64 > PROGRAM_BYTES_MAX => "larger than 1 GiB",
        _ if bytes.starts_with(MODULE) => return None,
        [] => "the file is empty",
        _ if bytes.starts_with(WASM) => {
            "is a component or of another WebAssembly version; peri runs core modules (build for wasm32-wasip1)"
        }
        _ if bytes.starts_with(ELF) => "is a native executable; build it for wasm32-wasip1",
        _ if text.starts_with(b"(module") || text.starts_with(b";;") => {
            "is WebAssembly text; make a module of it first (wat2wasm, or wasm-tools parse)"
        }
        _ if is_image(bytes) => "is the image of a frozen process; continue it with `peri thaw`",
        _ => "not a WebAssembly module",
    })
}

fn is_image(mut bytes: &[u8]) -> bool {
    !matches!(
        Image::read_from(&mut bytes, ImageLimits::default()),
        Err(ImageError::NotAnImage | ImageError::Truncated)
    )
}

/// A program that could not be loaded, as a failure.
pub(crate) fn load_failure(what: impl std::fmt::Display, error: &LoadError) -> Failure {
    let code = match error {
        LoadError::NotWasm(_) | LoadError::Refused(_) => Code::NotProgram,
        LoadError::UnknownImport { .. } | LoadError::ImportType { .. } => Code::UnknownImport,
        LoadError::Compile(_) => Code::Internal,
    };
    let hint = if matches!(error, LoadError::Refused(_)) {
        " (it may still run with --plain)"
    } else {
        ""
    };
    Failure::new(code, what, format!("{error}{hint}"))
}

/// A program or an image that could not be started, as a failure.
pub(crate) fn spawn_failure(what: impl std::fmt::Display, error: &SpawnError) -> Failure {
    let code = match error {
        SpawnError::Instantiate(_) => Code::Resources,
        SpawnError::NoEntry(_) | SpawnError::Handler => Code::NotProgram,
        SpawnError::Image(_) => Code::DamagedImage,
        SpawnError::Continuation(_) => Code::Internal,
    };
    Failure::new(code, what, error)
}

/// The exit code for a program that failed.
pub(crate) fn end_code(error: &ProcessError) -> Code {
    match error {
        ProcessError::Trap { kind: TrapKind::StackOverflow | TrapKind::SaveOverflow, .. } => {
            Code::StackOverflow
        }
        ProcessError::Trap { kind: TrapKind::OutOfMemory, .. } => Code::Resources,
        ProcessError::Trap { .. } | ProcessError::Exception => Code::Trap,
        ProcessError::Continuation(_) | ProcessError::Ended | ProcessError::Internal(_) => {
            Code::Internal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_pass_instead_is_named() {
        let check = |bytes: &[u8], expected: &str| {
            let found = complaint(bytes).unwrap_or("a module");
            assert!(found.contains(expected), "{found} does not say {expected}");
        };
        check(MODULE, "a module");
        check(b"", "empty");
        check(b"\0asm\x0d\0\x01\0", "component");
        check(b"\x7fELF\x02", "native executable");
        check(b"  (module)", "text");
        check(b"print('x')", "not a WebAssembly module");
    }
}
