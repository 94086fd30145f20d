//! Bytes that are kept by one and are on their way by another: a message until it has come, a reply until it was heard.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// As many as lie in the place itself. With them [`Bytes`] are 40 bytes.
const FEW_MAX: usize = 38;

/// Bytes that do not change. A clone is no copy, unless they are few: to share, and to free what another thread has made, takes
/// longer than to copy those.
#[derive(Clone)]
pub struct Bytes(Held);

const _: () = assert!(size_of::<Bytes>() == 40);

#[derive(Clone)]
enum Held {
    Few(u8, [u8; FEW_MAX]),
    Many(Arc<[u8]>),
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        let mut few = [0; FEW_MAX];
        Bytes(match few.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                Held::Few(bytes.len() as u8, few)
            }
            None => Held::Many(bytes.into()),
        })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Few(len, bytes) => &bytes[..usize::from(*len)],
            Held::Many(bytes) => bytes,
        }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self)
    }
}

impl<'d> Deserialize<'d> for Bytes {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Bytes, D::Error> {
        from.deserialize_bytes(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'d> Visitor<'d> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::from(bytes))
    }

    // What a format without a form for bytes makes of them.
    fn visit_seq<A: SeqAccess<'d>>(self, mut seq: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(Bytes::from(bytes.as_slice()))
    }
}
