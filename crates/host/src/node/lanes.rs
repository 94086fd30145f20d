//! How the two ends of a lane, or of a wire, find each other.
//!
//! Whoever had called the other for the link calls again: nobody knows whether the way back is open. The other one waits
//! in [`Lanes`] under the lane's name, which only these two know.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peripatos_cluster::message::Lane;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::link::lane;

/// How long a lane may come before it is announced: the word over the link may be behind it.
const EARLY_MAX: Duration = Duration::from_secs(2);

/// The lanes and wires that are waited for. Shared by the node's links, its movers and its wires.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    awaited: Mutex<HashMap<[u8; 16], Waiting>>,
    /// One more is waited for.
    changed: Notify,
}

/// Who waits: a thread or a task.
#[derive(Debug)]
enum Waiting {
    Thread(SyncSender<TcpStream>),
    Task(oneshot::Sender<TcpStream>),
}

impl Waiting {
    /// `false`: not any more.
    fn give(self, connection: TcpStream) -> bool {
        match self {
            Waiting::Thread(to) => to.try_send(connection).is_ok(),
            Waiting::Task(to) => to.send(connection).is_ok(),
        }
    }
}

/// How a lane beside a link is opened from this side.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// By calling this address, as for the link.
    Call(String),
    /// By waiting for the other side.
    Await(Lanes),
}

/// A lane that is being opened.
#[derive(Debug)]
pub(super) enum Opening {
    Call(String, Lane),
    Await(Awaited, Lane),
}

/// A connection that is waited for, by a thread or a task.
#[derive(Debug)]
pub(super) struct Awaited<From = Receiver<TcpStream>> {
    pub(super) connection: From,
    _place: Place,
}

/// A place among the awaited, given up when dropped.
#[derive(Debug)]
struct Place {
    lanes: Lanes,
    name: [u8; 16],
}

impl Lanes {
    fn await_lane(&self, name: [u8; 16]) -> Awaited {
        let (to, connection) = sync_channel(1);
        Awaited { connection, _place: self.wait(name, Waiting::Thread(to)) }
    }

    /// From here on the other side may connect.
    pub(super) fn await_wire(&self, name: [u8; 16]) -> Awaited<oneshot::Receiver<TcpStream>> {
        let (to, connection) = oneshot::channel();
        Awaited { connection, _place: self.wait(name, Waiting::Task(to)) }
    }

    fn wait(&self, name: [u8; 16], waiting: Waiting) -> Place {
        self.lock().insert(name, waiting);
        self.0.changed.notify_waiters();
        Place { lanes: self.clone(), name }
    }

    /// Gives a connection to whoever waits for it. `false`: nobody does.
    pub(super) async fn claim(&self, name: [u8; 16], connection: TcpStream) -> bool {
        let waiting = timeout(EARLY_MAX, async {
            loop {
                let changed = self.0.changed.notified();
                if let Some(waiting) = self.lock().remove(&name) {
                    return waiting;
                }
                changed.await;
            }
        });
        waiting.await.is_ok_and(|waiting| waiting.give(connection))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 16], Waiting>> {
        self.0.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    /// `called`: under which address we had called the other side, if we had.
    pub(super) fn new(called: Option<&str>, lanes: &Lanes) -> Way {
        called.map_or_else(|| Way::Await(lanes.clone()), |address| Way::Call(address.to_owned()))
    }

    /// From here on the other side may connect.
    pub(super) fn begin(&self, lane: Lane) -> Opening {
        match self {
            Way::Call(address) => Opening::Call(address.clone(), lane),
            Way::Await(lanes) => Opening::Await(lanes.await_lane(lane.name), lane),
        }
    }
}

impl Opening {
    /// Waits for the connection.
    pub(super) fn finish(self) -> io::Result<(TcpStream, Lane)> {
        match self {
            Opening::Call(address, lane) => Ok((lane::call(&address, &lane)?, lane)),
            Opening::Await(awaited, lane) => {
                let connection = awaited.connection.recv_timeout(lane::SILENCE_MAX);
                let missing = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection came");
                Ok((connection.map_err(missing)?, lane))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lanes.lock().remove(&self.name);
    }
}
