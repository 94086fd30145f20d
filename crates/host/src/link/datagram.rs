//! Datagrams between nodes, sealed: TLS does not cover them, and nobody has agreed on keys with whom he asks whether he lives.
//!
//! ```text
//! version u8 | epoch u32 | node u128 | incarnation u64 | number u64 | so many bytes, sealed | tag, 16 bytes
//! ```
//! All numbers are big endian. What is sealed, and the head before it, is authenticated by ChaCha20-Poly1305 under a key of the
//! sender's and the *epoch* (an hour of Unix time), which HKDF-SHA-256 derives from a secret, and that from the cluster's token. All
//! members have the secret; few have the token.
//!
//! Invariants:
//! * A key seals no two datagrams under one nonce: it belongs to one OS process of one node, and the nonce is the datagram's number,
//!   which that counts up for as long as it runs, through all epochs.
//! * Length and version are checked before anything is opened, and nothing is believed that was not.
//! * A datagram is taken once. What is older than the last 128 of its sender's, or of another epoch than this one and its
//!   neighbours, is not taken at all.
//!
//! What this does not do: prove which member has sealed it. Machines whose clocks differ by more than an hour do
//! not hear each other.

use std::collections::HashMap;

use peripatos_cluster::limits::{DATAGRAM_BYTES_MAX, GOSSIP_BYTES_MAX, MEMBERS_MAX, SEAL_BYTES};
use peripatos_cluster::{Incarnation, NodeId, Secret};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

use super::Token;
use super::lane::TAG_BYTES;

/// The version of what datagrams say, and of how they are sealed.
pub const DATAGRAM_VERSION: u8 = 2;
/// How long a key is used.
pub const EPOCH_SECONDS: u64 = 3_600;
/// How far behind its sender's newest a datagram may come.
const WINDOW: u64 = 128;
/// Separates this use of the token from any other.
const CONTEXT: &[u8] = b"peripatos 2026-11 datagrams";
const HEAD_BYTES: usize = SEAL_BYTES - TAG_BYTES;
/// Senders of which is remembered what they have sent.
const SENDERS_MAX: usize = MEMBERS_MAX;

/// Why a datagram is not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// Too short or too long.
    #[error("it is no datagram of a node")]
    Length,
    /// Another release's, or something else.
    #[error("it is of another version")]
    Version,
    /// It was sealed in another hour.
    #[error(
        "it was sealed at another time; the clocks of its machine and of this one may differ by an hour and more"
    )]
    Epoch,
    /// It says that it is this node's own.
    #[error("it is this node's own")]
    Own,
    /// It was changed on its way, or sealed with another token.
    #[error("it was not sealed with this cluster's token")]
    Forged,
    /// It has come before, or came too late to tell.
    #[error("it has come before")]
    Replayed,
    /// There are too many senders.
    #[error("there are too many nodes that send datagrams")]
    Senders,
}

/// The node that has sealed a datagram which was opened.
#[must_use]
pub fn sealed_by(datagram: &[u8]) -> Option<NodeId> {
    let head = Head::read(datagram.get(..HEAD_BYTES)?).ok()?;
    Some(head.who.0)
}

/// The epoch of this time.
#[must_use]
pub fn epoch_of(unix_seconds: u64) -> u32 {
    u32::try_from(unix_seconds / EPOCH_SECONDS).unwrap_or(u32::MAX)
}

/// One OS process of a node.
type Who = (NodeId, Incarnation);

/// 32 bytes.
#[derive(Clone, Copy, Debug)]
struct SecretType;

impl KeyType for SecretType {
    fn len(&self) -> usize {
        32
    }
}

/// What datagrams are sealed by in a cluster that has this token. It says nothing of the token.
#[must_use]
pub fn gossip_secret(token: &Token) -> Secret {
    let mut secret = [0; 32];
    let token = Salt::new(HKDF_SHA256, CONTEXT).extract(token.secret());
    let filled = token.expand(&[b"secret"], SecretType).and_then(|out| out.fill(&mut secret));
    // It fails for more than 8,160 bytes only.
    filled.expect("32 bytes can be derived");
    Secret(secret)
}

/// From the secret to the keys.
#[derive(Debug)]
struct Keys(Prk);

