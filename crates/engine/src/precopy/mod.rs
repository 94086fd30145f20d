//! Pre-copy: most of a process's memory is copied while it runs, so that little is left to be carried while it stands still.
//!
//! After V, which had this first: Theimer, Lantz and Cheriton, "Preemptable remote execution facilities for the V-System"
//! (SOSP 1985). What is written while a round is under way the next one copies again. How many rounds are worth it is for
//! whoever copies to say.
//!
//! ```text
//! magic "peripag\n"
//! ( first page u64 | count of pages u16 | index of the memory u16 | contents
//! | pages that the memory has u64 | 0 u16 | index of the memory u16 )*
//! 0 u64 | 0 u16 | 0 u16 | digest, 16 bytes
//! ```
//! All numbers are little-endian; pages are of 4 KiB. Behind it comes an image whose memory runs are what was written since.
//! The digest is XXH3 over the checksums of all pages, in their order, as they were sent last: the receiver keeps the same.
//!
//! Invariants:
//! * A page is read after it was taken as written: what is written to it later counts as written again.
//! * The memories that are read stay this process's as long as there is a [`PreCopy`], also when it has ended.
//! * What has been sent is not sent again unless it has changed.

mod arriving;
mod sums;
mod tracker;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::control::Shared;
use crate::image::{PAGE_BYTES, Run};
use crate::memory::joined;
use crate::pages;
use crate::pool::Ground;
pub(crate) use arriving::Arriving;
use sums::{PageId, Sums};
use tracker::Tracker;
pub use tracker::page_tracking;

/// What copied pages begin with.
pub(crate) const MAGIC: [u8; 8] = *b"peripag\n";
const HEAD_BYTES: usize = 12;
/// Pages that stand together in the stream.
const RUN_PAGES_MAX: usize = 62;
/// Whoever sends hears after so many pages at the latest, if there is nothing to send: he may not be wanted any more, and the other
/// side is not to think that he is gone.
const LOOKS_MAX: usize = 4_096;
/// So many are a piece of their own: their receiver can have them where they belong.
const LONG_PAGES_MIN: usize = 16;

/// The memories of a process that runs, as they are copied. They belong to one process, wherever that has them.
pub struct PreCopy {
    // Dropped first: the places may become another process's then.
    tracker: Tracker,
    memories: Vec<Followed>,
    shared: Arc<Shared>,
    /// What is left of the round: by memory.
    round: VecDeque<(u16, Run)>,
    sums: Sums,
    /// What the receiver has not heard of the memories' sizes.
    sizes: Vec<u8>,
    piece: Vec<u8>,
    /// What was read last.
    pages: Vec<u8>,
    /// How many bytes of it are the next piece.
    waiting: usize,
}

/// A memory that is followed.
#[derive(Debug)]
struct Followed {
    ground: Ground,
    reach: Range<usize>,
    /// How many pages it has, as was said last.
    said: u64,
    /// It was elsewhere in the last round.
    moved: bool,
}

impl PreCopy {
    /// The longest piece, bytes.
    pub const PIECE_BYTES_MAX: usize = 256 << 10;

    pub(crate) fn begin(shared: Arc<Shared>) -> Result<PreCopy, String> {
        let grounds = shared.grounds().filter(|grounds| !grounds.is_empty());
        let grounds = grounds.ok_or("it is not awake, or has no memory")?;
        let tracker = Tracker::new()?;
        let follow = |ground| follow(&tracker, ground);
        let memories = grounds.into_iter().map(follow).collect::<Result<_, String>>()?;
        Ok(PreCopy {
            tracker,
            memories,
            shared,
            round: VecDeque::new(),
            sums: Sums::default(),
            sizes: Vec::new(),
            piece: Vec::with_capacity(PreCopy::PIECE_BYTES_MAX),
            pages: vec![0; RUN_PAGES_MAX * PAGE_BYTES],
            waiting: 0,
        })
    }

    /// What stands before all rounds.
    #[must_use]
    pub fn head() -> [u8; 8] {
        MAGIC
    }

