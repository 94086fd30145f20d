//! An image whose memory contents stay in the process: for a process that stands still while it is sent.

use std::collections::VecDeque;
use std::ops::Range;

use super::checksum::Checksum;
use super::stream::{self, Section};
use super::{Image, contents};
use crate::{ImageError, Process};

/// All of a frozen process's image but the contents of its memories.
#[derive(Debug)]
pub struct Outline(Image);

/// An image as bytes, a piece at a time, with the memories read where they are. Together the pieces are what
/// [`Image::write_to`] writes.
#[derive(Debug)]
pub struct ImagePieces {
    parts: VecDeque<Part>,
    checksum: Checksum,
}

#[derive(Debug)]
enum Part {
    Bytes { bytes: Vec<u8>, used: usize },
    Contents { memory: usize, range: Range<usize> },
}

impl Outline {
    pub(crate) fn new(image: Image) -> Outline {
        Outline(image)
    }

    /// Bytes of memory contents that belong to the image.
    pub fn memory_bytes(&self) -> u64 {
        contents::memories_len(&self.0).unwrap_or(u64::MAX)
    }

    /// The image as bytes.
    pub fn pieces(&self) -> ImagePieces {
        let mut pieces = ImagePieces { parts: VecDeque::new(), checksum: Checksum::default() };
        pieces.push(stream::head());
        for section in Section::ALL {
            if section == Section::Memory {
                pieces.push(section.head(self.memory_bytes()));
                for (memory, image) in self.0.memories.iter().enumerate() {
                    let contents = |run: &super::Run| Part::Contents { memory, range: run.bytes() };
                    pieces.parts.extend(image.runs.iter().map(contents));
                }
            } else {
                let bytes = contents::parts(&self.0, section).concat();
                pieces.push(section.head(bytes.len() as u64));
                pieces.push(bytes);
            }
        }
        pieces
    }
}

impl ImagePieces {
    fn push(&mut self, bytes: Vec<u8>) {
        self.parts.push_back(Part::Bytes { bytes, used: 0 });
    }

    /// Adds the next bytes to `piece`, up to `bytes_max` and at the end the checksum. `false`: that was the end.
    ///
    /// # Errors
    /// The process is not, or not any more, the frozen one that the outline is of.
    pub fn fill(
        &mut self,
        process: &mut Process,
        piece: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<bool, ImageError> {
        let begin = piece.len();
        while let Some(part) = self.parts.front_mut() {
            let room = bytes_max.saturating_sub(piece.len());
            // Long contents begin a piece: its reader can have it where they belong.
            let long = matches!(part, Part::Contents { range, .. } if range.len() >= bytes_max);
            if room == 0 || long && piece.len() > begin {
                break;
            }
            let whole = match part {
                Part::Bytes { bytes, used } => {
                    let count = room.min(bytes.len() - *used);
                    piece.extend_from_slice(&bytes[*used..*used + count]);
                    *used += count;
                    *used == bytes.len()
                }
                Part::Contents { memory, range } => {
                    let count = room.min(range.len());
                    let contents = process.still_contents(*memory)?;
                    let end = range.start + count;
                    let bytes = contents.get(range.start..end);
                    piece.extend_from_slice(bytes.ok_or(ImageError::Damaged("memories"))?);
                    range.start = end;
                    range.start == range.end
                }
            };
            if whole {
                self.parts.pop_front();
            }
        }
        self.checksum.update(&piece[begin..]);
        if self.parts.is_empty() {
            piece.extend_from_slice(&self.checksum.value());
        }
        Ok(!self.parts.is_empty())
    }
}
