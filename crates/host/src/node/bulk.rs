//! Programs and images on their way over a link.
//!
//! A sender writes into a [`Pieces`], on a thread of its own, and is held back when the link is slower. A receiver is
//! announced what comes, takes it only if it is [`Expected`], and passes it piece by piece to whoever waits for it, on a
//! thread that reads from [`Arriving`]. So capturing, sending, receiving and thawing of a large process overlap. What
//! comes by a lane that thread reads itself.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use peripatos_cluster::NodeId;
use peripatos_cluster::message::{Content, Lane};
use tokio::sync::mpsc;

use super::lanes::{Opening, Way};
use crate::link::BULK_CHUNK_BYTES;
use crate::link::lane::LaneReader;

/// Pieces that have come and are not used yet.
const ARRIVED_MAX: usize = 16;
/// Streams of bulk that one link carries at once.
const STREAMS_MAX: usize = 128;

/// A piece for a link's writer.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) stream: u64,
    pub(super) last: bool,
    pub(super) bytes: Vec<u8>,
}

/// Cuts what is written into pieces for a link. [`Pieces::finish`] sends the last one.
pub(super) struct Pieces {
    to: mpsc::Sender<Outgoing>,
    stream: u64,
    piece: Vec<u8>,
}

impl Pieces {
    pub(super) fn new(to: mpsc::Sender<Outgoing>, stream: u64) -> Pieces {
        Pieces { to, stream, piece: Vec::new() }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.send(true)
    }

