//! The answering side: a thread that listens for one process.

use super::directory::limit_waiting;
use super::frame::{self, FRAME_BYTES_MAX, FrameError, Kind};
use super::{ControlError, RuntimeDirectory, Status, wire};
use peripatos_abi::Pid;
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How long the receiver may take to store an image safely.
const STORE_SECONDS_MAX: u64 = 300;
/// Bytes of an image that travel in one frame.
const CHUNK_BYTES: usize = FRAME_BYTES_MAX / 4;

/// Listens for one process until dropped; then its socket is gone.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
}

impl Server {
    /// Claims the pid's name and starts to listen. Both functions are called on the server's thread: `status` says
    /// what to answer to who asks; `freeze` asks the process to freeze and passes the request to who runs it.
    ///
    /// Errors: [`ControlError::Claimed`] if the pid is running already.
    pub fn start(
        directory: &RuntimeDirectory,
        pid: Pid,
        status: impl Fn() -> Status + Send + 'static,
        freeze: impl Fn(FreezeRequest) + Send + 'static,
    ) -> Result<Server, ControlError> {
        let (listener, socket) = directory.claim(pid)?;
        let server = Server { socket };
        thread::Builder::new()
            .name("control".into())
            .spawn(move || listen(&listener, &status, &freeze))?;
        Ok(server)
    }

    /// The socket's path, for a signal handler that has to remove it.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

/// One connection at a time: a status costs microseconds, and a freeze leaves this thread at once.
fn listen(listener: &UnixListener, status: &impl Fn() -> Status, freeze: &impl Fn(FreezeRequest)) {
    for stream in listener.incoming() {
        // A peer that misbehaves or hangs up is its own loss.
        let _ = stream.map_err(FrameError::Io).and_then(|stream| answer(stream, status, freeze));
    }
}

fn answer(
    mut stream: UnixStream,
    status: &impl Fn() -> Status,
    freeze: &impl Fn(FreezeRequest),
) -> Result<(), FrameError> {
    limit_waiting(&stream)?;
    match frame::read(&mut stream)? {
        (Kind::AskStatus, _) => {
            let payload = wire::encode_status(&status())?;
            frame::write(&mut stream, Kind::Status, &payload)
        }
        (Kind::AskFreeze, _) => {
            freeze(FreezeRequest { stream });
            Ok(())
        }
        (kind, _) => Err(frame::unexpected(kind)),
    }
}

/// Somebody waits for this process's image. Dropped without an answer, they are told that the process ended.
#[derive(Debug)]
pub struct FreezeRequest {
    stream: UnixStream,
}

/// What became of an image that was handed over.
#[derive(Debug)]
pub enum Delivery {
    /// It is safely stored: the process must not run on here.
    Committed,
    /// The receiver went away or failed: the process is still ours.
    Abandoned(FrameError),
}

impl FreezeRequest {
    /// Says no, and why.
    pub fn refuse(mut self, reason: &str) {
        let end = reason.floor_char_boundary(FRAME_BYTES_MAX);
        let _ = frame::write(&mut self.stream, Kind::Refused, &reason.as_bytes()[..end]);
    }

    /// Sends the image that `write` produces and waits until the receiver has stored it.
    ///
    /// Errors: those of `write`; the receiver has then been refused.
    pub fn deliver<E: std::fmt::Display>(
        mut self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<Delivery, E> {
        let mut chunks = Chunks {
            stream: &mut self.stream,
            buffer: Vec::with_capacity(CHUNK_BYTES),
            broken: false,
        };
        let written = write(&mut chunks);
        let flushed = chunks.flush();
        let broken = chunks.broken;
        match written {
            // A receiver that hung up shows as an error of `write`; it is not the image's fault.
            Err(_) if broken => return Ok(Delivery::Abandoned(FrameError::Closed)),
            Err(error) => {
                self.refuse(&error.to_string());
                return Err(error);
            }
            Ok(()) => {}
        }
        Ok(match flushed.map_err(FrameError::Io).and_then(|()| self.wait_for_commit()) {
            Ok(()) => Delivery::Committed,
            Err(error) => Delivery::Abandoned(error),
        })
    }

    fn wait_for_commit(&mut self) -> Result<(), FrameError> {
        frame::write(&mut self.stream, Kind::End, &[])?;
        self.stream.set_read_timeout(Some(Duration::from_secs(STORE_SECONDS_MAX)))?;
        match frame::read(&mut self.stream)? {
            // Whether or not the receiver hears this, it has the image: from here on it is theirs.
            (Kind::Commit, _) => {
                let _ = frame::write(&mut self.stream, Kind::Committed, &[]);
                Ok(())
            }
            (kind, _) => Err(frame::unexpected(kind)),
        }
    }
}

/// A stream cut into frames.
struct Chunks<'a> {
    stream: &'a mut UnixStream,
    buffer: Vec<u8>,
    broken: bool,
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let sent = frame::write(self.stream, Kind::Chunk, &self.buffer);
        self.buffer.clear();
        sent.map_err(|error| {
            self.broken = true;
            match error {
                FrameError::Io(error) => error,
                other => io::Error::other(other),
            }
        })
    }
}
