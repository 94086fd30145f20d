//! The short way for short words from one core to another: a ring of places that only the one writes and only the other
//! reads.
//!
//! What a word costs are the cache lines that go from core to core for it, 30 to 350 ns each (half of what two threads take to bounce one word). By an inbox these are the lock's,
//! the length's and the packet's, some of them twice. A place of a lane is all in one (two lines, which processors fetch together):
//! whether there is a word is said beside it, as in FastForward (Giacomoni, Moseley, Vachharajani, PPoPP 2008).
//!
//! Invariants:
//! * What a core sends to another one is heard in its order, whichever way it goes. A word goes by the lane only if all that the core
//!   has left in the inbox has been heard ([`Way`]). Who takes something out of the inbox hears before it what lies in the lanes
//!   then ([`super::inbox`]).
//! * Only the thread of the one core writes, and only that of the other one reads: [`Lane::take`] and [`Lane::put`] are called by
//!   nobody else. If they were, words would be lost or mixed up, but nothing worse.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use peripatos_abi::Pid;
use peripatos_kernel::{Answer, Body, Bytes, Packet, Place, Toll};

/// Words that fit into a lane.
pub(super) const PLACES: usize = 16;
/// Of eight bytes, in a place.
const WORDS: usize = 16;
/// Of these before the message.
const HEAD: usize = 8;
/// Bytes of a message that go along.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 * (WORDS - HEAD);

/// What a word says, beside the length of its message.
const REPLY: u64 = 1 << 32;

/// On cache lines of its own: two, for processors fetch pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);

/// See the module.
#[derive(Debug)]
pub(super) struct Lane {
    /// In each the first says how many had been put there or into another one when it was put; then the word.
    places: [Apart<[AtomicU64; WORDS]>; PLACES],
    /// So many were taken.
    taken: Apart<AtomicU64>,
}

/// What one core knows of its way to another one.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// Words that it has put into the lane.
    put: u64,
    /// So many of them at least were taken.
    taken: u64,
    /// What it has left in the inbox last: which of the inbox's packets that was.
    pub(super) left: u64,
}

impl Default for Lane {
    fn default() -> Lane {
        Lane {
            places: array::from_fn(|_| Apart(array::from_fn(|_| AtomicU64::new(0)))),
            taken: Apart::default(),
        }
    }
}

impl Lane {
    /// Puts a word there, from a core to another one. A fence has to follow. `false`: it is too long, or there is no room.
    pub(super) fn put(&self, way: &mut Way, packet: &Packet, from: Place, to: Place) -> bool {
        let places = PLACES as u64;
        if way.put - way.taken >= places {
            way.taken = self.taken.0.load(Ordering::Acquire);
        }
        if way.put - way.taken >= places || !write(packet, from, to, self.place(way.put)) {
            return false;
        }
        let [said, ..] = self.place(way.put);
        way.put += 1;
        said.store(way.put, Ordering::Release);
        true
    }

    /// Takes the next word.
    pub(super) fn take(&self, from: Place, to: Place) -> Option<Box<Packet>> {
        let taken = self.taken.0.load(Ordering::Relaxed);
        let [said, ..] = self.place(taken);
        if said.load(Ordering::Acquire) != taken + 1 {
            return None;
        }
        let packet = Box::new(read(from, to, self.place(taken)));
        self.taken.0.store(taken + 1, Ordering::Release);
        Some(packet)
    }

    /// Whether nothing lies there, for whoever asks. What he has to see in any case, a fence is before.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        let taken = self.taken.0.load(Ordering::Relaxed);
        let [said, ..] = self.place(taken);
        said.load(Ordering::SeqCst) != taken + 1
    }

    fn place(&self, count: u64) -> &[AtomicU64; WORDS] {
        &self.places[count as usize % PLACES].0
    }
}

/// Writes a word, if it can be. Which it is, and whose, the lane says.
fn write(packet: &Packet, from: Place, to: Place, place: &[AtomicU64; WORDS]) -> bool {
    let Packet { source, target, relays, moved, body, .. } = packet;
    if *source != from || *target != Some(to) || *relays != 0 {
        return false;
    }
    let (transaction, hop, message, kind) = match body {
        Body::Send { transaction, hop, message } => (transaction, hop, message, 0),
        Body::Reply { transaction, hop, answer: Answer::Replied(message) } => {
            (transaction, hop, message, REPLY)
        }
        _ => return false,
    };
    if message.len() > MESSAGE_BYTES_MAX {
        return false;
    }
    let [from, to] = [packet.from, packet.to].map(|pid| pid.bits());
    let (halves, len) = (u64::from(*hop) << 32 | u64::from(*moved), message.len() as u64);
    let [_, head @ .., _, _, _, _, _, _, _, _] = place;
    let words = [from as u64, (from >> 64) as u64, to as u64, (to >> 64) as u64];
    let words = words.into_iter().chain([*transaction, halves, kind | len]);
    head.iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
    for (place, bytes) in place[HEAD..].iter().zip(message.chunks(8)) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        place.store(u64::from_le_bytes(word), Ordering::Relaxed);
    }
    true
}

