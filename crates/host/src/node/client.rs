//! A command's side of a node's control socket.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use peripatos_abi::device::{self, Reply};
use peripatos_abi::{Errno, Pid};
use peripatos_cluster::journal::{Standing, Told};
use peripatos_cluster::message::{Answer, Command, End, ProcessRow, RowOfNode};
use peripatos_cluster::{Labels, NodeId, Secret};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::protocol::{BadProgram, FromNode, Start, ToNode, VERSION, Wasms};
use crate::link::frame::{FrameError, FrameReader, FrameWriter};
use crate::link::{
    self, BULK_CHUNK_BYTES, COMMAND, Credentials, Frame, Hello, HostIdentity, Link, NodeKey,
    Reader, Token, Versions, Writer,
};
use crate::origin::{Ask, Services};

/// The operating system's number of the signal for writing to a pipe that nobody reads.
const SIGPIPE: i32 = 13;
/// A node that does not answer for so long is not one. (A command may wait for a migration.)
const ANSWER_MAX: Duration = Duration::from_secs(180);

/// A connection to a node under this user.
pub struct NodeClient {
    runtime: tokio::runtime::Runtime,
    reader: Reader,
    writer: Writer,
    node: NodeId,
    name: String,
    logs: PathBuf,
}

/// Why a node could not be asked, or what it said no to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No node listens there.
    #[error("no node answers ({0})")]
    Unreachable(#[source] io::Error),
    /// No link can be made to the address that was given: why.
    #[error("{0}")]
    NoLink(String),
    /// The node ended, or cut the connection.
    #[error("the node has ended")]
    Ended,
    /// It does not answer.
    #[error("the node does not answer")]
    Silent,
    /// It is of another version.
    #[error(
        "the node speaks version {0} of the control protocol, this command {VERSION}; use one release for both"
    )]
    Version(u16),
    /// It said what it should not have.
    #[error("the node does not keep to the protocol: {0}")]
    Protocol(String),
    /// It said no: why. Nothing has changed.
    #[error("{0}")]
    Refused(String),
    /// It cannot use the program.
    #[error("{message}")]
    BadProgram {
        /// What is wrong.
        kind: BadProgram,
        /// In words.
        message: String,
    },
}

/// What nodes say has become of moves.
#[derive(Clone, Debug)]
pub struct Events {
    /// Oldest first.
    pub told: Vec<Told>,
    /// If it was asked of one process, and that runs: what would become of it now.
    pub standing: Option<Box<Standing>>,
    /// Names of the nodes that did not answer.
    pub silent: Vec<String>,
}

/// What a node says of all processes.
#[derive(Clone, Debug)]
pub struct Listing {
    /// A line each.
    pub processes: Vec<ProcessRow>,
    /// Names of the nodes that did not answer.
    pub silent: Vec<String>,
}

