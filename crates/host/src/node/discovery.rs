//! Nodes of one cluster find each other on the network that they share: each announces itself by multicast DNS (RFC 6762, as a
//! service of RFC 6763), and looks for others.
//!
//! An announcement says that here is a node, at which addresses, and a *mark*: a keyed hash of what is announced, by a key that follows from
//! the secret of the cluster's datagrams, which who has the token can derive and members have. To others it is a random number, another one
//! for each start of a node. It only says whom to call: who answers has to prove on the link who he is, as always.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use blake3::Hash;
use mdns_sd::{IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use peripatos_cluster::Secret;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::host::{Input, Inputs};
use super::random;

/// What nodes are announced as.
const SERVICE: &str = "_peripatos._tcp.local.";
/// The property that has the mark.
const MARK: &str = "mark";
/// What the marks' key is derived for.
const CONTEXT: &str = "peripatos 2026-11 mark of an announced node";
/// Nodes that were found and are not linked are called so often.
const CALL_EVERY: Duration = Duration::from_secs(5);
/// Nodes of the cluster that are remembered at a time. With a link to one of them gossip tells of the others.
const FOUND_MAX: usize = 256;
/// Addresses of one node.
const ADDRESSES_MAX: usize = 8;
/// How long it may take to tell the network that the node ends.
const GOODBYE_MAX: Duration = Duration::from_millis(200);

/// This node, announced, and what looks for others.
pub(super) struct Discovery {
    daemon: ServiceDaemon,
    at: SocketAddr,
    known: watch::Sender<Known>,
}

/// By what nodes of the cluster are known.
#[derive(Clone, PartialEq, Eq)]
struct Known {
    /// The first one marks this node.
    secrets: Vec<Secret>,
    /// What this node is announced as.
    own: String,
}

impl Discovery {
    /// Announces the node that listens there, and says which others it finds, as [`Input::Found`].
    ///
    /// # Errors
    /// The sockets cannot be had, or the thread; there is no secret.
    pub(super) fn start(
        at: SocketAddr,
        secrets: &[Secret],
        inputs: &Inputs,
    ) -> io::Result<Discovery> {
        let daemon = ServiceDaemon::new().map_err(io::Error::other)?;
        // Nothing is said or asked where this node cannot be reached.
        daemon.disable_interface(IfKind::All).map_err(io::Error::other)?;
        daemon.enable_interface(interfaces(at.ip())).map_err(io::Error::other)?;
        let known = Known { secrets: secrets.to_vec(), own: announce(&daemon, at, secrets)? };
        let (known, told) = watch::channel(known);
        let events = daemon.browse(SERVICE).map_err(io::Error::other)?;
        tokio::spawn(look(events, told, inputs.clone()));
        Ok(Discovery { daemon, at, known })
    }

    /// The cluster has another token, or the time of the one before is over.
    ///
    /// # Errors
    /// As [`Discovery::start`]: others do not find this node, as it has no mark that they know.
    pub(super) fn use_secrets(&mut self, secrets: &[Secret]) -> io::Result<()> {
        let Known { secrets: before, own } = self.known.borrow().clone();
        if before == secrets {
            return Ok(());
        }
        let own = match before.first() == secrets.first() {
            true => own,
            false => {
                self.daemon.unregister(&full_name(&own)).map_err(io::Error::other)?;
                announce(&self.daemon, self.at, secrets)?
            }
        };
        self.known.send_replace(Known { secrets: secrets.to_vec(), own });
        Ok(())
    }

    /// Tells the network that the node is there no more.
    pub(super) async fn end(self) {
        if let Ok(done) = self.daemon.shutdown() {
            let _ = timeout(GOODBYE_MAX, done.recv_async()).await;
        }
    }
}

/// Where a node is reached that listens at this address.
fn interfaces(address: IpAddr) -> IfKind {
    match address {
        IpAddr::V4(ip) if ip.is_unspecified() => IfKind::IPv4,
        IpAddr::V6(ip) if ip.is_unspecified() => IfKind::All,
        IpAddr::V4(ip) if ip.is_loopback() => IfKind::LoopbackV4,
        IpAddr::V6(ip) if ip.is_loopback() => IfKind::LoopbackV6,
        ip => IfKind::Addr(ip),
    }
}

/// Under a name that nobody had before; which.
fn announce(daemon: &ServiceDaemon, at: SocketAddr, secrets: &[Secret]) -> io::Result<String> {
    let secret = secrets.first().ok_or_else(|| io::Error::other("there is no secret"))?;
    let name = format!("{:016x}{:016x}", random()?, random()?);
    let mark = mark(secret, &name, at.port()).to_hex();
    let host = format!("{name}.local.");
    let properties = [(MARK, mark.as_str())];
    let service = match at.ip() {
        ip if ip.is_unspecified() => {
            let any = ServiceInfo::new(SERVICE, &name, &host, "", at.port(), &properties[..]);
            any.map(ServiceInfo::enable_addr_auto)
        }
        ip => ServiceInfo::new(SERVICE, &name, &host, ip, at.port(), &properties[..]),
    };
    let mut service = service.map_err(io::Error::other)?;
    service.set_interfaces(vec![interfaces(at.ip())]);
    // The name is random: nobody needs to be asked whether he has it.
    service.set_requires_probe(false);
    daemon.register(service).map_err(io::Error::other)?;
    Ok(name)
}

fn full_name(name: &str) -> String {
    format!("{name}.{SERVICE}")
}

/// The mark of a node that is announced under this name, with this port.
fn mark(secret: &Secret, name: &str, port: u16) -> Hash {
    let key = blake3::derive_key(CONTEXT, &secret.0);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(&port.to_be_bytes());
    hasher.update(name.as_bytes());
    hasher.finalize()
}

/// Nodes of the cluster that are announced, by name: where they can be called.
#[derive(Default)]
struct Found {
    nodes: BTreeMap<String, Vec<SocketAddr>>,
    /// Somebody is announced who has not the mark of this cluster.
    strangers: bool,
}

impl Found {
    /// Somebody is announced. Whether it is a node of this cluster, and not this one.
    fn takes(&mut self, known: &Known, service: &Announced) -> bool {
        let is_ours = |secret: &Secret| {
            let mark = mark(secret, &service.name, service.port);
            // In constant time.
            service.mark.is_some_and(|theirs| theirs == mark)
        };
        if service.name == known.own {
            return false;
        }
        if !known.secrets.iter().any(is_ours) {
            self.strangers = true;
            return false;
        }
        let has_room = self.nodes.len() < FOUND_MAX || self.nodes.contains_key(&service.name);
        if has_room && !service.addresses.is_empty() {
            self.nodes.insert(service.name.clone(), service.addresses.clone());
        }
        has_room && !service.addresses.is_empty()
    }
}

/// What an announcement says, as far as it is of use.
struct Announced {
    name: String,
    port: u16,
    mark: Option<Hash>,
    addresses: Vec<SocketAddr>,
}

impl Announced {
    fn of(service: &ResolvedService) -> Announced {
        let name = service.fullname.strip_suffix(SERVICE).unwrap_or(&service.fullname);
        let mark = service.get_property_val_str(MARK);
        let addresses = service.addresses.iter().map(|address| address.to_ip_addr());
        // Whoever calls one of these has to say over which interface.
        let is_link_local = |ip: &IpAddr| match ip {
            IpAddr::V4(_) => false,
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let addresses = addresses.filter(|ip| !is_link_local(ip));
        let mut addresses: Vec<SocketAddr> =
            addresses.map(|ip| SocketAddr::new(ip, service.port)).collect();
        addresses.sort();
        addresses.truncate(ADDRESSES_MAX);
        Announced {
            name: name.trim_end_matches('.').to_owned(),
            port: service.port,
            mark: mark.and_then(|mark| Hash::from_hex(mark).ok()),
            addresses,
        }
    }
}

/// Tells of those that are found, and again as long as they are announced: whoever is linked with them already does nothing.
async fn look(events: Receiver<ServiceEvent>, mut known: watch::Receiver<Known>, inputs: Inputs) {
    let mut found = Found::default();
    let mut call = interval(CALL_EVERY);
    call.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once.
    call.tick().await;
    loop {
        tokio::select! {
            event = events.recv_async() => match event {
                Ok(ServiceEvent::ServiceResolved(service)) => {
                    let announced = Announced::of(&service);
                    let takes = found.takes(&known.borrow_and_update(), &announced);
                    if takes {
                        inputs.offer(Input::Found(announced.addresses)).await;
                    }
                }
                Ok(ServiceEvent::ServiceRemoved(_, name)) => {
                    let name = name.strip_suffix(SERVICE).unwrap_or(&name);
                    found.nodes.remove(name.trim_end_matches('.'));
                }
                Ok(_) => {}
                // The node ends.
                Err(_) => return,
            },
            _ = call.tick() => {
                for addresses in found.nodes.values() {
                    inputs.offer(Input::Found(addresses.clone())).await;
                }
                if found.nodes.is_empty() {
                    let others = if found.strangers {
                        " (nodes of others are: is the token the right one?)"
                    } else {
                        ""
                    };
                    let text = "no other node of this cluster is announced on this network; looking on";
                    inputs.offer(Input::Log(format!("{text}{others}"))).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(secrets: &[u8]) -> Known {
        let secrets = secrets.iter().map(|byte| Secret([*byte; 32])).collect();
        Known { secrets, own: "own".to_owned() }
    }

    fn announced(secret: u8, name: &str, port: u16) -> Announced {
        Announced {
            name: name.to_owned(),
            port,
            mark: Some(mark(&Secret([secret; 32]), name, port)),
            addresses: vec![SocketAddr::new([10, 0, 0, 1].into(), port)],
        }
    }

    #[test]
    fn only_nodes_of_the_cluster_are_called() {
        let check = |known: &Known, announced: &Announced, takes, strangers| {
            let mut found = Found::default();
            assert_eq!(found.takes(known, announced), takes);
            assert_eq!((found.nodes.len(), found.strangers), (usize::from(takes), strangers));
        };
        let ours = known(&[1, 2]);
        check(&ours, &announced(1, "one", 7000), true, false);
        // With the token before, as long as that is accepted.
        check(&ours, &announced(2, "one", 7000), true, false);
        check(&ours, &announced(3, "one", 7000), false, true);
        check(&ours, &announced(1, "own", 7000), false, false);
        // A mark is of its name and port.
        check(&ours, &Announced { port: 7001, ..announced(1, "one", 7000) }, false, true);
        check(&ours, &Announced { name: "two".into(), ..announced(1, "one", 7000) }, false, true);
        check(&ours, &Announced { mark: None, ..announced(1, "one", 7000) }, false, true);
        check(
            &ours,
            &Announced { addresses: Vec::new(), ..announced(1, "one", 7000) },
            false,
            false,
        );
    }

    #[test]
    fn only_so_many_are_remembered() {
        let (mut found, ours) = (Found::default(), known(&[1]));
        for number in 0..=FOUND_MAX {
            let takes = found.takes(&ours, &announced(1, &format!("node{number}"), 7000));
            assert_eq!(takes, number < FOUND_MAX);
        }
        assert!(found.takes(&ours, &announced(1, "node0", 7000)), "it may have moved");
    }

    #[test]
    fn it_is_announced_where_it_is_reached() {
        let check = |address: &str, expected: &str| {
            let kind = interfaces(address.parse().unwrap());
            assert!(format!("{kind:?}").starts_with(expected), "{address}: {kind:?}");
        };
        check("127.0.0.1", "LoopbackV4");
        check("::1", "LoopbackV6");
        check("0.0.0.0", "IPv4");
        check("::", "All");
        check("192.0.2.7", "Addr(192.0.2.7)");
    }
}
