//! The inbox of a core: a queue of packets that any thread may push to and the core empties, lanes for other cores' short
//! words ([`super::lane`]), and the place where the core sleeps.
//!
//! Invariants:
//! * To push to a core that is awake costs no system call.
//! * No packet is slept over. The core says that it sleeps, and then looks into the inbox once more; who
//!   pushes does so first, and then looks whether the core sleeps. Between the two steps each has
//!   a sequentially consistent fence: at least one of them sees what the other has written. Either
//!   the core does not go to sleep, or it is roused; and being roused before it sleeps makes it wake
//!   at once ([`std::thread::park`], or the bell, for a core that waits for wires as well).
//! * What one core leaves is taken in its order, in the queue or in its lane. What lies in the lane when something is taken from the
//!   queue was left before that, for after it nothing was put there until it had been heard: it is taken first.
//! * Its length is bounded: see [`super::tag`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use std::{io, mem};

use peripatos_kernel::Place;

use super::bell::Bell;
use super::lane::{Apart, Lane, PLACES, Way};
use super::packet::Packet;

/// Looks between two looks at the clock, which takes as long as several of them.
const LOOKS: u32 = 32;

/// How the core sleeps: not at all, in [`std::thread::park`], or until the bell is rung.
const AWAKE: u8 = 0;
const PARKED: u8 = 1;
const LISTENS: u8 = 2;

/// See the module.
pub(super) struct Inbox {
    /// Of which core.
    place: Place,
    queue: Apart<Mutex<Queue>>,
    /// Of packets in the queue, to look without the lock. (Apart from it: who looks would take its line away from who pushes.)
    len: Apart<AtomicUsize>,
    /// By the cores from which they come.
    lanes: Box<[OnceLock<Box<Lane>>]>,
    /// The lane that is looked into first: that behind the one from which the last word was taken. Only the core does.
    first: Apart<AtomicUsize>,
    owner: Apart<Owner>,
}

/// What only the core changes, but for what rouses it.
#[derive(Default)]
struct Owner {
    sleeping: AtomicU8,
    /// What runs looks into the inbox, or is about to.
    looks: AtomicBool,
    /// So many packets of the queue were taken, and so many of them have been heard: all of them, when it takes the next.
    taken: AtomicU64,
    heard: AtomicU64,
    /// Known before it sleeps for the first time.
    thread: OnceLock<Thread>,
    /// Known before the core listens for the first time.
    bell: OnceLock<Bell>,
}

#[derive(Default)]
struct Queue {
    packets: VecDeque<Packet>,
    /// So many were left here.
    left: u64,
    closed: bool,
}

impl Inbox {
    /// Of the core at this place, one of so many.
    pub(super) fn new(place: Place, cores: usize) -> Inbox {
        Inbox {
            place,
            queue: Apart::default(),
            len: Apart::default(),
            lanes: (0..cores).map(|_| OnceLock::new()).collect(),
            first: Apart::default(),
            owner: Apart::default(),
        }
    }

    /// This thread is the one that empties it.
    pub(super) fn open(&self) {
        // Each core has an inbox of its own.
        let _ = self.owner.0.thread.set(thread::current());
    }

    /// Packets that lie there, all those of a lane counted as one.
    pub(super) fn len(&self) -> usize {
        let lanes = self.lanes.iter().filter_map(OnceLock::get);
        self.queued() + lanes.filter(|lane| !lane.is_empty()).count()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queued() == 0
            && self.lanes.iter().filter_map(OnceLock::get).all(|lane| lane.is_empty())
    }

    fn queued(&self) -> usize {
        self.len.0.load(Ordering::SeqCst)
    }

    /// Leaves a packet, and a fence follows before anything that the caller does next; or the core has ended, and the packet
    /// comes back.
    pub(super) fn push(&self, packet: Packet) -> Option<Packet> {
        self.enqueue(packet).err()
    }

