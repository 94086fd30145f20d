//! Framing: how messages and bulk lie in the stream of bytes of a link.
//!
//! A frame is `u32 length of what follows | u8 kind | payload`, little endian. The payload of a [`Frame::Bulk`] is
//! `u64 stream | u8 last | bytes`. Invariants:
//! * The length is checked against the kind's limit before anything is allocated.
//! * A read that is dropped half way loses nothing: the next one goes on where it stopped.
//! * A write that is dropped or fails half way ends the writer: it will not send what the peer would misread.
//! * Bulk is not copied on its way to the cipher.
//!
//! What this does not do: know what messages mean, or split what is too long.

use peripatos_abi::limits::DEVICE_BYTES_MAX;
use std::io::{self, ErrorKind, IoSlice};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::fence;

/// Longest bytes of one message, or of one piece of bulk: a device request and its address fit.
pub const PAYLOAD_BYTES_MAX: usize = DEVICE_BYTES_MAX + (32 << 10);
/// The piece in which bulk should be sent. Longer ones are hardly faster, and messages between two pieces would wait
/// longer; with 64 KiB both ends take a quarter more processor time.
pub const BULK_CHUNK_BYTES: usize = 256 << 10;
/// Longest first frame; read before the peer has said who it is.
pub const HELLO_BYTES_MAX: usize = 4096;

/// Length and kind.
const PREFIX_BYTES: usize = 5;
/// Stream and last.
const BULK_HEAD_BYTES: usize = 9;
/// Frames that fit are gathered and leave together.
const GATHERED_BYTES_MAX: usize = 16 << 10;

const KIND_MESSAGE: u8 = 0;
const KIND_BULK: u8 = 1;
const KIND_HELLO: u8 = 2;

/// One unit of what goes over a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first frame each way.
    Hello(Vec<u8>),
    /// A message of the cluster's protocol.
    Message(Vec<u8>),
    /// A piece of something long.
    Bulk {
        /// Which something; the sender's choice.
        stream: u64,
        /// Whether this is its end.
        last: bool,
        /// The piece.
        bytes: Vec<u8>,
    },
}

/// Why there is no frame, or none can be sent. Unless a variant says otherwise the link is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side hung up between two frames.
    #[error("the other side closed the link")]
    Closed,
    /// The other side hung up, or died, inside a frame.
    #[error("the link was cut in the middle of a frame")]
    Cut,
    /// Longer than its kind may be; the length is that of the payload. On the sending side nothing was sent, and
    /// the link goes on.
    #[error("frame of {0} bytes is too long")]
    TooLong(u64),
    /// Shorter than its kind must be.
    #[error("frame of {0} bytes is too short")]
    TooShort(u64),
    /// A kind that this version does not know, or not here.
    #[error("unexpected frame of kind {0}")]
    Kind(u8),
    /// A byte that is 0 or 1 was something else.
    #[error("malformed frame")]
    Malformed,
    /// An earlier frame was sent only in part.
    #[error("an earlier frame was sent only in part")]
    Unfinished,
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Takes frames out of a stream of bytes.
pub(crate) struct FrameReader<R> {
    from: R,
    head: [u8; PREFIX_BYTES + BULK_HEAD_BYTES],
    head_bytes: usize,
    body: Vec<u8>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(from: R) -> FrameReader<R> {
        let head = [0; PREFIX_BYTES + BULK_HEAD_BYTES];
        FrameReader { from, head, head_bytes: 0, body: Vec::new() }
    }

    /// The same, for whoever does not care what is read from.
    pub(crate) fn boxed(self) -> FrameReader<Box<dyn AsyncRead + Send + Unpin>>
    where
        R: Send + 'static,
    {
        let FrameReader { from, head, head_bytes, body } = self;
        FrameReader { from: Box::new(from), head, head_bytes, body }
    }

