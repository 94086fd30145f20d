//! Pages that were copied while their process ran, where they arrive.

use std::io::{ErrorKind, Read};

use super::{HEAD_BYTES, RUN_PAGES_MAX, Sums};
use crate::ImageError;
use crate::image::{PAGE_BYTES, Run};

const DAMAGED: ImageError = ImageError::Damaged("copied pages");

/// Which pages have arrived.
#[derive(Debug, Default)]
pub(crate) struct Arriving(Sums);

/// Some neighbouring pages, and where they belong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival(Run);

impl Arrival {
    /// How long the memory has to be, bytes.
    pub(crate) fn end(self) -> usize {
        self.0.bytes().end
    }
}

impl Arriving {
    /// What comes next. `None`: that was all, and it is whole.
    pub(crate) fn next(&self, from: &mut dyn Read) -> Result<Option<Arrival>, ImageError> {
        let mut head = [0; HEAD_BYTES];
        exact(from, &mut head)?;
        let (first, count) = head.split_at(8);
        let first = first.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let count = count.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        if (first, count) == (0, 0) {
            let mut digest = [0; 16];
            exact(from, &mut digest)?;
            return if digest == self.0.digest() { Ok(None) } else { Err(DAMAGED) };
        }
        // More than 4 GiB no memory has that is copied so.
        let pages = (1_u64 << 32) / PAGE_BYTES as u64;
        if !(1..=RUN_PAGES_MAX as u64).contains(&count) || first > pages - count {
            return Err(DAMAGED);
        }
        Ok(Some(Arrival(Run { first, count })))
    }

    /// Reads it to where it belongs, in a memory that is long enough.
    pub(crate) fn take(
        &mut self,
        arrival: Arrival,
        data: &mut [u8],
        from: &mut dyn Read,
    ) -> Result<(), ImageError> {
        let Arrival(run) = arrival;
        let pages = data.get_mut(run.bytes()).ok_or(DAMAGED)?;
        exact(from, pages)?;
        for (number, page) in (run.first..).zip(pages.as_chunks::<PAGE_BYTES>().0) {
            self.0.set(number, Sums::of(page));
        }
        Ok(())
    }

    /// The pages that have arrived, ascending.
    pub(crate) fn runs(&self) -> Vec<Run> {
        self.0.runs()
    }
}

fn exact(from: &mut dyn Read, to: &mut [u8]) -> Result<(), ImageError> {
    from.read_exact(to).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => ImageError::Truncated,
        _ => ImageError::Io(error),
    })
}