impl Keys {
    fn new(secret: &Secret) -> Keys {
        Keys(Salt::new(HKDF_SHA256, CONTEXT).extract(&secret.0))
    }

    fn key(&self, epoch: u32, (node, incarnation): Who) -> LessSafeKey {
        let (epoch, node) = (epoch.to_be_bytes(), node.0.to_be_bytes());
        let incarnation = incarnation.0.to_be_bytes();
        let info: [&[u8]; 3] = [&epoch, &node, &incarnation];
        let key = self.0.expand(&info, &CHACHA20_POLY1305).map(UnboundKey::from);
        // HKDF fails only for keys of more than 8,160 bytes.
        LessSafeKey::new(key.expect("a key of 32 bytes can be derived"))
    }
}

/// Seals what one OS process of a node sends.
#[derive(Debug)]
pub struct DatagramSealer {
    keys: Keys,
    own: Who,
    key: Option<(u32, LessSafeKey)>,
    sealed: u64,
}

impl DatagramSealer {
    /// There must be one only for each incarnation of a node.
    #[must_use]
    pub fn new(secret: &Secret, node: NodeId, incarnation: Incarnation) -> DatagramSealer {
        DatagramSealer { keys: Keys::new(secret), own: (node, incarnation), key: None, sealed: 0 }
    }

    /// The cluster has another secret.
    pub fn rekey(&mut self, secret: &Secret) {
        (self.keys, self.key) = (Keys::new(secret), None);
    }

    /// Seals a datagram of at most [`GOSSIP_BYTES_MAX`]. `None`: it is longer, or 2^64 have been sealed.
    #[must_use]
    pub fn seal(&mut self, epoch: u32, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes.len() > GOSSIP_BYTES_MAX {
            return None;
        }
        self.sealed = self.sealed.checked_add(1)?;
        let (number, own) = (self.sealed, self.own);
        if self.key.as_ref().is_none_or(|(of, _)| *of != epoch) {
            self.key = Some((epoch, self.keys.key(epoch, own)));
        }
        let (_, key) = self.key.as_ref()?;
        let mut datagram = Vec::with_capacity(bytes.len() + SEAL_BYTES);
        datagram.push(DATAGRAM_VERSION);
        datagram.extend(epoch.to_be_bytes());
        datagram.extend(own.0.0.to_be_bytes());
        datagram.extend(own.1.0.to_be_bytes());
        datagram.extend(number.to_be_bytes());
        datagram.extend(bytes);
        let (head, content) = datagram.split_at_mut(HEAD_BYTES);
        let tag = key.seal_in_place_separate_tag(nonce(number), Aad::from(head), content).ok()?;
        datagram.extend(tag.as_ref());
        Some(datagram)
    }
}

/// Opens what others send.
#[derive(Debug)]
pub struct DatagramOpener {
    /// Of all secrets that are accepted.
    keys: Vec<Keys>,
    own: Who,
    senders: HashMap<Who, Sender>,
}

#[derive(Debug)]
struct Sender {
    /// The key that it used last, and in which epoch.
    key: Option<(u32, LessSafeKey)>,
    /// The newest epoch in which it has sealed one.
    epoch: u32,
    newest: u64,
    /// Which of those before have come: bit 0 is the newest.
    come: u128,
}

impl DatagramOpener {
    /// For this OS process of a node; these secrets are accepted.
    #[must_use]
    pub fn new(secrets: &[Secret], node: NodeId, incarnation: Incarnation) -> DatagramOpener {
        let keys = secrets.iter().map(Keys::new).collect();
        DatagramOpener { keys, own: (node, incarnation), senders: HashMap::new() }
    }

    /// These are accepted from now on, and no others. What has come is remembered.
    pub fn rekey(&mut self, secrets: &[Secret]) {
        self.keys = secrets.iter().map(Keys::new).collect();
        self.senders.values_mut().for_each(|sender| sender.key = None);
    }

