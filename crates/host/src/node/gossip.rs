//! The socket for datagrams, at the port where a node listens for links, and what goes through it: sealed gossip.
//!
//! A datagram that cannot be sent at once is lost, as one may be on its way: what it said is said again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peripatos_cluster::limits::DATAGRAM_BYTES_MAX;
use peripatos_cluster::membership::{Member, Membership, Timing};
use peripatos_cluster::{Incarnation, Secret, Time};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::sleep;

use super::host::{Input, Inputs, now_unix_seconds};
use super::links::Own;
use super::random;
use crate::fence;
use crate::link::{DatagramError, DatagramOpener, DatagramSealer, epoch_of, sealed_by};

/// After the operating system has refused to receive, for whatever reason.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// This node as a member of its cluster.
pub(super) struct Gossip {
    pub(super) membership: Membership,
    socket: Arc<UdpSocket>,
    sealer: DatagramSealer,
    accepts: watch::Sender<Vec<Secret>>,
}

/// The other socket of the port where links are listened for.
pub(super) async fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(address).await
}

impl Gossip {
    /// Takes datagrams from now on: what others have sealed comes as [`Input::Datagram`].
    ///
    /// # Errors
    /// The socket has no address that others could use; the operating system's random generator.
    pub(super) fn start(
        socket: UdpSocket,
        secrets: &[Secret],
        us: &Own,
        unreachable_after: Duration,
        inputs: &Inputs,
    ) -> io::Result<Gossip> {
        let (node, incarnation): (_, Incarnation) = (us.id, us.hello.incarnation);
        let own = Member::new(node, incarnation, socket.local_addr()?, &us.hello.name);
        let own = own.map_err(io::Error::other)?;
        let timing = Timing::of(unreachable_after);
        let membership = Membership::new(own, timing, Time::default(), random()?);
        let socket = Arc::new(socket);
        let opener = DatagramOpener::new(secrets, node, incarnation);
        let (accepts, accepted) = watch::channel(secrets.to_vec());
        tokio::spawn(receive(socket.clone(), opener, accepted, inputs.clone()));
        let first = secrets.first().ok_or_else(|| io::Error::other("there is no secret"))?;
        let sealer = DatagramSealer::new(first, node, incarnation);
        Ok(Gossip { membership, socket, sealer, accepts })
    }

    /// Datagrams are sealed by the first of these from now on, and accepted by all.
    pub(super) fn use_secrets(&mut self, secrets: &[Secret]) {
        let changed = *self.accepts.borrow() != secrets;
        if let Some(first) = secrets.first().filter(|_| changed) {
            self.sealer.rekey(first);
            self.accepts.send_replace(secrets.to_vec());
        }
    }

    pub(super) fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        if let Some(sealed) = self.sealer.seal(epoch_of(now_unix_seconds()), bytes) {
            fence::pass();
            let _ = self.socket.try_send_to(&sealed, to);
        }
    }
}

/// Opens what comes, until the node ends.
async fn receive(
    socket: Arc<UdpSocket>,
    mut opener: DatagramOpener,
    mut accepted: watch::Receiver<Vec<Secret>>,
    inputs: Inputs,
) {
    let mut told = Vec::new();
    // What is longer than any datagram of ours is seen to be.
    let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            sleep(RECEIVE_PAUSE).await;
            continue;
        };
        if accepted.has_changed().unwrap_or(false) {
            opener.rekey(&accepted.borrow_and_update());
        }
        match opener.open(epoch_of(now_unix_seconds()), &buffer[..length]) {
            Ok(bytes) => {
                if let Some(by) = sealed_by(&buffer[..length]) {
                    inputs.offer(Input::Datagram { by, from, bytes }).await;
                }
            }
            // Networks repeat datagrams, too.
            Err(DatagramError::Replayed) => {}
            // Who sends is not proved: a line for each would be anybody's to write.
            Err(error) if told.contains(&error) => {}
            Err(error) => {
                told.push(error);
                let from = from.ip();
                inputs
                    .offer(Input::Log(format!("a datagram from {from} was refused: {error}")))
                    .await;
            }
        }
    }
}
