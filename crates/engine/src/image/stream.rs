//! An image as a stream of bytes.
//!
//! ```text
//! magic "peripat\n" | version u32 | number of sections u32
//! section*:  kind u32 | length u64 | content
//! checksum of everything before, 16 bytes (see `checksum`)
//! ```
//! All numbers are little-endian. Every section is there once, in the order of [`Section`].
//!
//! Reading believes nothing: a length is checked against what is left and against named limits
//! before anything is allocated for it, and contents come in as they arrive. What the image says
//! about its program is checked at the thaw.

use std::io::{self, Read, Write};

use super::checksum::{Checksum, IMAGE_CHECKSUM_BYTES};
use super::reader::{CheckingReader, Parser};
use super::{Image, contents};
use crate::ImageError;

/// First bytes of an image.
const MAGIC: [u8; 8] = *b"peripat\n";
/// Version of the format that this build writes, and the only one that it reads.
pub const IMAGE_VERSION: u32 = 3;

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

/// The sections, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Section {
    /// Hashes, settings, pid, sequence number, stage, a handler's buffer.
    Head = 1,
    /// Arguments and environment.
    Strings = 2,
    /// Sizes and runs of memories.
    Layout = 3,
    /// Contents of the runs.
    Memory = 4,
    /// Globals, tables, exceptions.
    Values = 5,
    /// The save memory.
    Save = 6,
    /// The devices' own.
    Devices = 7,
    /// The original module; empty: not carried.
    Program = 8,
}

impl Section {
    pub(super) const ALL: [Section; 8] = [
        Section::Head,
        Section::Strings,
        Section::Layout,
        Section::Memory,
        Section::Values,
        Section::Save,
        Section::Devices,
        Section::Program,
    ];

    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Section::Head => "head",
            Section::Strings => "strings",
            Section::Layout => "memory layout",
            Section::Memory => "memories",
            Section::Values => "values",
            Section::Save => "frames",
            Section::Devices => "devices",
            Section::Program => "program",
        }
    }

    /// What stands before its contents.
    pub(super) fn head(self, len: u64) -> Vec<u8> {
        [&(self as u32).to_le_bytes()[..], &len.to_le_bytes()].concat()
    }

    /// A section longer than this is damage, whatever the reader's limits.
    fn len_max(self) -> u64 {
        match self {
            Section::Head => 4096,
            Section::Strings => 64 << 20,
            Section::Layout | Section::Values => 1 << 30,
            Section::Memory => 1 << 48,
            Section::Save => (1 << 30) + 4096,
            Section::Devices => 1 << 30,
            Section::Program => crate::load::MODULE_BYTES_MAX as u64,
        }
    }
}

/// What an image begins with.
pub(super) fn head() -> Vec<u8> {
    let sections = Section::ALL.len() as u32;
    [&MAGIC[..], &IMAGE_VERSION.to_le_bytes(), &sections.to_le_bytes()].concat()
}

impl Image {
    /// Writes the image as one stream.
    ///
    /// # Errors
    /// [`ImageError::Io`]: what has been written so far is not an image.
    pub fn write_to(&self, to: &mut dyn Write) -> Result<(), ImageError> {
        let mut to = CheckingWriter { to, checksum: Checksum::default() };
        to.write_all(&head())?;
        for section in Section::ALL {
            let parts = contents::parts(self, section);
            let len: usize = parts.iter().map(|part| part.len()).sum();
            to.write_all(&section.head(len as u64))?;
            for part in parts {
                to.write_all(&part)?;
            }
        }
        let checksum = to.checksum.value();
        to.to.write_all(&checksum)?;
        to.to.flush()?;
        Ok(())
    }

    /// Reads and checks a stream, up to its last byte and no further.
    ///
    /// # Errors
    /// See [`ImageError`]. What the image says about frames and references is checked at the thaw,
    /// against the program.
    pub fn read_from(from: &mut dyn Read, limits: ImageLimits) -> Result<Image, ImageError> {
        Image::read_with(from, limits, |image, from, len| {
            contents::read(image, Section::Memory, from.bytes(len)?)
        })
    }

    /// The same, with the memories' contents read by `memories`, which is given what has been read before them and
    /// their length. It reads just as many bytes: as many as the runs take.
    pub(crate) fn read_with<E: From<ImageError>>(
        from: &mut dyn Read,
        limits: ImageLimits,
        mut memories: impl FnMut(&mut Image, &mut CheckingReader<'_>, u64) -> Result<(), E>,
    ) -> Result<Image, E> {
        let mut from = CheckingReader::new(from);
        let mut magic = [0; MAGIC.len()];
        from.exact(&mut magic).map_err(|error| match error {
            ImageError::Truncated => ImageError::NotAnImage,
            error => error,
        })?;
        if magic != MAGIC {
            return Err(ImageError::NotAnImage.into());
        }
        let found = from.u32()?;
        if found != IMAGE_VERSION {
            return Err(ImageError::Version { found, expected: IMAGE_VERSION }.into());
        }
        if from.u32()? != Section::ALL.len() as u32 {
            return Err(ImageError::Damaged("sections").into());
        }
        let mut left = limits.total_bytes;
        let mut image = contents::empty();
        for section in Section::ALL {
            let kind = from.u32()?;
            let len = from.u64()?;
            if kind != section as u32 || len > section.len_max() {
                return Err(ImageError::Damaged(section.name()).into());
            }
            left = left.checked_sub(len).ok_or(ImageError::TooLarge(section.name()))?;
            if section != Section::Memory {
                contents::read(&mut image, section, from.bytes(len)?)?;
            } else if contents::memories_len(&image) == Some(len) {
                memories(&mut image, &mut from, len)?;
            } else {
                return Err(ImageError::Damaged(section.name()).into());
            }
        }
        let computed = from.checksum();
        let mut stored = [0; IMAGE_CHECKSUM_BYTES];
        from.exact(&mut stored)?;
        if computed != stored {
            return Err(ImageError::Damaged("checksum").into());
        }
        contents::check(&image)?;
        Ok(image)
    }
}

/// Takes the checksum of what goes through.
struct CheckingWriter<'a> {
    to: &'a mut dyn Write,
    checksum: Checksum,
}

impl CheckingWriter<'_> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum.update(bytes);
        self.to.write_all(bytes)
    }
}

/// A parser over one section's bytes, whose errors name it.
pub(super) fn parser(bytes: &[u8], section: Section) -> Parser<'_> {
    Parser::new(bytes, section.name())
}
