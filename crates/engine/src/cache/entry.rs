//! The form of a cache entry: authenticated bytes under a key.
//!
//! ```text
//! magic "peri-cod" | version u32 | key, 32 bytes | content | MAC, 32 bytes
//! ```
//! The MAC is blake3 keyed with the directory's secret, over everything before it. Who cannot read
//! the secret cannot make an entry, and an entry of another key, version or directory is refused
//! before a byte of its content is looked at.

/// First bytes of an entry.
const MAGIC: [u8; 8] = *b"peri-cod";
/// Version of this form and of the contents.
const VERSION: u32 = 1;
/// Bytes before the content.
const HEADER: usize = MAGIC.len() + 4 + 32;
/// Bytes behind it.
const MAC: usize = 32;

/// What stands before and behind `content`.
pub(super) fn seal(secret: &[u8; 32], key: &[u8; 32], content: &[u8]) -> ([u8; HEADER], [u8; MAC]) {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..].copy_from_slice(key);
    (header, mac(secret, &header, content))
}

/// The content of an entry that this directory's secret has sealed under this key.
pub(super) fn open<'a>(secret: &[u8; 32], key: &[u8; 32], bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let (content, stored) = rest.split_last_chunk::<MAC>()?;
    let (expected, mac) = seal(secret, key, content);
    // blake3's comparison takes the same time wherever they differ.
    (*header == expected && blake3::Hash::from(mac) == blake3::Hash::from(*stored))
        .then_some(content)
}

fn mac(secret: &[u8; 32], header: &[u8], content: &[u8]) -> [u8; MAC] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(header).update(content);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_opens() {
        let (secret, key) = ([1; 32], [2; 32]);
        let (header, mac) = seal(&secret, &key, b"content");
        let entry = [&header[..], b"content", &mac].concat();
        assert_eq!(open(&secret, &key, &entry), Some(&b"content"[..]));
        assert_eq!(open(&[3; 32], &key, &entry), None);
        assert_eq!(open(&secret, &[3; 32], &entry), None);
        for at in 0..entry.len() {
            assert_eq!(open(&secret, &key, &entry[..at]), None);
            let mut changed = entry.clone();
            changed[at] ^= 1;
            assert_eq!(open(&secret, &key, &changed), None);
        }
    }
}
