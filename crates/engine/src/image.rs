//! The image of a frozen process.

use std::io::{Read, Write};
use std::sync::Arc;

use peripatos_abi::Pid;

use crate::ImageError;

/// What a reader is ready to take in.
#[derive(Clone, Copy, Debug)]
pub struct ImageLimits {
    /// Bytes of all sections together.
    pub total_bytes: u64,
}

impl Default for ImageLimits {
    fn default() -> ImageLimits {
        ImageLimits { total_bytes: 16 << 30 }
    }
}

/// A frozen process as data: thaw it here or elsewhere, now or later, once or often.
#[derive(Clone, Debug)]
pub struct Image {}

impl Image {
    /// Writes the image as one stream: versioned, checksummed.
    pub fn write_to(&self, _to: &mut dyn Write) -> Result<(), ImageError> {
        todo!()
    }

    /// Reads and checks a stream. What it says about frames and references is checked again at the thaw, against
    /// the program.
    pub fn read_from(_from: &mut dyn Read, _limits: ImageLimits) -> Result<Image, ImageError> {
        todo!()
    }

    /// blake3 of the original module.
    pub fn module_hash(&self) -> [u8; 32] {
        todo!()
    }

    /// The original module, if the image carries it.
    pub fn program(&self) -> Option<Arc<[u8]>> {
        todo!()
    }

    /// The name the process had.
    pub fn pid(&self) -> Pid {
        todo!()
    }

    /// Its arguments.
    pub fn args(&self) -> &[Vec<u8>] {
        todo!()
    }

    /// Whether it ran with canonical NaNs: the runtime that thaws it must do the same.
    pub fn canonical_nan(&self) -> bool {
        todo!()
    }

    /// What the devices put in.
    pub fn devices(&self) -> &[u8] {
        todo!()
    }

    /// Bytes of memory contents in the image.
    pub fn memory_bytes(&self) -> u64 {
        todo!()
    }

    /// Frames of the call stack.
    pub fn frames(&self) -> usize {
        todo!()
    }
}
