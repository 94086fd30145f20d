//! Pages that were copied while their process ran, where they arrive.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};

use super::{HEAD_BYTES, PageId, RUN_PAGES_MAX, Sums};
use crate::ImageError;
use crate::image::{PAGE_BYTES, Run};

const DAMAGED: ImageError = ImageError::Damaged("copied pages");

/// Which pages have arrived.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    sums: Sums,
    /// How many pages memories were said to have, by memory.
    sizes: BTreeMap<u16, u64>,
}

/// Some neighbouring pages, and where they belong; or none, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    memory: u16,
    run: Run,
}

impl Arrival {
    /// Which of the program's memories they are of: it may not have so many.
    pub(crate) fn memory(self) -> usize {
        self.memory.into()
    }

    /// Whether it only says how long the memory is.
    pub(crate) fn is_size(self) -> bool {
        self.run.count == 0
    }

    /// How long the memory has to be, bytes.
    pub(crate) fn end(self) -> usize {
        self.run.bytes().end
    }
}

impl Arriving {
    /// What comes next. `None`: that was all, and it is whole.
    pub(crate) fn next(&mut self, from: &mut dyn Read) -> Result<Option<Arrival>, ImageError> {
        let mut head = [0; HEAD_BYTES];
        exact(from, &mut head)?;
        let [first @ .., a, b, c, d] = head;
        let (first, count) = (u64::from_le_bytes(first), u16::from_le_bytes([a, b]));
        let memory = u16::from_le_bytes([c, d]);
        if (first, count, memory) == (0, 0, 0) {
            let mut digest = [0; 16];
            exact(from, &mut digest)?;
            return if digest == self.sums.digest() { Ok(None) } else { Err(DAMAGED) };
        }
        let count = u64::from(count);
        if count > RUN_PAGES_MAX as u64 || first > PageId::NUMBERS - count {
            return Err(DAMAGED);
        }
        // A size is only told when there is a larger one.
        if count == 0 && self.sizes.insert(memory, first) >= Some(first) {
            return Err(DAMAGED);
        }
        Ok(Some(Arrival { memory, run: Run { first, count } }))
    }

    /// Reads it to where it belongs, in a memory that is long enough.
    pub(crate) fn take(
        &mut self,
        arrival: Arrival,
        data: &mut [u8],
        from: &mut dyn Read,
    ) -> Result<(), ImageError> {
        let Arrival { memory, run } = arrival;
        let pages = data.get_mut(run.bytes()).ok_or(DAMAGED)?;
        exact(from, pages)?;
        for (number, page) in (run.first..).zip(pages.as_chunks::<PAGE_BYTES>().0) {
            self.sums.set(PageId::new(memory, number), Sums::of(page));
        }
        Ok(())
    }

    /// The pages of a memory that have arrived, ascending.
    pub(crate) fn runs(&self, memory: u16) -> Vec<Run> {
        self.sums.runs(memory)
    }
}

fn exact(from: &mut dyn Read, to: &mut [u8]) -> Result<(), ImageError> {
    from.read_exact(to).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => ImageError::Truncated,
        _ => ImageError::Io(error),
    })
}
