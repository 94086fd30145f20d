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
//! A lock-free queue would save its user the lock, some 20 ns of what a packet costs.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use std::{io, mem};

use super::bell::Bell;
use super::packet::Packet;

/// Looks between two looks at the clock, which takes as long as several of them.
const LOOKS: u32 = 32;

/// How the core sleeps: not at all, in [`std::thread::park`], or until the bell is rung.
const AWAKE: u8 = 0;
const PARKED: u8 = 1;
const LISTENS: u8 = 2;

/// See the module.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Apart<Mutex<Queue>>,
    /// Of packets in the queue, to look without the lock.
    len: Apart<AtomicUsize>,
    sleeping: AtomicU8,
    /// Whose it is; known before it sleeps for the first time.
    owner: OnceLock<Thread>,
    /// Known before the core listens for the first time.
    bell: OnceLock<Bell>,
}

/// On cache lines of its own (two: processors fetch pairs). Who looks at the length while another one pushes would take the line of the
/// lock away from him, again and again.
#[derive(Default)]
#[repr(align(128))]
struct Apart<T>(T);

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
        self.len.0.load(Ordering::SeqCst)
    }

    /// Leaves a packet, and a fence follows before anything that the caller does next; or the core has ended, and the packet
    /// comes back.
    pub(super) fn push(&self, packet: Packet) -> Option<Packet> {
        let mut queue = self.lock();
        if queue.closed {
            return Some(packet);
        }
        queue.packets.push_back(packet);
        self.show_len(&queue);
        drop(queue);
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) != AWAKE {
            match self.sleeping.swap(AWAKE, Ordering::SeqCst) {
                PARKED => self.owner.get().expect("who sleeps has opened it").unpark(),
                LISTENS => self.bell.get().expect("who listens has one").ring(),
                _ => {}
            }
        }
        None
    }

    /// It is looked at without the lock; who has to rely on that makes a fence.
    fn show_len(&self, queue: &Queue) {
        self.len.0.store(queue.packets.len(), Ordering::Relaxed);
    }

    /// Takes all packets, into an empty queue whose space is used again.
    pub(super) fn take_all(&self, packets: &mut VecDeque<Packet>) {
        assert!(packets.is_empty());
        if self.len() == 0 {
            return;
        }
        let mut queue = self.lock();
        mem::swap(&mut queue.packets, packets);
        self.show_len(&queue);
    }

    /// Takes the first packet, if that is a word to the kernel.
    pub(super) fn take_word(&self) -> Option<peripatos_kernel::Packet> {
        if self.len() == 0 {
            return None;
        }
        let mut queue = self.lock();
        let first = queue.packets.pop_front_if(|first| matches!(first, Packet::Talk(_)));
        self.show_len(&queue);
        match first {
            Some(Packet::Talk(word)) => Some(word),
            _ => None,
        }
    }

    /// Looks for a packet for so long. Whether there is one.
    pub(super) fn look_for(&self, span: Duration) -> bool {
        // Mostly it is there, or comes before the clock could have been read.
        if self.look() {
            return true;
        }
        let begun = Instant::now();
        while begun.elapsed() < span {
            if self.look() {
                return true;
            }
        }
        false
    }

    /// Waits until there is a packet, or until this time; awake at first, for `spin`. How long it took.
    pub(super) fn wait(&self, spin: Duration, until: Option<Instant>) -> Duration {
        let begun = Instant::now();
        if spin > Duration::ZERO && self.look_for(spin) {
            return begun.elapsed();
        }
        let left = || until.map(|until| until.saturating_duration_since(Instant::now()));
        while self.len() == 0 && left() != Some(Duration::ZERO) {
            self.sleep(PARKED, || match left() {
                None => thread::park(),
                Some(left) => thread::park_timeout(left),
            });
        }
        begun.elapsed()
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
        let late = mem::take(&mut queue.packets);
        self.show_len(&queue);
        late
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under the lock can panic half-way.
        self.queue.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
