//! What tells a damaged image from a whole one: XXH3, 128 bits, little-endian.
//!
//! It is no proof of origin: whoever can make an image can make its checksum. Over links that is TLS's part, in files the
//! command's. A cryptographic hash was tried and took longer than everything else that is done to an image on its way.

use twox_hash::XxHash3_128;

/// Length of an image's checksum, which is its end.
pub const IMAGE_CHECKSUM_BYTES: usize = 16;

#[derive(Default)]
pub(super) struct Checksum(XxHash3_128);

impl Checksum {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Of all that was given so far.
    pub(super) fn value(&self) -> [u8; IMAGE_CHECKSUM_BYTES] {
        self.0.finish_128().to_le_bytes()
    }
}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checksum({:032x})", self.0.finish_128())
    }
}