impl NodeClient {
    /// Connects to the node that listens at this socket.
    ///
    /// # Errors
    /// There is none, or one of another version.
    pub fn connect(socket: &Path) -> Result<NodeClient, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ClientError::Unreachable)?;
        let stream = runtime.block_on(UnixStream::connect(socket));
        let (from, to) = stream.map_err(ClientError::Unreachable)?.into_split();
        let (reader, writer) = (FrameReader::new(from).boxed(), FrameWriter::new(to).boxed());
        NodeClient::greet(runtime, reader, writer)
    }

    /// Connects to the node that listens for others at this address, as somebody who has its cluster's token.
    ///
    /// # Errors
    /// It cannot be reached, or is of another cluster or version.
    pub fn connect_to(address: &str, token: &Token) -> Result<NodeClient, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ClientError::Unreachable)?;
        let link = || {
            let credentials =
                Credentials::new(&token.clone().into(), &NodeKey::generate()?, SystemTime::now())?;
            let own = Hello {
                versions: Versions::OWN,
                incarnation: COMMAND,
                name: "command".to_owned(),
                address: String::new(),
                cores: 0,
                labels: Labels::default(),
                host: HostIdentity::own()?,
            };
            Ok(runtime.block_on(link::connect(address, &credentials, &own))?)
        };
        let link: Result<Link, Box<dyn std::error::Error>> = link();
        let failed = |error: Box<dyn std::error::Error>| ClientError::NoLink(error.to_string());
        let (reader, writer) = link.map_err(failed)?.into_frames();
        NodeClient::greet(runtime, reader, writer)
    }

    fn greet(
        runtime: tokio::runtime::Runtime,
        reader: Reader,
        writer: Writer,
    ) -> Result<NodeClient, ClientError> {
        let mut client = NodeClient {
            runtime,
            reader,
            writer,
            node: NodeId(0),
            name: String::new(),
            logs: PathBuf::new(),
        };
        match client.ask(&ToNode::Hello { version: VERSION })? {
            FromNode::Hello { version: VERSION, node, name, logs } => {
                (client.node, client.name, client.logs) = (node, name, logs);
                Ok(client)
            }
            FromNode::Hello { version, .. } => Err(ClientError::Version(version)),
            other => Err(unexpected(&other)),
        }
    }

    /// Which node it is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where detached programs' output goes.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// All nodes that it knows, itself first.
    ///
    /// # Errors
    /// It does not answer.
    pub fn nodes(&mut self) -> Result<Vec<RowOfNode>, ClientError> {
        match self.ask(&ToNode::Nodes)? {
            FromNode::Nodes(nodes) => Ok(nodes),
            other => Err(unexpected(&other)),
        }
    }

    /// The processes of all nodes.
    ///
    /// # Errors
    /// It does not answer.
    pub fn processes(&mut self) -> Result<Listing, ClientError> {
        match self.ask(&ToNode::Processes)? {
            FromNode::Processes { processes, silent } => Ok(Listing { processes, silent }),
            other => Err(unexpected(&other)),
        }
    }

    /// What has become of moves: of a process, or of all.
    ///
    /// # Errors
    /// It does not answer.
    pub fn events(&mut self, of: Option<Pid>) -> Result<Events, ClientError> {
        match self.ask(&ToNode::Events(of.map(Pid::bits)))? {
            FromNode::Events { told, standing, silent } => Ok(Events { told, standing, silent }),
            other => Err(unexpected(&other)),
        }
    }

    /// Has a node do something.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub fn command(&mut self, node: NodeId, command: Command) -> Result<Answer, ClientError> {
        self.answer(&ToNode::Command { node, command })
    }

    /// Sends a message to the process of a name, on whatever node, and waits so long for the reply.
    ///
    /// # Errors
    /// It does not answer; or there is no reply: why.
    pub fn call(
        &mut self,
        name: &str,
        message: Vec<u8>,
        wait: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let message = ToNode::Call { name: name.to_owned(), message, wait_ms };
        let NodeClient { runtime, reader, writer, .. } = self;
        let said = runtime.block_on(async {
            say(writer, &message).await?;
            let longer = wait.saturating_add(ANSWER_MAX);
            tokio::time::timeout(longer, next(reader)).await.unwrap_or(Err(ClientError::Silent))
        })?;
        match said {
            FromNode::Called(reply) => reply.map_err(ClientError::Refused),
            other => Err(unexpected(&other)),
        }
    }

    /// The cluster's token.
    ///
    /// # Errors
    /// It does not answer, or does not have it.
    pub fn token(&mut self) -> Result<Token, ClientError> {
        match self.ask(&ToNode::Token)? {
            FromNode::Token(secret) => Ok(Token::from_secret(secret.0)),
            FromNode::Answer(Answer::Refused(reason)) => Err(ClientError::Refused(reason)),
            other => Err(unexpected(&other)),
        }
    }

    /// Has it draw a new token; the one in force is accepted for so long, and for as long as it takes to tell all nodes if that
    /// is wanted (`until_heard`). The new one, and how long that is.
    ///
    /// # Errors
    /// It does not answer, or does not have the one in force.
    pub fn rotate_token(
        &mut self,
        grace: Duration,
        until_heard: bool,
    ) -> Result<(Token, Duration), ClientError> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        match self.ask(&ToNode::RotateToken { grace_ms, until_heard })? {
            FromNode::Rotated(secret, seconds) => {
                Ok((Token::from_secret(secret.0), Duration::from_secs(seconds)))
            }
            FromNode::Answer(Answer::Refused(reason)) => Err(ClientError::Refused(reason)),
            other => Err(unexpected(&other)),
        }
    }

    /// Gives it the token that was drawn while it was away.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub fn use_token(&mut self, token: &Token) -> Result<(), ClientError> {
        self.answer(&ToNode::UseToken(Secret(*token.secret()))).map(drop)
    }

    /// Ends the node: now, or when all that runs there has moved away.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub fn down(&mut self, now: bool) -> Result<(), ClientError> {
        match self.answer(&ToNode::Down { now }) {
            // It may be gone before its answer is here.
            Err(ClientError::Ended) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Starts a process, whose origin this connection is from then on.
    ///
    /// # Errors
    /// It does not answer, or cannot start it.
    ///
    /// `programs`: those that may be wanted, by content hash.
    pub fn start(mut self, start: Start, programs: &Wasms) -> Result<Attached, ClientError> {
        let mut said = self.ask(&ToNode::Start(Box::new(start)))?;
        while let FromNode::WantProgram { code } = said {
            let program = programs.get(&code).ok_or_else(|| unexpected(&said))?;
            let NodeClient { runtime, reader, writer, .. } = &mut self;
            said = runtime.block_on(async {
                let pieces = program.chunks(BULK_CHUNK_BYTES);
                let last = pieces.len().saturating_sub(1);
                for (index, piece) in pieces.enumerate() {
                    writer.send_bulk(0, index == last, piece).await.map_err(broken)?;
                }
                writer.flush().await.map_err(broken)?;
                next(reader).await
            })?;
        }
        match said {
            FromNode::Started => Ok(Attached { client: self, unfenced: false }),
            FromNode::BadProgram { kind, message } => {
                Err(ClientError::BadProgram { kind, message })
            }
            FromNode::Answer(Answer::Refused(reason)) => Err(ClientError::Refused(reason)),
            other => Err(unexpected(&other)),
        }
    }

    fn answer(&mut self, message: &ToNode) -> Result<Answer, ClientError> {
        match self.ask(message)? {
            FromNode::Answer(Answer::Refused(reason)) => Err(ClientError::Refused(reason)),
            FromNode::Answer(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&mut self, message: &ToNode) -> Result<FromNode, ClientError> {
        let NodeClient { runtime, reader, writer, .. } = self;
        runtime.block_on(async {
            say(writer, message).await?;
            tokio::time::timeout(ANSWER_MAX, next(reader)).await.unwrap_or(Err(ClientError::Silent))
        })
    }
}

/// A connection that is the origin of a process.
pub struct Attached {
    client: NodeClient,
    unfenced: bool,
}

impl Attached {
    /// The process is given up when the node that runs it is silent: it counts as lost then. If it lives it is ended when its
    /// node is back; until then it has no devices.
    #[must_use]
    pub fn unfenced(self) -> Attached {
        Attached { unfenced: true, ..self }
    }

    /// Serves the process until it ends. `ready` is what the service was told to notify; when `kill` is notified, the
    /// process is ended wherever it is. One that writes to a pipe that nobody reads is ended by the signal that it
    /// would natively get.
    ///
    /// # Errors
    /// The node has ended, or cut the connection: what became of the process is not known.
    pub fn serve(
        self,
        services: &mut Services<End>,
        ready: &Notify,
        kill: &Notify,
    ) -> Result<End, ClientError> {
        let Attached { client, unfenced } = self;
        let NodeClient { runtime, mut reader, mut writer, .. } = client;
        let mut broken_pipe = false;
        // Those of the device process.
        let mut clients = HashSet::new();
        runtime.block_on(async {
            loop {
                let replies = tokio::select! {
                    said = next(&mut reader) => match said {
                        Ok(FromNode::Ended(_)) | Err(ClientError::Ended) if broken_pipe => {
                            return Ok(End::Raised(SIGPIPE));
                        }
                        said => match said? {
                            FromNode::Request { pid, sequence, ahead, request } => {
                                let request = device::decode_request(&request).map_err(malformed)?;
                                let pid = Pid::from_bits(pid);
                                let reply = services.request(pid, sequence, ahead, request);
                                Vec::from_iter(reply)
                            }
                            FromNode::ClientRequest { client, sequence, request } => {
                                let client = Pid::from_bits(client);
                                let request = device::decode_request(&request).map_err(malformed)?;
                                clients.insert(client);
                                services.serve(Ask::Request { client, sequence, request })
                            }
                            FromNode::ReleaseClient(client) => {
                                let client = Pid::from_bits(client);
                                clients.remove(&client);
                                services.serve(Ask::Release(client))
                            }
                            FromNode::ChildEnded { pid, program, end } => {
                                services.ended(Pid::from_bits(pid), &program, end);
                                Vec::new()
                            }
                            FromNode::Notice(text) => {
                                services.notice(&text);
                                Vec::new()
                            }
                            FromNode::Silent { node } if unfenced => {
                                say(&mut writer, &ToNode::Kill).await?;
                                return Ok(End::Lost { node });
                            }
                            FromNode::Silent { .. } => Vec::new(),
                            FromNode::Ended(end) => return Ok(end),
                            other => return Err(unexpected(&other)),
                        },
                    },
                    () = ready.notified() => services.retry(),
                    () = kill.notified() => {
                        say(&mut writer, &ToNode::Kill).await?;
                        Vec::new()
                    }
                };
                for (pid, sequence, reply) in replies {
                    let is_client = clients.contains(&pid);
                    if reply == Reply::Failed(Errno::Pipe) && !is_client {
                        broken_pipe = true;
                        say(&mut writer, &ToNode::Kill).await?;
                        continue;
                    }
                    // The service has checked it: it has a form.
                    let reply = device::encode_reply(&reply).map_err(malformed)?;
                    let pid = pid.bits();
                    let reply = if is_client {
                        ToNode::ClientReply { client: pid, sequence, reply }
                    } else {
                        ToNode::Reply { pid, sequence, reply }
                    };
                    say(&mut writer, &reply).await?;
                }
            }
        })
    }
}

/// Something that a service's waker and a loop share.
#[must_use]
pub fn notify() -> Arc<Notify> {
    Arc::new(Notify::new())
}

async fn say(writer: &mut Writer, message: &ToNode) -> Result<(), ClientError> {
    let bytes =
        postcard::to_stdvec(message).map_err(|error| ClientError::Protocol(error.to_string()))?;
    writer.send(&Frame::Message(bytes)).await.map_err(broken)?;
    writer.flush().await.map_err(broken)
}

async fn next(reader: &mut Reader) -> Result<FromNode, ClientError> {
    match reader.next().await.map_err(broken)? {
        Frame::Message(bytes) => {
            postcard::from_bytes(&bytes).map_err(|error| ClientError::Protocol(error.to_string()))
        }
        Frame::Hello(_) | Frame::Bulk { .. } => {
            Err(ClientError::Protocol("not a message".to_owned()))
        }
    }
}

fn malformed(error: device::WireError) -> ClientError {
    ClientError::Protocol(error.to_string())
}

fn broken(error: FrameError) -> ClientError {
    match error {
        FrameError::Closed | FrameError::Cut | FrameError::Io(_) => ClientError::Ended,
        other => ClientError::Protocol(other.to_string()),
    }
}

fn unexpected(said: &FromNode) -> ClientError {
    let mut text = format!("{said:?}");
    text.truncate(text.floor_char_boundary(60));
    ClientError::Protocol(format!("out of turn it said {text}"))
}
