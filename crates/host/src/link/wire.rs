//! A wire: a connection beside a link for the packets of message kernels, from one core to one core, both ways.
//!
//! Packets over a link pass two threads and four buffers that they share with everything else. A wire's are sealed and
//! opened by the cores that send and receive them.
//!
//! It is announced over the link, with a key for each direction, and begins as a lane does. Then records go both ways:
//!
//! ```text
//! "PERILANE" | name, 16 bytes
//! record*:  length u32 | packets in their wire form, one behind the other, so many bytes, sealed | tag, 16 bytes
//! ```
//! Invariants:
//! * The first record is empty: whoever sends it has the key. Nothing is sent before the other side's was opened.
//! * A record that is missing, changed, repeated or out of order ends the wire; so does a packet that is none, or is not
//!   within its limits.
//! * Lengths are checked before anything is allocated; what waits to be sent has a limit ([`BACKLOG_BYTES_MAX`]).
//! * Nothing here waits.
//!
//! What is lost with a wire is lost for kernels, which say it again.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use peripatos_cluster::message::Lane;
use peripatos_kernel::Packet;

use super::lane::{Sealer, TAG_BYTES};

use crate::fence;

/// Bytes of a record's packets: what may be gathered, and one more of the longest.
pub(crate) const RECORD_BYTES_MAX: usize = GATHERED_BYTES_MAX + (68 << 10);
/// With so many bytes of packets a record is complete.
const GATHERED_BYTES_MAX: usize = 32 << 10;
/// Bytes that may wait for the other side to take them. With more no packet is taken.
pub(crate) const BACKLOG_BYTES_MAX: usize = 1 << 20;
/// What is read at once, if no longer record is on its way.
const READ_BYTES: usize = 64 << 10;
/// A buffer that is larger when it is empty is given back.
const KEPT_BYTES_MAX: usize = 128 << 10;
const HEAD_BYTES: usize = 4;

/// Why a wire ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The other side has closed it.
    #[error("the other side closed it")]
    Closed,
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A record is longer than any.
    #[error("a record of {0} bytes came, which is too long")]
    TooLong(u32),
    /// A record was not sealed with the wire's key as the next one.
    #[error("a forged record came")]
    Forged,
    /// A record holds something else than packets.
    #[error("what came is no packet: {0}")]
    NoPacket(#[from] postcard::Error),
    /// A packet breaks its limits.
    #[error("{0}")]
    Packet(#[from] peripatos_kernel::PacketError),
    /// What comes next is not what it has to be.
    #[error("{0}")]
    Broken(&'static str),
}

/// The direction that this side sends.
#[derive(Debug)]
pub(crate) struct Sending {
    sealer: Sealer,
    /// Records. From `open` on, one that is not complete.
    bytes: Vec<u8>,
    /// Bytes of them that have left.
    sent: usize,
    open: Option<usize>,
}

impl Sending {
    /// Its first record, which says that this side has the key, waits to be sent.
    pub(crate) fn new(lane: &Lane) -> io::Result<Sending> {
        let sealer = Sealer::new(lane)?;
        let mut sending = Sending { sealer, bytes: Vec::new(), sent: 0, open: None };
        sending.begin();
        sending.seal()?;
        Ok(sending)
    }

    /// Takes a packet. `false`: too much waits already.
    pub(crate) fn put(&mut self, packet: &Packet) -> Result<bool, WireError> {
        if self.waiting() > BACKLOG_BYTES_MAX {
            return Ok(false);
        }
        let begin = self.begin();
        postcard::to_io(packet, &mut self.bytes)?;
        if self.bytes.len() - begin > GATHERED_BYTES_MAX {
            self.seal()?;
        }
        Ok(true)
    }

    /// Bytes that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Sends as much as the other side takes. Whether that was all.
    pub(crate) fn flush(&mut self, mut to: &TcpStream) -> Result<bool, WireError> {
        self.seal()?;
        while self.waiting() > 0 {
            fence::pass();
            match to.write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(WireError::Closed),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.sent > KEPT_BYTES_MAX {
                        self.bytes.drain(..self.sent);
                        self.sent = 0;
                    }
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.sent = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        Ok(true)
    }

    /// Where the record begins that packets are put in.
    fn begin(&mut self) -> usize {
        *self.open.get_or_insert_with(|| {
            let begin = self.bytes.len();
            self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
            begin
        })
    }

    fn seal(&mut self) -> io::Result<()> {
        let Some(begin) = self.open.take() else { return Ok(()) };
        let (head, content) = self.bytes[begin..].split_at_mut(HEAD_BYTES);
        assert!(content.len() <= RECORD_BYTES_MAX, "kernels send nothing longer");
        head.copy_from_slice(&(content.len() as u32).to_le_bytes());
        let tag = self.sealer.seal(head, content)?;
        self.bytes.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

/// The direction that this side receives.
#[derive(Debug)]
pub(crate) struct Receiving {
    sealer: Sealer,
    buffer: Vec<u8>,
    /// What has come and was not opened yet: from here to there.
    begin: usize,
    end: usize,
    proved: bool,
}

impl Receiving {
    pub(crate) fn new(lane: &Lane) -> io::Result<Receiving> {
        let sealer = Sealer::new(lane)?;
        Ok(Receiving { sealer, buffer: Vec::new(), begin: 0, end: 0, proved: false })
    }

    /// Whether the other side has shown that it has the key.
    pub(crate) fn is_proved(&self) -> bool {
        self.proved
    }

    /// Reads what has come, up to the size of a buffer. `false`: nothing has.
    pub(crate) fn read(&mut self, mut from: &TcpStream) -> Result<bool, WireError> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
        let record = HEAD_BYTES + self.next_len()?.unwrap_or(0) + TAG_BYTES;
        if (self.begin + record).max(self.end + 1) > self.buffer.len() {
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            self.buffer.resize(record.max(READ_BYTES).max(self.buffer.len()), 0);
        }
        if self.end == self.buffer.len() {
            // It is full of records that were not taken.
            return Ok(true);
        }
        loop {
            match from.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(WireError::Closed),
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Opens all records that have come whole, and takes out their packets.
    pub(crate) fn take(&mut self, packets: &mut Vec<Packet>) -> Result<(), WireError> {
        while let Some(len) = self.next_len()? {
            let begin = self.begin + HEAD_BYTES;
            if self.end < begin + len + TAG_BYTES {
                break;
            }
            let (head, rest) = self.buffer[self.begin..self.end].split_at_mut(HEAD_BYTES);
            let (content, rest) = rest.split_at_mut(len);
            let mut tag = [0; TAG_BYTES];
            tag.copy_from_slice(&rest[..TAG_BYTES]);
            if !self.sealer.open(head, content, tag) {
                return Err(WireError::Forged);
            }
            self.begin = begin + len + TAG_BYTES;
            if !self.proved && len > 0 {
                return Err(WireError::Broken("it does not begin as a wire does"));
            }
            self.proved = true;
            let mut content = &*content;
            while !content.is_empty() {
                let (packet, rest) = postcard::take_from_bytes::<Packet>(content)?;
                packet.check()?;
                packets.push(packet);
                content = rest;
            }
        }
        Ok(())
    }

    /// The length of the next record, if its head has come.
    fn next_len(&self) -> Result<Option<usize>, WireError> {
        let Some(head) = self.buffer[self.begin..self.end].first_chunk() else { return Ok(None) };
        let len = u32::from_le_bytes(*head);
        if len as usize > RECORD_BYTES_MAX {
            return Err(WireError::TooLong(len));
        }
        Ok(Some(len as usize))
    }
}

#[cfg(test)]
mod tests;
