//! Messages: bytes that somebody sends and waits for the reply to.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::raw::ENVELOPE_BYTES;
use crate::{Ended, Error, NameLost, Pid, buffers, raw};

/// Bytes of one message, or of one reply.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Sends a message and waits for the reply, which may come from whomever the receiver has forwarded it to.
///
/// # Errors
/// [`Error::NoProcess`], [`Error::Unreachable`], [`Error::Deadlock`], [`Error::Full`], [`Error::TooLong`].
pub fn send<'r>(to: Pid, message: &[u8], reply: &'r mut [u8]) -> Result<&'r [u8], Error> {
    let len = Error::check(raw::send(to.bytes(), message, reply))?;
    Ok(&reply[..len])
}

/// Sends a value, encoded with postcard, and waits for the reply: bytes.
///
/// # Errors
/// As [`send`].
pub fn send_value<'r, T: Serialize + ?Sized>(
    to: Pid,
    value: &T,
    reply: &'r mut [u8],
) -> Result<&'r [u8], Error> {
    buffers::for_call(|buffer| {
        let message = postcard::to_slice(value, buffer)?;
        send(to, message, reply)
    })
}

/// Sets bits for a process, which gets all that have been set with its next receive. Does not wait; whether it is there
/// is not told.
///
/// # Errors
/// [`Error::NoProcess`].
pub fn notify(to: Pid, bits: u64) -> Result<(), Error> {
    Error::check(raw::notify(to.bytes(), bits)).map(drop)
}

/// Waits for what comes next: first notified bits, then ends, then messages, the oldest first.
///
/// # Errors
/// [`Error::TooLong`]: the message does not fit. It can be received again.
pub fn receive(buffer: &mut [u8]) -> Result<Received<'_>, Error> {
    receive_raw(None, buffer, -1)
}

/// Waits for a message of this process, or for its end.
///
/// # Errors
/// As [`receive`].
pub fn receive_from(from: Pid, buffer: &mut [u8]) -> Result<Received<'_>, Error> {
    receive_raw(Some(from), buffer, -1)
}

/// Waits for what comes next, no longer than this.
///
/// # Errors
/// [`Error::TimedOut`], and as [`receive`].
pub fn receive_timeout(timeout: Duration, buffer: &mut [u8]) -> Result<Received<'_>, Error> {
    // Longer than can be counted is for ever.
    receive_raw(None, buffer, i64::try_from(timeout.as_nanos()).unwrap_or(-1))
}

fn receive_raw(
    from: Option<Pid>,
    buffer: &mut [u8],
    timeout_ns: i64,
) -> Result<Received<'_>, Error> {
    let mut envelope = [0; ENVELOPE_BYTES];
    let from = from.as_ref().map(Pid::bytes);
    let len = Error::check(raw::receive(from, buffer, &mut envelope, timeout_ns))?;
    Received::of(Caller(envelope), &buffer[..len])
}

/// What has been received.
#[derive(Debug)]
pub enum Received<'a> {
    /// A message. Its sender waits.
    Message(Message<'a>),
    /// Bits that somebody has notified.
    Notification(u64),
    /// A process that is monitored has ended.
    Ended(Ended),
    /// A name of the receiver is somebody else's.
    NameLost(NameLost),
}

impl<'a> Received<'a> {
    fn of(caller: Caller, bytes: &'a [u8]) -> Result<Received<'a>, Error> {
        match caller.kind() {
            0 => Ok(Received::Message(Message { bytes, caller })),
            1 => Ok(Received::Notification(caller.transaction())),
            2 => Ok(Received::Ended(Ended::new(caller.pid(), caller.transaction()))),
            3 => Ok(Received::NameLost(NameLost::new(bytes, caller.pid()))),
            kind => Err(Error::Other(kind as i32)),
        }
    }

    /// The message, if it is one.
    pub fn message(self) -> Option<Message<'a>> {
        match self {
            Received::Message(message) => Some(message),
            _ => None,
        }
    }
}

/// A message, and who waits for the reply.
#[derive(Debug)]
pub struct Message<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its sender. To reply later, keep it.
    pub caller: Caller,
}