    /// What is in a datagram that has come now, in this epoch.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub fn open(&mut self, now: u32, datagram: &[u8]) -> Result<Vec<u8>, DatagramError> {
        if !(SEAL_BYTES..=DATAGRAM_BYTES_MAX).contains(&datagram.len()) {
            return Err(DatagramError::Length);
        }
        let (head, sealed) = datagram.split_at(HEAD_BYTES);
        let Head { epoch, who, number } = Head::read(head)?;
        if epoch.abs_diff(now) > 1 {
            return Err(DatagramError::Epoch);
        }
        if who == self.own {
            return Err(DatagramError::Own);
        }
        let sender = self.senders.get(&who);
        if sender.is_some_and(|sender| sender.has_had(number)) {
            return Err(DatagramError::Replayed);
        }
        let open = |key: &LessSafeKey| {
            let mut content = sealed.to_vec();
            let opened = key.open_in_place(nonce(number), Aad::from(head), &mut content).ok()?;
            let length = opened.len();
            content.truncate(length);
            Some(content)
        };
        let known = sender.and_then(|sender| sender.key.as_ref()).filter(|(of, _)| *of == epoch);
        if let Some(content) = known.and_then(|(_, key)| open(key)) {
            self.take(now, epoch, who, number, None)?;
            return Ok(content);
        }
        // It is another hour, or the sender has heard of another secret.
        for keys in &self.keys {
            let key = keys.key(epoch, who);
            if let Some(content) = open(&key) {
                self.take(now, epoch, who, number, Some(key))?;
                return Ok(content);
            }
        }
        Err(DatagramError::Forged)
    }

    /// Remembers that this one has come.
    fn take(
        &mut self,
        now: u32,
        epoch: u32,
        who: Who,
        number: u64,
        key: Option<LessSafeKey>,
    ) -> Result<(), DatagramError> {
        if self.senders.len() >= SENDERS_MAX && !self.senders.contains_key(&who) {
            // What these have sent is of no epoch that is taken: none of it can come again.
            self.senders.retain(|_, sender| sender.epoch.saturating_add(1) >= now);
            if self.senders.len() >= SENDERS_MAX {
                return Err(DatagramError::Senders);
            }
        }
        match (self.senders.get_mut(&who), key) {
            (Some(sender), key) => {
                if let Some(key) = key {
                    sender.key = Some((epoch, key));
                }
                sender.epoch = sender.epoch.max(epoch);
                sender.takes(number);
            }
            (None, Some(key)) => {
                self.senders.insert(
                    who,
                    Sender { key: Some((epoch, key)), epoch, newest: number, come: 1 },
                );
            }
            (None, None) => {}
        }
        Ok(())
    }
}

impl Sender {
    /// Whether one of this number has come, or is too old to tell.
    fn has_had(&self, number: u64) -> bool {
        let behind = self.newest.saturating_sub(number);
        number <= self.newest && (behind >= WINDOW || self.come >> behind & 1 == 1)
    }

    fn takes(&mut self, number: u64) {
        if let Some(ahead) = number.checked_sub(self.newest).filter(|ahead| *ahead > 0) {
            let moved = u32::try_from(ahead).ok().and_then(|ahead| self.come.checked_shl(ahead));
            self.come = moved.unwrap_or(0);
            self.newest = number;
        }
        self.come |= 1 << (self.newest - number);
    }
}

struct Head {
    epoch: u32,
    who: Who,
    number: u64,
}

