//! The nodes themselves: `peripatos_cluster::Node` of each, the links between them, and a host that carries out what they
//! decide, as `crates/host` does on threads and sockets.
//!
//! Links keep the order of what is said, as TCP does, until they break: then what was under way has arrived or not, and
//! each end notices when it does. Packets of kernels go over them as well, and some are lost or come twice, which TCP
//! would not do.

mod actions;
mod datagrams;
mod deaths;
mod gossip;
mod inputs;
mod leases;
mod links;
mod moves;
pub(crate) mod names;
mod packets;
pub(crate) mod sparse;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::limits::KNOWS_ALL_MAX;
use peripatos_cluster::message::{CodeHash, Description, Kin, Message, MigrationId};
use peripatos_cluster::{
    Config, Incarnation, Labels, Node, NodeId, Peer, Placement, RequestId, Strays, Time,
};
use peripatos_kernel::{Moving, Names, Packet};

use crate::actor::{Actor, Id};
use crate::random::Random;

/// What is wrong with the nodes, if anything.
#[cfg(feature = "mutations")]
pub use peripatos_cluster::Mutation;

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) hosts: Vec<Host>,
    /// By number. Those that are broken and that both ends know to be are left out.
    links: BTreeMap<u64, Link>,
    links_made: u64,
    incarnations: u64,
    requests: u64,
    /// Processes of which a copy was lost with its node.
    buried: BTreeSet<Id>,
    /// What is random about what they hear of each other by gossip. `None`: they do not.
    gossip: Option<Random>,
    /// What is random about datagrams between those that know too few to know all. `None`: they know all.
    pub(crate) datagrams: Option<Random>,
    /// `None`: nodes have no leases.
    etcd: Option<leases::Etcd>,
    /// What is random about datagrams of where processes are.
    sparse: Random,
    seed: u64,
    #[cfg(feature = "mutations")]
    mutation: Option<Mutation>,
    #[cfg(feature = "mutations")]
    mutation_of_names: Option<peripatos_kernel::Mutation>,
}

/// A node's thread, and its books.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) incarnation: Incarnation,
    pub(crate) strays: Strays<Packet>,
    pub(crate) names: Names,
    /// Links that stand, as far as this node knows.
    pub(crate) standing: BTreeMap<usize, u64>,
    /// Nodes whose link broke, and which are not known to be gone.
    pub(crate) lost: BTreeMap<usize, Incarnation>,
    /// Nodes with which links were closed, and who they were.
    parted: sparse::Heard,
    /// Those that gossip says live.
    up: sparse::Heard,
    /// Who they were when gossip last said something of them.
    heard_last: sparse::Heard,
    /// Of those, whom who waits for them was told of.
    silenced: sparse::Heard,
    /// Those that gossip had called dead, and that are to tell everything anew.
    buried: BTreeSet<usize>,
    /// Nodes whose links have carried something for somebody.
    used: BTreeSet<usize>,
    /// Nodes whose next names are all that they have.
    names_due: BTreeSet<usize>,
    /// Nodes that it has ever been linked with.
    pub(crate) met: BTreeSet<usize>,
    codes: BTreeSet<CodeHash>,
    /// Programs that peers were asked for.
    awaited: BTreeMap<CodeHash, usize>,
    /// Processes that are being frozen to leave.
    leaving: BTreeMap<Pid, MigrationId>,
    /// Those that stand still.
    still: BTreeMap<Pid, Still>,
    /// Images that may come.
    expected: BTreeMap<MigrationId, Pid>,
    /// Processes that have come and do not run.
    arrived: BTreeMap<MigrationId, Arrived>,
    /// Questions of clients that are not answered.
    pub(crate) asked: BTreeSet<RequestId>,
    /// When the last thing that it was told of reaches its thread.
    last_input: u64,
}

/// A process that stands still, to leave.
#[derive(Debug)]
struct Still {
    moving: Moving,
    /// As it is in the image.
    bytes: Vec<u8>,
    since: u64,
}

/// A process that has come.
#[derive(Debug)]
struct Arrived {
    pid: Pid,
    moving: Moving,
    names: Vec<Vec<u8>>,
    since: u64,
}

/// A connection between two nodes.
#[derive(Debug)]
struct Link {
    ends: [usize; 2],
    incarnations: [Incarnation; 2],
    /// When it broke.
    broken: Option<u64>,
    /// What was under way then arrives yet.
    drains: bool,
    /// An end has closed it.
    closing: bool,
    /// When what was said last to each end arrives.
    last: [u64; 2],
}

/// What goes over a link.
#[derive(Debug)]
pub(crate) enum Item {
    /// What nodes say.
    Message(Box<Message>),
    /// What kernels say, in its wire form.
    Talk(Vec<u8>),
    /// A program.
    Code(CodeHash),
    /// A process's image: its kernel's state, and its names.
    Image(MigrationId, Vec<u8>, Vec<Vec<u8>>),
}

impl Item {
    fn message(message: Message) -> Item {
        Item::Message(Box::new(message))
    }
}

/// What reaches a node's thread from its own others, in their order.
#[derive(Debug)]
pub(crate) enum Input {
    /// A process has ended.
    Ended(Id),
    /// A process has begun that another one has spawned.
    Born(Id),
    /// One has been copied while it ran, or could not be.
    PreCopied(MigrationId, bool),
    /// One that was to be frozen stands still.
    Stopped(Pid),
    /// An image was made of it, or could not be.
    Captured(MigrationId, Pid, bool),
    /// A packet's way is not known.
    Stray(Box<Packet>),
    /// Names have changed.
    Named,
    /// There is room for an image.
    RoomMade(MigrationId),
    /// A process was made of an image, or none can be.
    Thawed(MigrationId, bool),
    /// A program is compiled.
    Compiled(CodeHash),
}

