//! The payloads of control messages as they stand on the wire (postcard). Types of the boundary only.

use super::{FrameError, Status};
use peripatos_abi::Pid;
use serde::{Deserialize, Serialize};

/// [`Status`] as postcard writes it.
#[derive(Serialize, Deserialize)]
struct StatusMessage {
    pid: u128,
    os_process: u32,
    program: String,
    args: Vec<String>,
    started_unix_seconds: u64,
    cpu_ms: u64,
    freezes: u64,
    freezable: bool,
}

/// Longest text that a status shows, bytes; longer arguments are cut, they are only for a person to read.
const TEXT_BYTES_MAX: usize = 4096;
/// Most arguments that a status shows.
const ARGS_MAX: usize = 64;

pub(super) fn encode_status(status: &Status) -> Result<Vec<u8>, FrameError> {
    let message = StatusMessage {
        pid: status.pid.bits(),
        os_process: status.os_process,
        program: cut(&status.program),
        args: status.args.iter().take(ARGS_MAX).map(|arg| cut(arg)).collect(),
        started_unix_seconds: status.started_unix_seconds,
        cpu_ms: status.cpu_ms,
        freezes: status.freezes,
        freezable: status.freezable,
    };
    postcard::to_stdvec(&message).map_err(|_| FrameError::Malformed)
}

pub(super) fn decode_status(bytes: &[u8]) -> Result<Status, FrameError> {
    let message: StatusMessage = postcard::from_bytes(bytes).map_err(|_| FrameError::Malformed)?;
    Ok(Status {
        pid: Pid::from_bits(message.pid),
        os_process: message.os_process,
        program: message.program,
        args: message.args,
        started_unix_seconds: message.started_unix_seconds,
        cpu_ms: message.cpu_ms,
        freezes: message.freezes,
        freezable: message.freezable,
    })
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_round_trips_and_is_cut() {
        let status = Status {
            pid: Pid::new(7, 8),
            os_process: 7,
            program: "lua.wasm".into(),
            args: vec!["ä".repeat(5000), "b".into()],
            started_unix_seconds: 9,
            cpu_ms: 10,
            freezes: 11,
            freezable: true,
        };
        let mut expected = status.clone();
        expected.args[0] = "ä".repeat(TEXT_BYTES_MAX / 2);
        assert_eq!(decode_status(&encode_status(&status).unwrap()).unwrap(), expected);
        assert!(decode_status(b"\xff").is_err());
    }
}
