//! The node's own thread: takes inputs in, tells the state machine, does what it wants done.

mod calls;
mod code;
mod commands;
mod devices;
mod families;
mod gossip;
mod links;
mod moves;
mod origins;
mod removals;
mod talk;
mod ticks;
mod tokens;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use peripatos_abi::Pid;
use peripatos_abi::device::Ahead;
use peripatos_abi::message::Status;
use peripatos_cluster::message::{Answer, Content, End, Message, MigrationId};
use peripatos_cluster::{
    Action, Certified, Config, Event, Incarnation, LeaseState, Lookup, Node, NodeId, Strays,
};
use peripatos_engine::Code;
use peripatos_kernel::Packet;
use tokio::net::{TcpListener, UdpSocket, UnixListener};
use tokio::sync::{mpsc, watch};

use super::behind::Allowance;
use super::bulk::Expected;
use super::clients::FromClient;
use super::discovery::Discovery;
use super::exchange::Exchange;
use super::gossip::Gossip;
use super::lanes::Lanes;
use super::lease::{Asked, Asker, Lease};
use super::links::{Own, Papers};
use super::pace::Pace;
use super::precopy::{Copied, Copying};
use super::programs::{ProgramError, Programs};
use super::protocol::FromNode;
use super::roads::{Roads, Surroundings};
use super::stills::{self, Arrived, Frozen, Rooms};
use super::{MakeRuntime, NodeDirectory, NodeError, clients, convert};
use crate::cores::{CoreEvent, Cores, Letterbox};
use crate::link::{Credentials, Hello, HostIdentity, Keyring, Link, LinkError, NodeKey};
use crate::origin::Ask;
use crate::talk::{Doing, Survey, no_program};

use calls::Calls;
use commands::Clients;
use families::{Born, Families};
use links::{Dialling, Standing};
use moves::Captured;
use tokens::Issuing;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(50);
/// Inputs from peers and commands that wait; whoever sends more waits.
const INPUTS_MAX: usize = 4_096;
/// Lines that are logged once only.
const LOGGED_MAX: usize = 1_000;
/// How long the last messages may take to leave when the node ends.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// What a node is made of.
pub(super) struct Parts {
    pub(super) credentials: Credentials,
    pub(super) key: NodeKey,
    pub(super) hello: Hello,
    pub(super) keyring: Option<Keyring>,
    pub(super) certified: Certified,
    pub(super) listener: TcpListener,
    /// Its port's other socket, or why it has none.
    pub(super) datagrams: io::Result<UdpSocket>,
    pub(super) control: UnixListener,
    pub(super) place: NodeDirectory,
    pub(super) join: Vec<String>,
    /// The address that others on this network are told, and where it looks for them.
    pub(super) discovers: Option<SocketAddr>,
    pub(super) cores: usize,
    pub(super) move_bytes_per_s: Option<u64>,
    pub(super) unreachable_after: Duration,
    pub(super) balancing: bool,
    pub(super) knows_all_max: usize,
    pub(super) links_kept: usize,
    pub(super) link_idle: Duration,
    pub(super) make_runtime: MakeRuntime,
}