impl Cluster {
    /// The host of a node, as it starts.
    fn host(&mut self, index: usize, cores: usize) -> Host {
        self.incarnations += 1;
        let incarnation = Incarnation(self.incarnations);
        let (links_kept, link_idle) = sparse::limits(self.seed);
        let config = Config {
            node: id_of(index),
            incarnation,
            name: format!("node{index}"),
            address: address(index),
            cores: cores as u32,
            labels: Labels::default(),
            balancing: true,
            knows_all_max: if self.datagrams.is_some() { 0 } else { KNOWS_ALL_MAX },
            links_kept,
            link_idle,
            silent_after: Duration::from_secs(1),
            move_bytes_per_s: None,
            removed: BTreeMap::new(),
        };
        #[cfg_attr(not(feature = "mutations"), expect(unused_mut, reason = "with it they are"))]
        let (mut node, mut strays, mut names) =
            (Node::new(config), Strays::default(), Names::default());
        #[cfg(feature = "mutations")]
        if let Some(mutation) = self.mutation {
            node.mutate(mutation);
            strays.mutate(mutation);
        }
        #[cfg(feature = "mutations")]
        self.mutation_of_names.into_iter().for_each(|mutation| names.mutate(mutation));
        Host {
            node,
            incarnation,
            strays,
            names,
            standing: BTreeMap::new(),
            lost: BTreeMap::new(),
            parted: BTreeMap::new(),
            up: BTreeMap::new(),
            heard_last: BTreeMap::new(),
            silenced: BTreeMap::new(),
            buried: BTreeSet::new(),
            used: BTreeSet::new(),
            names_due: BTreeSet::new(),
            met: BTreeSet::new(),
            codes: BTreeSet::new(),
            awaited: BTreeMap::new(),
            leaving: BTreeMap::new(),
            still: BTreeMap::new(),
            expected: BTreeMap::new(),
            arrived: BTreeMap::new(),
            asked: BTreeSet::new(),
            last_input: 0,
        }
    }

    /// All start.
    pub(crate) fn start(cores: &[usize], seed: u64) -> Cluster {
        let (gossip, datagrams) = (gossip::of(seed), datagrams::of(seed));
        let mut cluster = Cluster {
            gossip,
            datagrams,
            etcd: leases::of(seed),
            sparse: sparse::of(seed),
            seed,
            ..Cluster::default()
        };
        for (index, cores) in cores.iter().enumerate() {
            let host = cluster.host(index, *cores);
            cluster.hosts.push(host);
        }
        cluster
    }

    /// From now on all do this wrong.
    #[cfg(feature = "mutations")]
    pub(crate) fn mutate(&mut self, mutation: Mutation) {
        self.mutation = Some(mutation);
        for host in &mut self.hosts {
            host.node.mutate(mutation);
            host.strays.mutate(mutation);
        }
    }

    /// From now on names are dealt with so.
    #[cfg(feature = "mutations")]
    pub(crate) fn mutate_names(&mut self, mutation: peripatos_kernel::Mutation) {
        self.mutation_of_names = Some(mutation);
        self.hosts.iter_mut().for_each(|host| host.names.mutate(mutation));
    }

    /// How this node looks to others.
    fn peer(&self, index: usize) -> Peer {
        let incarnation = self.hosts[index].incarnation;
        let (name, address) = (format!("node{index}"), address(index));
        Peer {
            node: id_of(index),
            incarnation,
            name,
            address,
            labels: Labels::default(),
            parts: sparse::is(self.seed),
        }
    }
}

impl Host {
    /// What is under way here: programs that are awaited, processes that leave, that may come, stand still, have come, and questions.
    pub(crate) fn open(&self) -> [usize; 6] {
        let moves = [self.leaving.len(), self.expected.len(), self.still.len(), self.arrived.len()];
        let [leaving, expected, still, arrived] = moves;
        [self.awaited.len(), leaving, expected, still, arrived, self.asked.len()]
    }

    /// Whether nothing is under way here.
    pub(crate) fn is_idle(&self) -> bool {
        self.open() == [0; 6]
    }
}

/// What nodes are told of a process.
pub(crate) fn description(actor: &Actor, root: &Actor) -> Description {
    let pid = actor.pid;
    let code = [1 + actor.role as u8; 32];
    let parent = actor.parent_pid.unwrap_or(Pid::from_bits(0));
    let kin = Kin {
        root: root.pid,
        parent,
        programs: Vec::new(),
        processes_max: 1_000,
        messages_bytes_max: u64::MAX,
        cpu_permille_max: None,
        name_prefix: String::new(),
        placement: Placement::default(),
        devices: None,
        device_process: Pid::from_bits(0),
        handler: actor.role == crate::actor::Role::Handler,
    };
    Description {
        pid,
        command: vec![format!("{:?}", actor.role)],
        code,
        origin: id_of(root.origin),
        started_unix_seconds: 0,
        memory_bytes_max: 1 << 30,
        memory_bytes_needed: 0,
        canonical_nan: false,
        kin: Some(kin),
    }
}

/// What a node is called.
pub(crate) fn id_of(index: usize) -> NodeId {
    NodeId(index as u128 + 1)
}

/// Which node is called so.
pub(crate) fn index_of(node: NodeId) -> usize {
    node.0 as usize - 1
}

fn address(index: usize) -> String {
    format!("10.0.0.{index}:1")
}

fn time(nanoseconds: u64) -> Time {
    Time(Duration::from_nanos(nanoseconds))
}
