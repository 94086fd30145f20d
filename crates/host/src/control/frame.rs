//! One message on a control socket: magic, version, kind, length, payload.
//!
//! The header is 12 bytes, little endian: `PERI`, u16 version, u16 kind, u32 length. A frame is checked before its
//! payload is read; nothing is allocated for more than [`FRAME_BYTES_MAX`] bytes.

use std::io::{self, Read, Write};

/// Largest payload of one frame. An image travels as many frames.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// Version of the protocol; both ends must agree.
const VERSION: u16 = 1;
const MAGIC: [u8; 4] = *b"PERI";
const HEADER_BYTES: usize = 12;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Client: who are you?
    AskStatus,
    /// Client: freeze, and send me the image.
    AskFreeze,
    /// Client: the image is stored; let go.
    Commit,
    /// Server: the answer to `AskStatus`.
    Status,
    /// Server: a piece of the image.
    Chunk,
    /// Server: the image is complete.
    End,
    /// Server: no, and why (UTF-8).
    Refused,
    /// Server: the process has let go.
    Committed,
}

const KINDS: [(Kind, u16); 8] = [
    (Kind::AskStatus, 1),
    (Kind::AskFreeze, 2),
    (Kind::Commit, 3),
    (Kind::Status, 16),
    (Kind::Chunk, 17),
    (Kind::End, 18),
    (Kind::Refused, 19),
    (Kind::Committed, 20),
];

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side hung up between two frames.
    #[error("the other side hung up")]
    Closed,
    /// The first bytes are not this protocol's.
    #[error("the other side does not speak the control protocol")]
    NotAFrame,
    /// Another version of the protocol.
    #[error("the other side speaks version {0} of the control protocol, this one {VERSION}")]
    Version(u16),
    /// A kind this version does not know, or not here.
    #[error("unexpected control message of kind {0}")]
    Kind(u16),
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("control message of {0} bytes is too long")]
    TooLong(u32),
    /// The payload is not what its kind says.
    #[error("malformed control message")]
    Malformed,
    /// Reading or writing failed, or took too long.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Writes one frame.
pub(super) fn write(to: &mut impl Write, kind: Kind, payload: &[u8]) -> Result<(), FrameError> {
    assert!(payload.len() <= FRAME_BYTES_MAX, "the sender splits what is longer");
    let number = KINDS.iter().find(|(known, _)| *known == kind).map_or(0, |(_, number)| *number);
    let mut header = [0_u8; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&VERSION.to_le_bytes());
    header[6..8].copy_from_slice(&number.to_le_bytes());
    header[8..].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    to.write_all(&header)?;
    to.write_all(payload)?;
    Ok(())
}

/// Reads one frame; blocks until it is whole.
pub(super) fn read(from: &mut impl Read) -> Result<(Kind, Vec<u8>), FrameError> {
    let mut header = [0_u8; HEADER_BYTES];
    let first = from.read(&mut header)?;
    if first == 0 {
        return Err(FrameError::Closed);
    }
    from.read_exact(&mut header[first..])?;
    if header[..4] != MAGIC {
        return Err(FrameError::NotAFrame);
    }
    let version = u16::from_le_bytes([header[4], header[5]]);
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let number = u16::from_le_bytes([header[6], header[7]]);
    let known = KINDS.iter().find(|(_, known)| *known == number);
    let (kind, _) = known.ok_or(FrameError::Kind(number))?;
    let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if length as usize > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload)?;
    Ok((*kind, payload))
}

/// The number of a kind, for errors about one in the wrong place.
pub(super) fn unexpected(kind: Kind) -> FrameError {
    FrameError::Kind(
        KINDS.iter().find(|(known, _)| *known == kind).map_or(0, |(_, number)| *number),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for (kind, _) in KINDS {
            let mut bytes = Vec::new();
            write(&mut bytes, kind, b"payload").unwrap();
            let (read_kind, payload) = read(&mut bytes.as_slice()).unwrap();
            assert_eq!((read_kind, payload.as_slice()), (kind, b"payload".as_slice()));
        }
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let check = |bytes: &[u8], expected: &str| {
            let error = read(&mut &bytes[..]).expect_err("not a frame");
            assert!(error.to_string().contains(expected), "{error} does not say {expected}");
        };
        check(b"", "hung up");
        check(b"PERI", "fill");
        check(b"GET / HTTP/1.1\r\n", "does not speak");
        check(b"PERI\x02\0\x01\0\0\0\0\0", "version 2");
        check(b"PERI\x01\0\x63\0\0\0\0\0", "kind 99");
        check(b"PERI\x01\0\x01\0\xff\xff\xff\xff", "too long");
        check(b"PERI\x01\0\x01\0\x04\0\0\0ab", "fill");
    }
}
