//! Address space, and what is done to it. **Contains `unsafe`.**
//!
//! Invariants:
//! * A span is inside a mapping that was made here, and has one owner. What is outside of its accessible parts cannot be
//!   reached.
//! * What is cleaned is zero. What the operating system would have to be asked about is looked at instead: pages that are
//!   zero stay as they are.
#![allow(unsafe_code)]

use std::ops::Range;
use std::ptr::null_mut;

#[cfg(target_os = "linux")]
use rustix::mm::{Advice, madvise};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use crate::image::PAGE_BYTES;
use crate::pages;

/// A memory of this size or less is looked through when it is given back; of a larger one the operating system is asked
/// which pages were touched.
pub(super) const LOOK_BYTES_MAX: usize = 128 << 10;
/// Pages that may stay when it is cleaned. If it has more, all go back to the system.
const KEPT_PAGES_MAX: usize = 32;
/// Stacks and the pass's memories are filled from one end. Behind so many pages that are zero nobody has been; and if
/// somebody has, no program can read what he left there: of a stack and of those memories it reads what it has written.
const UNTOUCHED_PAGES: usize = 2;

/// How a span was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// A program's memory: anywhere.
    Anywhere,
    /// From its begin on.
    Upwards,
    /// A stack: from its end on.
    Downwards,
}

/// Some address space.
#[derive(Debug)]
pub(super) struct Span {
    start: usize,
    len: usize,
}

fn map_flags() -> MapFlags {
    MapFlags::PRIVATE | MapFlags::NORESERVE
}

impl Span {
    /// New, and inaccessible.
    pub(super) fn reserve(len: usize) -> rustix::io::Result<Span> {
        // SAFETY: a new mapping, wherever the system has room, touches nothing that is there.
        let start = unsafe { mmap_anonymous(null_mut(), len, ProtFlags::empty(), map_flags()) }?;
        Ok(Span { start: start as usize, len })
    }

    /// A part of a mapping that is never unmapped. Whoever calls this is the part's only owner.
    pub(super) fn part_of_arena(start: usize, len: usize) -> Span {
        Span { start, len }
    }

    pub(super) fn start(&self) -> usize {
        self.start
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Gives back what was [reserved](Span::reserve).
    pub(super) fn unmap(self) {
        // SAFETY: the mapping is this span's, and nobody refers to it any more.
        let unmapped = unsafe { munmap(self.start as *mut _, self.len) };
        // What cannot be unmapped only stays.
        let _ = unmapped;
    }

    /// Makes a part accessible.
    pub(super) fn open(&self, part: Range<usize>) -> rustix::io::Result<()> {
        assert!(part.end <= self.len);
        if part.is_empty() {
            return Ok(());
        }
        // SAFETY: the part lies in this span, and no less is allowed than before.
        unsafe {
            let start = (self.start + part.start) as *mut _;
            mprotect(start, part.len(), MprotectFlags::READ | MprotectFlags::WRITE)
        }
    }

    /// Has a part's pages given out one by one. In a mapping of a gigabyte the first byte that is written would else bring a
    /// huge page.
    pub(super) fn keep_small(&self, part: Range<usize>) {
        assert!(part.end <= self.len);
        #[cfg(target_os = "linux")]
        if !part.is_empty() {
            // SAFETY: this advice changes neither contents nor protection of any page of the part, which lies in this span.
            let advised = unsafe {
                let start = (self.start + part.start) as *mut _;
                madvise(start, part.len(), Advice::LinuxNoHugepage)
            };
            // A kernel without huge pages says so here.
            let _ = advised;
        }
    }

    /// Makes a part inaccessible, and gives its pages back to the system. `false`: it could not.
    pub(super) fn close(&mut self, part: Range<usize>) -> bool {
        self.map_again(part, ProtFlags::empty())
    }

    /// Gives the pages of a part back to the system that is accessible: it is zero then. `false`: it could not.
    pub(super) fn discard(&mut self, part: Range<usize>) -> bool {
        assert!(part.end <= self.len);
        #[cfg(target_os = "linux")]
        {
            let start = (self.start + part.start) as *mut _;
            // SAFETY: the part lies in this span, whose only user is its owner, who gives it back. Of anonymous memory the
            // next access reads zeros.
            part.is_empty() || unsafe { madvise(start, part.len(), Advice::LinuxDontNeed) }.is_ok()
        }
        #[cfg(not(target_os = "linux"))]
        self.map_again(part, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// A new mapping in place of a part. `false`: it could not be.
    fn map_again(&mut self, part: Range<usize>, protection: ProtFlags) -> bool {
        assert!(part.end <= self.len);
        let (start, len) = (self.start + part.start, part.len());
        // SAFETY: the part lies in this span, whose only user is its owner, who gives it back.
        len == 0
            || unsafe {
                mmap_anonymous(start as *mut _, len, protection, map_flags() | MapFlags::FIXED)
            }
            .is_ok()
    }

    /// Cleans a part that is accessible, and was filled like this. `false`: it could not, and nobody may have it.
    pub(super) fn clean(&mut self, part: Range<usize>, filled: Filled) -> bool {
        assert!(part.end <= self.len);
        let pages = part.clone().step_by(PAGE_BYTES);
        let few = match filled {
            Filled::Upwards => self.clean_pages(pages, true),
            Filled::Downwards => self.clean_pages(pages.rev(), true),
            Filled::Anywhere if part.len() <= LOOK_BYTES_MAX => self.clean_pages(pages, false),
            Filled::Anywhere => {
                let touched = pages::touched(self.start + part.start, part.len());
                touched.is_some_and(|runs| {
                    let starts = runs.iter().flat_map(|run| run.bytes().step_by(PAGE_BYTES));
                    self.clean_pages(starts.map(|at| part.start + at), false)
                })
            }
        };
        few || self.discard(part)
    }

    /// Cleans these pages, the most used first. `bounded`: behind some that are zero nobody has been. `false`: they are
    /// too many to be kept.
    fn clean_pages(&mut self, pages: impl Iterator<Item = usize>, bounded: bool) -> bool {
        let (mut dirty, mut untouched) = (0, 0);
        for at in pages {
            if self.clean_page(at) {
                (dirty, untouched) = (dirty + 1, 0);
            } else {
                untouched += 1;
            }
            if dirty > KEPT_PAGES_MAX {
                return false;
            }
            if bounded && untouched >= UNTOUCHED_PAGES {
                break;
            }
        }
        true
    }

    /// Cleans a page, if it has to be. Whether it had.
    fn clean_page(&mut self, at: usize) -> bool {
        assert!(at.is_multiple_of(PAGE_BYTES) && at + PAGE_BYTES <= self.len);
        // SAFETY: the page lies in a part that is accessible, which callers vouch for, and `self` is its only owner.
        let page =
            unsafe { std::slice::from_raw_parts_mut((self.start + at) as *mut u8, PAGE_BYTES) };
        let dirty = !crate::memory::is_zero(page);
        if dirty {
            page.fill(0);
        }
        dirty
    }
}
