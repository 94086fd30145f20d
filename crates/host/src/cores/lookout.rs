//! How a core looks out for packets before it sleeps, and how a process does so that waits.
//!
//! To be put to sleep and roused takes some 36 us. If the other side takes as long to answer as it takes to be roused, both
//! sleep for ever if neither looks out for longer than that: so who has waited for little looks out for longer.
//!
//! A process of which words of other cores come while its core looks out for them does not even leave its stack: it hears them
//! in its place ([`Core::look_out`]), within its slice, as long as nobody else of its core could run. Of a call between two cores the change
//! of stacks and the turn of the loop on each side were nearly half.

use std::mem;
use std::time::{Duration, Instant};

use super::SLICE;
use super::core::Core;
use super::wires::GATHER_MAX;

/// How long a core looks for a packet before it sleeps: little where others want the CPU.
pub(super) const SPIN: Duration = Duration::from_micros(5);
/// The same, if it has paid lately.
pub(super) const SPIN_MAX: Duration = Duration::from_micros(50);
/// A wait that is shorter would have been worth looking.
const SHORT: Duration = Duration::from_micros(100);
/// A wait that seems to be longer than this is one in which the CPU was somebody else's.
const WAIT_MAX: Duration = Duration::from_micros(10);

/// How long it pays to look before one sleeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(Duration);

impl Default for Span {
    fn default() -> Span {
        Span(SPIN)
    }
}

impl Span {
    pub(super) fn get(self) -> Duration {
        self.0
    }

    /// There was something after so long.
    pub(super) fn note(&mut self, waited: Duration) {
        self.0 = if waited <= SHORT { SPIN_MAX } else { (self.0 / 2).max(SPIN) };
    }
}

impl Core {
    /// For what runs, and waits: a word of another core to this one's kernel, if it comes soon. `None`: it does not, or there is
    /// something else to do.
    pub(super) fn look_out(&mut self) -> Option<Box<peripatos_kernel::Packet>> {
        let alone = self.running.is_some() && self.queue.is_empty() && self.nested.is_empty();
        if !alone || self.closing {
            return None;
        }
        let post = self.board.post(self.number);
        let since =
            |at| self.board.time_ns(at).saturating_sub(post.slice_began_ns().unwrap_or_default());
        // What is to leave by wires, and what has come, is the loop's.
        if post.is_wired() && since(Instant::now()) >= GATHER_MAX.as_nanos() as u64 {
            return None;
        }
        let began = self.waits.begin();
        // From time to time the loop looks after all else.
        if let Some(began) = began
            && since(began) >= SLICE.as_nanos() as u64
        {
            return None;
        }
        post.inbox.look_for(SPIN);
        self.waits.end(began);
        let word = post.inbox.take_word()?;
        if let Some(core) = self.board.core_of(word.source) {
            self.crossing.note_packet(core);
        }
        Some(word)
    }

    /// How long what has just run has waited for words: it has used nothing meanwhile.
    pub(super) fn take_waited(&mut self) -> Duration {
        mem::take(&mut self.waits).waited
    }
}

/// How long a process has waited in its slice, about: the first waits are timed, and then one in so many. To read the clock takes as
/// long as some of them.
#[derive(Debug, Default)]
pub(super) struct Waits {
    count: u32,
    waited: Duration,
}

const TIMED: u32 = 16;

impl Waits {
    /// One begins: when, if it is timed.
    fn begin(&mut self) -> Option<Instant> {
        self.count += 1;
        let timed = self.count <= TIMED || self.count.is_multiple_of(TIMED);
        timed.then(Instant::now)
    }

    fn end(&mut self, began: Option<Instant>) {
        if let Some(began) = began {
            let weight = if self.count <= TIMED { 1 } else { TIMED };
            self.waited += began.elapsed().min(WAIT_MAX) * weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_waits_are_timed_each_and_many_now_and_then() {
        let mut waits = Waits::default();
        let long_ago = Instant::now() - Duration::from_secs(1);
        for count in 1..=3 * TIMED {
            let timed = waits.begin().is_some();
            assert_eq!(timed, count <= TIMED || count.is_multiple_of(TIMED));
            waits.end(timed.then_some(long_ago));
        }
        // Of the first sixteen each; from then on of two.
        assert_eq!(waits.waited, 48 * WAIT_MAX);
    }

    #[test]
    fn who_has_waited_for_little_looks_out_for_long() {
        let mut span = Span::default();
        assert_eq!(span.get(), SPIN);
        // Roused, by somebody who was roused.
        span.note(Duration::from_micros(80));
        assert_eq!(span.get(), SPIN_MAX);
        let spans = [1, 1, 1, 1, 1].map(|seconds| {
            span.note(Duration::from_secs(seconds));
            span.get()
        });
        assert_eq!(spans[..2], [SPIN_MAX / 2, SPIN_MAX / 4]);
        assert_eq!(spans[4], SPIN);
    }
}
