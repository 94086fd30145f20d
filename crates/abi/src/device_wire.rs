//! The wire form of device requests and replies: postcard, and what is checked besides.
//!
//! The protocol's types are encoded as they are. What comes from a peer is an allegation:
//! * what has fewer values than its number has bits (an error, a flag word, a file type) is encoded
//!   as that number and decoded through its checked `from_code` or `from_bits`;
//! * lengths are checked after decoding, against [`crate::limits`]: the bytes were limited before.
//!
//! There is no version here: nodes compare theirs when they meet.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::device::{Reply, Request};
use crate::limits::{
    DEVICE_BYTES_MAX, DIRECTORY_ENTRY_BYTES, LISTING_BYTES_MAX, PATH_BYTES_MAX, SUBSCRIPTIONS_MAX,
    TRANSFER_BYTES_MAX,
};
use crate::{
    Advice, ClockId, Errno, EventFlags, EventKind, FdFlags, FileType, LookupFlags, OpenFlags,
    ReceiveFlags, Rights, SetTimesFlags, ShutdownFlags, Whence,
};

/// Why bytes are not a request or reply, or why one cannot become bytes. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The wire form has so many bytes, more than [`DEVICE_BYTES_MAX`].
    #[error("a device request or reply of {0} bytes is longer than {DEVICE_BYTES_MAX}")]
    TooLong(usize),
    /// Cut short, followed by other bytes, or not of this form.
    #[error("a device request or reply is damaged: {0}")]
    Damaged(String),
    /// A number in it means nothing.
    #[error("a device request or reply is damaged: a number in it means nothing")]
    OutOfRange,
    /// Something in it is longer than the protocol allows.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// What a request or reply has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A path of more than [`PATH_BYTES_MAX`] bytes.
    #[error("a path has {0} bytes, more than {PATH_BYTES_MAX}")]
    Path(usize),
    /// More than [`TRANSFER_BYTES_MAX`] bytes moved at once.
    #[error("{0} bytes are moved at once, more than {TRANSFER_BYTES_MAX}")]
    Transfer(usize),
    /// More than [`SUBSCRIPTIONS_MAX`] subscriptions or events.
    #[error("{0} subscriptions or events, more than {SUBSCRIPTIONS_MAX}")]
    Subscriptions(usize),
    /// A listing of more than [`LISTING_BYTES_MAX`] bytes in the guest's form.
    #[error("a listing has {0} bytes, more than {LISTING_BYTES_MAX}")]
    Listing(usize),
}

impl LimitError {
    /// What a process is told that comes upon this limit.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Path(_) => Errno::NameTooLong,
            Self::Transfer(_) | Self::Subscriptions(_) => Errno::Inval,
            Self::Listing(_) => Errno::Overflow,
        }
    }
}

/// The wire form of a request.
///
/// # Errors
/// [`WireError::Limit`] or [`WireError::TooLong`].
pub fn encode_request(request: &Request) -> Result<Vec<u8>, WireError> {
    request.check()?;
    encode(request)
}

/// The request of this wire form, checked.
///
/// # Errors
/// When the bytes are too many, damaged, or say something impossible.
pub fn decode_request(bytes: &[u8]) -> Result<Request, WireError> {
    let request: Request = decode(bytes)?;
    request.check()?;
    Ok(request)
}

/// The wire form of a reply.
///
/// # Errors
/// [`WireError::Limit`] or [`WireError::TooLong`].
pub fn encode_reply(reply: &Reply) -> Result<Vec<u8>, WireError> {
    reply.check()?;
    encode(reply)
}

