//! One link between two nodes: a TCP connection with TLS 1.3 on it, over which frames go both ways.
//!
//! Invariants:
//! * Nobody without the cluster's token receives a byte of ours beyond the TLS handshake, and nothing that he sends is
//!   looked at: hellos and frames are exchanged when both certificates have been verified.
//! * A [`Link`] that exists has been greeted: the peer's id is proved, its [`Hello`] is valid, and there is a version that both speak.
//! * Who is refused by his id or for his token ([`Refusal`]) hears why, and nothing else; nothing that he sends is looked at.
//! * Making a link ends after [`ESTABLISH_SECONDS_MAX`], whatever the other side does or does not.
//! * What the peer sends has limits that are checked before anything is allocated (`frame.rs`).
//!
//! What this does not do: find peers, dial again, decide which of two links between the same nodes stays, notice a
//! silent peer (the cluster's own messages do that), or limit how many links are made at a time.

mod authority;
mod credentials;
mod datagram;
pub(crate) mod frame;
mod hello;
mod host_identity;
mod identity;
mod keyring;
pub(crate) mod lane;
mod refusal;
mod statement;
mod token;
mod versions;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

pub use authority::{CERTIFICATE_LIFE, CLOCK_SKEW_MAX, PublicKey};
pub use credentials::Credentials;
pub use datagram::{
    DATAGRAM_VERSION, DatagramError, DatagramOpener, DatagramSealer, EPOCH_SECONDS, epoch_of,
    gossip_secret, sealed_by,
};
pub use frame::{BULK_CHUNK_BYTES, Frame, FrameError, HELLO_BYTES_MAX, PAYLOAD_BYTES_MAX};
pub use hello::{
    ADDRESS_BYTES_MAX, COMMAND, Hello, HelloError, NAME_BYTES_MAX, is_address, is_name,
};
pub use host_identity::HostIdentity;
pub use identity::{IdentityError, NodeKey};
pub use keyring::{Keyring, KeyringError};
pub use lane::LaneReader;
pub use refusal::Refusal;
pub use statement::{Statement, is_departure};
pub use token::{Token, TokenError};
pub use versions::{
    LINK_VERSION, LINK_VERSION_OLDEST, PARTING_VERSION, Versions, VersionsApart,
    WRITES_BEHIND_VERSION,
};

use frame::{FrameReader, FrameWriter};
use peripatos_cluster::{NodeId, Proof};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// How long connecting, TLS handshake and hellos may take together.
pub const ESTABLISH_SECONDS_MAX: u64 = 10;
const ESTABLISH: Duration = Duration::from_secs(ESTABLISH_SECONDS_MAX);

/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;

/// What is read from the socket at once. The TLS library asks for 4 KiB at a time, a system call each.
const SOCKET_READ_BYTES: usize = 256 << 10;
/// Encrypted bytes that may wait for the socket: what one system call can send.
const SOCKET_WRITE_BYTES: usize = 256 << 10;

type Stream = TlsStream<BufReader<TcpStream>>;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHello {
    /// Proved by its certificate.
    pub id: NodeId,
    /// The newest version of the link protocol that both speak: what goes over the link is of it.
    pub version: u16,
    /// Said by itself.
    pub hello: Hello,
}

/// A link that is ready for messages. Dropped, it is closed without a word.
pub struct Link {
    /// Who is at the other end.
    pub peer: PeerHello,
    /// The key that it has proved to hold.
    pub public_key: PublicKey,
    /// Where the connection comes from, or leads to.
    pub remote: SocketAddr,
    reader: LinkReader,
    writer: LinkWriter,
}

/// Frames from wherever they come.
pub(crate) type Reader = FrameReader<Box<dyn AsyncRead + Send + Unpin>>;
/// Frames to wherever they go.
pub(crate) type Writer = FrameWriter<Box<dyn AsyncWrite + Send + Unpin>>;

/// The half that receives.
pub struct LinkReader {
    frames: FrameReader<ReadHalf<Stream>>,
}

/// The half that sends.
pub struct LinkWriter {
    frames: FrameWriter<WriteHalf<Stream>>,
}

