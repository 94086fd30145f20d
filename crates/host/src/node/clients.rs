//! This user's commands, as the node sees them: one task a connection.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::NodeError;
use super::host::{Input, Inputs};
use super::programs::PROGRAM_BYTES_MAX;
use super::protocol::{FromNode, ToNode, VERSION};
use crate::link::frame::{FrameError, FrameReader, FrameWriter};
use crate::link::{Frame, Reader, Writer};

/// What a command says.
#[derive(Debug)]
pub(super) enum FromClient {
    /// It is there, and takes messages.
    Connected(mpsc::UnboundedSender<FromNode>),
    /// It says something.
    Message(Box<ToNode>),
    /// It sends the program that it was asked for.
    Program(Vec<u8>),
    /// It is gone.
    Gone,
}

/// Listens where this user's commands look for the node of this name. The node's lock is held.
pub(super) fn listen(socket: &Path) -> Result<UnixListener, NodeError> {
    // Left by a node of this name that was killed.
    let _ = std::fs::remove_file(socket);
    let failed = |cause| NodeError::file(socket, cause);
    let listener = UnixListener::bind(socket).map_err(failed)?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Takes connections until the node ends.
pub(super) async fn accept(listener: UnixListener, inputs: Inputs) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (from, to) = stream.into_split();
                let (reader, writer) = (FrameReader::new(from), FrameWriter::new(to));
                tokio::spawn(serve(reader.boxed(), writer.boxed(), inputs.clone()));
            }
            Err(error) => {
                inputs.send(Input::Log(format!("cannot take a command: {error}")));
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

/// Serves one command, from its first message to its last.
pub(super) async fn serve(mut reader: Reader, writer: Writer, inputs: Inputs) {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    // What waits is bounded by its own questions and by its processes, each of which has one request under way.
    let (sender, receiver) = mpsc::unbounded_channel();
    let writing = tokio::spawn(write(writer, receiver));
    inputs.offer(Input::Client(number, FromClient::Connected(sender))).await;
    if let Err(reason) = read(&mut reader, number, &inputs).await {
        inputs.send(Input::Log(format!("a command was cut off: {reason}")));
    }
    inputs.offer(Input::Client(number, FromClient::Gone)).await;
    let _ = writing.await;
}

async fn read(reader: &mut Reader, number: u64, inputs: &Inputs) -> Result<(), String> {
    let mut program = Vec::new();
    loop {
        let frame = match reader.next().await {
            Err(FrameError::Closed) => return Ok(()),
            Err(FrameError::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return Ok(());
            }
            frame => frame.map_err(|error| error.to_string())?,
        };
        let from = match frame {
            Frame::Hello(_) => return Err("it speaks another protocol".to_owned()),
            Frame::Message(bytes) => {
                let message = postcard::from_bytes(&bytes).map_err(|error| error.to_string())?;
                if let ToNode::Hello { version } = message
                    && version != VERSION
                {
                    return Err(format!("it speaks version {version}, this node {VERSION}"));
                }
                FromClient::Message(Box::new(message))
            }
            Frame::Bulk { last, bytes, .. } => {
                if (program.len() + bytes.len()) as u64 > PROGRAM_BYTES_MAX {
                    return Err("its program is too long".to_owned());
                }
                program.extend_from_slice(&bytes);
                if !last {
                    continue;
                }
                FromClient::Program(std::mem::take(&mut program))
            }
        };
        inputs.offer(Input::Client(number, from)).await;
    }
}

async fn write(mut writer: Writer, mut messages: mpsc::UnboundedReceiver<FromNode>) {
    while let Some(message) = messages.recv().await {
        // These types always have a form in postcard.
        let bytes = postcard::to_stdvec(&message).unwrap_or_default();
        let sent = writer.send(&Frame::Message(bytes)).await;
        let flushed = match sent {
            Ok(()) if messages.is_empty() => writer.flush().await,
            other => other,
        };
        if flushed.is_err() {
            return;
        }
    }
    let _ = writer.close().await;
}