    /// The same, by the thread of the core of this number.
    pub(super) fn push_from(&self, from: usize, way: &mut Way, packet: Packet) -> Option<Packet> {
        if let Packet::Talk(word) = &packet
            && self.owner.0.heard.load(Ordering::Acquire) >= way.left
            && let lane = self.lanes[from].get_or_init(Box::default)
            && lane.put(way, word, self.beside(from), self.place)
        {
            self.rouse();
            return None;
        }
        match self.enqueue(packet) {
            Ok(left) => {
                way.left = left;
                None
            }
            Err(packet) => Some(packet),
        }
    }

    /// Which packet of the queue it is.
    fn enqueue(&self, packet: Packet) -> Result<u64, Packet> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(packet);
        }
        queue.packets.push_back(packet);
        queue.left += 1;
        let left = queue.left;
        self.show_len(&queue);
        drop(queue);
        self.rouse();
        Ok(left)
    }

    /// There is something, that was left just now.
    fn rouse(&self) {
        let Owner { sleeping, thread, bell, .. } = &self.owner.0;
        fence(Ordering::SeqCst);
        if sleeping.load(Ordering::Relaxed) != AWAKE {
            match sleeping.swap(AWAKE, Ordering::SeqCst) {
                PARKED => thread.get().expect("who sleeps has opened it").unpark(),
                LISTENS => bell.get().expect("who listens has one").ring(),
                _ => {}
            }
        }
    }

    /// Another core of the node.
    fn beside(&self, core: usize) -> Place {
        Place { core: core as u32, ..self.place }
    }

    /// It is looked at without the lock; who has to rely on that makes a fence.
    fn show_len(&self, queue: &Queue) {
        self.len.0.store(queue.packets.len(), Ordering::Relaxed);
    }

    /// Takes all packets, into an empty queue whose space is used again. All that was taken before has been heard.
    pub(super) fn take_all(&self, packets: &mut VecDeque<Packet>) {
        assert!(packets.is_empty());
        self.show_heard();
        if self.queued() > 0 {
            let mut queue = self.lock();
            mem::swap(&mut queue.packets, packets);
            self.note_taken(&queue);
        }
        let queued = packets.len();
        for (from, lane) in self.lanes() {
            let words = (0..PLACES).map_while(|_| lane.take(self.beside(from), self.place));
            packets.extend(words.map(Packet::Talk));
        }
        packets.rotate_left(queued);
    }

    /// Takes the first packet, if that is a word to the kernel. All that was taken before has been heard.
    #[inline]
    pub(super) fn take_word(&self) -> Option<Box<peripatos_kernel::Packet>> {
        self.show_heard();
        self.take_from_lanes().or_else(|| if self.queued() > 0 { self.dequeue() } else { None })
    }

    fn dequeue(&self) -> Option<Box<peripatos_kernel::Packet>> {
        let mut queue = self.lock();
        if let Some(word) = self.take_from_lanes() {
            return Some(word);
        }
        let first = queue.packets.pop_front_if(|first| matches!(first, Packet::Talk(_)));
        self.note_taken(&queue);
        match first {
            Some(Packet::Talk(word)) => Some(word),
            _ => None,
        }
    }

    fn take_from_lanes(&self) -> Option<Box<peripatos_kernel::Packet>> {
        let first = &self.first.0;
        let at = first.load(Ordering::Relaxed);
        // In turns: the words of one core are not to keep those of another one waiting.
        let mut lanes = (at..self.lanes.len()).chain(0..at);
        lanes.find_map(|from| {
            let word = self.lanes[from].get()?.take(self.beside(from), self.place)?;
            first.store(from + 1, Ordering::Relaxed);
            Some(word)
        })
    }

    fn lanes(&self) -> impl Iterator<Item = (usize, &Lane)> {
        self.lanes.iter().enumerate().filter_map(|(from, lane)| Some((from, &**lane.get()?)))
    }

    fn note_taken(&self, queue: &Queue) {
        self.owner.0.taken.store(queue.left - queue.packets.len() as u64, Ordering::Relaxed);
        self.show_len(queue);
    }

    fn show_heard(&self) {
        let Owner { taken, heard, .. } = &self.owner.0;
        let taken = taken.load(Ordering::Relaxed);
        if heard.load(Ordering::Relaxed) != taken {
            heard.store(taken, Ordering::Release);
        }
    }

    /// What runs will look for a packet. If it does something else before, what comes waits for that, until its slice is over at most.
    pub(super) fn begin_looking(&self) {
        let looks = &self.owner.0.looks;
        // Others read what lies beside it with each word.
        if !looks.load(Ordering::Relaxed) {
            looks.store(true, Ordering::Relaxed);
        }
    }

    /// It has looked, and taken what it found. Whether it was said that it would; then a fence follows before anything that the
    /// caller does next.
    pub(super) fn end_looking(&self) -> bool {
        let looks = &self.owner.0.looks;
        let looked = looks.load(Ordering::Relaxed);
        if looked {
            looks.store(false, Ordering::Release);
            fence(Ordering::SeqCst);
        }
        looked
    }

    /// Whether nobody has to give way for what the caller has just left, and made a fence: what runs looks for it, or has taken it
    /// before it said that it looks no longer.
    pub(super) fn is_seen(&self) -> bool {
        self.owner.0.looks.load(Ordering::SeqCst) || self.is_empty()
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
        while self.is_empty() && left() != Some(Duration::ZERO) {
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
        let bell = &self.owner.0.bell;
        if bell.get().is_none() {
            // Only the core's thread does this.
            let _ = bell.set(Bell::new()?);
        }
        Ok(bell.get().expect("it was set"))
    }

    /// Waits in `wait`, which has to end when the bell is rung, unless there is a packet.
    pub(super) fn listen(&self, wait: impl FnOnce()) {
        self.sleep(LISTENS, wait);
        // It may be rung once more by somebody who is late: the next wait ends for nothing.
        self.owner.0.bell.get().expect("who listens has one").quiet();
    }

    fn sleep(&self, how: u8, sleep: impl FnOnce()) {
        let sleeping = &self.owner.0.sleeping;
        sleeping.store(how, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.is_empty() {
            sleep();
        }
        sleeping.store(AWAKE, Ordering::SeqCst);
    }

    /// Looks for a packet a few times.
    fn look(&self) -> bool {
        (0..LOOKS).any(|_| {
            std::hint::spin_loop();
            !self.is_empty()
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

#[cfg(test)]
mod tests {
    use peripatos_abi::Pid;
    use peripatos_kernel::{Body, Bytes, Packet as Word, Toll};

    use super::super::lane::MESSAGE_BYTES_MAX;
    use super::*;

    const HERE: Place = Place { node: 7, core: 0 };
    const THERE: Place = Place { node: 7, core: 1 };
    const COUNT: u64 = 60_000;

    /// Of each ten in a row one is long, and one is no word; now and then many are short.
    fn packet(number: u64) -> Packet {
        let mixed = !(number / 200).is_multiple_of(4);
        if mixed && number % 10 == 3 {
            return Packet::LostNames(Pid::new(number, 0));
        }
        let len = if mixed && number % 10 == 7 { MESSAGE_BYTES_MAX + 1 } else { 32 };
        let message = Bytes::from(vec![number as u8; len].as_slice());
        let pid = Pid::new(number, 0);
        Packet::Talk(Box::new(Word {
            source: HERE,
            target: Some(THERE),
            from: pid,
            to: pid,
            moved: 0,
            relays: 0,
            body: Body::Send { transaction: number, hop: 0, message },
            toll: Toll::default(),
        }))
    }

    fn number(packet: &Packet) -> u64 {
        match packet {
            Packet::Talk(word) => word.to.number(),
            Packet::LostNames(pid) => pid.number(),
            _ => unreachable!("there are no others"),
        }
    }

    /// By the queue and by the lane, taken one by one or all, while the core sleeps now and then.
    #[test]
    fn what_one_core_leaves_is_taken_in_its_order() {
        let inbox = Inbox::new(THERE, 2);
        inbox.open();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut way = Way::default();
                for number in 0..COUNT {
                    assert!(inbox.push_from(0, &mut way, packet(number)).is_none());
                    if number % 1_000 == 0 {
                        thread::sleep(Duration::from_micros(100));
                    }
                }
            });
            let (mut next, mut all) = (0, VecDeque::new());
            while next < COUNT {
                for _ in 0..next % 5 {
                    if let Some(word) = inbox.take_word() {
                        assert_eq!(word.to.number(), next);
                        next += 1;
                    }
                }
                inbox.take_all(&mut all);
                for packet in all.drain(..) {
                    assert_eq!(number(&packet), next);
                    next += 1;
                }
                if next < COUNT {
                    inbox.wait(Duration::from_micros(next % 3), None);
                }
            }
        });
        assert!(inbox.is_empty());
    }

    #[test]
    fn each_core_has_its_turn() {
        let inbox = Inbox::new(THERE, 4);
        for (from, numbers) in [(0, [201, 202]), (2, [204, 205]), (3, [208, 209])] {
            let mut way = Way::default();
            for number in numbers {
                let Packet::Talk(mut word) = packet(number) else { panic!("it is a word") };
                word.source = inbox.beside(from);
                assert!(inbox.push_from(from, &mut way, Packet::Talk(word)).is_none());
            }
        }
        let taken = [(); 6].map(|()| inbox.take_word().map_or(0, |word| word.to.number()));
        assert_eq!(taken, [201, 204, 208, 202, 205, 209]);
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_word_is_seen_by_who_looks_and_when_it_was_taken() {
        let (inbox, mut way) = (Inbox::new(THERE, 2), Way::default());
        assert!(inbox.push_from(0, &mut way, packet(210)).is_none());
        assert!(!inbox.is_seen(), "what runs knows nothing of it");
        inbox.begin_looking();
        assert!(inbox.is_seen());
        assert!(inbox.take_word().is_some() && inbox.end_looking());
        assert!(inbox.is_seen(), "it was taken");
        assert!(inbox.push_from(0, &mut way, packet(211)).is_none());
        assert!(!inbox.is_seen() && !inbox.end_looking());
    }

    #[test]
    fn short_words_go_by_the_lane_when_all_before_them_was_heard() {
        let (inbox, mut way) = (Inbox::new(THERE, 2), Way::default());
        let mut push = |number| assert!(inbox.push_from(0, &mut way, packet(number)).is_none());
        // A long one, and two short ones after it.
        [207, 208, 209].into_iter().for_each(&mut push);
        assert_eq!((inbox.queued(), inbox.len()), (3, 3));
        let mut all = VecDeque::new();
        inbox.take_all(&mut all);
        push(210);
        assert_eq!(inbox.queued(), 1, "they were taken, and may not have been heard");
        all.clear();
        inbox.take_all(&mut all);
        all.clear();
        inbox.take_all(&mut all);
        [211, 212].into_iter().for_each(&mut push);
        assert_eq!((inbox.queued(), inbox.len()), (0, 1));
        // Who looks into the queue when a long one has just been left there.
        push(217);
        let taken = [(); 4].map(|()| inbox.dequeue().map(|word| word.to.number()));
        assert_eq!(taken, [Some(211), Some(212), Some(217), None]);
    }

    #[test]
    fn a_core_that_has_ended_takes_nothing() {
        let (inbox, mut way) = (Inbox::new(THERE, 2), Way::default());
        assert!(inbox.push(packet(203)).is_none());
        assert_eq!(inbox.close().len(), 1);
        assert_eq!(inbox.push(packet(203)).as_ref().map(number), Some(203));
        let refused = inbox.push_from(0, &mut way, packet(213));
        assert_eq!(refused.as_ref().map(number), Some(213));
    }
}