    /// The next frame. May be dropped and called again. After an error there is nothing to come.
    pub(crate) async fn next(&mut self) -> Result<Frame, FrameError> {
        self.fill_head(PREFIX_BYTES).await?;
        let (kind, payload_bytes) = prefix(&self.head)?;
        if kind == KIND_BULK {
            self.fill_head(PREFIX_BYTES + BULK_HEAD_BYTES).await?;
            self.fill_body(payload_bytes - BULK_HEAD_BYTES).await?;
        } else {
            self.fill_body(payload_bytes).await?;
        }
        self.head_bytes = 0;
        let bytes = std::mem::take(&mut self.body);
        Ok(match kind {
            KIND_HELLO => Frame::Hello(bytes),
            KIND_MESSAGE => Frame::Message(bytes),
            _ => {
                let (stream, last) = bulk_head(&self.head)?;
                Frame::Bulk { stream, last, bytes }
            }
        })
    }

    async fn fill_head(&mut self, wanted: usize) -> Result<(), FrameError> {
        while self.head_bytes < wanted {
            match self.from.read(&mut self.head[self.head_bytes..wanted]).await {
                Ok(count) if count > 0 => self.head_bytes += count,
                ended => return Err(end(ended, self.head_bytes == 0)),
            }
        }
        Ok(())
    }

    /// The limit has been checked. The room is filled as it is, not zeroed first.
    async fn fill_body(&mut self, wanted: usize) -> Result<(), FrameError> {
        if self.body.capacity() < wanted {
            self.body.reserve_exact(wanted);
        }
        while self.body.len() < wanted {
            let missing = (wanted - self.body.len()) as u64;
            match (&mut self.from).take(missing).read_buf(&mut self.body).await {
                Ok(count) if count > 0 => {}
                ended => return Err(end(ended, false)),
            }
        }
        Ok(())
    }
}

/// What a read that brought nothing means.
fn end(read: io::Result<usize>, between_frames: bool) -> FrameError {
    match read {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => FrameError::Io(error),
        _ if between_frames => FrameError::Closed,
        _ => FrameError::Cut,
    }
}

