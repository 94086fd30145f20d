//! Bytes that claim to be an image: they are refused or read, and what was read is written as it was.
//!
//! The checksum is put right first, or no mutation would get past it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peripatos_engine::{IMAGE_CHECKSUM_BYTES, Image, ImageLimits};
use twox_hash::XxHash3_128;

/// More than any input the fuzzer makes.
const LIMITS: ImageLimits = ImageLimits { total_bytes: 1 << 24 };

fuzz_target!(|bytes: &[u8]| {
    let _ = Image::read_from(&mut &*bytes, LIMITS);
    let content = &bytes[..bytes.len().saturating_sub(IMAGE_CHECKSUM_BYTES)];
    let mut sealed = content.to_vec();
    sealed.extend(XxHash3_128::oneshot(content).to_le_bytes());
    if let Ok(image) = Image::read_from(&mut &sealed[..], LIMITS) {
        let mut written = Vec::new();
        image.write_to(&mut written).expect("a vector takes everything");
        assert!(sealed.starts_with(&written), "what was read is written as it was");
    }
});