impl Head {
    /// Of exactly [`HEAD_BYTES`].
    fn read(head: &[u8]) -> Result<Head, DatagramError> {
        let (version, rest) = head.split_first().ok_or(DatagramError::Length)?;
        if *version != DATAGRAM_VERSION {
            return Err(DatagramError::Version);
        }
        let (epoch, rest) = rest.split_first_chunk().ok_or(DatagramError::Length)?;
        let (node, rest) = rest.split_first_chunk().ok_or(DatagramError::Length)?;
        let (incarnation, rest) = rest.split_first_chunk().ok_or(DatagramError::Length)?;
        let number = rest.try_into().map_err(|_| DatagramError::Length)?;
        let node = NodeId(u128::from_be_bytes(*node));
        let incarnation = Incarnation(u64::from_be_bytes(*incarnation));
        let (epoch, number) = (u32::from_be_bytes(*epoch), u64::from_be_bytes(number));
        Ok(Head { epoch, who: (node, incarnation), number })
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 500_000;

    fn secret(byte: u8) -> Secret {
        let text = char::from(b'a' + byte).to_string().repeat(51) + "a";
        gossip_secret(&text.parse().unwrap())
    }

    fn sealer(node: u128) -> DatagramSealer {
        DatagramSealer::new(&secret(1), NodeId(node), Incarnation(7))
    }

    fn opener() -> DatagramOpener {
        DatagramOpener::new(&[secret(1)], NodeId(1), Incarnation(1))
    }

    fn seal(sealer: &mut DatagramSealer, bytes: &[u8]) -> Vec<u8> {
        sealer.seal(NOW, bytes).unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened() {
        let (mut sealer, mut opener) = (sealer(2), opener());
        let longest = vec![5; GOSSIP_BYTES_MAX];
        for bytes in [&b""[..], b"gossip", &longest] {
            let datagram = seal(&mut sealer, bytes);
            assert_eq!(datagram.len(), bytes.len() + SEAL_BYTES);
            assert!(!datagram.windows(6).any(|part| part == b"gossip" || part == [5; 6]));
            assert_eq!(opener.open(NOW, &datagram).unwrap(), bytes);
        }
        assert_eq!(sealer.seal(NOW, &vec![5; GOSSIP_BYTES_MAX + 1]), None);
    }

    #[test]
    fn what_was_changed_or_cut_is_refused() {
        let good = seal(&mut sealer(2), b"all that is said");
        let check = |bytes: &[u8]| opener().open(NOW, bytes);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                check(&bad).expect_err("a changed bit");
            }
            check(&good[..at]).expect_err("cut");
        }
        assert_eq!(check(&[&good[..], b"x"].concat()), Err(DatagramError::Forged));
        assert_eq!(
            check(&vec![DATAGRAM_VERSION; DATAGRAM_BYTES_MAX + 1]),
            Err(DatagramError::Length)
        );
        assert_eq!(check(&good[..SEAL_BYTES - 1]), Err(DatagramError::Length));
        let mut other = good.clone();
        other[0] += 1;
        assert_eq!(check(&other), Err(DatagramError::Version));
        assert_eq!(check(&good).unwrap(), b"all that is said");
    }

    #[test]
    fn a_secret_is_followed_by_another() {
        let (mut sealer, mut opener) = (sealer(2), opener());
        let first = seal(&mut sealer, b"x");
        opener.open(NOW, &first).unwrap();
        let before = seal(&mut sealer, b"x");
        sealer.rekey(&secret(2));
        let after = seal(&mut sealer, b"x");
        assert_eq!(opener.open(NOW, &after), Err(DatagramError::Forged));
        opener.rekey(&[secret(2), secret(1)]);
        assert_eq!(opener.open(NOW, &first), Err(DatagramError::Replayed));
        opener.open(NOW, &before).unwrap();
        opener.open(NOW, &after).unwrap();
        // The first one is accepted no more.
        let mut late = self::sealer(2);
        late.sealed = 100;
        opener.rekey(&[secret(2)]);
        assert_eq!(opener.open(NOW, &seal(&mut late, b"x")), Err(DatagramError::Forged));
        opener.open(NOW, &seal(&mut sealer, b"x")).unwrap();
        let token: Token = "a".repeat(52).parse().unwrap();
        assert_ne!(&gossip_secret(&token).0, token.secret());
    }

    #[test]
    fn another_token_opens_nothing() {
        let datagram = seal(&mut sealer(2), b"x");
        let mut other = DatagramOpener::new(&[secret(2)], NodeId(1), Incarnation(1));
        assert_eq!(other.open(NOW, &datagram), Err(DatagramError::Forged));
        let mut own = DatagramOpener::new(&[secret(1)], NodeId(2), Incarnation(7));
        assert_eq!(own.open(NOW, &datagram), Err(DatagramError::Own));
    }

