//! A lane: a connection beside a link, for one large image.
//!
//! A link's bytes pass through the node's thread and four buffers. A lane's are sealed where they were read and opened
//! where they belong, by the two threads that freeze and thaw, and no message waits behind them.
//!
//! Name and key of a lane are drawn by the sender and told over the link, so only the link's two ends know them. Who
//! connects says the name; then records go one way:
//!
//! ```text
//! "PERILANE" | name, 16 bytes
//! record*:  length u32 | last u8 | so many bytes, sealed | tag, 16 bytes
//! ```
//! Invariants:
//! * A key seals one stream: nonces count from 0. Length and last are authenticated with the record; a record that is
//!   missing, changed or out of order ends the lane.
//! * Lengths are checked before anything is allocated.
//! * Neither end waits longer than [`SILENCE_MAX`] for the other.
//!
//! A short record waits for the next one, and goes with it. What is sealed is opened in the caller's buffer: after an error that may hold anything.

use std::io::{self, BufReader, IoSlice, Read, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use peripatos_cluster::message::{Lane, LaneCipher, Wire};
use ring::aead::{
    AES_128_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey,
};
use ring::hkdf::{HKDF_SHA256, Prk};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::BULK_CHUNK_BYTES;
use super::credentials::has_aes;

use crate::fence;

/// Images with fewer bytes go over the link: a connection would take longer than it saves.
pub(crate) const LANE_BYTES_MIN: u64 = 4 << 20;
/// What a lane begins with. TLS begins with another byte.
pub(crate) const LANE_MAGIC: [u8; 8] = *b"PERILANE";
/// A peer that neither sends nor takes anything for so long is given up.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Bytes of one record: a piece of bulk, and what an image has behind its last one.
const RECORD_BYTES_MAX: usize = BULK_CHUNK_BYTES + 64;
const HEAD_BYTES: usize = 5;
/// A record that is not longer goes with the next one.
const HELD_BYTES_MAX: usize = 1 << 10;
pub(super) const TAG_BYTES: usize = 16;
/// Records that one key seals; then both ends derive the next one. Far fewer than AES-GCM is good for.
const KEY_RECORDS_MAX: u64 = 1 << 24;

/// Draws name and key of a new lane.
pub(crate) fn draw() -> io::Result<Lane> {
    let cipher = if has_aes() { LaneCipher::Aes128Gcm } else { LaneCipher::ChaCha20Poly1305 };
    let mut lane = Lane { name: [0; 16], key: [0; 32], cipher };
    let random = SystemRandom::new();
    let drawn = random.fill(&mut lane.name).and_then(|()| random.fill(&mut lane.key));
    drawn.map_err(|_| io::Error::other("the random generator failed"))?;
    Ok(lane)
}

/// Draws a new wire, from this core of ours to that one of the other side.
pub(crate) fn draw_wire(own_core: u32, peer_core: u32) -> io::Result<Wire> {
    Ok(Wire { lane: draw()?, back: draw()?, own_core, peer_core })
}

/// What a connection says first: which lane it is.
pub(crate) fn opening(lane: &Lane) -> Vec<u8> {
    [&LANE_MAGIC[..], &lane.name].concat()
}

/// Connects to a node's address and says which lane this is.
pub(crate) fn call(address: &str, lane: &Lane) -> io::Result<TcpStream> {
    let mut refused = io::Error::other(format!("{address} is no address"));
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, SILENCE_MAX) {
            Ok(mut stream) => {
                stream.write_all(&opening(lane))?;
                return Ok(stream);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// The end that sends.
pub(crate) struct LaneWriter {
    to: TcpStream,
    sealer: Sealer,
    /// A short record that goes with the next one.
    held: Vec<u8>,
}

impl LaneWriter {
    pub(crate) fn new(to: TcpStream, lane: &Lane) -> io::Result<LaneWriter> {
        to.set_nonblocking(false)?;
        to.set_write_timeout(Some(SILENCE_MAX))?;
        Ok(LaneWriter { to, sealer: Sealer::new(lane)?, held: Vec::new() })
    }

    /// Sends a record, or keeps it for the next one if more is to come at once: its receiver need not wake up for it. `bytes` are
    /// sealed where they are.
    pub(crate) fn send(&mut self, last: bool, bytes: &mut [u8]) -> io::Result<()> {
        assert!(bytes.len() <= RECORD_BYTES_MAX, "a piece fits into a record");
        let head = head(bytes.len(), last);
        let tag = self.sealer.seal(&head, bytes)?;
        if !last && (1..=HELD_BYTES_MAX).contains(&bytes.len()) && self.held.is_empty() {
            self.held.extend([&head[..], bytes, tag.as_ref()].concat());
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        self.write([&held, &head, bytes, tag.as_ref()])
    }

    /// Sends what is kept for the next record, which may take a while.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        self.write([&held])
    }

    fn write<const N: usize>(&mut self, parts: [&[u8]; N]) -> io::Result<()> {
        let mut parts = parts.map(IoSlice::new);
        let mut rest = &mut parts[..];
        // What is empty is not sent, and would count as the end.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            fence::pass();
            match self.to.write_vectored(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut rest, count),
            }
        }
        Ok(())
    }
}

/// The end that receives. Reading waits; an end before the last record is an error.
#[derive(Debug)]
pub struct LaneReader {
    from: BufReader<TcpStream>,
    sealer: Sealer,
    /// An opened record that its reader had no room for.
    record: Vec<u8>,
    used: usize,
    complete: bool,
}

impl LaneReader {
    /// Of a connection that has said which lane it is.
    ///
    /// # Errors
    /// The operating system refuses a setting; the key cannot be one.
    pub fn new(from: TcpStream, lane: &Lane) -> io::Result<LaneReader> {
        from.set_nonblocking(false)?;
        from.set_read_timeout(Some(SILENCE_MAX))?;
        let sealer = Sealer::new(lane)?;
        // For heads, tags and short records. Long ones are read to where they belong.
        let from = BufReader::with_capacity(HELD_BYTES_MAX, from);
        Ok(LaneReader { from, sealer, record: Vec::new(), used: 0, complete: false })
    }

    fn head(&mut self) -> io::Result<[u8; HEAD_BYTES]> {
        let mut head = [0; HEAD_BYTES];
        self.from.read_exact(&mut head)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > RECORD_BYTES_MAX || head[4] > 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a malformed record came"));
        }
        Ok(head)
    }

    /// Receives and opens what belongs to this head, which is as long as `bytes`.
    fn open(&mut self, head: [u8; HEAD_BYTES], bytes: &mut [u8]) -> io::Result<()> {
        self.from.read_exact(bytes)?;
        let mut tag = [0; TAG_BYTES];
        self.from.read_exact(&mut tag)?;
        let opened = self.sealer.open(&head, bytes, tag);
        let forged = || io::Error::new(io::ErrorKind::InvalidData, "a forged record came");
        opened.then_some(()).ok_or_else(forged)
    }
}

