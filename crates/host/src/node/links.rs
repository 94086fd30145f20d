//! The tasks behind links: dialling, accepting, reading and writing. They know frames, not what messages mean.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use peripatos_cluster::NodeId;
use peripatos_cluster::message::Message;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::bulk::{Inbox, Outgoing};
use super::clients;
use super::host::{Input, Inputs};
use super::lanes::Lanes;
use super::roads;
use crate::cores::{Letterbox, Used};
use crate::link::lane::LANE_MAGIC;
use crate::link::{self, Credentials, Frame, Hello, Link, LinkError, LinkReader, LinkWriter};

/// Messages that wait for a link's writer. With one more the peer is cut off.
pub(super) const MESSAGES_MAX: usize = 16_384;
/// Pieces of bulk that wait for a link's writer: enough to keep it busy.
const PIECES_MAX: usize = 8;
/// A peer that takes nothing of what it is sent for so long is cut off, whatever it says.
const TAKING_MAX: Duration = Duration::from_secs(30);
/// When nothing more is sent to a peer, it is still listened to for so long.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// Between two attempts to reach a node.
pub(super) const RETRY_MIN: Duration = Duration::from_millis(100);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a connection may take to say what it is.
const FIRST_BYTE_MAX: Duration = Duration::from_secs(link::ESTABLISH_SECONDS_MAX);
/// Links that are being made at once, by whoever has called. With one more the oldest is given up.
const ACCEPTING_MAX: usize = 64;

/// The writing end of a link. Dropped, it closes the link.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    messages: mpsc::Sender<Vec<u8>>,
    pub(super) pieces: mpsc::Sender<Outgoing>,
    pub(super) used: Used,
}

impl Sender {
    /// Queues a message. `false`: the link is over, or the peer does not take what it is sent.
    pub(super) fn send(&self, message: &Message) -> bool {
        // These types always have a form in postcard.
        let bytes = postcard::to_stdvec(message).unwrap_or_default();
        self.messages.try_send(bytes).is_ok()
    }
}

/// Whether what comes over a link is still taken in. A link that is cut is read for a moment longer, so that its other end reads
/// what was said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Ear(Arc<AtomicBool>);

impl Ear {
    /// Nothing that comes is taken in any more.
    pub(super) fn shut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_shut(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Who we are on every link.
#[derive(Clone)]
pub(super) struct Own {
    pub(super) id: NodeId,
    pub(super) papers: Papers,
    pub(super) hello: Arc<Hello>,
    pub(super) lanes: Lanes,
    /// Changes when commands that have come over links are to be cut off.
    pub(super) evicted: watch::Receiver<u64>,
    /// A peer that says nothing for so long is cut off; it says how loaded it is ten times a second.
    pub(super) silence_max: Duration,
}

/// The node's credentials as they are now: links are made with the newest.
#[derive(Clone)]
pub(super) struct Papers(Arc<Mutex<Credentials>>);

impl Papers {
    pub(super) fn new(credentials: Credentials) -> Papers {
        Papers(Arc::new(Mutex::new(credentials)))
    }

    pub(super) fn get(&self) -> Credentials {
        // They are put in place whole, whatever became of whom.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, credentials: Credentials) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
    }
}

/// Takes connections until the node ends.
pub(super) async fn accept(listener: TcpListener, own: Own, inputs: Inputs) {
    let mut accepting: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of descriptors, most likely: others may close theirs meanwhile.
            Err(error) => {
                inputs.send(Input::Log(format!("cannot take a connection: {error}")));
                sleep(RETRY_MAX).await;
                continue;
            }
        };
        accepting.retain(|one| !one.is_finished());
        if accepting.len() >= ACCEPTING_MAX {
            // Whoever has the token needs moments: who has taken longest is the least likely to be one.
            if let Some(longest) = accepting.pop_front() {
                longest.abort();
            }
        }
        accepting
            .push_back(tokio::spawn(answer(stream, own.clone(), inputs.clone())).abort_handle());
    }
}

