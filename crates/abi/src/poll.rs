//! What `poll_oneoff` waits for, and what it reports.

use serde::{Deserialize, Serialize};

use crate::{ClockId, Errno, EventFlags, Fd};

/// One thing to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Given back in the event, not interpreted.
    pub userdata: u64,
    /// What is waited for.
    pub subject: Subject,
}

/// What a subscription waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A time.
    Clock {
        /// On which clock.
        clock: ClockId,
        /// Nanoseconds: a reading of the clock if `absolute`, else from now.
        timeout_ns: u64,
        /// Whether `timeout_ns` is a reading of the clock.
        absolute: bool,
    },
    /// Something to read, or the end of the stream.
    Read(Fd),
    /// Room to write.
    Write(Fd),
}

impl Subject {
    /// The kind of event that answers it.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Clock { .. } => EventKind::Clock,
            Self::Read(_) => EventKind::Read,
            Self::Write(_) => EventKind::Write,
        }
    }
}

/// The kind of an event; the numbers are those of preview 1's `eventtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// A clock reached its time.
    Clock = 0,
    /// A descriptor can be read.
    Read = 1,
    /// A descriptor can be written.
    Write = 2,
}

impl EventKind {
    /// The number the guest sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind of this number; `None` where the specification has none.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Clock),
            1 => Some(Self::Read),
            2 => Some(Self::Write),
            _ => None,
        }
    }
}

/// A subscription that came true, or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The subscription's.
    pub userdata: u64,
    /// Why the subscription could not be waited for, if it could not.
    #[serde(with = "crate::device_wire::status")]
    pub error: Option<Errno>,
    /// What happened.
    pub kind: EventKind,
    /// Bytes that can be read or written at once, as far as known; at least 1 where there are any.
    pub bytes: u64,
    /// More about the stream.
    pub flags: EventFlags,
}