    /// Bytes of pages that were written since they were taken for a round.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn written_bytes(&self) -> io::Result<u64> {
        let written = self.memories.iter().map(|memory| self.tracker.written(&memory.reach));
        written.map(|runs| runs.map(|runs| bytes(&runs))).sum()
    }

    /// Begins the next round: it copies what was written since the last one began. How many bytes.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn begin_round(&mut self) -> io::Result<u64> {
        self.find_again()?;
        let mut all = 0;
        for (index, memory) in (0..).zip(&mut self.memories) {
            let mut written = self.tracker.take_written(&memory.reach)?;
            if mem::take(&mut memory.moved) {
                // What was copied may be zero now, and was not even touched where it is.
                written = joined([written, self.sums.runs(index)].concat());
            }
            all += bytes(&written);
            // Whoever receives can make room for all of it at once, in huge pages: not if most of it is empty.
            let pages = (memory.ground.used() / PAGE_BYTES) as u64;
            let new = written
                .iter()
                .map(|run| (run.first + run.count).saturating_sub(run.first.max(memory.said)));
            if pages > memory.said && new.sum::<u64>() >= (pages - memory.said) / 2 {
                memory.said = pages;
                self.sizes.extend(head(pages, 0, index));
            }
            self.round.extend(written.into_iter().map(|run| (index, run)));
        }
        Ok(all)
    }

    /// Follows memories that are elsewhere now: a large one of 64 bits has grown, or the process has slept and woken.
    fn find_again(&mut self) -> io::Result<()> {
        // Who sleeps has left what it had here.
        let Some(grounds) = self.shared.grounds() else { return Ok(()) };
        for (memory, ground) in self.memories.iter_mut().zip(grounds) {
            if ground.reach() != memory.reach {
                let found = follow(&self.tracker, ground).map_err(io::Error::other)?;
                self.tracker.leave(&memory.reach);
                *memory = Followed { moved: true, said: memory.said, ..found };
            }
        }
        Ok(())
    }

    /// The round's next bytes, [`PreCopy::PIECE_BYTES_MAX`] at most; none, if many pages have not changed. Whoever sends them may
    /// change them on the way. `None`: the round is over.
    ///
    /// # Errors
    /// The memory cannot be read.
    pub fn next_piece(&mut self) -> io::Result<Option<&mut [u8]>> {
        let waiting = mem::take(&mut self.waiting);
        if waiting > 0 {
            return Ok(Some(&mut self.pages[..waiting]));
        }
        self.piece.clear();
        self.piece.append(&mut self.sizes);
        let mut looked = 0;
        while let Some((memory, run)) = self.round.front_mut() {
            let memory = *memory;
            let (first, count) = (run.first, RUN_PAGES_MAX.min(run.count as usize));
            if self.piece.len() + count * (HEAD_BYTES + PAGE_BYTES) > PreCopy::PIECE_BYTES_MAX {
                break;
            }
            (run.first, run.count) = (first + count as u64, run.count - count as u64);
            if run.count == 0 {
                self.round.pop_front();
            }
            looked += count;
            if self.read(memory, first, count)? || looked >= LOOKS_MAX {
                break;
            }
        }
        let over = self.piece.is_empty() && self.round.is_empty();
        Ok((!over).then_some(&mut self.piece))
    }

    /// Reads pages, and puts those into the piece whose receiver does not have them. `true`: their contents wait, to follow it.
    fn read(&mut self, memory: u16, first: u64, count: usize) -> io::Result<bool> {
        let bytes = &mut self.pages[..count * PAGE_BYTES];
        // The program writes meanwhile; only the kernel may read what another thread is writing.
        let start = self.memories[usize::from(memory)].reach.start as u64;
        pages::read_exact_at(bytes, start + first * PAGE_BYTES as u64)?;
        let ids = (first..).map(|number| PageId::new(memory, number));
        let pages = bytes.as_chunks::<PAGE_BYTES>().0.iter().zip(ids);
        let changed: Vec<bool> = pages.map(|(page, id)| self.sums.note(id, page)).collect();
        let mut at = 0;
        for part in changed.chunk_by(|one, other| one == other) {
            let (number, count) = (first + at as u64, part.len());
            let contents = at * PAGE_BYTES..(at + count) * PAGE_BYTES;
            at += count;
            if !part[0] {
                continue;
            }
            self.piece.extend(head(number, count as u16, memory));
            if count == changed.len() && count >= LONG_PAGES_MIN {
                self.waiting = contents.len();
                return Ok(true);
            }
            self.piece.extend(&self.pages[contents]);
        }
        Ok(false)
    }

    /// What stands behind all rounds.
    #[must_use]
    pub fn end(&self) -> Vec<u8> {
        [&[0; HEAD_BYTES][..], &self.sums.digest()].concat()
    }

    /// What was written since the last round began, of the memory of this index, which lies there and has so many bytes. `None`:
    /// it has moved.
    pub(crate) fn rest(
        &self,
        index: usize,
        address: usize,
        len: usize,
    ) -> io::Result<Option<Vec<Run>>> {
        let memory = self.memories.get(index).filter(|memory| memory.reach.start == address);
        let Some(Followed { reach, .. }) = memory else { return Ok(None) };
        let end = (len / PAGE_BYTES) as u64;
        let within = |run: &Run| Run { first: run.first, count: run.count.min(end - run.first) };
        let written = self.tracker.written(reach)?;
        Ok(Some(written.iter().filter(|run| run.first < end).map(within).collect()))
    }
}

/// Whether pages can be tracked here, which does not change.
pub(crate) fn tracks() -> bool {
    static TRACKS: OnceLock<bool> = OnceLock::new();
    *TRACKS.get_or_init(|| page_tracking().is_ok())
}

fn follow(tracker: &Tracker, ground: Ground) -> Result<Followed, String> {
    let reach = ground.reach();
    tracker.follow(&reach)?;
    Ok(Followed { ground, reach, said: 0, moved: false })
}

impl std::fmt::Debug for PreCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let PreCopy { tracker, memories, .. } = self;
        f.debug_struct("PreCopy")
            .field("tracker", tracker)
            .field("memories", memories)
            .finish_non_exhaustive()
    }
}

/// What stands before pages, and says how many there are if there are none.
fn head(page: u64, count: u16, memory: u16) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&page.to_le_bytes());
    head[8..10].copy_from_slice(&count.to_le_bytes());
    head[10..].copy_from_slice(&memory.to_le_bytes());
    head
}

fn bytes(runs: &[Run]) -> u64 {
    runs.iter().map(|run| run.bytes().len() as u64).sum()
}
