//! The wires beside a link: who opens them, who waits for them, and what becomes of those that break.
//!
//! Whoever had called the other for the link opens them, one from each core to each core of the other side, as long as
//! those are few. One that breaks is opened again, with new keys, as long as the link stands. Without a wire packets go by
//! the link.
//!
//! Both ends have a task for each wire. It ends with the link, and the wire with it.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use peripatos_cluster::NodeId;
use peripatos_cluster::message::{Message, Wire};
use peripatos_kernel::Place;
use rustix::net::sockopt;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::host::{Input, Inputs};
use super::lanes::{Awaited, Lanes};
use super::links::Sender;
use crate::cores::{self, Letterbox, Used};
use crate::link::lane;

/// Wires beside a link. Between nodes that have more pairs of cores, some cores have none.
const WIRES_MAX: u32 = 64;
/// How long a connection may take.
const OPENING_MAX: Duration = Duration::from_secs(10);
/// Between two attempts to open a wire.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// What was sent and is not acknowledged by the other side's system for so long ends the wire: kernels do not expect it any
/// more.
const UNACKNOWLEDGED_MS_MAX: u32 = 10_000;
/// A wire that is silent for so long is asked whether it still stands, so that whoever is between the two does not forget it.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// See the module. Dropped, they are closed.
pub(super) struct Wires {
    node: NodeId,
    /// How many cores this side and the other one have.
    cores: [u32; 2],
    letterbox: Letterbox,
    inputs: Inputs,
    /// The link's.
    used: Used,
    tasks: Vec<AbortHandle>,
    opens: bool,
}

impl Wires {
    /// None yet.
    pub(super) fn new(
        node: NodeId,
        cores: [u32; 2],
        letterbox: Letterbox,
        inputs: Inputs,
        used: Used,
    ) -> Wires {
        Wires { node, cores, letterbox, inputs, used, tasks: Vec::new(), opens: false }
    }

    /// Opens all of them, at the address that was called for the link.
    pub(super) fn open(&mut self, address: &str, sender: &Sender) {
        self.opens = true;
        for (own_core, peer_core) in pairs(self.cores) {
            let (address, sender) = (address.to_owned(), sender.clone());
            let end = self.end();
            self.spawn(async move { keep(&address, own_core, peer_core, &sender, &end).await });
        }
    }

    /// The other side is about to open this one.
    ///
    /// # Errors
    /// It is not waited for: why.
    pub(super) fn announced(&mut self, wire: Wire, lanes: &Lanes) -> Result<(), String> {
        if self.opens {
            return Err("its link was made from here".to_owned());
        }
        if wire.peer_core >= self.cores[0] || wire.own_core >= self.cores[1] {
            return Err(format!("no core {} or {}", wire.peer_core, wire.own_core));
        }
        self.tasks.retain(|one| !one.is_finished());
        // Those that have just broken may not have ended here.
        if self.tasks.len() >= 2 * WIRES_MAX as usize {
            return Err(format!("there are {} already", self.tasks.len()));
        }
        let awaited = lanes.await_wire(wire.lane.name);
        let end = self.end();
        self.spawn(async move { wait(awaited, &wire, &end).await });
        Ok(())
    }

    fn end(&self) -> End {
        let (letterbox, inputs) = (self.letterbox.clone(), self.inputs.clone());
        End { node: self.node, letterbox, inputs, used: self.used.clone() }
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task).abort_handle());
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Which cores are joined: each with each, or as many as there may be in the order of their numbers.
fn pairs([own, peer]: [u32; 2]) -> Vec<(u32, u32)> {
    if own.saturating_mul(peer) <= WIRES_MAX {
        return (0..own).flat_map(|one| (0..peer).map(move |other| (one, other))).collect();
    }
    let most = own.max(peer).min(WIRES_MAX);
    (0..most).map(|at| (at % own, at % peer)).collect()
}

/// What a task knows of this side.
struct End {
    node: NodeId,
    letterbox: Letterbox,
    inputs: Inputs,
    used: Used,
}

/// Keeps a wire open.
async fn keep(address: &str, own_core: u32, peer_core: u32, sender: &Sender, end: &End) {
    let mut pause = RETRY_MIN;
    loop {
        let begun = Instant::now();
        let opened = timeout(OPENING_MAX, open(address, own_core, peer_core, sender));
        match opened.await.unwrap_or_else(|late| Err(io::Error::other(late))) {
            Ok((stream, wire)) => {
                let to = Place { node: end.node.0, core: peer_core };
                end.hand_over(stream, own_core, to, [&wire.lane, &wire.back]).await;
            }
            Err(error) => end.log(&error),
        }
        if begun.elapsed() > RETRY_MAX {
            pause = RETRY_MIN;
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

async fn open(
    address: &str,
    own_core: u32,
    peer_core: u32,
    sender: &Sender,
) -> io::Result<(TcpStream, Wire)> {
    let wire = lane::draw_wire(own_core, peer_core)?;
    if !sender.send(&Message::Wire(wire)) {
        return Err(io::Error::other("the link takes nothing"));
    }
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(&lane::opening(&wire.lane)).await?;
    Ok((stream.into_std()?, wire))
}

/// Waits for a wire, and until it has ended.
async fn wait(awaited: Awaited<oneshot::Receiver<TcpStream>>, wire: &Wire, end: &End) {
    let Awaited { connection, .. } = awaited;
    match timeout(OPENING_MAX, connection).await {
        Ok(Ok(stream)) => {
            let to = Place { node: end.node.0, core: wire.own_core };
            end.hand_over(stream, wire.peer_core, to, [&wire.back, &wire.lane]).await;
        }
        _ => end.log(&"no connection came"),
    }
}

impl End {
    /// Gives a wire to its core. Returns when it has ended.
    async fn hand_over(
        &self,
        stream: TcpStream,
        own_core: u32,
        to: Place,
        lanes: [&peripatos_cluster::message::Lane; 2],
    ) {
        let stream = Arc::new(stream);
        // However this ends, the wire does.
        let _open = Open(Arc::clone(&stream));
        let (closed, why) = oneshot::channel();
        let wire = prepare(&stream)
            .and_then(|()| cores::Wire::new(to, stream, lanes, self.used.clone(), closed));
        match wire {
            Ok(wire) => {
                self.letterbox.wire(own_core as usize, wire);
                // Without a reason the cores have ended.
                if let Ok(why) = why.await {
                    self.log(&why);
                }
            }
            Err(error) => self.log(&error),
        }
    }

    fn log(&self, why: &dyn fmt::Display) {
        let node = self.node;
        self.inputs.send(Input::Log(format!("a wire to node {node:#} is gone: {why}")));
    }
}

/// A connection that is shut down when this is dropped.
struct Open(Arc<TcpStream>);

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let socket = stream.as_fd();
    sockopt::set_tcp_user_timeout(socket, UNACKNOWLEDGED_MS_MAX)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENCE_MAX)?;
    sockopt::set_tcp_keepintvl(socket, SILENCE_MAX)?;
    Ok(())
}
