//! How a core looks out for packets before it sleeps, and how a process does so that waits.
//!
//! To be put to sleep and roused takes some 36 us. If the other side takes as long to answer as it takes to be roused, both
//! sleep for ever if neither looks out for longer than that: so who has waited for little looks out for longer.
//!
//! A process of which words of other cores come while its core looks out for them does not even leave its stack: it hears them
//! in its place ([`Core::look_out`]), within its slice, as long as nobody else of its core could run. Of a call between two cores the change
//! of stacks and the turn of the loop on each side were nearly half.
//!
//! Where a core is idle, who is sent something gives way for it, so that the idle core may take it over ([`super::board`]). Who looks
//! out need not, and says so before it sends what is answered ([`Core::begin_looking`]): with a third core idle a call between two
//! took nearly three times as long.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SLICE;
use super::board::Board;
use super::core::Core;
use super::wires::GATHER_MAX;
use crate::talk::Looked;

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
    /// For what runs, and waits: a word of another core to this one's kernel, if it comes soon. Also where what runs is to give
    /// way, for more has come that an idle core could do.
    pub(super) fn look_out(&mut self) -> (Looked, Option<(Arc<Board>, usize)>) {
        let not_now = (Looked::NotNow, None);
        if !self.is_alone() || self.closing {
            // Others want the core, and may do so for long.
            return (Looked::Nothing, None);
        }
        let post = self.board.post(self.number);
        let since =
            |at| self.board.time_ns(at).saturating_sub(post.slice_began_ns().unwrap_or_default());
        // What is to leave by wires, and what has come, is the loop's.
        if post.is_wired() && since(Instant::now()) >= GATHER_MAX.as_nanos() as u64 {
            return not_now;
        }
        let began = self.waits.begin();
        // From time to time the loop looks after all else.
        if let Some(began) = began
            && since(began) >= SLICE.as_nanos() as u64
        {
            return not_now;
        }
        // The word before may have been another's.
        self.begin_looking();
        let found = post.inbox.look_for(SPIN);
        // In this order: see `Inbox::is_seen`.
        let word = post.inbox.take_word();
        let shown = post.inbox.end_looking();
        self.waits.end(began);
        let Some(word) = word else {
            return if found { not_now } else { (Looked::Nothing, None) };
        };
        if let Some(core) = self.board.core_of(word.source) {
            self.crossing.note_packet(core);
        }
        let presses = shown && !post.inbox.is_empty();
        (Looked::Word(word), presses.then(|| (Arc::clone(&self.board), self.number)))
    }

    /// What runs is about to look out: it need not give way for what comes meanwhile. Until it has, or its slice is over.
    pub(super) fn begin_looking(&self) {
        // Else nobody would have it give way.
        if self.is_alone() && self.board.idle.any() {
            self.post().inbox.begin_looking();
        }
    }

    /// Nobody else could run in its place.
    fn is_alone(&self) -> bool {
        self.running.is_some() && self.queue.is_empty() && self.nested.is_empty()
    }

    /// How long what has just run has waited for words: it has used nothing meanwhile.
    pub(super) fn take_waited(&mut self) -> Duration {
        mem::take(&mut self.waits).waited
    }
}

/// How long a process has waited in its slice, about: the first waits are timed, and then one in so many, on average. To read the
/// clock takes as long as some of them. Which one is not to be foretold: it would be the one that lasts.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// So many more are not timed.
    skip: u32,
    timed: u32,
    waited: Duration,
}

const TIMED: u32 = 16;

impl Waits {
    /// One begins: when, if it is timed.
    fn begin(&mut self) -> Option<Instant> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        Some(Instant::now())
    }

    fn end(&mut self, began: Option<Instant>) {
        let Some(took) = began.map(|began| began.elapsed()) else { return };
        self.timed += 1;
        let weight = if self.timed <= TIMED { 1 } else { TIMED };
        self.waited += took.min(WAIT_MAX) * weight;
        if self.timed >= TIMED {
            // The last digits of a clock are as good as drawn: 0 to 30, as often each as one needs them.
            self.skip = took.subsec_nanos() % (2 * TIMED - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_waits_are_timed_each_and_many_now_and_then() {
        let mut waits = Waits::default();
        let mut timed = Vec::new();
        for count in 0..10_000 {
            let began = waits.begin();
            timed.extend(began.map(|_| count));
            // As if it took a second, and some.
            waits.end(began.map(|began| began - Duration::from_secs(1)));
        }
        assert_eq!(timed[..16], (0..16).collect::<Vec<u32>>());
        let gaps: Vec<u32> = timed[15..].windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (1..=31).contains(gap)));
        assert!(gaps.iter().any(|gap| *gap != gaps[0]), "it can be foretold");
        let expected = WAIT_MAX * (16 + 16 * gaps.len() as u32);
        assert_eq!(waits.waited, expected);
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