async fn answer(stream: TcpStream, own: Own, inputs: Inputs) {
    let from = stream.peer_addr();
    let from = from.map_or_else(|_| "somewhere".into(), |from| from.ip().to_string());
    let mut first = [0];
    match timeout(FIRST_BYTE_MAX, stream.peek(&mut first)).await {
        Err(_) => {
            let error = LinkError::TimedOut;
            return inputs.send(Input::Rejected { from, error });
        }
        Ok(Ok(1)) if first[0] == LANE_MAGIC[0] => {
            if !take_lane(stream, &own.lanes).await.is_ok_and(|taken| taken) {
                inputs.send(Input::Log(format!(
                    "a connection from {from} was refused: nobody waits for this lane"
                )));
            }
            return;
        }
        Ok(_) => {}
    }
    match link::accept(stream, &own.papers.get(), &own.hello).await {
        Ok(link) if link.peer.hello.is_of_command() => {
            let (reader, writer) = link.into_frames();
            let mut evicted = own.evicted.clone();
            evicted.mark_unchanged();
            let until = async move { drop(evicted.changed().await) };
            tokio::spawn(clients::serve(reader, writer, inputs, until));
        }
        Ok(link) => inputs.send(Input::Linked { link: Box::new(link), dialled: None }),
        Err(error) => inputs.send(Input::Rejected { from, error }),
    }
}

/// Brings a lane or wire to whoever waits for it. `false`: nobody does.
async fn take_lane(mut stream: TcpStream, lanes: &Lanes) -> io::Result<bool> {
    let mut said = [0; LANE_MAGIC.len() + 16];
    timeout(FIRST_BYTE_MAX, stream.read_exact(&mut said)).await??;
    let (magic, name) = said.split_at(LANE_MAGIC.len());
    if magic != LANE_MAGIC {
        return Ok(false);
    }
    let name = name.try_into().map_err(io::Error::other)?;
    Ok(lanes.claim(name, stream.into_std()?).await)
}