    fn send(&mut self, last: bool) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.piece);
        let piece = Outgoing { stream: self.stream, last, bytes };
        self.to.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve_exact(BULK_CHUNK_BYTES);
        }
        let taken = bytes.len().min(BULK_CHUNK_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == BULK_CHUNK_BYTES {
            self.send(false)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What may come over links, how much of it, and who waits for it. Shared by the node and its links' readers.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected(Arc<Mutex<HashMap<Content, Expectation>>>);

#[derive(Debug)]
struct Expectation {
    from: NodeId,
    bytes_max: u64,
    pieces: mpsc::Sender<Piece>,
}

/// What a link's reader passes on.
#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    /// All of it comes there.
    Lane(Opening),
    End,
}

impl Expected {
    /// From now on this may come from that node, once. What comes can be read from the result.
    pub(super) fn expect(&self, from: NodeId, content: Content, bytes_max: u64) -> Arriving {
        let (pieces, arriving) = mpsc::channel(ARRIVED_MAX);
        self.lock().insert(content, Expectation { from, bytes_max, pieces });
        let bytes = Bytes { pieces: arriving, piece: Vec::new(), used: 0, complete: false };
        Arriving { from: From::Link(bytes), left: bytes_max }
    }

    /// It is not expected any more.
    pub(super) fn forget(&self, content: Content) {
        self.lock().remove(&content);
    }

    /// That node cannot send anything any more: whoever waits for it hears so.
    pub(super) fn forget_from(&self, node: NodeId) {
        self.lock().retain(|_, expectation| expectation.from != node);
    }

    fn take(&self, from: NodeId, content: Content) -> Option<Expectation> {
        let mut expected = self.lock();
        expected
            .get(&content)
            .is_some_and(|one| one.from == from)
            .then(|| expected.remove(&content))?
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Content, Expectation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that is coming in. Reading waits for it; an end before its last piece is an error.
#[derive(Debug)]
pub(super) struct Arriving {
    from: From,
    left: u64,
}

#[derive(Debug)]
enum From {
    Link(Bytes),
    Lane(Box<LaneReader>),
}

/// Pieces that come over the link.
#[derive(Debug)]
struct Bytes {
    pieces: mpsc::Receiver<Piece>,
    piece: Vec<u8>,
    used: usize,
    complete: bool,
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = match &mut self.from {
            From::Lane(lane) => lane.read(buffer)?,
            From::Link(bytes) => match bytes.read(buffer)? {
                Taken::Bytes(count) => count,
                Taken::Lane(opening) => {
                    let (connection, lane) = opening.finish()?;
                    let mut lane = Box::new(LaneReader::new(connection, &lane)?);
                    let count = lane.read(buffer)?;
                    self.from = From::Lane(lane);
                    count
                }
            },
        };
        let left = self.left.checked_sub(taken as u64);
        self.left = left.ok_or_else(|| io::Error::other("more came than was agreed"))?;
        Ok(taken)
    }
}

enum Taken {
    Bytes(usize),
    Lane(Opening),
}

impl Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Taken> {
        while self.used == self.piece.len() && !self.complete {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(piece)) => (self.piece, self.used) = (piece, 0),
                Some(Piece::Lane(opening)) => return Ok(Taken::Lane(opening)),
                Some(Piece::End) => self.complete = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let taken = buffer.len().min(self.piece.len() - self.used);
        buffer[..taken].copy_from_slice(&self.piece[self.used..][..taken]);
        self.used += taken;
        Ok(Taken::Bytes(taken))
    }
}

/// What one link's reader is in the middle of taking in.
#[derive(Debug)]
pub(super) struct Inbox {
    from: NodeId,
    expected: Expected,
    way: Way,
    streams: BTreeMap<u64, Stream>,
}

#[derive(Debug)]
struct Stream {
    left: u64,
    /// `None`: nobody wants it (any more); it is read and thrown away.
    pieces: Option<mpsc::Sender<Piece>>,
}

impl Inbox {
    /// `way`: how lanes beside this link are opened.
    pub(super) fn new(from: NodeId, expected: Expected, way: Way) -> Inbox {
        Inbox { from, expected, way, streams: BTreeMap::new() }
    }

    /// The peer is about to send something. It may have been wanted when it was sent and not be any more.
    ///
    /// # Errors
    /// The peer does what no node does.
    pub(super) fn announce(
        &mut self,
        stream: u64,
        content: Content,
        lane: Option<Lane>,
    ) -> Result<(), String> {
        let expectation = self.expected.take(self.from, content);
        if let Some(lane) = lane {
            if let Some(one) = expectation {
                // Nothing has been sent into it before: there is room.
                let _ = one.pieces.try_send(Piece::Lane(self.way.begin(lane)));
            }
            return Ok(());
        }
        if self.streams.len() >= STREAMS_MAX || self.streams.contains_key(&stream) {
            return Err("it announced too much at once".to_owned());
        }
        let stream_of = |one: Expectation| Stream { left: one.bytes_max, pieces: Some(one.pieces) };
        let unwanted = || Stream { left: u64::MAX, pieces: None };
        self.streams.insert(stream, expectation.map_or_else(unwanted, stream_of));
        Ok(())
    }

    /// A piece has come.
    ///
    /// # Errors
    /// The peer does what no node does.
    pub(super) async fn piece(
        &mut self,
        stream: u64,
        last: bool,
        bytes: Vec<u8>,
    ) -> Result<(), String> {
        let Some(one) = self.streams.get_mut(&stream) else {
            return Err("it sent what it had not announced".to_owned());
        };
        one.left =
            one.left.checked_sub(bytes.len() as u64).ok_or("it sent more than was agreed")?;
        let mut wanted = true;
        if let Some(pieces) = &one.pieces {
            if !bytes.is_empty() {
                wanted = pieces.send(Piece::Bytes(bytes)).await.is_ok();
            }
            if last {
                let _ = pieces.send(Piece::End).await;
            }
        }
        if last {
            self.streams.remove(&stream);
        } else if !wanted {
            one.pieces = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::super::lanes::Lanes;
    use super::*;
    use crate::link::lane::{self, LaneWriter};

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    const PEER: NodeId = NodeId(1);
    const CONTENT: Content = Content::Code([1; 32]);

    fn inbox(expected: Expected) -> Inbox {
        Inbox::new(PEER, expected, Way::Await(Lanes::default()))
    }

    #[test]
    fn what_is_expected_arrives() {
        let expected = Expected::default();
        let mut arriving = expected.expect(PEER, CONTENT, 7);
        let mut inbox = inbox(expected);
        run(async {
            inbox.announce(1, CONTENT, None).unwrap();
            inbox.piece(1, false, b"abc".to_vec()).await.unwrap();
            inbox.piece(1, true, b"defg".to_vec()).await.unwrap();
        });
        let mut bytes = Vec::new();
        arriving.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"abcdefg");
    }

    #[test]
    fn what_breaks_off_is_an_error() {
        let expected = Expected::default();
        let mut arriving = expected.expect(PEER, CONTENT, 7);
        let mut inbox = inbox(expected);
        run(async {
            inbox.announce(1, CONTENT, None).unwrap();
            inbox.piece(1, false, b"abc".to_vec()).await.unwrap();
        });
        drop(inbox);
        let read = arriving.read_to_end(&mut Vec::new());
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    /// The side that waits for a lane, and one that calls it.
    #[test]
    fn what_comes_by_a_lane_arrives() {
        let (expected, lanes) = (Expected::default(), Lanes::default());
        let mut arriving = expected.expect(PEER, CONTENT, 7);
        let mut inbox = Inbox::new(PEER, expected, Way::Await(lanes.clone()));
        let drawn = lane::draw().unwrap();
        inbox.announce(1, CONTENT, Some(drawn)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        assert!(run(lanes.claim(drawn.name, far)));
        let mut writer = LaneWriter::new(near, &drawn).unwrap();
        writer.send(false, &mut b"abc".to_vec()).unwrap();
        writer.send(true, &mut b"defg".to_vec()).unwrap();
        let mut bytes = Vec::new();
        arriving.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"abcdefg");
    }

    #[test]
    fn more_by_a_lane_than_was_agreed_is_an_error() {
        let expected = Expected::default();
        let mut arriving = expected.expect(PEER, CONTENT, 3);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut inbox = Inbox::new(PEER, expected, Way::Call(address));
        let drawn = lane::draw().unwrap();
        inbox.announce(1, CONTENT, Some(drawn)).unwrap();
        let sending = std::thread::spawn(move || {
            let mut near = listener.accept().unwrap().0;
            near.read_exact(&mut [0; 24]).unwrap();
            LaneWriter::new(near, &drawn).unwrap().send(true, &mut b"abcd".to_vec()).unwrap();
        });
        let error = arriving.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("more came than was agreed"));
        sending.join().unwrap();
    }

    #[test]
    fn a_peer_that_lies_is_told() {
        let expected = Expected::default();
        let _arriving = expected.expect(PEER, CONTENT, 3);
        let mut inbox = inbox(expected);
        run(async {
            assert!(inbox.piece(9, true, vec![]).await.unwrap_err().contains("not announced"));
            inbox.announce(1, CONTENT, None).unwrap();
            assert!(inbox.announce(1, CONTENT, None).unwrap_err().contains("too much"));
            let sent = inbox.piece(1, false, b"abcd".to_vec()).await;
            assert!(sent.unwrap_err().contains("more than was agreed"));
            // Nobody wants this: it is read and forgotten.
            inbox.announce(2, Content::Code([2; 32]), None).unwrap();
            inbox.piece(2, true, vec![0; 100]).await.unwrap();
        });
    }

    #[test]
    fn what_is_written_is_cut_into_pieces() {
        let (to, mut from) = mpsc::channel(8);
        let mut pieces = Pieces::new(to, 5);
        pieces.write_all(&vec![7; BULK_CHUNK_BYTES + 1]).unwrap();
        pieces.finish().unwrap();
        let got: Vec<_> = std::iter::from_fn(|| from.blocking_recv())
            .map(|piece| (piece.stream, piece.last, piece.bytes.len()))
            .collect();
        assert_eq!(got, [(5, false, BULK_CHUNK_BYTES), (5, true, 1)]);
    }
}
