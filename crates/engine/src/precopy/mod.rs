//! Pre-copy: most of a process's memory is copied while it runs, so that little is left to be carried while it stands still.
//!
//! After V, which had this first: Theimer, Lantz and Cheriton, "Preemptable remote execution facilities for the V-System"
//! (SOSP 1985). What is written while a round is under way the next one copies again. How many rounds are worth it is for
//! whoever copies to say.
//!
//! ```text
//! magic "peripag\n"
//! (first page u64 | count of pages u32 | contents)*
//! 0 u64 | 0 u32 | digest, 16 bytes
//! ```
//! All numbers are little-endian; pages are of 4 KiB. Behind it comes an image whose memory runs are what was written since.
//! The digest is XXH3 over the checksums of all pages, in their order, as they were sent last: the receiver keeps the same.
//!
//! Invariants:
//! * A page is read after it was taken as written: what is written to it later counts as written again.
//! * The memory that is read stays this process's as long as there is a [`PreCopy`], also when it has ended.
//! * What has been sent is not sent again unless it has changed.

mod arriving;
mod tracker;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, OnceLock};

use twox_hash::XxHash3_128;

use crate::image::{PAGE_BYTES, Run};
use crate::memory;
use crate::pool::Place;
pub(crate) use arriving::Arriving;
use tracker::Tracker;
pub use tracker::page_tracking;

/// What copied pages begin with.
pub(crate) const MAGIC: [u8; 8] = *b"peripag\n";
const HEAD_BYTES: usize = 12;
/// Pages that stand together in the stream.
const RUN_PAGES_MAX: usize = 63;

/// The memory of a process that runs, as it is copied. It belongs to one process, and to the place where that has it now.
pub struct PreCopy {
    // Dropped first: the place may become another process's then.
    tracker: Tracker,
    place: Arc<Place>,
    round: VecDeque<Run>,
    sums: Sums,
    /// What was read and not looked at yet.
    pages: Vec<u8>,
}

impl PreCopy {
    pub(crate) fn begin(place: Arc<Place>) -> Result<PreCopy, String> {
        memory_file().map_err(|error| format!("no /proc/self/mem: {error}"))?;
        let reach = place.memory_reach().ok_or("its memory is of 64 bits")?;
        let tracker = Tracker::new(reach.start, reach.len())?;
        let (round, sums, pages) = (VecDeque::new(), Sums::default(), Vec::new());
        Ok(PreCopy { tracker, place, round, sums, pages })
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
        Ok(bytes(&self.tracker.written()?))
    }

    /// Begins the next round: it copies what was written since the last one began. How many bytes.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn begin_round(&mut self) -> io::Result<u64> {
        let written = self.tracker.take_written()?;
        self.round.extend(&written);
        Ok(bytes(&written))
    }

    /// Adds the round's next pages to `piece`, which may have so many bytes then. `false`: the round is over.
    ///
    /// # Errors
    /// The memory cannot be read.
    pub fn fill(&mut self, piece: &mut Vec<u8>, bytes_max: usize) -> io::Result<bool> {
        while let Some(run) = self.round.front_mut() {
            let room = bytes_max.saturating_sub(piece.len() + HEAD_BYTES) / PAGE_BYTES;
            let count = room.min(RUN_PAGES_MAX).min(run.count as usize);
            if count == 0 {
                break;
            }
            let first = run.first;
            (run.first, run.count) = (first + count as u64, run.count - count as u64);
            if run.count == 0 {
                self.round.pop_front();
            }
            self.read(first, count)?;
            self.put_changed(first, count, piece);
        }
        Ok(!self.round.is_empty())
    }

    fn read(&mut self, first: u64, count: usize) -> io::Result<()> {
        self.pages.resize(RUN_PAGES_MAX * PAGE_BYTES, 0);
        let bytes = &mut self.pages[..count * PAGE_BYTES];
        // The program writes meanwhile; only the kernel may read what another thread is writing.
        memory_file()?.read_exact_at(bytes, self.tracker.start() as u64 + first * PAGE_BYTES as u64)
    }

    /// Adds those of the pages that were read whose receiver does not have them.
    fn put_changed(&mut self, first: u64, count: usize, piece: &mut Vec<u8>) {
        let mut head: Option<(usize, u32)> = None;
        let pages = self.pages[..count * PAGE_BYTES].as_chunks::<PAGE_BYTES>().0;
        for (number, page) in (first..).zip(pages) {
            let known = self.sums.get(number);
            let sum = Sums::of(page);
            if known == Some(sum) || known.is_none() && memory::is_zero(page) {
                head = None;
                continue;
            }
            self.sums.set(number, sum);
            let (at, count) = head.map_or((piece.len(), 1), |(at, count)| (at, count + 1));
            if count == 1 {
                piece.extend(number.to_le_bytes());
                piece.extend(count.to_le_bytes());
            }
            piece[at + 8..at + HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
            piece.extend(page);
            head = Some((at, count));
        }
    }

    /// What stands behind all rounds.
    #[must_use]
    pub fn end(&self) -> Vec<u8> {
        [&[0; HEAD_BYTES][..], &self.sums.digest()].concat()
    }

    /// What was written since the last round began, of a memory that lies there and has so many bytes.
    pub(crate) fn rest(&self, address: usize, len: usize) -> io::Result<Option<Vec<Run>>> {
        if address != self.tracker.start() {
            return Ok(None);
        }
        let end = (len / PAGE_BYTES) as u64;
        let within = |run: &Run| Run { first: run.first, count: run.count.min(end - run.first) };
        let written = self.tracker.written()?;
        Ok(Some(written.iter().filter(|run| run.first < end).map(within).collect()))
    }
}

impl std::fmt::Debug for PreCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let PreCopy { tracker, place, .. } = self;
        f.debug_struct("PreCopy")
            .field("tracker", tracker)
            .field("place", place)
            .finish_non_exhaustive()
    }
}

/// This OS process's memory, as the kernel reads it: what is not mapped any more is an error.
fn memory_file() -> io::Result<&'static File> {
    static FILE: OnceLock<Result<File, io::ErrorKind>> = OnceLock::new();
    let open = || File::open("/proc/self/mem").map_err(|error| error.kind());
    FILE.get_or_init(open).as_ref().map_err(|kind| (*kind).into())
}

fn bytes(runs: &[Run]) -> u64 {
    runs.iter().map(|run| run.bytes().len() as u64).sum()
}

/// Checksums of the pages that have been copied.
#[derive(Debug, Default)]
struct Sums(Vec<Option<u128>>);

impl Sums {
    fn of(page: &[u8]) -> u128 {
        XxHash3_128::oneshot(page)
    }

    fn get(&self, page: u64) -> Option<u128> {
        self.0.get(page as usize).copied().flatten()
    }

    /// The page is one that a memory can have.
    fn set(&mut self, page: u64, sum: u128) {
        let page = page as usize;
        if page >= self.0.len() {
            self.0.resize(page + 1, None);
        }
        self.0[page] = Some(sum);
    }

    fn digest(&self) -> [u8; 16] {
        let mut digest = XxHash3_128::default();
        for (page, sum) in (0_u64..).zip(&self.0) {
            if let Some(sum) = sum {
                digest.write(&page.to_le_bytes());
                digest.write(&sum.to_le_bytes());
            }
        }
        digest.finish_128().to_le_bytes()
    }

    /// The pages that have one.
    fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        for (page, _) in (0_u64..).zip(&self.0).filter(|(_, sum)| sum.is_some()) {
            crate::pages::push(&mut runs, page, 1);
        }
        runs
    }
}