/// Kind and length of the payload, if that kind may be that long.
fn prefix(head: &[u8]) -> Result<(u8, usize), FrameError> {
    let length = u64::from(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
    let kind = head[4];
    let (least, most) = limits(kind)?;
    let payload_bytes = length.checked_sub(1).ok_or(FrameError::TooShort(length))?;
    if payload_bytes > most as u64 {
        return Err(FrameError::TooLong(payload_bytes));
    }
    if payload_bytes < least as u64 {
        return Err(FrameError::TooShort(payload_bytes));
    }
    Ok((kind, payload_bytes as usize))
}

/// Least and most bytes of a kind's payload.
fn limits(kind: u8) -> Result<(usize, usize), FrameError> {
    match kind {
        KIND_MESSAGE => Ok((0, PAYLOAD_BYTES_MAX)),
        KIND_BULK => Ok((BULK_HEAD_BYTES, BULK_HEAD_BYTES + PAYLOAD_BYTES_MAX)),
        KIND_HELLO => Ok((0, HELLO_BYTES_MAX)),
        unknown => Err(FrameError::Kind(unknown)),
    }
}

fn bulk_head(head: &[u8; PREFIX_BYTES + BULK_HEAD_BYTES]) -> Result<(u64, bool), FrameError> {
    let mut stream = [0; 8];
    stream.copy_from_slice(&head[PREFIX_BYTES..PREFIX_BYTES + 8]);
    match head[PREFIX_BYTES + 8] {
        last @ 0..=1 => Ok((u64::from_le_bytes(stream), last == 1)),
        _ => Err(FrameError::Malformed),
    }
}

/// Puts frames into a stream of bytes.
pub(crate) struct FrameWriter<W> {
    to: W,
    gathered: Vec<u8>,
    unfinished: bool,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(crate) fn new(to: W) -> FrameWriter<W> {
        FrameWriter { to, gathered: Vec::new(), unfinished: false }
    }

    /// The same, for whoever does not care what is written to.
    pub(crate) fn boxed(self) -> FrameWriter<Box<dyn AsyncWrite + Send + Unpin>>
    where
        W: Send + 'static,
    {
        let FrameWriter { to, gathered, unfinished } = self;
        FrameWriter { to: Box::new(to), gathered, unfinished }
    }

    /// Sends one frame; small ones wait for [`FrameWriter::flush`] or for company.
    pub(crate) async fn send(&mut self, frame: &Frame) -> Result<(), FrameError> {
        match frame {
            Frame::Hello(bytes) => self.put(KIND_HELLO, &[], bytes).await,
            Frame::Message(bytes) => self.put(KIND_MESSAGE, &[], bytes).await,
            Frame::Bulk { stream, last, bytes } => self.send_bulk(*stream, *last, bytes).await,
        }
    }

    /// Sends one piece of bulk from where it lies.
    pub(crate) async fn send_bulk(
        &mut self,
        stream: u64,
        last: bool,
        bytes: &[u8],
    ) -> Result<(), FrameError> {
        let mut head = [0; BULK_HEAD_BYTES];
        head[..8].copy_from_slice(&stream.to_le_bytes());
        head[8] = u8::from(last);
        self.put(KIND_BULK, &head, bytes).await
    }

    /// Sends everything that waits, down to the socket.
    pub(crate) async fn flush(&mut self) -> Result<(), FrameError> {
        self.write_out(&[]).await?;
        fence::pass();
        Ok(self.to.flush().await?)
    }

    /// Sends everything that waits, and tells the peer that nothing follows.
    pub(crate) async fn close(&mut self) -> Result<(), FrameError> {
        self.flush().await?;
        Ok(self.to.shutdown().await?)
    }

    async fn put(&mut self, kind: u8, head: &[u8], bytes: &[u8]) -> Result<(), FrameError> {
        let payload_bytes = head.len() + bytes.len();
        if payload_bytes > limits(kind)?.1 {
            return Err(FrameError::TooLong(payload_bytes as u64));
        }
        if self.unfinished {
            return Err(FrameError::Unfinished);
        }
        self.gathered.extend_from_slice(&(payload_bytes as u32 + 1).to_le_bytes());
        self.gathered.push(kind);
        self.gathered.extend_from_slice(head);
        if self.gathered.len() + bytes.len() > GATHERED_BYTES_MAX {
            return self.write_out(bytes).await;
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what is gathered and these bytes behind it.
    async fn write_out(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        if self.unfinished {
            return Err(FrameError::Unfinished);
        }
        let mut parts = [IoSlice::new(&self.gathered), IoSlice::new(bytes)];
        let mut rest = &mut parts[..];
        // Advancing by nothing removes parts that are empty.
        IoSlice::advance_slices(&mut rest, 0);
        self.unfinished = true;
        while !rest.is_empty() {
            fence::pass();
            let count = self.to.write_vectored(rest).await?;
            if count == 0 {
                return Err(FrameError::Io(ErrorKind::WriteZero.into()));
            }
            IoSlice::advance_slices(&mut rest, count);
        }
        self.gathered.clear();
        self.unfinished = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn frames() -> Vec<Frame> {
        let bytes = |length: usize| (0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>();
        let bulk = |last, length| Frame::Bulk { stream: u64::MAX - 1, last, bytes: bytes(length) };
        vec![
            Frame::Hello(bytes(HELLO_BYTES_MAX)),
            Frame::Message(Vec::new()),
            Frame::Message(b"message".to_vec()),
            bulk(false, BULK_CHUNK_BYTES),
            Frame::Message(bytes(GATHERED_BYTES_MAX - PREFIX_BYTES)),
            Frame::Message(bytes(PAYLOAD_BYTES_MAX)),
            bulk(false, 1),
            bulk(false, PAYLOAD_BYTES_MAX),
            bulk(true, 0),
        ]
    }

    async fn written(frames: &[Frame]) -> Vec<u8> {
        let mut writer = FrameWriter::new(Vec::new());
        for frame in frames {
            writer.send(frame).await.unwrap();
        }
        writer.flush().await.unwrap();
        writer.to
    }

    #[test]
    fn round_trip() {
        run(async {
            let bytes = written(&frames()).await;
            let mut reader = FrameReader::new(bytes.as_slice());
            for frame in frames() {
                assert!(reader.next().await.unwrap() == frame);
            }
            assert!(matches!(reader.next().await, Err(FrameError::Closed)));
        });
    }

    #[test]
    fn a_dropped_read_loses_nothing() {
        let bytes = run(written(&frames()));
        // A pipe of 1000 bytes: most frames need many reads.
        let (mut near, far) = tokio::io::duplex(1000);
        let mut writing = Box::pin(async move { near.write_all(&bytes).await.unwrap() });
        let mut written = false;
        let mut reader = FrameReader::new(far);
        let mut context = Context::from_waker(Waker::noop());
        for frame in frames() {
            loop {
                written = written || writing.as_mut().poll(&mut context).is_ready();
                // Dropped after one poll, ready or not.
                if let Poll::Ready(read) = pin!(reader.next()).poll(&mut context) {
                    assert!(read.unwrap() == frame);
                    break;
                }
            }
        }
        assert!(written);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let check = |bytes: &[u8], expected: &str| {
            let error = run(FrameReader::new(bytes).next()).expect_err("not a frame");
            assert!(error.to_string().contains(expected), "{error} does not say {expected}");
        };
        check(b"", "closed");
        check(b"\x01\0", "cut");
        check(b"\x08\0\0\0\0half", "cut");
        check(b"\x0a\0\0\0\x01\0\0\0\0", "cut");
        check(b"\x01\0\0\0\x63", "kind 99");
        check(b"GET / HTTP/1.1\r\n", "kind 47");
        check(b"\xff\xff\xff\xff\0", "4294967294 bytes is too long");
        check(b"\x02\0\x11\0\0", "1114113 bytes is too long");
        check(b"\x0b\0\x11\0\x01", "1114122 bytes is too long");
        check(b"\x02\x10\0\0\x02", "4097 bytes is too long");
        check(b"\0\0\0\0\0", "0 bytes is too short");
        check(b"\x09\0\0\0\x01", "8 bytes is too short");
        check(b"\x0a\0\0\0\x01\0\0\0\0\0\0\0\0\x02", "malformed");
    }

    #[test]
    fn too_long_is_not_sent() {
        run(async {
            let mut writer = FrameWriter::new(Vec::new());
            let long = vec![0; PAYLOAD_BYTES_MAX + 1];
            let sent = writer.send_bulk(1, false, &long).await;
            assert!(matches!(sent, Err(FrameError::TooLong(1_114_122))));
            let sent = writer.send(&Frame::Message(long)).await;
            assert!(matches!(sent, Err(FrameError::TooLong(1_114_113))));
            writer.send(&Frame::Message(Vec::new())).await.unwrap();
            writer.flush().await.unwrap();
            assert_eq!(writer.to, b"\x01\0\0\0\0");
        });
    }

    #[test]
    fn a_writer_ends_with_a_half_frame() {
        run(async {
            let (near, _far) = tokio::io::duplex(10);
            let mut writer = FrameWriter::new(near);
            let long = vec![0; BULK_CHUNK_BYTES];
            let mut context = Context::from_waker(Waker::noop());
            assert!(pin!(writer.send_bulk(1, true, &long)).poll(&mut context).is_pending());
            let next = writer.send(&Frame::Message(Vec::new())).await;
            assert!(matches!(next, Err(FrameError::Unfinished)));
            assert!(matches!(writer.flush().await, Err(FrameError::Unfinished)));
        });
    }
}