/// What happens to a node.
pub(super) enum Input {
    Log(String),
    /// A link stands; `dialled`: under which address we had called.
    Linked {
        link: Box<Link>,
        dialled: Option<String>,
    },
    Rejected {
        from: String,
        error: LinkError,
    },
    NotDialled {
        address: String,
        error: LinkError,
    },
    /// A node of this cluster is announced on the network: where it can be called.
    Found(Vec<SocketAddr>),
    Unreached {
        address: String,
        cause: String,
    },
    LinkEnded {
        node: NodeId,
        number: u64,
        why: String,
    },
    Message {
        from: NodeId,
        message: Box<Message>,
    },
    /// A member of the cluster has said something.
    Datagram {
        by: NodeId,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Core(CoreEvent),
    /// A local process has spawned another one.
    Born(Box<Born>),
    /// A packet of a message kernel, for a process that is not on the cores.
    Stray(Box<Packet>),
    /// A local process of this family wants to spawn a program of this name, which the family does not have.
    NoProgram(Pid, String),
    /// What the cores know of processes.
    Surveyed(u64, Vec<(Pid, Doing)>),
    /// Names of local processes have changed.
    Named,
    /// A command's message has its reply, or will have none.
    Called(Pid, Result<Vec<u8>, Status>),
    /// A local process is about to ask its origin for the first time.
    Asks(Pid, Arc<Exchange>),
    /// A local process asks its origin.
    Request {
        pid: Pid,
        sequence: u64,
        ahead: Ahead,
        request: Vec<u8>,
    },
    /// A device process asks its origin.
    Devices(Pid, Ask),
    /// A program has come, or has not.
    Came {
        code: [u8; 32],
        wasm: Result<Vec<u8>, String>,
    },
    Compiled {
        code: [u8; 32],
        compiled: Result<Code, ProgramError>,
    },
    PreCopied(MigrationId, io::Result<Option<Box<Copied>>>),
    Captured(MigrationId, Captured),
    RoomMade(MigrationId),
    Thawed {
        migration: MigrationId,
        thawed: Result<Box<Arrived>, String>,
    },
    Client(u64, FromClient),
    /// What etcd says of a node's lease.
    LeaseState {
        node: NodeId,
        incarnation: Incarnation,
        state: Result<LeaseState, String>,
    },
}

/// Where inputs are sent.
#[derive(Clone)]
pub(super) struct Inputs {
    own: mpsc::UnboundedSender<Input>,
    foreign: mpsc::Sender<Input>,
}

impl Inputs {
    /// From this node's own threads, whose number bounds what waits.
    pub(super) fn send(&self, input: Input) {
        // When the node has ended nobody is interested.
        let _ = self.own.send(input);
    }

