//! A node: an OS process that runs processes started here or elsewhere, linked to other nodes.
//!
//! [`peripatos_cluster::Node`] decides; this module carries out. One thread, the node's own, runs `host`'s loop and
//! all sockets (tokio, current-thread), but for those of multicast DNS (`discovery`), which have a thread of their library; the [`cores`](crate::cores) run the processes; what takes long (compiling,
//! capturing, thawing) is done on threads of its own and reports back.
//!
//! Invariants:
//! * The node's state is touched by its own thread only. Everything else sends it a `host::Input`.
//! * A process is in one place at a time: on the cores, standing still as a `Frozen`, or standing ready as an `Arrived`.
//! * Nothing that a peer announces is taken in unless it was asked for, and no more of it than was agreed.
//! * A node opens nothing with its own rights on somebody's word: files and terminals stay with the origins.

mod ahead;
mod baggage;
mod behind;
mod bulk;
mod clients;
mod convert;
mod directory;
mod discovery;
pub mod exchange;
mod gossip;
mod host;
mod lanes;
mod lease;
mod links;
mod memory;
mod pace;
mod precopy;
mod programs;
pub mod protocol;
mod readings;
mod roads;
mod stills;
mod wires;

pub mod client;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use peripatos_cluster::{Certified, Incarnation, Labels, NodeId, Proof};
use peripatos_engine::{Runtime, RuntimeError};
use rustix::rand::{GetRandomFlags, getrandom};

pub use client::{ClientError, NodeClient};
pub use directory::{NodeDirectory, NodeLock};
pub use lease::LeaseOptions;

use lease::Lease;

use crate::control::{ControlError, RuntimeDirectory};
use crate::cores::CORES_MAX;
use crate::etcd::EtcdError;
use crate::link::{
    Credentials, Hello, HostIdentity, IdentityError, Keyring, NodeKey, Token, Versions,
};

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name.
    pub name: String,
    /// Where it listens for other nodes, `HOST:PORT`; port 0: any that is free.
    pub listen: String,
    /// Nodes to join: one that answers is enough. None: the node waits for others.
    pub join: Vec<String>,
    /// Whether it is announced on the network where it listens, and joins the nodes of its cluster that it finds there.
    pub discovers: bool,
    /// The cluster's token; `None`: the one it had last, or a new one.
    pub token: Option<Token>,
    /// Kernel threads that run processes.
    pub cores: usize,
    /// Bytes of processes and programs that leave it each second, at most. `None`: as many as can be.
    pub move_bytes_per_s: Option<u64>,
    /// What it is labelled with.
    pub labels: Labels,
    /// Who waits for a process of a node that says nothing any more is told after so long.
    pub unreachable_after: Duration,
    /// Whether it gives and takes processes for the sake of the balance, until somebody says otherwise.
    pub balancing: bool,
    /// In a cluster of at most so many nodes each tells all others how loaded it is.
    pub knows_all_max: usize,
    /// In a cluster of at most so many nodes each keeps a link with each other one
    /// ([`LINKS_KEPT`](peripatos_cluster::limits::LINKS_KEPT), unless somebody wants to try the other way with few nodes).
    pub links_kept: usize,
    /// Then one that nobody needs is closed after so long ([`LINK_IDLE`](peripatos_cluster::limits::LINK_IDLE)).
    pub link_idle: Duration,
    /// Its lease in etcd, if it is to have one.
    pub lease: Option<LeaseOptions>,
}

/// A node that is ready to run.
pub struct NodeServer {
    runtime: tokio::runtime::Runtime,
    parts: host::Parts,
    lease: Option<Lease>,
    _lock: NodeLock,
}

/// Makes an engine: with canonical NaNs, or without.
pub type MakeRuntime = Box<dyn Fn(bool) -> Result<Runtime, RuntimeError> + Send + Sync>;

/// Why there is no node. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A file or directory of the node cannot be used.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The directory in which nodes can be found cannot be used.
    #[error(transparent)]
    Directory(#[from] ControlError),
    /// Another OS process is the node of this name.
    #[error("a node named {0} runs already; choose another --name")]
    Running(String),
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {cause}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// The node's key cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The engine cannot be made.
    #[error(transparent)]
    Engine(#[from] RuntimeError),
    /// It was away for longer than its certificate is good, and does not have the token.
    #[error(
        "this node's certificate has expired; give it the token, which `peri token show` prints on a node that has it"
    )]
    Expired,
    /// It is to have a lease in etcd, and cannot have one.
    #[error("no lease: {0}")]
    Etcd(#[from] EtcdError),
    /// Another node says that this one was removed from the cluster.
    #[error(
        "this node was removed from the cluster; it can join as a new node, without its key: {}",
        key.display()
    )]
    Removed {
        /// Where its key is.
        key: PathBuf,
    },
    /// The operating system refused something.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl NodeError {
    fn file(path: &Path, cause: io::Error) -> NodeError {
        NodeError::File { path: path.to_owned(), cause }
    }
}

