//! This user's commands, as the node sees them: one task a connection.

use std::fs::Permissions;
use std::future::pending;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};

use super::NodeError;
use super::host::{Input, Inputs};
use super::programs::PROGRAM_BYTES_MAX;
use super::protocol::{FromNode, ToNode, VERSION};
use crate::link::frame::{FrameError, FrameReader, FrameWriter};
use crate::link::{Frame, Reader, Writer};

/// Questions of one command that have no answer yet, or whose answers it has not taken: it is not heard further until it has.
/// What needs no answer, as the replies of an origin, is never held up by that: who has started a program asks nothing else.
const ASKED_MAX: usize = 16;

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
                tokio::spawn(serve(reader.boxed(), writer.boxed(), inputs.clone(), pending()));
            }
            Err(error) => {
                inputs.send(Input::Log(format!("cannot take a command: {error}")));
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

/// Serves one command, from its first message to its last; or until it is to be cut off.
pub(super) async fn serve(
    mut reader: Reader,
    writer: Writer,
    inputs: Inputs,
    until: impl Future<Output = ()>,
) {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    // What waits is bounded: answers by what it may have asked, and the rest by its processes, each of which has one request
    // under way and one end.
    let (sender, receiver) = mpsc::unbounded_channel();
    let asks = Arc::new(Semaphore::new(ASKED_MAX));
    let writing = tokio::spawn(write(writer, receiver, Arc::clone(&asks)));
    inputs.offer(Input::Client(number, FromClient::Connected(sender))).await;
    let read = tokio::select! {
        read = read(&mut reader, number, &asks, &inputs) => read,
        () = until => Err("the token was rotated".to_owned()),
    };
    if let Err(reason) = read {
        inputs.send(Input::Log(format!("a command was cut off: {reason}")));
    }
    inputs.offer(Input::Client(number, FromClient::Gone)).await;
    let _ = writing.await;
}

async fn read(
    reader: &mut Reader,
    number: u64,
    asks: &Semaphore,
    inputs: &Inputs,
) -> Result<(), String> {
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
                if is_question(&message) {
                    match asks.acquire().await {
                        Ok(permit) => permit.forget(),
                        // It takes nothing any more.
                        Err(_) => return Ok(()),
                    }
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

/// Whether it will be answered.
fn is_question(message: &ToNode) -> bool {
    match message {
        ToNode::Reply { .. } | ToNode::ClientReply { .. } | ToNode::Kill => false,
        ToNode::Hello { .. }
        | ToNode::Nodes
        | ToNode::Processes
        | ToNode::Events(_)
        | ToNode::Command { .. }
        | ToNode::Call { .. }
        | ToNode::Down { .. }
        | ToNode::Token
        | ToNode::RotateToken { .. }
        | ToNode::UseToken(_)
        | ToNode::Start(_) => true,
    }
}

/// Whether it was asked for.
fn is_answer(message: &FromNode) -> bool {
    match message {
        FromNode::Request { .. }
        | FromNode::ClientRequest { .. }
        | FromNode::ReleaseClient(_)
        | FromNode::ChildEnded { .. }
        | FromNode::Notice(_)
        | FromNode::Silent { .. }
        | FromNode::Ended(_) => false,
        FromNode::Hello { .. }
        | FromNode::Nodes(_)
        | FromNode::Processes { .. }
        | FromNode::Events { .. }
        | FromNode::Answer(_)
        | FromNode::Called(_)
        | FromNode::Token(_)
        | FromNode::Rotated(..)
        | FromNode::WantProgram { .. }
        | FromNode::BadProgram { .. }
        | FromNode::Started => true,
    }
}

/// Writes what a command is told, until it takes nothing any more.
async fn write(writer: Writer, messages: mpsc::UnboundedReceiver<FromNode>, asks: Arc<Semaphore>) {
    write_all(writer, messages, &asks).await;
    asks.close();
}

async fn write_all(
    mut writer: Writer,
    mut messages: mpsc::UnboundedReceiver<FromNode>,
    asks: &Semaphore,
) {
    while let Some(message) = messages.recv().await {
        let is_answer = is_answer(&message);
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
        // To start a program may take several answers.
        if is_answer && asks.available_permits() < ASKED_MAX {
            asks.add_permits(1);
        }
    }
    let _ = writer.close().await;
}