/// The reply of this wire form, checked.
///
/// # Errors
/// When the bytes are too many, damaged, or say something impossible.
pub fn decode_reply(bytes: &[u8]) -> Result<Reply, WireError> {
    let reply: Reply = decode(bytes)?;
    reply.check()?;
    Ok(reply)
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, WireError> {
    let bytes =
        postcard::to_stdvec(value).map_err(|error| WireError::Damaged(error.to_string()))?;
    if bytes.len() > DEVICE_BYTES_MAX {
        return Err(WireError::TooLong(bytes.len()));
    }
    Ok(bytes)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WireError> {
    if bytes.len() > DEVICE_BYTES_MAX {
        return Err(WireError::TooLong(bytes.len()));
    }
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|error| match error {
        postcard::Error::SerdeDeCustom => WireError::OutOfRange,
        error => WireError::Damaged(error.to_string()),
    })?;
    if !rest.is_empty() {
        return Err(WireError::Damaged("bytes follow its end".into()));
    }
    Ok(value)
}

impl Request {
    /// Whether its lengths are within the limits, so that it and its reply can travel. For whoever
    /// decodes it as a part of something else, or does not know who made it.
    ///
    /// A read of too many bytes is not an error: it is short. A listing of too many cannot be told
    /// from the request: see [`Reply::check`].
    ///
    /// # Errors
    /// What there is too much of.
    pub fn check(&self) -> Result<(), LimitError> {
        match self {
            // Cannot be short.
            Self::Random(len) => transfer(*len as usize),
            Self::Write { data, .. } | Self::Send { data, .. } => transfer(data.len()),
            Self::CreateDirectory { path: one, .. }
            | Self::PathFilestatGet { path: one, .. }
            | Self::PathFilestatSetTimes { path: one, .. }
            | Self::Open { path: one, .. }
            | Self::ReadLink { path: one, .. }
            | Self::RemoveDirectory { path: one, .. }
            | Self::UnlinkFile { path: one, .. } => path(one),
            Self::Link { from_path: one, to_path: other, .. }
            | Self::Rename { from_path: one, to_path: other, .. }
            | Self::Symlink { target: one, path: other, .. } => {
                path(one).and_then(|()| path(other))
            }
            Self::Poll(subscriptions) => subscribed(subscriptions.len()),
            Self::ClockResolution(_)
            | Self::ClockTime(_)
            | Self::Advise { .. }
            | Self::Allocate { .. }
            | Self::Close(_)
            | Self::DataSync(_)
            | Self::Sync(_)
            | Self::FdstatGet(_)
            | Self::FdstatSetFlags { .. }
            | Self::FdstatSetRights { .. }
            | Self::FilestatGet(_)
            | Self::FilestatSetSize { .. }
            | Self::FilestatSetTimes { .. }
            | Self::Read { .. }
            | Self::PreopenName(_)
            | Self::ReadDirectory { .. }
            | Self::Renumber { .. }
            | Self::Seek { .. }
            | Self::Tell(_)
            | Self::Accept { .. }
            | Self::Receive { .. }
            | Self::Shutdown { .. } => Ok(()),
        }
    }
}

impl Reply {
    /// Whether its lengths are within the limits, so that it can travel. An origin's own replies
    /// to a [checked](Request::check) request are, but for a listing into more than
    /// [`TRANSFER_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// What there is too much of.
    pub fn check(&self) -> Result<(), LimitError> {
        match self {
            Self::Data(data) => transfer(data.len()),
            Self::Entries(entries) => {
                let bytes =
                    entries.iter().map(|entry| DIRECTORY_ENTRY_BYTES as usize + entry.name.len());
                limit(bytes.sum(), LISTING_BYTES_MAX, LimitError::Listing)
            }
            Self::Events(events) => subscribed(events.len()),
            Self::Failed(_)
            | Self::Done
            | Self::Number(_)
            | Self::GoOn(_)
            | Self::Descriptor(_)
            | Self::Fdstat(_)
            | Self::Filestat(_) => Ok(()),
        }
    }
}

fn path(path: &str) -> Result<(), LimitError> {
    limit(path.len(), PATH_BYTES_MAX, LimitError::Path)
}

fn transfer(bytes: usize) -> Result<(), LimitError> {
    limit(bytes, TRANSFER_BYTES_MAX, LimitError::Transfer)
}

fn subscribed(count: usize) -> Result<(), LimitError> {
    limit(count, SUBSCRIPTIONS_MAX, LimitError::Subscriptions)
}

fn limit(count: usize, max: u32, error: fn(usize) -> LimitError) -> Result<(), LimitError> {
    if count > max as usize { Err(error(count)) } else { Ok(()) }
}

/// Types encoded as the number the guest sees, and decoded through a function that refuses numbers
/// without meaning.
macro_rules! by_number {
    ($($name:ty: $repr:ty, $to:ident, $from:ident;)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.$to().serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = <$repr>::deserialize(deserializer)?;
                let unknown = || D::Error::custom(concat!("no such ", stringify!($name)));
                Self::$from(number).ok_or_else(unknown)
            }
        }
    )*};
}

by_number! {
    Errno: u16, code, from_code;
    FileType: u8, code, from_code;
    Whence: u8, code, from_code;
    Advice: u8, code, from_code;
    ClockId: u32, code, from_code;
    EventKind: u8, code, from_code;
    Rights: u64, bits, from_bits;
    FdFlags: u16, bits, from_bits;
    OpenFlags: u16, bits, from_bits;
    LookupFlags: u32, bits, from_bits;
    SetTimesFlags: u16, bits, from_bits;
    EventFlags: u16, bits, from_bits;
    ReceiveFlags: u16, bits, from_bits;
    ShutdownFlags: u8, bits, from_bits;
}

/// An error or success, as the guest sees it: success is 0.
pub(crate) mod status {
    use super::{Deserialize, Deserializer, Errno, Serialize, Serializer};
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(
        error: &Option<Errno>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        error.map_or(Errno::SUCCESS, Errno::code).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Errno>, D::Error> {
        match u16::deserialize(deserializer)? {
            Errno::SUCCESS => Ok(None),
            code => {
                Errno::from_code(code).map(Some).ok_or_else(|| D::Error::custom("no such errno"))
            }
        }
    }
}

/// Bytes, shared or not, copied as a whole rather than one by one.
pub(crate) mod bytes {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<T: AsRef<Vec<u8>>, S: Serializer>(
        data: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(data.as_ref())
    }

    pub(crate) fn deserialize<'de, T: From<Vec<u8>>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        deserializer.deserialize_byte_buf(Bytes).map(T::from)
    }

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }
}

/// A shared list, as the list.
pub(crate) mod list {
    use std::sync::Arc;

    use super::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(
        list: &Arc<Vec<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        list.as_ref().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<Vec<T>>, D::Error> {
        Vec::deserialize(deserializer).map(Arc::new)
    }
}
