//! Devices that are a process: what a process asks of them is sent to whoever has a name.
//!
//! A message is the request's sequence number (8 bytes, little-endian) and its wire form
//! ([`peripatos_abi::device::encode_request`]); the reply is the reply's wire form. The envelope says whose request it is.
//! Since a send is exact, and moves along with its sender, so is a request.

use std::task::{Context, Poll};

use peripatos_abi::device::{self, Devices, Reply, Request};
use peripatos_abi::message::Status;
use peripatos_abi::{Errno, Pid};
use peripatos_kernel::Slot;

use super::{Talk, deliver, with};

/// Bytes that are read or written by one request: so that it fits into a message with what is around them.
const TRANSFER_BYTES_MAX: u32 = 32 << 10;

/// The devices of a process that whoever has this name serves. Without such a process every request fails with
/// `Errno::Io`.
#[derive(Clone, Debug)]
pub struct ServedDevices {
    name: Vec<u8>,
}

impl ServedDevices {
    /// Served by whoever has this name when it is asked.
    #[must_use]
    pub fn new(name: &str) -> ServedDevices {
        ServedDevices { name: name.as_bytes().to_vec() }
    }

    fn poll(
        &self,
        talk: &mut Talk,
        slot: Slot,
        sequence: u64,
        request: &Request,
    ) -> Result<Option<Vec<u8>>, Status> {
        if talk.kernel.is_asking(slot) {
            return talk.kernel.asked(slot).transpose();
        }
        let server = talk.names().lookup(&self.name)?;
        let request = device::encode_request(request).map_err(|_| Status::TooLong)?;
        let message = [&sequence.to_le_bytes(), request.as_slice()].concat();
        talk.kernel.ask(slot, server, &message)?;
        Ok(None)
    }
}

impl Devices for ServedDevices {
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        pid: Pid,
        sequence: u64,
        request: &Request,
    ) -> Poll<Reply> {
        let request = &shortened(request);
        let answer = with(|talk| {
            let slot = talk.kernel.find(pid).ok_or(Status::NoProcess)?;
            let answer = self.poll(talk, slot, sequence, request);
            if answer == Ok(None) {
                talk.seat(slot).waker = Some(cx.waker().clone());
            }
            answer
        });
        deliver();
        Poll::Ready(match answer.unwrap_or(Err(Status::NoProcess)) {
            Ok(None) => return Poll::Pending,
            Ok(Some(bytes)) => device::decode_reply(&bytes).unwrap_or(Reply::Failed(Errno::Io)),
            Err(Status::TooLong) => Reply::Failed(Errno::TooBig),
            Err(Status::NotNow) => Reply::Failed(Errno::Busy),
            Err(_) => Reply::Failed(Errno::Io),
        })
    }
}

/// Fewer bytes than were asked for may be read and written.
pub(super) fn shortened(request: &Request) -> Request {
    match request {
        Request::Read { fd, len, offset } => {
            Request::Read { fd: *fd, len: (*len).min(TRANSFER_BYTES_MAX), offset: *offset }
        }
        Request::Write { fd, data, offset } => {
            let data = data[..data.len().min(TRANSFER_BYTES_MAX as usize)].to_vec();
            Request::Write { fd: *fd, data, offset: *offset }
        }
        other => other.clone(),
    }
}