impl Message<'_> {
    /// Replies with bytes.
    ///
    /// # Errors
    /// As [`Caller::reply`].
    pub fn reply(self, message: &[u8]) -> Result<(), Error> {
        self.caller.reply(message)
    }

    /// Reads a value that was encoded with postcard.
    ///
    /// # Errors
    /// [`Error::Misunderstood`].
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(postcard::from_bytes(self.bytes)?)
    }
}

/// Somebody who waits for a reply. He waits until he gets it, also when this is dropped.
#[derive(Debug)]
#[must_use = "its sender waits for a reply"]
pub struct Caller([u8; ENVELOPE_BYTES]);

impl Caller {
    pub(crate) fn from_envelope(envelope: [u8; ENVELOPE_BYTES]) -> Caller {
        Caller(envelope)
    }

    /// Who it is.
    #[must_use]
    pub fn pid(&self) -> Pid {
        let mut pid = Pid::NOBODY;
        pid.bytes_mut().copy_from_slice(&self.0[..16]);
        pid
    }

    /// Replies: the sender goes on. Does not wait.
    ///
    /// # Errors
    /// [`Error::NotWaiting`]: nobody waits for this reply any more. [`Error::TooLong`].
    pub fn reply(self, message: &[u8]) -> Result<(), Error> {
        Error::check(raw::reply(&self.0, message)).map(drop)
    }

    /// Replies with a value, encoded with postcard.
    ///
    /// # Errors
    /// As [`Caller::reply`].
    pub fn reply_with<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        buffers::for_call(|buffer| {
            let message = postcard::to_slice(value, buffer)?;
            self.reply(message)
        })
    }

    /// Replies, and waits for what comes next, as [`receive`]: a server's loop, in one call.
    ///
    /// ```no_run
    /// use peripatos::{Error, Received, receive};
    ///
    /// let mut buffer = [0; 64];
    /// let mut received = receive(&mut buffer);
    /// while let Ok(Received::Message(message)) = received {
    ///     let reversed: Vec<u8> = message.bytes.iter().rev().copied().collect();
    ///     received = match message.caller.reply_receive(&reversed, &mut buffer) {
    ///         // It has ended meanwhile; others have not.
    ///         Err(Error::NotWaiting) => receive(&mut buffer),
    ///         received => received,
    ///     };
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Caller::reply`] and [`receive`]. After [`Error::NotWaiting`] nobody has got the reply; after another one somebody may
    /// have.
    pub fn reply_receive<'a>(
        mut self,
        message: &[u8],
        buffer: &'a mut [u8],
    ) -> Result<Received<'a>, Error> {
        let len = Error::check(raw::reply_receive(&mut self.0, message, buffer))?;
        Received::of(self, &buffer[..len])
    }

    /// The same; the reply is the first `len` bytes of the buffer.
    pub(crate) fn reply_receive_in_place(
        mut self,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<Received<'_>, Error> {
        let len = Error::check(raw::reply_receive_in_place(&mut self.0, buffer, len))?;
        Received::of(self, &buffer[..len])
    }

    /// Hands a message on to another process, which replies in one's stead. Does not wait.
    ///
    /// # Errors
    /// [`Error::NotWaiting`], [`Error::NoProcess`], [`Error::Deadlock`], [`Error::Full`], [`Error::TooLong`].
    pub fn forward(self, to: Pid, message: &[u8]) -> Result<(), Error> {
        Error::check(raw::forward(&self.0, to.bytes(), message)).map(drop)
    }

    pub(crate) fn envelope(&self) -> &[u8; ENVELOPE_BYTES] {
        &self.0
    }

    /// What distinguishes its send from all others.
    pub(crate) fn send_id(&self) -> [u8; 24] {
        let mut id = [0; 24];
        id.copy_from_slice(&self.0[..24]);
        id
    }

    pub(crate) fn transaction(&self) -> u64 {
        let [low, high] = [self.number(16), self.number(20)];
        u64::from(high) << 32 | u64::from(low)
    }

    /// Of a message 0; see `docs/messages.md`.
    pub(crate) fn kind(&self) -> u32 {
        self.number(28)
    }

    /// The length of the message, or of the name.
    pub(crate) fn len(&self) -> usize {
        self.number(24) as usize
    }

    fn number(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_le_bytes(bytes)
    }
}