/// Reaches for a node until a link stands or it turns out to be of no use; then reports.
/// It begins after `wait`, or when `now` says so; and so it is with each pause, of which [`RETRY_MIN`] stays.
pub(super) async fn dial(
    address: String,
    wait: Duration,
    now: Arc<Notify>,
    own: Own,
    inputs: Inputs,
) {
    let _ = timeout(wait, now.notified()).await;
    let mut pause = RETRY_MIN;
    loop {
        match link::connect(&address, &own.papers.get(), &own.hello).await {
            Ok(link) => {
                inputs.send(Input::Linked { link: Box::new(link), dialled: Some(address) });
                return;
            }
            Err(LinkError::Unreachable { cause, .. }) => {
                inputs
                    .send(Input::Unreached { address: address.clone(), cause: cause.to_string() });
            }
            // The way there is cut, or the node there is too busy, or ends: that may change.
            Err(error @ (LinkError::TimedOut | LinkError::Broken(_) | LinkError::Frame(_))) => {
                inputs
                    .send(Input::Unreached { address: address.clone(), cause: error.to_string() });
            }
            Err(error) => {
                inputs.send(Input::NotDialled { address, error });
                return;
            }
        }
        // However often somebody needs it.
        sleep(RETRY_MIN).await;
        let _ = timeout(pause - RETRY_MIN, now.notified()).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Starts the two tasks of a link that stands.
pub(super) fn start(
    link: Link,
    number: u64,
    inbox: Inbox,
    letterbox: Letterbox,
    inputs: Inputs,
    silence_max: Duration,
) -> (Sender, Ear) {
    let node = link.peer.id;
    let (reader, writer) = link.split();
    let (messages, to_send) = mpsc::channel(MESSAGES_MAX);
    let (pieces, bulk) = mpsc::channel(PIECES_MAX);
    let mut writing = tokio::spawn(write(writer, to_send, bulk));
    let (ear, used) = (Ear::default(), Used::default());
    let (listens, uses) = (ear.clone(), used.clone());
    tokio::spawn(async move {
        let ends = Ends { inbox, letterbox: &letterbox, inputs: &inputs, used: &uses };
        let mut reading = pin!(read(reader, node, ends, &listens, silence_max));
        let why = tokio::select! {
            why = &mut reading => why,
            _ = &mut writing => {
                let last_words = timeout(LAST_WORDS_MAX, reading).await;
                last_words.unwrap_or_else(|_| "it takes nothing any more".to_owned())
            }
        };
        // Nobody takes what has not been sent.
        writing.abort();
        inputs.send(Input::LinkEnded { node, number, why });
    });
    (Sender { messages, pieces, used }, ear)
}

/// Writes until all senders are gone, the link fails or the peer takes nothing. Messages go before bulk.
async fn write(
    mut writer: LinkWriter,
    mut messages: mpsc::Receiver<Vec<u8>>,
    mut bulk: mpsc::Receiver<Outgoing>,
) {
    loop {
        let next = tokio::select! {
            biased;
            message = messages.recv() => match message {
                Some(bytes) => Frame::Message(bytes),
                None => break,
            },
            Some(Outgoing { stream, last, bytes }) = bulk.recv() => {
                Frame::Bulk { stream, last, bytes }
            }
        };
        let sent = timeout(TAKING_MAX, async {
            if matches!(next, Frame::Bulk { .. }) {
                // Another thread may have announced it and sent it just since the messages were looked at.
                for _ in 0..messages.len() {
                    let Ok(bytes) = messages.try_recv() else { break };
                    writer.send(&Frame::Message(bytes)).await?;
                }
            }
            writer.send(&next).await?;
            if messages.is_empty() && bulk.is_empty() {
                writer.flush().await?;
            }
            Ok::<_, LinkError>(())
        });
        // What is wrong the reader sees.
        if !matches!(sent.await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(TAKING_MAX, writer.close()).await;
}

/// Where what comes over a link goes.
struct Ends<'a> {
    inbox: Inbox,
    letterbox: &'a Letterbox,
    inputs: &'a Inputs,
    used: &'a Used,
}

async fn read(
    mut reader: LinkReader,
    node: NodeId,
    ends: Ends<'_>,
    ear: &Ear,
    silence_max: Duration,
) -> String {
    let Ends { mut inbox, letterbox, inputs, used } = ends;
    loop {
        let frame = match timeout(silence_max, reader.next()).await {
            Err(_) => return format!("it has been silent for {:.1} s", silence_max.as_secs_f64()),
            Ok(Err(error)) => return error.to_string(),
            Ok(Ok(_)) if ear.is_shut() => continue,
            Ok(Ok(frame)) => frame,
        };
        let taken = match frame {
            Frame::Hello(_) => Err("it said hello twice".to_owned()),
            Frame::Bulk { stream, last, bytes } => {
                used.note();
                inbox.piece(stream, last, bytes).await
            }
            Frame::Message(bytes) => match postcard::from_bytes(&bytes) {
                Ok(Message::Bulk { stream, content, lane }) => {
                    inbox.announce(stream, content, lane)
                }
                Ok(Message::Talk(bytes)) => {
                    used.note();
                    roads::read(&bytes).map(|packet| letterbox.bring(packet))
                }
                // Behind it the link ends, which is told past all that waits.
                Ok(message @ Message::Parted) => {
                    inputs.send(Input::Message { from: node, message: Box::new(message) });
                    Ok(())
                }
                Ok(message) => {
                    let message = Box::new(message);
                    inputs.offer(Input::Message { from: node, message }).await;
                    Ok(())
                }
                Err(error) => Err(format!("it sent a malformed message: {error}")),
            },
        };
        if let Err(reason) = taken {
            return reason;
        }
    }
}
