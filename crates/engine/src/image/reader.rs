//! Reading without trust: from a stream, and from a section's bytes.

use std::io::{ErrorKind, Read};

use super::checksum::{Checksum, IMAGE_CHECKSUM_BYTES};
use crate::ImageError;

/// Bytes allocated at once for a section: a length that lies costs no more than what arrives.
const STEP: usize = 1 << 20;
/// Bytes that are read and then added to the checksum: they are still in the processor's cache.
const CHECK_STEP: usize = 256 << 10;

/// Reads exact amounts, and takes the checksum of what it reads.
pub(crate) struct CheckingReader<'a> {
    from: &'a mut dyn Read,
    checksum: Checksum,
}

impl<'a> CheckingReader<'a> {
    pub(super) fn new(from: &'a mut dyn Read) -> CheckingReader<'a> {
        CheckingReader { from, checksum: Checksum::default() }
    }

    /// Fills `to`; [`ImageError::Truncated`] if the stream ends before.
    pub(crate) fn exact(&mut self, to: &mut [u8]) -> Result<(), ImageError> {
        for part in to.chunks_mut(CHECK_STEP) {
            self.from.read_exact(part).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => ImageError::Truncated,
                _ => ImageError::Io(error),
            })?;
            self.checksum.update(part);
        }
        Ok(())
    }

    pub(super) fn u32(&mut self) -> Result<u32, ImageError> {
        let mut bytes = [0; 4];
        self.exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, ImageError> {
        let mut bytes = [0; 8];
        self.exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// So many bytes, allocated as they arrive.
    pub(super) fn bytes(&mut self, len: u64) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let mut left = len;
        while left > 0 {
            let step = left.min(STEP as u64) as usize;
            let at = bytes.len();
            bytes.resize(at + step, 0);
            self.exact(&mut bytes[at..])?;
            left -= step as u64;
        }
        Ok(bytes)
    }

    /// Of all that was read so far.
    pub(super) fn checksum(&self) -> [u8; IMAGE_CHECKSUM_BYTES] {
        self.checksum.value()
    }
}

/// Reads values from a section's bytes.
pub(crate) struct Parser<'a> {
    rest: &'a [u8],
    section: &'static str,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(bytes: &'a [u8], section: &'static str) -> Parser<'a> {
        Parser { rest: bytes, section }
    }

    pub(crate) fn damaged(&self) -> ImageError {
        ImageError::Damaged(self.section)
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Result<&'a [u8], ImageError> {
        let len = usize::try_from(len).map_err(|_| self.damaged())?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ImageError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ImageError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ImageError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, ImageError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// A list: its length, then its items, each of at least `item_bytes_min` bytes: a length that
    /// cannot be true is refused before anything is allocated.
    pub(crate) fn list<T>(
        &mut self,
        item_bytes_min: usize,
        mut item: impl FnMut(&mut Parser<'a>) -> Result<T, ImageError>,
    ) -> Result<Vec<T>, ImageError> {
        let count = usize::try_from(self.u64()?).map_err(|_| self.damaged())?;
        if count > self.rest.len() / item_bytes_min {
            return Err(self.damaged());
        }
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(item(self)?);
        }
        Ok(list)
    }

    /// What has not been read.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), ImageError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged()) }
    }
}
