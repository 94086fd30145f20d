//! Why a call was not answered.

use std::fmt;

/// Why a call was not answered. Nothing has happened then, if it is not said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    /// Nobody has this pid, or has it any more. If it ended while its reply was waited for, it may have acted.
    NoProcess,
    /// The node that ran it cannot be reached: whether it has acted is not known.
    Unreachable,
    /// Over [`MESSAGE_BYTES_MAX`](crate::MESSAGE_BYTES_MAX), or no room for it. A message that was to be received stays
    /// where it is. A reply that does not fit is lost.
    TooLong,
    /// Nothing came in time.
    TimedOut,
    /// The receiver waits, directly or through others, for the caller.
    Deadlock,
    /// Nobody waits for this reply any more.
    NotWaiting,
    /// Too many messages wait for the receiver.
    Full,
    /// The call is not for this moment, or not for a handler.
    NotNow,
    /// Somebody else has the name.
    NameTaken,
    /// Nobody has the name.
    NoName,
    /// The run has no such program.
    NoProgram,
    /// The caller may not do that.
    NotPermitted,
    /// As many processes are there as may be.
    TooMany,
    /// The other side does not know this method, or has read its arguments otherwise: it is of another program or version.
    Misunderstood,
    /// A status that this version does not know.
    Other(i32),
}

impl Error {
    /// What a call has answered: a length, if it is not negative.
    pub(crate) fn check(answer: i32) -> Result<usize, Error> {
        if let Ok(length) = usize::try_from(answer) {
            return Ok(length);
        }
        Err(match answer {
            -2 => Error::NoProcess,
            -3 => Error::Unreachable,
            -4 => Error::TooLong,
            -6 => Error::TimedOut,
            -7 => Error::Deadlock,
            -8 => Error::NotWaiting,
            -9 => Error::Full,
            -10 => Error::NotNow,
            -11 => Error::NameTaken,
            -12 => Error::NoName,
            -13 => Error::NoProgram,
            -14 => Error::NotPermitted,
            -15 => Error::TooMany,
            other => Error::Other(other),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Error::NoProcess => "no such process",
            Error::Unreachable => "unreachable; the outcome is not known",
            Error::TooLong => "too long",
            Error::TimedOut => "timed out",
            Error::Deadlock => "deadlock",
            Error::NotWaiting => "nobody waits for this reply",
            Error::Full => "the receiver's queue is full",
            Error::NotNow => "not now",
            Error::NameTaken => "the name is taken",
            Error::NoName => "no such name",
            Error::NoProgram => "no such program",
            Error::NotPermitted => "not permitted",
            Error::TooMany => "too many processes",
            Error::Misunderstood => "the other side does not understand",
            Error::Other(code) => return write!(f, "status {code}"),
        };
        f.write_str(text)
    }
}

impl std::error::Error for Error {}

impl From<postcard::Error> for Error {
    fn from(error: postcard::Error) -> Error {
        match error {
            postcard::Error::SerializeBufferFull => Error::TooLong,
            _ => Error::Misunderstood,
        }
    }
}
