//! Bytes, most of them zero, in less room: what an image looks like once it has been told apart from its program.
//!
//! ```text
//! length u64 | (zeros varint | count varint | count bytes)*
//! ```
//! Only ever read by the OS process that wrote it.

/// Zeros that are worth being left out, as a word at a multiple of its size.
const WORD: usize = 8;

/// What [`expand`] makes `bytes` of.
pub(crate) fn squeeze(bytes: &[u8]) -> Box<[u8]> {
    let mut to = Vec::with_capacity(bytes.len() / 8);
    to.extend((bytes.len() as u64).to_le_bytes());
    let mut rest = bytes;
    while !rest.is_empty() {
        let zeros = words(rest, true);
        let count = words(&rest[zeros..], false);
        put(&mut to, zeros);
        put(&mut to, count);
        to.extend(&rest[zeros..zeros + count]);
        rest = &rest[zeros + count..];
    }
    to.into()
}

/// What was squeezed. `None`: that was not made by [`squeeze`].
pub(crate) fn expand(bytes: &[u8]) -> Option<Vec<u8>> {
    let (len, mut rest) = bytes.split_first_chunk()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    let mut to = Vec::with_capacity(len);
    while !rest.is_empty() {
        let (zeros, count) = (take(&mut rest)?, take(&mut rest)?);
        to.resize(to.len() + zeros, 0);
        let (literal, behind) = rest.split_at_checked(count)?;
        to.extend(literal);
        rest = behind;
    }
    (to.len() == len).then_some(to)
}

/// Bytes up to the first word that is not as wanted; what is no whole word is not zero.
fn words(bytes: &[u8], zero: bool) -> usize {
    let (words, rest) = bytes.as_chunks::<WORD>();
    let same = words.iter().take_while(|word| (**word == [0; WORD]) == zero).count();
    let all = same == words.len() && !zero;
    same * WORD + if all { rest.len() } else { 0 }
}

fn put(to: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn take(from: &mut &[u8]) -> Option<usize> {
    let (mut number, mut shift) = (0_usize, 0);
    loop {
        let (first, rest) = from.split_first()?;
        *from = rest;
        number |= usize::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_comes_back() {
        let mut bytes = vec![0; 5000];
        for (at, byte) in [(0, 1), (7, 2), (8, 3), (100, 0), (4092, 9), (4999, 7)] {
            bytes[at] = byte;
        }
        for part in [0..0, 0..1, 1..7, 0..5000, 9..4000, 3..4999, 4990..5000, 200..3000] {
            let part = &bytes[part];
            let squeezed = squeeze(part);
            assert!(squeezed.len() < 64, "{}", squeezed.len());
            assert_eq!(expand(&squeezed).as_deref(), Some(part));
        }
        let full = vec![0x5a; 3001];
        assert_eq!(expand(&squeeze(&full)), Some(full));
        assert_eq!(expand(&[1, 0, 0]), None);
    }
}