impl Read for LaneReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.record.len() {
            if self.complete || buffer.is_empty() {
                return Ok(0);
            }
            let head = self.head()?;
            self.complete = head[4] == 1;
            let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
            if length > 0 && length <= buffer.len() {
                self.open(head, &mut buffer[..length])?;
                return Ok(length);
            }
            let mut record = std::mem::take(&mut self.record);
            record.resize(length, 0);
            self.open(head, &mut record)?;
            (self.record, self.used) = (record, 0);
        }
        let taken = buffer.len().min(self.record.len() - self.used);
        buffer[..taken].copy_from_slice(&self.record[self.used..][..taken]);
        self.used += taken;
        Ok(taken)
    }
}

fn head(length: usize, last: bool) -> [u8; HEAD_BYTES] {
    let [a, b, c, d] = (length as u32).to_le_bytes();
    [a, b, c, d, u8::from(last)]
}

/// A key and the number of its next record.
#[derive(Debug)]
pub(super) struct Sealer {
    key: LessSafeKey,
    records: u64,
    cipher: LaneCipher,
    secret: Secret,
}

/// Does not show itself.
struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Sealer {
    pub(super) fn new(lane: &Lane) -> io::Result<Sealer> {
        let key = key(lane.cipher, &lane.key)?;
        Ok(Sealer { key, records: 0, cipher: lane.cipher, secret: Secret(lane.key) })
    }

    /// Records that were sealed or opened.
    #[cfg(test)]
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Seals a record where it is. Its tag is to follow it.
    pub(super) fn seal(&mut self, head: &[u8], bytes: &mut [u8]) -> io::Result<Tag> {
        let nonce = self.nonce()?;
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(head), bytes);
        sealed.map_err(|_| io::Error::other("too much for one lane"))
    }

    /// Opens the next record where it is. `false`: it was not sealed so.
    pub(super) fn open(&mut self, head: &[u8], bytes: &mut [u8], tag: [u8; TAG_BYTES]) -> bool {
        let Ok(nonce) = self.nonce() else { return false };
        let (aad, tag) = (Aad::from(head), Tag::from(tag));
        self.key.open_in_place_separate_tag(nonce, aad, tag, bytes, 0..).is_ok()
    }

    /// Each is given out once: 2^64 records do not come.
    fn nonce(&mut self) -> io::Result<Nonce> {
        if self.records > 0 && self.records.is_multiple_of(KEY_RECORDS_MAX) {
            self.renew()?;
        }
        let nonce = nonce_of(self.records);
        self.records += 1;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// The next key: whoever learns it does not learn the ones before.
    fn renew(&mut self) -> io::Result<()> {
        let secret = Prk::new_less_safe(HKDF_SHA256, &self.secret.0);
        let derived = secret.expand(&[b"the next key of a lane"], HKDF_SHA256);
        let mut next = [0; 32];
        let filled = derived.and_then(|derived| derived.fill(&mut next));
        filled.map_err(|_| io::Error::other("a lane's next key could not be derived"))?;
        (self.key, self.secret) = (key(self.cipher, &next)?, Secret(next));
        Ok(())
    }
}

