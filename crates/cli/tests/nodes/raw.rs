//! A link as bytes in TLS, for frames that no node's writer lets through.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::fake::Fake;

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A node that has not cut the link by then will not.
const CUT_MAX: Duration = Duration::from_secs(20);
const KIND_HELLO: u8 = 2;

/// Dials as this node, and says hello.
pub(crate) fn dial(address: &str, as_node: &Fake) -> Stream {
    let name = ServerName::try_from("node.peripatos").unwrap();
    let connection = ClientConnection::new(as_node.credentials.client.clone(), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(CUT_MAX)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    let (hello, host) = (&as_node.hello, &as_node.hello.host);
    let fields = (
        hello.incarnation.0,
        &hello.name,
        &hello.address,
        hello.cores,
        &hello.labels,
        &host.boot_id,
        host.pid_namespace,
        host.os_process,
        host.started_ticks,
    );
    let versions = [hello.versions.newest, hello.versions.oldest].map(u16::to_le_bytes);
    let mut payload = [&b"PERILINK"[..], versions.as_flattened()].concat();
    payload.extend(postcard::to_stdvec(&fields).unwrap());
    let length = (payload.len() as u32 + 1).to_le_bytes();
    stream.write_all(&[&length[..], &[KIND_HELLO], &payload].concat()).unwrap();
    stream
}

/// Waits until the node has cut the link.
pub(crate) fn is_cut(mut stream: Stream) {
    let mut said = Vec::new();
    if let Err(error) = stream.read_to_end(&mut said) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the node does not cut the link");
    }
}