    #[test]
    fn each_is_taken_once_in_any_order() {
        let (mut sealer, mut opener) = (sealer(2), opener());
        let count = WINDOW as usize + 50;
        let all: Vec<Vec<u8>> = (0..count).map(|_| seal(&mut sealer, b"x")).collect();
        let mut open = |at: usize| opener.open(NOW, &all[at]).map(|_| ());
        for at in [10, 3, 40, 39] {
            assert_eq!(open(at), Ok(()));
            assert_eq!(open(at), Err(DatagramError::Replayed));
        }
        // The newest moves the window: those that are as far behind as it is wide are too old.
        assert_eq!(open(count - 1), Ok(()));
        let first = count - WINDOW as usize;
        assert_eq!(open(first - 1), Err(DatagramError::Replayed));
        for at in first..count - 1 {
            assert_eq!(open(at), Ok(()), "{at}");
            assert_eq!(open(at), Err(DatagramError::Replayed));
        }
        for at in 0..count {
            assert_eq!(open(at), Err(DatagramError::Replayed));
        }
        // What is forged moves nothing.
        let mut far = all[0].clone();
        far[HEAD_BYTES - 8..HEAD_BYTES].copy_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(opener.open(NOW, &far), Err(DatagramError::Forged));
        opener.open(NOW, &seal(&mut sealer, b"x")).unwrap();
        // A jump over the whole window.
        sealer.sealed += 1 << 40;
        let last = seal(&mut sealer, b"x");
        opener.open(NOW, &last).unwrap();
        assert_eq!(opener.open(NOW, &last), Err(DatagramError::Replayed));
    }

    #[test]
    fn only_this_epoch_and_its_neighbours_are_taken() {
        let (mut sealer, mut opener) = (sealer(2), opener());
        for epoch in [NOW - 2, NOW + 2, 0, u32::MAX] {
            let datagram = sealer.seal(epoch, b"x").unwrap();
            assert_eq!(opener.open(NOW, &datagram), Err(DatagramError::Epoch));
        }
        let before = sealer.seal(NOW - 1, b"x").unwrap();
        let changes = [NOW - 1, NOW, NOW - 1, NOW + 1, NOW];
        for datagram in changes.map(|epoch| sealer.seal(epoch, b"x").unwrap()) {
            opener.open(NOW, &datagram).unwrap();
        }
        // An older one under an older key, once.
        opener.open(NOW, &before).unwrap();
        assert_eq!(opener.open(NOW, &before), Err(DatagramError::Replayed));
        assert_eq!(epoch_of(1_800_000_000), 500_000);
    }

    /// Nothing is sealed twice alike: not by one process, not by two of one node, not in two epochs.
    #[test]
    fn keys_and_nonces_differ() {
        let mut one = sealer(2);
        let mut next = DatagramSealer::new(&secret(1), NodeId(2), Incarnation(8));
        let mut other = sealer(3);
        let sealed = [
            one.seal(NOW, &[0; 32]),
            one.seal(NOW, &[0; 32]),
            next.seal(NOW, &[0; 32]),
            other.seal(NOW, &[0; 32]),
        ];
        let mut contents: Vec<Vec<u8>> =
            sealed.map(|one| one.unwrap()[HEAD_BYTES..].to_vec()).to_vec();
        // The same number again, an hour later.
        one.sealed = 0;
        contents.push(one.seal(NOW + 1, &[0; 32]).unwrap()[HEAD_BYTES..].to_vec());
        contents.sort();
        contents.dedup();
        assert_eq!(contents.len(), 5);
    }

    #[test]
    fn senders_have_a_limit_and_make_room_when_they_are_old() {
        let mut opener = opener();
        for node in 0..SENDERS_MAX as u128 {
            opener.open(NOW, &seal(&mut sealer(node + 2), b"x")).unwrap();
        }
        let mut one_more = sealer(1 << 100);
        assert_eq!(opener.open(NOW, &seal(&mut one_more, b"x")), Err(DatagramError::Senders));
        opener
            .open(NOW, &DatagramSealer { sealed: 1, ..sealer(2) }.seal(NOW, b"x").unwrap())
            .unwrap();
        let later = NOW + 2;
        opener.open(later, &one_more.seal(later, b"x").unwrap()).unwrap();
        assert_eq!(opener.senders.len(), 1);
        assert_eq!(
            opener.open(later, &seal(&mut sealer(2), b"x")),
            Err(DatagramError::Epoch),
            "what was forgotten cannot come again"
        );
    }
}
