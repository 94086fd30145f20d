//! Processes of a core that could run, but for the share of the CPU that their family may have ([`Share`]).
//!
//! They are not in the queue: nobody takes them over, and they want no core as far as others see it.

use super::SLICE;
use super::core::Core;
use super::tag::Wish;
use crate::talk::Share;

/// See the module.
#[derive(Default)]
pub(super) struct Held {
    /// Their seats, in the order in which they are to go on.
    seats: Vec<usize>,
    /// Until when, by the board's time: then all are asked again.
    until_ns: Option<u64>,
    /// The board shows when what runs has to give way.
    shown: bool,
}

impl Core {
    /// Until when all are held, if any is.
    pub(super) fn held_until_ns(&self) -> Option<u64> {
        self.held.until_ns
    }

    /// Those whose time has come are back in the queue; the next one whose family has used up its share is held.
    pub(super) fn keep_shares(&mut self, now_ns: u64) {
        let mut changed = false;
        if self.held.until_ns.is_some_and(|until_ns| until_ns <= now_ns) {
            self.held.until_ns = None;
            for seat in std::mem::take(&mut self.held.seats) {
                self.table.get(seat).tag.set_runnable(true);
                self.queue.push_back(seat);
            }
            changed = true;
        }
        while let Some(seat) = self.queue.front() {
            let tag = &self.table.get(seat).tag;
            // Who is to end or to be frozen does not need much.
            let share = tag.share().filter(|_| tag.wish() == Wish::None);
            let Some(until_ns) = share.and_then(|share| share.left(now_ns).err()) else { break };
            tag.set_runnable(false);
            self.queue.remove(seat);
            self.held.seats.push(seat);
            self.held.until_ns = Some(self.held.until_ns.unwrap_or(u64::MAX).min(until_ns));
            changed = true;
        }
        if changed {
            self.show_ready();
        }
    }

    /// Shows until when this one may run, for its share's sake, or that of those who are held.
    pub(super) fn show_share(&mut self, seat: usize, now_ns: u64) {
        let left =
            |share: &Share| share.left(now_ns).unwrap_or_default().min(SLICE.as_nanos() as u64);
        let own = self.table.get(seat).tag.share().map(|share| now_ns + left(share));
        let until_ns = own.into_iter().chain(self.held.until_ns).min();
        if until_ns.is_some() || self.held.shown {
            self.post().show_share(until_ns);
            self.held.shown = until_ns.is_some();
        }
        if let Some(until_ns) = until_ns {
            self.board.ticker.look_at(until_ns);
        }
    }

    /// One that is held is to run at once after all. `false`: it is not held.
    pub(super) fn release(&mut self, seat: usize) -> bool {
        let Some(at) = self.held.seats.iter().position(|held| *held == seat) else { return false };
        self.held.seats.remove(at);
        self.table.get(seat).tag.set_runnable(true);
        self.queue.push_first(seat);
        self.show_ready();
        true
    }
}