/// Why there is no link, or no more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing listens there, or no way leads there.
    #[error("cannot reach {address}: {cause}")]
    Unreachable {
        /// What was dialled.
        address: String,
        /// What the operating system says.
        cause: io::Error,
    },
    /// One side did not accept the other's certificate.
    #[error("the other side is not of this cluster; most likely it has another token ({0})")]
    NotOfThisCluster(rustls::Error),
    /// One side's clock says that the other's certificate has expired, or is not good yet.
    #[error("{}; the clocks of the two machines differ by too much ({})", expired(.0), .0)]
    NotInTime(rustls::Error),
    /// What answers is something else.
    #[error("the other side does not speak the link protocol ({0})")]
    NotALink(rustls::Error),
    /// The connection failed before the link was made.
    #[error("the connection broke before the link was made: {0}")]
    Broken(io::Error),
    /// The peer has proved who it is, and is not to be linked with. It was told.
    #[error("{}", .0.of_them())]
    Refused(Refusal),
    /// The peer, of this cluster, makes no link with this node.
    #[error("{}", .0.of_us())]
    RefusedBy(Refusal),
    /// The peer is of a release with which there is no common version.
    #[error(transparent)]
    Versions(VersionsApart),
    /// The peer is of this cluster, but its hello is not valid; or ours is not.
    #[error(transparent)]
    Hello(HelloError),
    /// The address leads back to this node.
    #[error("the address is this node's own")]
    Itself,
    /// The link was not made in time.
    #[error("no link within {ESTABLISH_SECONDS_MAX} s")]
    TimedOut,
    /// The link has ended, or must end.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl LinkError {
    /// Whether the other side says that this node was removed from the cluster.
    pub(crate) fn is_removal(&self) -> bool {
        matches!(self, LinkError::RefusedBy(Refusal::Removed))
    }
}

/// Makes a link to the node that listens at `address` (`HOST:PORT`).
pub async fn connect(
    address: &str,
    credentials: &Credentials,
    own: &Hello,
) -> Result<Link, LinkError> {
    within(ESTABLISH, dial(address, credentials, own)).await
}

