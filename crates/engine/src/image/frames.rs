//! Walking the frames of a save memory, from the outermost (on top) to the innermost.

use peripatos_instrument::layout::{DROPPED, FRAME_HEADER};

use crate::ImageError;

/// One frame: its site and its size in bytes, header included.
pub(crate) type Frames = Vec<(u32, u32)>;

/// The frames in `save`, the contents of the save memory from [`DROPPED`] to the stack pointer,
/// outermost first. Frames begin at `base`.
///
/// # Errors
/// [`ImageError::Damaged`] if they do not add up to exactly what is there.
pub(crate) fn walk(save: &[u8], base: u32) -> Result<Frames, ImageError> {
    const DAMAGED: ImageError = ImageError::Damaged("frames");
    let base = base.checked_sub(DROPPED).ok_or(DAMAGED)? as usize;
    let mut rest = save.get(base..).ok_or(DAMAGED)?;
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let header = rest.last_chunk::<{ FRAME_HEADER as usize }>().ok_or(DAMAGED)?;
        let [a, b, c, d, e, f, g, h] = *header;
        let (site, size) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if size < FRAME_HEADER {
            return Err(DAMAGED);
        }
        let end = rest.len().checked_sub(size as usize).ok_or(DAMAGED)?;
        rest = &rest[..end];
        frames.push((site, size));
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: usize, site: u32) -> Vec<u8> {
        let mut bytes = vec![0xaa; payload];
        bytes.extend(site.to_le_bytes());
        bytes.extend((payload as u32 + FRAME_HEADER).to_le_bytes());
        bytes
    }

    #[test]
    fn outermost_first() {
        let save = [vec![1; 8], frame(4, 7), frame(0, 9)].concat();
        assert_eq!(walk(&save, DROPPED + 8).unwrap(), [(9, 8), (7, 12)]);
        assert!(walk(&save[..8], DROPPED + 8).unwrap().is_empty());
    }

    #[test]
    fn what_does_not_add_up_is_damaged() {
        let save = [frame(4, 7), frame(0, 9)].concat();
        for len in 1..save.len() {
            let whole = len == 12;
            assert_eq!(walk(&save[..len], DROPPED).is_ok(), whole, "{len}");
        }
        assert!(walk(&save, DROPPED + 1000).is_err());
        assert!(walk(&save, 0).is_err());
    }
}
