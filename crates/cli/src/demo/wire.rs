//! What the demo's two OS processes say to each other on the second one's standard streams: a message in postcard, and
//! an image beside it where one goes along, both with their lengths before them.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// Longest message or image, bytes: those of the demo programs are far smaller.
const PART_BYTES_MAX: usize = 1 << 30;

/// From the first OS process to the second.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Be ready to run this built-in program (index into the list): its code is loaded before it arrives.
    Prepare(u32),
    /// Thaw the image that comes along and run it: to its end, or for so many milliseconds.
    Run { milliseconds: Option<u64> },
}

/// From the second OS process to the first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It can take orders (and has done what [`Order::Prepare`] said).
    Ready,
    /// The image is a process again; it runs from here on.
    Thawed,
    /// It was frozen again; its image comes along.
    Frozen { output: Vec<u8>, times: Times },
    /// It ended.
    Exited { code: u8, output: Vec<u8>, times: Times },
    /// It could not be done.
    Failed(String),
}

/// What a stay in one OS process took, microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Times {
    /// Making the continuations that were missing; 0 if all were at hand.
    pub(super) continue_us: u64,
    /// From the request to freeze until the process stood still.
    pub(super) stop_us: u64,
    /// Copying its state out.
    pub(super) capture_us: u64,
}

/// Sends a message, and the bytes of an image if one goes along.
pub(super) fn send(to: &mut impl Write, message: &impl Serialize, image: &[u8]) -> io::Result<()> {
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    for part in [bytes.as_slice(), image] {
        let length = u32::try_from(part.len()).map_err(io::Error::other)?;
        to.write_all(&length.to_le_bytes())?;
        to.write_all(part)?;
    }
    to.flush()
}

/// A message and what came along. `None`: the other side has closed its end.
pub(super) fn receive<T: DeserializeOwned>(
    from: &mut impl Read,
) -> io::Result<Option<(T, Vec<u8>)>> {
    let Some(message) = receive_part(from)? else { return Ok(None) };
    let image = receive_part(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Some((postcard::from_bytes(&message).map_err(io::Error::other)?, image)))
}

fn receive_part(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > PART_BYTES_MAX {
        return Err(io::Error::other("message too long"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}