    /// From peers and commands, which wait while the node is busy.
    pub(super) async fn offer(&self, input: Input) {
        let _ = self.foreign.send(input).await;
    }
}

/// Runs a node until it is told to end.
pub(super) async fn run(
    parts: Parts,
    lease: Option<&Lease>,
    log: Box<dyn Fn(&str)>,
) -> Result<(), NodeError> {
    let (own, mut from_own) = mpsc::unbounded_channel();
    let (foreign, mut from_foreign) = mpsc::channel(INPUTS_MAX);
    let inputs = Inputs { own, foreign };
    let core_reports = inputs.clone();
    let roads = Roads::default();
    let outside = Surroundings { roads: roads.clone(), inputs: inputs.clone() };
    let cores = Cores::start_among(
        parts.cores,
        parts.credentials.id.0,
        Box::new(outside),
        move |report| core_reports.send(Input::Core(report)),
    )?;

    // The rest of the time is for making the link again, and for whoever is told to go on.
    let silence_max = parts.unreachable_after * 2 / 3;
    let mut config = Config {
        node: parts.credentials.id,
        incarnation: parts.hello.incarnation,
        name: parts.hello.name.clone(),
        address: parts.hello.address.clone(),
        cores: parts.cores as u32,
        move_bytes_per_s: parts.move_bytes_per_s,
        labels: parts.hello.labels.clone(),
        balancing: parts.balancing,
        knows_all_max: parts.knows_all_max,
        links_kept: parts.links_kept,
        link_idle: parts.link_idle,
        removed: BTreeMap::clone(&parts.credentials.removed),
        silent_after: (parts.unreachable_after - silence_max).saturating_sub(2 * TICK),
    };
    let (evict, evicted) = watch::channel(0);
    let us = Own {
        id: parts.credentials.id,
        papers: Papers::new(parts.credentials),
        hello: Arc::new(parts.hello),
        lanes: Lanes::default(),
        evicted,
        silence_max,
    };
    tokio::spawn(super::links::accept(parts.listener, us.clone(), inputs.clone()));
    tokio::spawn(clients::accept(parts.control, inputs.clone()));
    let gossip = parts.datagrams.and_then(|socket| {
        Gossip::start(socket, &parts.certified.gossip, &us, parts.unreachable_after, &inputs)
    });
    let gossip = gossip.map_err(|cause| {
        log(&format!("no datagrams at {} ({cause}): links alone tell who lives", us.hello.address));
    });
    if gossip.is_err() {
        // Nobody else tells it of members: it keeps links with all that it meets.
        config.links_kept = usize::MAX;
    }
    let discovery = parts.discovers.map(|at| {
        let started = Discovery::start(at, &parts.certified.gossip, &inputs);
        started.map_err(|cause| log(&format!("nodes are not looked for on this network: {cause}")))
    });

    let leases = lease.map(|lease| lease.asker(inputs.clone())).transpose()?;

    let mut host = Host {
        node: Node::new(config),
        started: Instant::now(),
        us,
        inputs,
        log,
        logged: HashSet::new(),
        letterbox: cores.letterbox(),
        cores,
        roads,
        gossip: gossip.ok(),
        discovery: discovery.and_then(Result::ok),
        strays: Strays::default(),
        families: Families::default(),
        calls: Calls::default(),
        arguments: HashMap::new(),
        programs: Programs::new(parts.make_runtime),
        place: parts.place,
        key: parts.key,
        issuing: Issuing::new(parts.keyring, parts.certified),
        evict,
        links: BTreeMap::new(),
        links_made: 0,
        dialling: HashMap::new(),
        lost: BTreeMap::new(),
        silent: BTreeSet::new(),
        leases,
        asked: Asked::default(),
        joining: parts.join.clone(),
        expected: Expected::default(),
        streams: 0,
        sends: Arc::new(()),
        pace: Pace::new(parts.move_bytes_per_s),
        rooms: Rooms::default(),
        exchanges: HashMap::new(),
        allowance: Allowance::default(),
        unserved: BTreeMap::new(),
        ended: HashMap::new(),
        copying: HashMap::new(),
        copied: HashMap::new(),
        leaving: HashMap::new(),
        frozen: HashMap::new(),
        arrived: HashMap::new(),
        clients: Clients::default(),
        ending: None,
        ticks: 0,
        speed_permille: 0,
        empty_ticks: 0,
        cpu_before: HashMap::new(),
    };
    // Before anybody can ask for it.
    host.look_at_memory();
    host.tell_news();
    parts.join.into_iter().for_each(|address| host.dial(address));
    let mut ticker = tokio::time::interval(TICK);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while host.ending.is_none() {
        tokio::select! {
            biased;
            Some(input) = from_own.recv() => host.input(input),
            Some(input) = from_foreign.recv() => host.input(input),
            _ = ticker.tick() => host.tick(),
            () = tokio::time::sleep_until(host.gossip_wakes_at()) => host.gossip_due(),
        }
    }
    host.end().await
}

/// The node's thread.
struct Host {
    node: Node,
    started: Instant,
    us: Own,
    inputs: Inputs,
    log: Box<dyn Fn(&str)>,
    logged: HashSet<String>,
    cores: Cores,
    letterbox: Letterbox,
    roads: Roads,
    /// Who lives, as members tell each other. `None`: this node takes no part in it.
    gossip: Option<Gossip>,
    discovery: Option<Discovery>,
    /// Packets for processes that are not on this node's cores.
    strays: Strays<Packet>,
    families: Families,
    calls: Calls,
    /// What local processes were given when they were spawned.
    arguments: HashMap<Pid, Arc<[u8]>>,
    programs: Programs,
    place: NodeDirectory,
    key: NodeKey,
    issuing: Issuing,
    /// Cuts off commands of other machines, each time that it is counted up.
    evict: watch::Sender<u64>,
    links: BTreeMap<NodeId, Standing>,
    links_made: u64,
    /// Addresses that a task is calling.
    dialling: HashMap<String, Dialling>,
    /// Nodes whose link broke, and who they were.
    lost: BTreeMap<NodeId, (Incarnation, HostIdentity)>,
    /// Nodes that were silent for so long that who waits for them was told, and are not back.
    silent: BTreeSet<NodeId>,
    /// Where leases of silent nodes are asked for. `None`: this node has none itself.
    leases: Option<Asker>,
    asked: Asked,
    /// The nodes of which one is to be joined, without those that are of no use; until one is.
    joining: Vec<String>,
    expected: Expected,
    streams: u64,
    /// Counts the programs that are being sent, by its handles.
    sends: Arc<()>,
    /// What leaves in bulk waits for it.
    pace: Pace,
    rooms: Rooms,
    exchanges: HashMap<Pid, Arc<Exchange>>,
    /// What all of them may have outstanding.
    allowance: Allowance,
    /// Requests of processes that are not here any more which have failed because their origins' nodes, these, were silent.
    unserved: BTreeMap<NodeId, BTreeMap<Pid, u64>>,
    /// Processes that have ended, and how; their origins have not heard all that they had written.
    ended: HashMap<Pid, End>,
    /// Processes whose memory is being copied.
    copying: HashMap<MigrationId, Copying>,
    /// Those of which it has been, until they stand still.
    copied: HashMap<MigrationId, Box<Copied>>,
    /// Processes that are being frozen to leave.
    leaving: HashMap<Pid, MigrationId>,
    frozen: HashMap<Pid, Frozen>,
    arrived: HashMap<MigrationId, Box<Arrived>>,
    clients: Clients,
    ending: Option<Result<(), NodeError>>,
    ticks: u32,
    /// What was told of it last.
    speed_permille: u32,
    /// Ticks in which nothing has been left here while it is to end.
    empty_ticks: u32,
    /// Processor time of processes that were taken from the cores and given back to them.
    cpu_before: HashMap<Pid, Duration>,
}

impl Host {
    fn input(&mut self, input: Input) {
        match input {
            Input::Log(line) => self.log_once(&line),
            Input::Linked { link, dialled } => self.linked(*link, dialled),
            Input::Rejected { error, .. } if error.is_removal() => self.was_removed(),
            Input::Rejected { from, error } => {
                self.log_once(&format!("a connection from {from} was refused: {error}"));
            }
            Input::NotDialled { address, error } => self.not_dialled(&address, error),
            Input::Found(addresses) => self.found_on_network(&addresses),
            Input::Unreached { address, cause } => self.unreached(&address, &cause),
            Input::LinkEnded { node, number, why } => self.link_ended(node, number, &why),
            Input::Message { from, message } => self.message(from, *message),
            Input::Datagram { by, from, bytes } => self.datagram(by, from, &bytes),
            Input::Core(report) => self.core(report),
            Input::Request { pid, sequence, ahead, request } => {
                self.request(pid, sequence, ahead, request);
            }
            Input::Devices(pid, ask) => self.devices_ask(pid, ask),
            Input::Came { code, wasm } => self.came(code, wasm),
            Input::Compiled { code, compiled } => self.compiled(code, compiled),
            Input::Captured(migration, captured) => self.captured(migration, captured),
            Input::Born(born) => self.born(*born),
            Input::Stray(packet) => self.stray(*packet),
            Input::NoProgram(root, name) => self.clients.notice(root, no_program(&name)),
            Input::Surveyed(survey, found) => {
                let doings = found.into_iter().map(|(pid, doing)| (pid, convert::doing(doing)));
                self.tell(Event::Surveyed { survey, doings: doings.collect() });
            }
            Input::Named => self.named(),
            Input::Called(pid, answer) => self.called(pid, answer),
            Input::Asks(pid, exchange) => self.asks(pid, exchange),
            Input::PreCopied(migration, copied) => self.pre_copied(migration, copied),
            Input::RoomMade(migration) => self.tell(Event::RoomMade(migration)),
            Input::Thawed { migration, thawed } => self.thawed(migration, thawed),
            Input::Client(number, said) => self.client(number, said),
            Input::LeaseState { node, incarnation, state } => {
                self.lease_state(node, incarnation, &state);
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        let now = self.now();
        self.node.handle(now, event, &mut actions);
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send { to, message } => {
                if let Message::WantCode { code } = message {
                    self.expect_code(to, code);
                }
                self.send(to, &message);
            }
            Action::ForgetNames(node) => self.letterbox.names().forget_node(node.0),
            Action::Say { to, word } => self.say_in_datagram(to, &word),
            Action::Hint { to, entries } => self.say_lookup(to, &Lookup::Entries(entries)),
            Action::HangUp(node) => self.hang_up_link(node),
            Action::Connect(addresses) => addresses.into_iter().for_each(|one| self.dial(one)),
            Action::WantCode(code) => {
                let there = self.programs.get(code).is_some();
                self.tell(if there { Event::CodeReady(code) } else { Event::CodeMissing(code) });
            }
            Action::ForgetCode(code) => self.expected.forget(Content::Code(code)),
            Action::SendCode { to, code } => self.send_code(to, code),
            Action::PreCopy { to, pid, migration } => self.pre_copy(to, pid, migration),
            Action::StopCopying(migration) => {
                self.copying.remove(&migration);
                self.copied.remove(&migration).into_iter().for_each(stills::drop_aside);
            }
            Action::Freeze { pid, migration } => {
                self.leaving.insert(pid, migration);
                self.strays.stands_still(pid);
                // Not there: it has just ended, and its end is on the way to us.
                let _ = self.cores.freeze(pid);
            }
            Action::SendImage { to, pid, migration } => self.send_image(to, pid, migration),
            Action::Resume(pid) => {
                let frozen = self.frozen.remove(&pid);
                if let Some(Frozen { still, talking, cpu, copied, .. }) = frozen {
                    *self.cpu_before.entry(pid).or_default() += cpu;
                    copied.into_iter().for_each(stills::drop_aside);
                    if let Some(process) = still.take() {
                        self.run_again(process, talking);
                    }
                }
            }
            Action::Discard { pid, to } => self.discard(pid, to),
            Action::Expect { migration, luggage, .. } => self.expect(migration, luggage),
            Action::Activate { migration, pid } => self.activate(migration, pid),
            Action::Drop(migration) => {
                self.expected.forget(Content::Image(migration));
                if let Some(arrived) = self.arrived.remove(&migration) {
                    stills::drop_aside(arrived.process);
                }
            }
            Action::Kill(pid) => {
                let _ = self.cores.kill(pid);
                self.end_unheard(pid);
            }
            Action::NodeGone(node) => {
                self.unserved.remove(&node);
                self.strays.node_gone(node);
                self.letterbox.unreachable(node.0);
                self.call_no_longer(node);
            }
            Action::NodeSilent(node) => {
                self.letterbox.unreachable(node.0);
                self.origins_silent(node);
                self.tell_silent(node);
            }
            Action::Remove(nodes) => self.remove(&nodes),
            Action::WasRemoved { by } => {
                let name = self.node.name_of(by);
                (self.log)(&format!("node {name} says that this node was removed"));
                self.was_removed();
            }
            Action::OriginGone(pid) => self.origin_gone(pid),
            Action::Adopt { pid, root, program } => self.clients.adopt(pid, root, program),
            Action::TellOrigin { pid, end } => {
                let devices = self.clients.tell_end(pid, end);
                self.end_devices(devices);
            }
            Action::Survey { survey, pids } => {
                let inputs = self.inputs.clone();
                self.letterbox.survey(Survey::new(pids, move |found| {
                    inputs.send(Input::Surveyed(survey, found));
                }));
            }
            Action::TellDeadlock { pid, text } => self.clients.notice(pid, text),
            Action::Respond { id, response } => self.respond(id, response),
            Action::Log(line) => (self.log)(&line),
        }
    }

    fn log_once(&mut self, line: &str) {
        if self.logged.len() >= LOGGED_MAX {
            self.logged.clear();
        }
        if self.logged.insert(line.to_owned()) {
            (self.log)(line);
        }
    }

    /// Says goodbye to everybody.
    async fn end(mut self) -> Result<(), NodeError> {
        self.say_farewell();
        self.leave();
        // It is on its way before anybody hears that this node has ended, and ends the OS process.
        tokio::time::sleep(GOODBYE_MAX / 20).await;
        for number in std::mem::take(&mut self.clients.down) {
            self.clients.say(number, FromNode::Answer(Answer::Done));
        }
        // The writers send what waits and close their ends, now that nothing more can come.
        let ended = self.ending.take().unwrap_or(Ok(()));
        let discovery = self.discovery.take();
        drop(self);
        if let Some(discovery) = discovery {
            discovery.end().await;
        }
        tokio::time::sleep(GOODBYE_MAX / 10).await;
        ended
    }
}

/// Seconds since 1970 by this machine's clock.
pub(super) fn now_unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