fn nonce_of(record: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&record.to_le_bytes());
    nonce
}

fn key(cipher: LaneCipher, secret: &[u8; 32]) -> io::Result<LessSafeKey> {
    let algorithm = match cipher {
        LaneCipher::Aes128Gcm => &AES_128_GCM,
        LaneCipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    };
    let key = UnboundKey::new(algorithm, &secret[..algorithm.key_len()]);
    key.map(LessSafeKey::new).map_err(|_| io::Error::other("a lane's key is not one"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Two ends of one connection.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    /// The bytes of a lane over which these pieces go.
    fn sealed(lane: &Lane, pieces: &[&[u8]]) -> Vec<u8> {
        let (near, mut far) = connection();
        let mut writer = LaneWriter::new(near, lane).unwrap();
        for (at, piece) in pieces.iter().enumerate() {
            writer.send(at + 1 == pieces.len(), &mut piece.to_vec()).unwrap();
        }
        drop(writer);
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn opened(lane: &Lane, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let (mut near, far) = connection();
        let bytes = bytes.to_vec();
        let writing = thread::spawn(move || near.write_all(&bytes));
        let mut got = Vec::new();
        let read = LaneReader::new(far, lane)?.read_to_end(&mut got);
        let _ = writing.join();
        read.map(|_| got)
    }

    #[test]
    fn what_goes_in_comes_out() {
        for cipher in [LaneCipher::Aes128Gcm, LaneCipher::ChaCha20Poly1305] {
            let lane = Lane { cipher, ..draw().unwrap() };
            let long = vec![7; BULK_CHUNK_BYTES];
            let bytes = sealed(&lane, &[b"abc", b"", &long, b"z"]);
            let got = opened(&lane, &bytes).unwrap();
            assert!(got == [b"abc", &long[..], b"z"].concat());
            assert!(!bytes.windows(8).any(|window| window == [7; 8]), "it is sealed");
        }
    }

    #[test]
    fn a_short_record_goes_with_the_next_one() {
        let lane = draw().unwrap();
        let (near, far) = connection();
        let (mut writer, mut reader) = (
            LaneWriter::new(near, &lane).unwrap(),
            LaneReader::new(far.try_clone().unwrap(), &lane).unwrap(),
        );
        let read = |reader: &mut LaneReader, len: usize| {
            let mut buffer = vec![0; len];
            reader.read_exact(&mut buffer).map(|()| buffer)
        };
        writer.send(false, &mut b"one".to_vec()).unwrap();
        far.set_nonblocking(true).unwrap();
        assert_eq!(far.peek(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        far.set_nonblocking(false).unwrap();
        // An empty one, too, and a second short one.
        writer.send(false, &mut []).unwrap();
        assert_eq!(read(&mut reader, 3).unwrap(), b"one");
        writer.send(false, &mut b"two".to_vec()).unwrap();
        writer.send(false, &mut b"three".to_vec()).unwrap();
        assert_eq!(read(&mut reader, 8).unwrap(), b"twothree");
        writer.flush().unwrap();
        writer.send(false, &mut b"more".to_vec()).unwrap();
        writer.flush().unwrap();
        assert_eq!(read(&mut reader, 4).unwrap(), b"more");
        writer.send(false, &mut b"four".to_vec()).unwrap();
        writer.send(true, &mut [5; 2 * HELD_BYTES_MAX]).unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest == [b"four", &[5; 2 * HELD_BYTES_MAX][..]].concat());
    }

    #[test]
    fn both_ends_change_the_key() {
        let lane = draw().unwrap();
        let [mut one, mut two, old] = [(); 3].map(|()| Sealer::new(&lane).unwrap());
        [&mut one, &mut two].into_iter().for_each(|end| end.records = KEY_RECORDS_MAX - 1);
        for at in 0..3_u8 {
            let mut bytes = [at; 4];
            let tag = one.seal(b"head", &mut bytes).unwrap();
            let tag = tag.as_ref().try_into().unwrap();
            // Whoever goes on with the first key can open what was sealed with it only.
            let (mut copy, nonce) = (bytes, nonce_of(KEY_RECORDS_MAX - 1 + u64::from(at)));
            let nonce = Nonce::assume_unique_for_key(nonce);
            let (aad, sealed) = (Aad::from(b"head"), Tag::from(tag));
            let stale = old.key.open_in_place_separate_tag(nonce, aad, sealed, &mut copy, 0..);
            assert_eq!(stale.is_ok(), at == 0);
            assert!(two.open(b"head", &mut bytes, tag));
            assert_eq!(bytes, [at; 4]);
        }
    }

    #[test]
    fn a_record_is_read_piecemeal_or_into_place() {
        let lane = draw().unwrap();
        let bytes = sealed(&lane, &[b"abcdef", b"ghi"]);
        for step in [1, 4, 6, 100] {
            let (mut near, far) = connection();
            near.write_all(&bytes).unwrap();
            let mut reader = LaneReader::new(far, &lane).unwrap();
            let (mut got, mut buffer) = (Vec::new(), [0; 100]);
            loop {
                let count = reader.read(&mut buffer[..step]).unwrap();
                got.extend_from_slice(&buffer[..count]);
                if count == 0 {
                    break;
                }
            }
            assert_eq!(got, b"abcdefghi");
        }
    }

    #[test]
    fn what_was_not_sealed_so_is_refused() {
        let lane = draw().unwrap();
        let bytes = sealed(&lane, &[b"abcdef", b"ghi"]);
        let check = |bytes: &[u8], expected: &str| {
            let error = opened(&lane, bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} does not say {expected}");
        };
        let second = HEAD_BYTES + 6 + TAG_BYTES;
        let swapped = [&bytes[second..], &bytes[..second]].concat();
        check(&swapped, "forged");
        check(&bytes[second..], "forged");
        check(&bytes[..second], "fill whole buffer");
        check(&bytes[..second - 1], "fill whole buffer");
        for at in [HEAD_BYTES - 1, HEAD_BYTES, second - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            check(&changed, "forged");
        }
        check(&[0xff; 40], "malformed");
        let other = opened(&draw().unwrap(), &bytes).unwrap_err();
        assert!(other.to_string().contains("forged"));
    }
}
