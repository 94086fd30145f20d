//! The inbox of a core: a queue of packets that any thread may push to and the core empties; and the
//! place where the core sleeps.
//!
//! Invariants:
//! * To push to a core that is awake costs no system call.
//! * No packet is slept over. The core says that it sleeps, and then looks into the inbox once more; who
//!   pushes does so first, and then looks whether the core sleeps. Between the two steps each has
//!   a sequentially consistent fence: at least one of them sees what the other has written. Either
//!   the core does not go to sleep, or it is roused; and being roused before it sleeps makes it wake
//!   at once ([`std::thread::park`], or the bell, for a core that waits for wires as well).
//! * Its length is bounded: see [`super::tag`].
//!
//! A lock-free queue would save its user the lock, some 20 ns of what a packet costs, which is beside
//! the wait for whatever the core runs not worth a dependency.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use std::{io, mem};

use super::bell::Bell;
use super::packet::Packet;

/// How long a core looks for a packet before it sleeps: less than to be put to sleep and roused costs (some 36 us), and
/// little where others want the CPU.
pub(super) const SPIN: Duration = Duration::from_micros(5);
/// Looks between two looks at the clock, which takes as long as several of them.
const LOOKS: u32 = 32;

/// How the core sleeps: not at all, in [`std::thread::park`], or until the bell is rung.
const AWAKE: u8 = 0;
const PARKED: u8 = 1;
const LISTENS: u8 = 2;

/// See the module.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    /// Of packets in the queue, to look without the lock.
    len: AtomicUsize,
    sleeping: AtomicU8,
    /// Whose it is; known before it sleeps for the first time.
    owner: OnceLock<Thread>,
    /// Known before the core listens for the first time.
    bell: OnceLock<Bell>,
}

#[derive(Default)]
struct Queue {
    packets: VecDeque<Packet>,
    closed: bool,
}

impl Inbox {
    /// This thread is the one that empties it.
    pub(super) fn open(&self) {
        // Each core has an inbox of its own.
        let _ = self.owner.set(thread::current());
    }

    /// Packets that lie there.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Leaves a packet. A fence follows before anything that the caller does next.
    ///
    /// # Errors
    /// The core has ended; the packet comes back.
    pub(super) fn push(&self, packet: Packet) -> Result<(), Packet> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(packet);
        }
        queue.packets.push_back(packet);
        self.len.store(queue.packets.len(), Ordering::SeqCst);
        drop(queue);
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) != AWAKE {
            match self.sleeping.swap(AWAKE, Ordering::SeqCst) {
                PARKED => self.owner.get().expect("who sleeps has opened it").unpark(),
                LISTENS => self.bell.get().expect("who listens has one").ring(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes all packets, into an empty queue whose space is used again.
    pub(super) fn take_all(&self, packets: &mut VecDeque<Packet>) {
        assert!(packets.is_empty());
        if self.len() == 0 {
            return;
        }
        let mut queue = self.lock();
        mem::swap(&mut queue.packets, packets);
        self.len.store(0, Ordering::SeqCst);
    }

    /// Waits until there is a packet, or until this time; awake at first, if `spin`.
    pub(super) fn wait(&self, spin: bool, until: Option<Instant>) {
        if spin {
            let begun = Instant::now();
            while !self.look() && begun.elapsed() < SPIN {}
        }
        let left = || until.map(|until| until.saturating_duration_since(Instant::now()));
        while self.len() == 0 && left() != Some(Duration::ZERO) {
            self.sleep(PARKED, || match left() {
                None => thread::park(),
                Some(left) => thread::park_timeout(left),
            });
        }
    }

    /// What is rung when a packet comes while the core listens.
    ///
    /// # Errors
    /// The system has no more of them.
    pub(super) fn bell(&self) -> io::Result<&Bell> {
        if self.bell.get().is_none() {
            // Only the core's thread does this.
            let _ = self.bell.set(Bell::new()?);
        }
        Ok(self.bell.get().expect("it was set"))
    }

    /// Waits in `wait`, which has to end when the bell is rung, unless there is a packet.
    pub(super) fn listen(&self, wait: impl FnOnce()) {
        self.sleep(LISTENS, wait);
        // It may be rung once more by somebody who is late: the next wait ends for nothing.
        self.bell.get().expect("who listens has one").quiet();
    }

    fn sleep(&self, how: u8, sleep: impl FnOnce()) {
        self.sleeping.store(how, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.len() == 0 {
            sleep();
        }
        self.sleeping.store(AWAKE, Ordering::SeqCst);
    }

    /// Looks for a packet a few times.
    fn look(&self) -> bool {
        (0..LOOKS).any(|_| {
            std::hint::spin_loop();
            self.len() > 0
        })
    }

    /// Takes no more packets, and gives back those that came too late.
    pub(super) fn close(&self) -> VecDeque<Packet> {
        let mut queue = self.lock();
        queue.closed = true;
        self.len.store(0, Ordering::SeqCst);
        mem::take(&mut queue.packets)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under the lock can panic half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
