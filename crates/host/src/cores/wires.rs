//! The wires of this thread's core: connections to cores of other nodes, by which packets of kernels go past the node's
//! thread. What comes is read in the core's loop, what is sent is gathered there.
//!
//! Invariants:
//! * A packet that no wire takes comes back, and goes by the link.
//! * What was gathered leaves when the core has nothing else to do, or after [`GATHER_MAX`]; behind a process that does not
//!   give way, when the ticker makes it ([`super::ticker`]).
//! * A wire that breaks, or on which comes what does not belong there, is closed, and whoever has opened it is told why.
//! * No packet is older than kernels expect: what could not be sent, or was not read although it had come, for [`STALE`] is
//!   dropped, with its wire.

use std::cell::RefCell;
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::thread;
use std::time::{Duration, Instant};
use std::{io, mem};

use peripatos_cluster::message::Lane;
use peripatos_kernel::{Packet, Place};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use tokio::sync::oneshot;

use super::board::Board;
use super::inbox::Inbox;
use super::lookout::{SPIN, Span};
use super::ticker::WATCH_NS;
use super::used::Used;
use crate::link::wire::{Receiving, Sending, WireError};
use crate::talk;

/// How long packets wait for others that leave with them.
pub(super) const GATHER_MAX: Duration = Duration::from_micros(50);
/// Between two looks at the wires while the core has something else to do: a look is a system call.
const LOOK_EVERY: Duration = Duration::from_micros(20);
/// See the module. A third of what kernels count on; what the system holds back has another one
/// ([`crate::node`] sets it).
const STALE: Duration = Duration::from_secs(10);
/// So many wires are looked at one by one; of more the system is asked which.
const DIRECT_MAX: usize = 4;

/// So many at once.
const READY_MAX: usize = 64;
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The bell's, among the wires' numbers.
const BELL: u64 = 0;

thread_local! {
    static WIRES: RefCell<Wires> = RefCell::new(Wires::default());
}

/// A connection from this core to one of another node.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Where it leads.
    to: Place,
    stream: Arc<TcpStream>,
    sending: Sending,
    receiving: Receiving,
    /// The link's beside which it is.
    used: Used,
    /// Is told why it was closed.
    closed: oneshot::Sender<String>,
    number: u64,
    /// Since when the other side takes nothing.
    blocked: Option<Instant>,
}

impl Wire {
    /// `stream` does not block.
    ///
    /// # Errors
    /// A key is none.
    pub(crate) fn new(
        to: Place,
        stream: Arc<TcpStream>,
        [sending, receiving]: [&Lane; 2],
        used: Used,
        closed: oneshot::Sender<String>,
    ) -> io::Result<Wire> {
        let (sending, receiving) = (Sending::new(sending)?, Receiving::new(receiving)?);
        Ok(Wire { to, stream, sending, receiving, used, closed, number: BELL, blocked: None })
    }

    fn close(self, why: &str) {
        let _ = self.stream.shutdown(Shutdown::Both);
        // Whoever is not interested has closed it.
        let _ = self.closed.send(why.to_owned());
    }
}

/// See the module.
#[derive(Default)]
struct Wires {
    /// In the order of where they lead.
    all: Vec<Wire>,
    shore: Option<Shore>,
    numbers: u64,
    /// Something has been read and not taken.
    came: bool,
    looked: Option<Instant>,
    /// Since when something waits to leave.
    unsent: Option<Instant>,
    /// How long it pays to look before one sleeps.
    span: Span,
    /// What comes goes through here.
    packets: Vec<Packet>,
}

/// What a core has as soon as it has wires.
struct Shore {
    board: Arc<Board>,
    core: usize,
    /// The wires and the bell.
    epoll: OwnedFd,
    /// Room for what it tells.
    ready: Vec<epoll::Event>,
}

/// This core has a wire from now on.
pub(super) fn open(board: &Arc<Board>, core: usize, wire: Wire) {
    WIRES.with_borrow_mut(|wires| wires.open(board, core, wire));
}

/// Sends a packet by a wire of this thread. It comes back if there is none that takes it.
pub(super) fn send(packet: Packet) -> Option<Packet> {
    WIRES.with_borrow_mut(|wires| wires.send(packet))
}

/// Takes in what has come, if it is time to look, and sends what has waited long enough.
pub(super) fn receive(board: &Board, core: usize) {
    let Some(mut packets) = WIRES.with_borrow_mut(Wires::arrivals) else { return };
    for packet in packets.drain(..) {
        if board.core_for(&packet) == Some(core) {
            talk::arrived(packet);
        } else {
            board.bring_in(packet);
        }
    }
    WIRES.with_borrow_mut(|wires| wires.packets = packets);
}