/// Connects to whichever of a name's addresses answers first in their order. Each has its part of the time: one that says
/// nothing does not keep the others waiting.
async fn reach(address: &str) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> =
        tokio::net::lookup_host(address).await?.take(ADDRESSES_MAX).collect();
    let share = ESTABLISH / (addresses.len() as u32 + 1);
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for one in addresses {
        match tokio::time::timeout(share, TcpStream::connect(one)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

/// Makes a link of a connection that another node has opened.
pub async fn accept(
    stream: TcpStream,
    credentials: &Credentials,
    own: &Hello,
) -> Result<Link, LinkError> {
    within(ESTABLISH, answer(stream, credentials, own)).await
}

async fn within(
    limit: Duration,
    establishing: impl Future<Output = Result<Link, LinkError>>,
) -> Result<Link, LinkError> {
    tokio::time::timeout(limit, establishing).await.unwrap_or(Err(LinkError::TimedOut))
}

async fn dial(address: &str, credentials: &Credentials, own: &Hello) -> Result<Link, LinkError> {
    let own = own.encode()?;
    let unreachable = |cause| LinkError::Unreachable { address: address.to_owned(), cause };
    let stream = reach(address).await.map_err(unreachable)?;
    let (stream, remote) = prepare(stream).map_err(LinkError::Broken)?;
    let name = ServerName::try_from(authority::SERVER_NAME);
    let name = name.map_err(|error| LinkError::Broken(io::Error::other(error)))?;
    let connector = TlsConnector::from(credentials.client.clone());
    let mut stream = connector.connect(name, stream).await.map_err(handshake_failed)?;
    stream.get_mut().1.set_buffer_limit(Some(SOCKET_WRITE_BYTES));
    greet(stream.into(), remote, credentials, own).await
}

async fn answer(
    stream: TcpStream,
    credentials: &Credentials,
    own: &Hello,
) -> Result<Link, LinkError> {
    let own = own.encode()?;
    let (stream, remote) = prepare(stream).map_err(LinkError::Broken)?;
    let acceptor = TlsAcceptor::from(credentials.server.clone());
    let mut stream = acceptor.accept(stream).await.map_err(handshake_failed)?;
    stream.get_mut().1.set_buffer_limit(Some(SOCKET_WRITE_BYTES));
    greet(stream.into(), remote, credentials, own).await
}

fn prepare(stream: TcpStream) -> io::Result<(BufReader<TcpStream>, SocketAddr)> {
    // Frames leave when they are flushed; to wait for more would only add to each answer's time.
    stream.set_nodelay(true)?;
    let remote = stream.peer_addr()?;
    Ok((BufReader::with_capacity(SOCKET_READ_BYTES, stream), remote))
}

/// Exchanges the hellos. Both sides send first and then read, so each can name a version that it does not speak.
async fn greet(
    stream: Stream,
    remote: SocketAddr,
    credentials: &Credentials,
    own: Vec<u8>,
) -> Result<Link, LinkError> {
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let (id, public_key) = peer_key(certificates.first())?;
    let refusal = credentials.refusal(id, certificates, SystemTime::now());
    if id == credentials.id {
        return Err(LinkError::Itself);
    }
    let (read_half, write_half) = split(stream);
    let mut reader = LinkReader { frames: FrameReader::new(read_half) };
    let mut writer = LinkWriter { frames: FrameWriter::new(write_half) };
    if let Some(refusal) = refusal {
        let said = writer.send(&Frame::Hello(refusal.encode(credentials.removed.get(&id)))).await;
        if said.is_ok() && writer.close().await.is_ok() {
            // Closed with something unread the connection would be reset, and the refusal perhaps not be read.
            let _ = reader.next().await;
        }
        return Err(LinkError::Refused(refusal));
    }
    writer.send(&Frame::Hello(own)).await.map_err(broken)?;
    writer.flush().await.map_err(broken)?;
    match reader.next().await.map_err(broken)? {
        Frame::Hello(bytes) => {
            let is_proved = |proof: &Proof| {
                credentials.prove(Statement::Removed(credentials.id), proof, SystemTime::now())
            };
            if let Some(refusal) = Refusal::decode(&bytes, is_proved) {
                return Err(LinkError::RefusedBy(refusal));
            }
            let (hello, version) = Hello::decode(&bytes)?;
            let peer = PeerHello { id, version, hello };
            Ok(Link { peer, public_key, remote, reader, writer })
        }
        Frame::Message(_) | Frame::Bulk { .. } => Err(LinkError::Hello(HelloError::NotAHello)),
    }
}

fn peer_key(certificate: Option<&CertificateDer<'_>>) -> Result<(NodeId, PublicKey), LinkError> {
    let missing = LinkError::NotOfThisCluster(rustls::Error::NoCertificatesPresented);
    let certificate = ParsedCertificate::try_from(certificate.ok_or(missing)?);
    let info = certificate.map_err(LinkError::NotOfThisCluster)?.subject_public_key_info();
    let other = || LinkError::NotOfThisCluster(rustls::CertificateError::BadEncoding.into());
    Ok((identity::id_of(&info), PublicKey::parse(&info).ok_or_else(other)?))
}

/// Tells refused certificates from what is no node at all.
fn handshake_failed(error: io::Error) -> LinkError {
    use rustls::Error::{AlertReceived, InvalidCertificate, NoCertificatesPresented};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(refused) if is_about_time(refused) => LinkError::NotInTime(refused.clone()),
        Some(refused @ (AlertReceived(_) | InvalidCertificate(_) | NoCertificatesPresented)) => {
            LinkError::NotOfThisCluster(refused.clone())
        }
        Some(other) => LinkError::NotALink(other.clone()),
        None => LinkError::Broken(error),
    }
}

fn is_about_time(refused: &rustls::Error) -> bool {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    match refused {
        rustls::Error::AlertReceived(alert) => {
            *alert == rustls::AlertDescription::CertificateExpired
        }
        rustls::Error::InvalidCertificate(why) => {
            matches!(why, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
        }
        _ => false,
    }
}

/// Whose certificate it is.
fn expired(refused: &rustls::Error) -> &'static str {
    match refused {
        rustls::Error::AlertReceived(_) => {
            "the other side says that this one's certificate is not good now"
        }
        _ => "the other side's certificate is not good now",
    }
}

/// A failure of the first frame. In TLS 1.3 the accepting side verifies last: its refusal is read as an alert here.
fn broken(error: LinkError) -> LinkError {
    match error {
        LinkError::Frame(FrameError::Io(cause)) => handshake_failed(cause),
        other => other,
    }
}

impl Link {
    /// The two halves, as what a command and a node speak through.
    pub(crate) fn into_frames(self) -> (Reader, Writer) {
        (self.reader.frames.boxed(), self.writer.frames.boxed())
    }

    /// The two halves, for a task each.
    pub fn split(self) -> (LinkReader, LinkWriter) {
        (self.reader, self.writer)
    }
}

impl LinkReader {
    /// The next frame. May be dropped half way and called again; after an error the link is over.
    pub async fn next(&mut self) -> Result<Frame, LinkError> {
        Ok(self.frames.next().await?)
    }
}

/// Dropping one of these futures half way ends the sending: what follows is refused, for the peer would misread it.
impl LinkWriter {
    /// Sends one frame. Short ones are gathered until [`LinkWriter::flush`], or until there are enough.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), LinkError> {
        Ok(self.frames.send(frame).await?)
    }

    /// Sends at most [`PAYLOAD_BYTES_MAX`] bytes of bulk, from where they lie. [`BULK_CHUNK_BYTES`] is a good piece.
    pub async fn send_bulk(
        &mut self,
        stream: u64,
        last: bool,
        bytes: &[u8],
    ) -> Result<(), LinkError> {
        Ok(self.frames.send_bulk(stream, last, bytes).await?)
    }

    /// Sends everything that has been gathered; without this the peer may wait for it for ever.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        Ok(self.frames.flush().await?)
    }

    /// Sends what is left and says goodbye: the peer reads [`FrameError::Closed`].
    pub async fn close(mut self) -> Result<(), LinkError> {
        Ok(self.frames.close().await?)
    }
}

impl From<HelloError> for LinkError {
    fn from(error: HelloError) -> LinkError {
        match error {
            HelloError::Versions(apart) => LinkError::Versions(apart),
            other => LinkError::Hello(other),
        }
    }
}
