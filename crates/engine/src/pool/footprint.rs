//! Which pages of their memory the processes of one program touch: what those before it have touched a new one is given at once.
//! **Contains `unsafe`.**
//!
//! A page that is read before it is written is mapped twice, first to the system's page of zeros; and the second time all other
//! CPUs that run threads of this OS process are interrupted, which takes 10 to 30 us in a virtual machine. A small handler
//! does that three times in its first call. (To record what one instance touches, and bring it in for the next one, is how
//! REAP has functions start: Ustiugov et al., ASPLOS 2021.)
//!
//! It is learnt from some of those that end, and from some that live: of a program whose processes all stay nobody ends.
#![allow(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::place::Place;
use crate::image::PAGE_BYTES;
use crate::pages;

/// Whoever touches more pages gets them as he does. Of one that is given out and not touched the memory is lost.
const PAGES_MAX: usize = 32;
/// So much of a memory, from its begin on, is looked at.
const LOOK_BYTES_MAX: usize = 4 << 20;

/// The first of those that show it while they live. One that spawns the others is none of them.
const SHOWS: u64 = 4;

/// Of the processes of one program. See the module.
#[derive(Debug, Default)]
pub(crate) struct Footprint(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Numbers of pages from the begin of the memory on, in their order.
    pages: Arc<[usize]>,
    births: u64,
    ends: u64,
    /// Of one that was born some time ago.
    sibling: Weak<Place>,
}

impl Footprint {
    /// A process's place has been found.
    pub(super) fn note_birth(&self, place: &Arc<Place>) {
        let mut known = self.lock();
        known.births += 1;
        if known.births >= SHOWS && known.births.is_power_of_two() {
            let sibling = std::mem::replace(&mut known.sibling, Arc::downgrade(place)).upgrade();
            if let Some((start, len)) = sibling.as_ref().and_then(|sibling| sibling.memory()) {
                known.learn(start, len);
            }
            // The last to have it cleans it.
            drop(known);
        }
    }

    /// A process has gone, whose memory is there and so large.
    pub(super) fn note_end(&self, start: usize, len: usize) {
        let mut known = self.lock();
        known.ends += 1;
        if known.ends.is_power_of_two() {
            known.learn(start, len);
        }
    }

    /// Gives a memory that nobody has touched the pages that it will need.
    ///
    /// # Safety
    /// So many bytes from there on are accessible, zero, and nobody else's; the begin is that of a page.
    pub(super) unsafe fn give_out(&self, start: usize, len: usize) {
        let pages = Arc::clone(&self.lock().pages);
        let starts = pages.iter().map(|page| page * PAGE_BYTES);
        for at in starts.take_while(|at| at + PAGE_BYTES <= len) {
            // SAFETY: it lies in what the caller vouches for, and is zero as before.
            unsafe { ((start + at) as *mut u8).write_volatile(0) };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing under the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn learn(&mut self, start: usize, len: usize) {
        let Some(runs) = pages::touched(start, len.min(LOOK_BYTES_MAX)) else { return };
        let count: u64 = runs.iter().map(|run| run.count).sum();
        if count <= PAGES_MAX as u64 {
            let pages = runs.iter().flat_map(|run| run.first..run.first + run.count);
            self.pages = pages.map(|page| page as usize).collect();
        }
    }
}
