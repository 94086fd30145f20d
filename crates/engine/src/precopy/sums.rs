//! Checksums of pages that have been copied: what has changed since, and what both ends agree on.

use std::collections::BTreeMap;

use twox_hash::XxHash3_128;

use crate::image::Run;
use crate::{memory, pages};

/// Pages of which the checksums stand together.
const SUMS: usize = 512;
/// Bits of a page's number within its memory: 2^48 bytes of it.
const NUMBER_BITS: u32 = 36;

/// A page of one of a program's memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PageId(u64);

impl PageId {
    /// So many pages a memory may have.
    pub(super) const NUMBERS: u64 = 1 << NUMBER_BITS;

    /// The number is less than [`PageId::NUMBERS`].
    pub(super) fn new(memory: u16, number: u64) -> PageId {
        assert!(number < PageId::NUMBERS, "no memory has so many pages");
        // As a digest has it: of the first memory only the number is there.
        PageId(u64::from(memory) << 48 | number)
    }

    fn place(self) -> (u64, usize) {
        (self.0 / SUMS as u64, self.0 as usize % SUMS)
    }
}

/// One checksum a page, by runs of [`SUMS`] pages. None is 0.
#[derive(Debug, Default)]
pub(super) struct Sums(BTreeMap<u64, Box<[u128; SUMS]>>);

impl Sums {
    pub(super) fn of(page: &[u8]) -> u128 {
        XxHash3_128::oneshot(page) | 1
    }

    /// Notes what a page holds. `false`: it held that before, or is zero and was never copied.
    pub(super) fn note(&mut self, id: PageId, page: &[u8]) -> bool {
        let (run, at) = id.place();
        let known = self.0.get(&run).map_or(0, |sums| sums[at]);
        if known == 0 && memory::is_zero(page) {
            return false;
        }
        let sum = Sums::of(page);
        self.set(id, sum);
        known != sum
    }

    pub(super) fn set(&mut self, id: PageId, sum: u128) {
        let (run, at) = id.place();
        self.0.entry(run).or_insert_with(|| Box::new([0; SUMS]))[at] = sum;
    }

    pub(super) fn digest(&self) -> [u8; 16] {
        let mut digest = XxHash3_128::default();
        for (run, sums) in &self.0 {
            let pages = (run * SUMS as u64..).zip(sums.iter());
            for (page, sum) in pages.filter(|(_, sum)| **sum != 0) {
                digest.write(&page.to_le_bytes());
                digest.write(&sum.to_le_bytes());
            }
        }
        digest.finish_128().to_le_bytes()
    }

    /// The pages of a memory that have one, ascending.
    pub(super) fn runs(&self, memory: u16) -> Vec<Run> {
        let first = PageId::new(memory, 0).0;
        let all =
            PageId::new(memory, 0).place().0..=PageId::new(memory, PageId::NUMBERS - 1).place().0;
        let mut runs = Vec::new();
        for (run, sums) in self.0.range(all) {
            let pages = (run * SUMS as u64 - first..).zip(sums.iter());
            let pages = pages.filter(|(_, sum)| **sum != 0);
            pages.for_each(|(page, _)| pages::push(&mut runs, page, 1));
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::PAGE_BYTES;

    #[test]
    fn pages_of_each_memory_are_told_apart() {
        let (mut one, mut two) = (Sums::default(), Sums::default());
        let last = PageId::NUMBERS - 1;
        let ids = [(0, 3), (0, last), (1, 0), (1, 1), (7, 3), (u16::MAX, last)];
        for (memory, number) in ids {
            let page = [(memory % 100) as u8 + 1; PAGE_BYTES];
            assert!(one.note(PageId::new(memory, number), &page));
            assert!(!one.note(PageId::new(memory, number), &page));
        }
        for (memory, number) in ids.into_iter().rev() {
            two.set(PageId::new(memory, number), Sums::of(&[(memory % 100) as u8 + 1; PAGE_BYTES]));
        }
        assert_eq!(one.digest(), two.digest());
        let run = |first, count| Run { first, count };
        assert_eq!(one.runs(0), [run(3, 1), run(last, 1)]);
        assert_eq!(one.runs(1), [run(0, 2)]);
        assert_eq!(one.runs(2), []);
        assert_eq!(one.runs(u16::MAX), [run(last, 1)]);
        // The same page of another memory.
        let (mut three, sum) = (Sums::default(), Sums::of(&[1; PAGE_BYTES]));
        three.set(PageId::new(1, 3), sum);
        let mut four = Sums::default();
        four.set(PageId::new(0, 3), sum);
        assert_ne!(three.digest(), four.digest());
    }
}
