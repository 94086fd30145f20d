//! What the demo's two OS processes say to each other: length-prefixed postcard on the second one's standard streams.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// Longest message, bytes: an image of a demo program is far smaller.
const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// From the first OS process to the second.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Be ready to run this built-in program (index into the list): its code is loaded before it arrives.
    Prepare(u32),
    /// Thaw this image and run it: to its end, or for so many milliseconds.
    Run { image: Vec<u8>, milliseconds: Option<u64> },
}

/// From the second OS process to the first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It can take orders (and has done what [`Order::Prepare`] said).
    Ready { os_process: u32 },
    /// The image is a process again; it runs from here on.
    Thawed,
    /// It was frozen again.
    Frozen { image: Vec<u8>, output: Vec<u8>, times: Times },
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

pub(super) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&bytes)?;
    to.flush()
}

/// `None`: the other side has closed its end.
pub(super) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("message too long"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    postcard::from_bytes(&bytes).map(Some).map_err(io::Error::other)
}
