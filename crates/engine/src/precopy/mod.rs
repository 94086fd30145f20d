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

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::mem;
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
const RUN_PAGES_MAX: usize = 62;
/// Pages of which the checksums stand together.
const SUMS: usize = 512;
/// Whoever sends hears after so many pages at the latest, if there is nothing to send: he may not be wanted any more, and the other
/// side is not to think that he is gone.
const LOOKS_MAX: usize = 4_096;
/// So many are a piece of their own: their receiver can have them where they belong.
const LONG_PAGES_MIN: usize = 16;

/// The memory of a process that runs, as it is copied. It belongs to one process, and to the place where that has it now.
pub struct PreCopy {
    // Dropped first: the place may become another process's then.
    tracker: Tracker,
    place: Arc<Place>,
    round: VecDeque<Run>,
    sums: Sums,
    piece: Vec<u8>,
    /// What was read last.
    pages: Vec<u8>,
    /// How many bytes of it are the next piece.
    waiting: usize,
}

impl PreCopy {
    /// The longest piece, bytes.
    pub const PIECE_BYTES_MAX: usize = 256 << 10;

    pub(crate) fn begin(place: Arc<Place>) -> Result<PreCopy, String> {
        memory_file().map_err(|error| format!("no /proc/self/mem: {error}"))?;
        let reach =
            place.memory_reach().ok_or("its memory is of 64 bits, or was empty at first")?;
        let tracker = Tracker::new(reach.start, reach.len())?;
        Ok(PreCopy {
            tracker,
            place,
            round: VecDeque::new(),
            sums: Sums::default(),
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
        let mut looked = 0;
        while let Some(run) = self.round.front_mut() {
            let (first, count) = (run.first, RUN_PAGES_MAX.min(run.count as usize));
            if self.piece.len() + count * (HEAD_BYTES + PAGE_BYTES) > PreCopy::PIECE_BYTES_MAX {
                break;
            }
            (run.first, run.count) = (first + count as u64, run.count - count as u64);
            if run.count == 0 {
                self.round.pop_front();
            }
            looked += count;
            if self.read(first, count)? || looked >= LOOKS_MAX {
                break;
            }
        }
        let over = self.piece.is_empty() && self.round.is_empty();
        Ok((!over).then_some(&mut self.piece))
    }

    /// Reads pages, and puts those into the piece whose receiver does not have them. `true`: their contents wait, to follow it.
    fn read(&mut self, first: u64, count: usize) -> io::Result<bool> {
        let bytes = &mut self.pages[..count * PAGE_BYTES];
        // The program writes meanwhile; only the kernel may read what another thread is writing.
        let at = self.tracker.start() as u64 + first * PAGE_BYTES as u64;
        memory_file()?.read_exact_at(bytes, at)?;
        let numbers = first..first + count as u64;
        let pages = bytes.as_chunks::<PAGE_BYTES>().0.iter().zip(numbers);
        let changed: Vec<bool> = pages.map(|(page, number)| self.sums.note(number, page)).collect();
        let mut at = 0;
        for part in changed.chunk_by(|one, other| one == other) {
            let (number, count) = (first + at as u64, part.len());
            let contents = at * PAGE_BYTES..(at + count) * PAGE_BYTES;
            at += count;
            if !part[0] {
                continue;
            }
            self.piece.extend(number.to_le_bytes());
            self.piece.extend((count as u32).to_le_bytes());
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

/// Checksums of the pages that have been copied, by runs of [`SUMS`] pages. None is 0.
#[derive(Debug, Default)]
struct Sums(BTreeMap<u64, Box<[u128; SUMS]>>);

impl Sums {
    fn of(page: &[u8]) -> u128 {
        XxHash3_128::oneshot(page) | 1
    }

    /// Notes what a page holds. `false`: it held that before, or is zero and was never copied.
    fn note(&mut self, number: u64, page: &[u8]) -> bool {
        let (run, at) = (number / SUMS as u64, number as usize % SUMS);
        let known = self.0.get(&run).map_or(0, |sums| sums[at]);
        if known == 0 && memory::is_zero(page) {
            return false;
        }
        let sum = Sums::of(page);
        self.set(number, sum);
        known != sum
    }

    /// The page is one that a memory can have.
    fn set(&mut self, number: u64, sum: u128) {
        let (run, at) = (number / SUMS as u64, number as usize % SUMS);
        self.0.entry(run).or_insert_with(|| Box::new([0; SUMS]))[at] = sum;
    }

    /// The pages that have one.
    fn all(&self) -> impl Iterator<Item = (u64, u128)> {
        self.0.iter().flat_map(|(run, sums)| {
            let all = (run * SUMS as u64..).zip(sums.iter().copied());
            all.filter(|(_, sum)| *sum != 0)
        })
    }

    fn digest(&self) -> [u8; 16] {
        let mut digest = XxHash3_128::default();
        for (page, sum) in self.all() {
            digest.write(&page.to_le_bytes());
            digest.write(&sum.to_le_bytes());
        }
        digest.finish_128().to_le_bytes()
    }

    fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        self.all().for_each(|(page, _)| crate::pages::push(&mut runs, page, 1));
        runs
    }
}