/// Waits until there is a packet in the inbox or on a wire, or until this time.
pub(super) fn wait(board: &Board, core: usize, until: Option<Instant>) {
    let inbox = &board.post(core).inbox;
    WIRES.with_borrow_mut(|wires| {
        if !wires.wait(inbox, board.spin, until) {
            let span = if board.spin { wires.span.get() } else { Duration::ZERO };
            wires.span.note(inbox.wait(span, until));
        }
    });
}

/// The core ends.
pub(super) fn close() {
    let wires = WIRES.take();
    wires.all.into_iter().for_each(|wire| wire.close("the core has ended"));
}

impl Wires {
    fn open(&mut self, board: &Arc<Board>, core: usize, mut wire: Wire) {
        self.numbers += 1;
        wire.number = self.numbers;
        if let Err(error) = self.enter(board, core, &wire) {
            return wire.close(&error.to_string());
        }
        let at = self.all.partition_point(|other| other.to <= wire.to);
        self.all.insert(at, wire);
        self.show();
        // It says that it has the key.
        self.flush();
    }

    fn enter(&mut self, board: &Arc<Board>, core: usize, wire: &Wire) -> io::Result<()> {
        if self.shore.is_none() {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let bell = board.post(core).inbox.bell()?;
            epoll::add(&epoll, bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
            self.shore = Some(Shore {
                board: Arc::clone(board),
                core,
                epoll,
                ready: Vec::with_capacity(READY_MAX),
            });
        }
        if let Some(shore) = &self.shore {
            let number = epoll::EventData::new_u64(wire.number);
            epoll::add(&shore.epoll, &wire.stream, number, epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    fn close(&mut self, at: usize, why: &WireError) {
        let wire = self.all.remove(at);
        if let Some(shore) = &self.shore {
            // Others may have the socket open for a moment.
            let _ = epoll::delete(&shore.epoll, &wire.stream);
        }
        self.show();
        wire.close(&why.to_string());
    }

    /// Shows the ticker what to look at.
    fn show(&self) {
        if let Some(Shore { board, core, .. }) = &self.shore {
            let streams = self.all.iter().map(|wire| Arc::clone(&wire.stream));
            board.post(*core).show_wires(streams.collect());
        }
    }

    fn send(&mut self, packet: Packet) -> Option<Packet> {
        let Some(at) = packet.target.and_then(|to| self.way(to)) else { return Some(packet) };
        match self.all[at].sending.put(&packet) {
            Ok(true) => self.all[at].used.note(),
            Ok(false) => return Some(packet),
            Err(error) => {
                self.close(at, &error);
                return Some(packet);
            }
        }
        let now = Instant::now();
        match self.unsent {
            None => {
                self.unsent = Some(now);
                self.show_unsent(true);
                if let Some(Shore { board, .. }) = &self.shore {
                    // Whoever sends may compute on, for ever.
                    fence(Ordering::SeqCst);
                    board.ticker.look_at(board.time_ns(now) + WATCH_NS);
                }
            }
            Some(since) if now - since >= GATHER_MAX => self.flush(),
            Some(_) => {}
        }
        None
    }

    /// The wire to this core, or to another one of its node.
    fn way(&self, to: Place) -> Option<usize> {
        let begin = self.all.partition_point(|wire| wire.to.node < to.node);
        let there = self.all[begin..].iter().take_while(|wire| wire.to.node == to.node);
        let mut ways = there.enumerate().filter(|(_, wire)| wire.receiving.is_proved());
        let first = ways.next()?;
        let exact = if first.1.to == to { None } else { ways.find(|(_, wire)| wire.to == to) };
        Some(begin + exact.unwrap_or(first).0)
    }

    /// Sends what waits.
    fn flush(&mut self) {
        self.unsent = None;
        self.show_unsent(false);
        for at in (0..self.all.len()).rev() {
            if self.all[at].sending.waiting() > 0
                && let Err(error) = self.flush_one(at)
            {
                self.close(at, &error);
            }
        }
    }

    fn flush_one(&mut self, at: usize) -> Result<(), WireError> {
        let Wire { stream, sending, blocked, number, .. } = &mut self.all[at];
        if blocked.is_some_and(|since| since.elapsed() > STALE) {
            return Err(WireError::Broken("it takes nothing any more"));
        }
        let was_blocked = blocked.is_some();
        *blocked = if sending.flush(stream)? { None } else { blocked.or(Some(Instant::now())) };
        if blocked.is_some() != was_blocked
            && let Some(shore) = &self.shore
        {
            let out = if was_blocked { epoll::EventFlags::empty() } else { epoll::EventFlags::OUT };
            let number = epoll::EventData::new_u64(*number);
            epoll::modify(&shore.epoll, stream, number, epoll::EventFlags::IN | out)
                .map_err(io::Error::from)?;
        }
        Ok(())
    }

    fn show_unsent(&self, unsent: bool) {
        if let Some(Shore { board, core, .. }) = &self.shore {
            board.post(*core).show_unsent(unsent);
        }
    }

    /// `None`: nothing.
    fn arrivals(&mut self) -> Option<Vec<Packet>> {
        if self.all.is_empty() {
            return None;
        }
        let now = Instant::now();
        let age = self.looked.map_or(Duration::MAX, |looked| now - looked);
        if !self.came && age >= LOOK_EVERY {
            self.look(now);
        }
        if self.unsent.is_some_and(|since| now - since >= GATHER_MAX) {
            self.flush();
        }
        if !mem::take(&mut self.came) {
            return None;
        }
        let mut packets = mem::take(&mut self.packets);
        for at in (0..self.all.len()).rev() {
            let before = packets.len();
            match self.all[at].receiving.take(&mut packets) {
                Ok(_) if packets.len() > before => self.all[at].used.note(),
                Ok(_) => {}
                Err(error) => self.close(at, &error),
            }
        }
        Some(packets)
    }

    /// If the core has not looked at its wires for long although something had come, it is not looked at any more.
    fn drop_stale(&mut self, now: Instant) {
        let Some(Shore { board, core, .. }) = &self.shore else { return };
        let came_ns = board.post(*core).take_came_ns().unwrap_or(u64::MAX);
        if board.time_ns(now).saturating_sub(came_ns) > STALE.as_nanos() as u64 {
            while let Some(last) = self.all.len().checked_sub(1) {
                self.close(last, &WireError::Broken("its core has not read it for long"));
            }
        }
    }

    /// Reads what has come. Whether anything has.
    fn look(&mut self, now: Instant) -> bool {
        self.looked = Some(now);
        self.drop_stale(now);
        if self.all.len() <= DIRECT_MAX {
            (0..self.all.len()).rev().for_each(|at| self.read(at));
            return self.came;
        }
        let Some(shore) = &mut self.shore else { return false };
        let mut ready = mem::take(&mut shore.ready);
        // Interrupted or not, it is looked again.
        let _ = epoll::wait(&shore.epoll, spare_capacity(&mut ready), Some(&NOW));
        for event in ready.drain(..) {
            let number = event.data.u64();
            if let Some(at) = self.all.iter().position(|wire| wire.number == number) {
                self.read(at);
            }
        }
        if let Some(shore) = &mut self.shore {
            shore.ready = ready;
        }
        self.came
    }

    fn read(&mut self, at: usize) {
        let wire = &mut self.all[at];
        match wire.receiving.read(&wire.stream) {
            Ok(came) => self.came |= came,
            Err(error) => self.close(at, &error),
        }
    }

    /// `false`: there are no wires to wait for.
    fn wait(&mut self, inbox: &Inbox, spin: bool, until: Option<Instant>) -> bool {
        if self.all.is_empty() {
            return false;
        }
        self.flush();
        let begun = Instant::now();
        let mut now = begun;
        while spin && now - begun <= self.span.get() {
            if !inbox.is_empty() || self.look(now) || until.is_some_and(|until| until <= now) {
                return true;
            }
            if now - begun > SPIN {
                // Who else wants this CPU may be the one that is waited for.
                thread::yield_now();
            }
            now = Instant::now();
        }
        let left = until.map(|until| until.saturating_duration_since(now));
        if let Some(shore) = &self.shore {
            inbox.listen(|| {
                let timeout = left.and_then(|left| Timespec::try_from(left).ok());
                let mut ready = [PollFd::new(&shore.epoll, PollFlags::IN)];
                // Interrupted or not, the caller looks.
                let _ = poll(&mut ready, timeout.as_ref());
            });
        }
        now = Instant::now();
        self.look(now);
        if self.all.iter().any(|wire| wire.blocked.is_some()) {
            self.flush();
        }
        self.span.note(now - begun);
        true
    }
}
