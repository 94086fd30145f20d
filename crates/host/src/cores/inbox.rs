//! The inbox of a core: a queue of packets that any thread may push to and the core empties; and the
//! place where the core sleeps.
//!
//! Invariants:
//! * To push to a core that is awake costs no system call.
//! * No packet is slept over. The core says that it sleeps, and then looks into the inbox once more; who
//!   pushes does so first, and then looks whether the core sleeps. Between the two steps each has
//!   a sequentially consistent fence: at least one of them sees what the other has written. Either
//!   the core does not go to sleep, or it is roused; and being roused before it sleeps makes it wake
//!   at once ([`std::thread::park`]).
//! * Its length is bounded: see [`super::tag`].
//!
//! A lock-free queue would save its user the lock, some 20 ns of what a packet costs, which is beside
//! the wait for whatever the core runs not worth a dependency.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::packet::Packet;

/// How long a core looks for a packet before it sleeps: less than to be put to sleep and roused costs (some 36 us), and
/// little where others want the CPU.
const SPIN: Duration = Duration::from_micros(5);
/// Looks between two looks at the clock, which takes as long as several of them.
const LOOKS: u32 = 32;

/// See the module.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    /// Of packets in the queue, to look without the lock.
    len: AtomicUsize,
    sleeping: AtomicBool,
    /// Whose it is; known before it sleeps for the first time.
    owner: OnceLock<Thread>,
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
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::SeqCst) {
            self.owner.get().expect("who sleeps has opened it").unpark();
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
            self.sleeping.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if self.len() == 0 {
                match left() {
                    None => thread::park(),
                    Some(left) => thread::park_timeout(left),
                }
            }
            self.sleeping.store(false, Ordering::SeqCst);
        }
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