/// Reads what was written.
fn read(source: Place, target: Place, place: &[AtomicU64; WORDS]) -> Packet {
    let words: [u64; WORDS] = array::from_fn(|at| place[at].load(Ordering::Relaxed));
    let [_, from, from_high, to, to_high, transaction, halves, kind, message @ ..] = words;
    let pid = |low, high| Pid::from_bits(u128::from(high) << 64 | u128::from(low));
    let bytes = message.map(u64::to_le_bytes);
    let len = (kind as u32 as usize).min(MESSAGE_BYTES_MAX);
    let message = Bytes::from(&bytes.as_flattened()[..len]);
    let hop = (halves >> 32) as u32;
    let body = if kind & REPLY == 0 {
        Body::Send { transaction, hop, message }
    } else {
        Body::Reply { transaction, hop, answer: Answer::Replied(message) }
    };
    Packet {
        source,
        target: Some(target),
        from: pid(from, from_high),
        to: pid(to, to_high),
        moved: halves as u32,
        relays: 0,
        body,
        toll: Toll::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const HERE: Place = Place { node: 7, core: 0 };
    const THERE: Place = Place { node: 7, core: 1 };

    fn packet(number: u64) -> Packet {
        let message: Vec<u8> =
            (0..number % (MESSAGE_BYTES_MAX as u64 + 1)).map(|at| (at * number) as u8).collect();
        let (transaction, hop, message) =
            (number << 40, (number << 25) as u32, Bytes::from(message.as_slice()));
        let body = if number.is_multiple_of(3) {
            Body::Send { transaction, hop, message }
        } else {
            Body::Reply { transaction, hop, answer: Answer::Replied(message) }
        };
        Packet {
            source: HERE,
            target: Some(THERE),
            from: Pid::new(number, !number),
            to: Pid::new(number << 50, number << 60),
            moved: (number << 27) as u32,
            relays: 0,
            body,
            toll: Toll::default(),
        }
    }

    #[test]
    fn words_come_as_they_were_put_and_in_their_order() {
        let lane = Lane::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut way = Way::default();
                for number in 0..20_000 {
                    while !lane.put(&mut way, &packet(number), HERE, THERE) {
                        thread::yield_now();
                    }
                }
            });
            for number in 0..20_000 {
                let taken = loop {
                    match lane.take(HERE, THERE) {
                        Some(taken) => break taken,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(*taken, packet(number));
            }
        });
        assert!(lane.is_empty());
    }

    #[test]
    fn a_lane_takes_so_many() {
        let (lane, mut way) = (Lane::default(), Way::default());
        let put = (0..).take_while(|number| lane.put(&mut way, &packet(*number), HERE, THERE));
        assert_eq!(put.count(), PLACES);
        assert_eq!(lane.take(HERE, THERE), Some(Box::new(packet(0))));
        assert!(lane.put(&mut way, &packet(100), HERE, THERE));
        assert!(!lane.put(&mut way, &packet(101), HERE, THERE));
        let taken: Vec<_> = std::iter::from_fn(|| lane.take(HERE, THERE)).collect();
        assert_eq!((taken.len(), taken.last()), (PLACES, Some(&Box::new(packet(100)))));
    }

    #[test]
    fn what_does_not_fit_goes_another_way() {
        let (lane, mut way) = (Lane::default(), Way::default());
        let long = Bytes::from([0; MESSAGE_BYTES_MAX + 1].as_slice());
        let others = [
            Packet { target: None, ..packet(1) },
            Packet { target: Some(HERE), ..packet(1) },
            Packet { source: THERE, ..packet(1) },
            Packet { relays: 1, ..packet(1) },
            Packet { body: Body::Send { transaction: 1, hop: 0, message: long }, ..packet(1) },
            Packet { body: Body::Over { transaction: 1, hop: 0 }, ..packet(1) },
        ];
        for other in others {
            assert!(!lane.put(&mut way, &other, HERE, THERE), "{other:?}");
        }
        assert!(lane.is_empty() && way.put == 0);
    }
}
