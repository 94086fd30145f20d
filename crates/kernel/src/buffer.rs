//! Bytes of a message that is kept: short ones without an allocation.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bytes::Bytes;

/// Messages up to this length are kept in place.
const INLINE_BYTES: usize = 64;

/// A message. Filled again and again; a long one leaves its room behind for the next.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    len: usize,
    inline: [u8; INLINE_BYTES],
    heap: Vec<u8>,
}

impl Buffer {
    pub(crate) const fn new() -> Buffer {
        Buffer { len: 0, inline: [0; INLINE_BYTES], heap: Vec::new() }
    }

    pub(crate) fn of(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::new();
        buffer.set(bytes);
        buffer
    }

    pub(crate) fn set(&mut self, bytes: &[u8]) {
        self.len = bytes.len();
        match self.inline.get_mut(..bytes.len()) {
            Some(inline) => inline.copy_from_slice(bytes),
            None => {
                self.heap.clear();
                self.heap.extend_from_slice(bytes);
            }
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.inline.get(..self.len).unwrap_or(&self.heap)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Serialize for Buffer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.bytes())
    }
}

impl<'d> Deserialize<'d> for Buffer {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Buffer, D::Error> {
        Ok(Buffer::of(&Bytes::deserialize(from)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_alike() {
        let mut buffer = Buffer::new();
        for len in [0, 1, INLINE_BYTES, INLINE_BYTES + 1, 5, 100_000, 3] {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            buffer.set(&bytes);
            assert_eq!(buffer.bytes(), bytes);
        }
    }
}