impl NodeServer {
    /// Becomes the node of this name: it listens, its cores run; nobody has been let in yet.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn start(
        options: Options,
        directory: &RuntimeDirectory,
        make_runtime: MakeRuntime,
    ) -> Result<NodeServer, NodeError> {
        let place = NodeDirectory::open(directory, &options.name)?;
        let lock = place.lock(&options.name)?;
        let key = NodeKey::load_or_generate(&place.key())?;
        let Membership { keyring, certified, removed } = membership(&place, &key, options.token)?;
        let credentials = Credentials::of(&certified, &key)?.refusing(removed);

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (listener, address) = runtime.block_on(listen(&options.listen))?;
        let datagrams = runtime.block_on(gossip::bind(address));
        let control = {
            let _entered = runtime.enter();
            clients::listen(&place.socket())?
        };
        let hello = Hello {
            versions: Versions::OWN,
            // 0 is for commands.
            incarnation: Incarnation(random()?.max(1)),
            name: options.name,
            address: address.to_string(),
            cores: options.cores.min(CORES_MAX) as u32,
            labels: options.labels,
            host: HostIdentity::own()?,
        };
        let lease = options
            .lease
            .map(|lease| Lease::take(&lease, credentials.id, hello.incarnation, &hello.name));
        let lease = lease.transpose()?;
        let parts = host::Parts {
            credentials,
            key,
            hello,
            keyring,
            certified,
            listener,
            datagrams,
            control,
            place,
            join: options.join,
            discovers: options.discovers.then_some(address),
            cores: options.cores,
            move_bytes_per_s: options.move_bytes_per_s,
            unreachable_after: options.unreachable_after,
            balancing: options.balancing,
            knows_all_max: options.knows_all_max,
            links_kept: options.links_kept,
            link_idle: options.link_idle,
            make_runtime,
        };
        Ok(NodeServer { runtime, parts, lease, _lock: lock })
    }

    /// Where commands reach it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.parts.place.socket()
    }

    /// Where it listens for other nodes.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.parts.hello.address
    }

    /// The cluster's token, if this node has it.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.parts.keyring.as_ref().map(Keyring::token)
    }

    /// Runs until it is told to end. `log` gets one line at a time.
    ///
    /// # Errors
    /// The cores or the engine cannot be started; a node to be joined refuses or cannot be reached.
    pub fn run(self, log: impl Fn(&str) + 'static) -> Result<(), NodeError> {
        let NodeServer { runtime, parts, lease, _lock } = self;
        let socket = parts.place.socket();
        let ended = runtime.block_on(host::run(parts, lease.as_ref(), Box::new(log)));
        // Threads that still compile for somebody are not waited for.
        runtime.shutdown_background();
        let _ = std::fs::remove_file(socket);
        // The cores have ended.
        lease.into_iter().for_each(Lease::give_back);
        ended
    }
}

/// By what a node is in which cluster.
struct Membership {
    keyring: Option<Keyring>,
    certified: Certified,
    removed: BTreeMap<NodeId, Proof>,
}

/// The cluster of the token that was given; or the one that the node was in last; or a new one. All of it is on disk then.
fn membership(
    place: &NodeDirectory,
    key: &NodeKey,
    given: Option<Token>,
) -> Result<Membership, NodeError> {
    let now = SystemTime::now();
    let (last, last_certified) = (place.keyring()?, place.certified()?);
    let certified = |keyring: &Keyring| keyring.certify(&key.public()?, now);
    let (keyring, certified, same) = match (given, last, last_certified) {
        (None, None, Some(own)) => {
            if Credentials::of(&own, key)?.are_over(now) {
                return Err(NodeError::Expired);
            }
            (None, own, true)
        }
        (given, Some(last), _) if given.as_ref().is_none_or(|given| given == last.token()) => {
            let certified = certified(&last)?;
            (Some(last), certified, true)
        }
        (given, _, last_certified) => {
            let keyring = Keyring::from(given.map_or_else(Token::generate, Ok)?);
            let same = last_certified.is_some_and(|last| keyring.is_of(&last));
            let certified = certified(&keyring)?;
            (Some(keyring), certified, same)
        }
    };
    // With another token it is another cluster, which has removed whom it has removed.
    let removed = if same { place.removed()? } else { BTreeMap::new() };
    place.keep_removed(&removed)?;
    place.keep_certified(&certified)?;
    if let Some(keyring) = &keyring {
        place.keep_keyring(keyring)?;
    }
    Ok(Membership { keyring, certified, removed })
}

async fn listen(address: &str) -> Result<(tokio::net::TcpListener, SocketAddr), NodeError> {
    let failed = |cause| NodeError::Listen { address: address.to_owned(), cause };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    // Up to 256 bytes come as a whole, says getrandom(2).
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes))
}
