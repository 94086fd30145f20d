//! What this user's commands ask.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::limits::{FAMILY_PROGRAMS_MAX, LABELS_MAX};
use peripatos_cluster::message::{Answer, CodeHash, Command, Description, End, Kin};
use peripatos_cluster::{Event, NodeId, Request, RequestId, Response};
use peripatos_engine::{Form, Handler, Process, ProcessOptions, SpawnError};
use tokio::sync::mpsc;

use super::super::clients::FromClient;
use super::super::programs::Programs;
use super::super::protocol::{FromNode, Start, ToNode, VERSION};
use super::super::{random, stills};
use super::Host;
use crate::talk::{Body, Line};

/// Ticks for which a node that is empty waits until it has nothing to tell anybody.
const FAREWELL_TICKS_MAX: u32 = 20;

impl Host {
    pub(super) fn client(&mut self, number: u64, said: FromClient) {
        match said {
            FromClient::Connected(to) => {
                self.clients.connected.insert(number, Client::new(to));
            }
            FromClient::Gone => {
                self.clients.down.retain(|one| *one != number);
                let gone = self.clients.connected.remove(&number);
                self.end_devices(gone.as_ref().and_then(|client| client.devices));
                for pid in gone.map_or(BTreeSet::new(), |client| client.origin_of) {
                    self.clients.forget_origin(pid);
                    self.tell(Event::OriginGone(pid));
                }
            }
            FromClient::Program(wasm) => {
                let start = self.clients.connected.get(&number).and_then(|one| one.start.clone());
                let wanted = start.and_then(|start| self.missing(&start));
                if let Some(code) = wanted {
                    self.compile(code.name, wasm.into());
                }
            }
            FromClient::Message(message) => self.client_says(number, *message),
        }
    }

    pub(super) fn client_says(&mut self, number: u64, message: ToNode) {
        match message {
            ToNode::Hello { .. } => {
                let hello = FromNode::Hello {
                    version: VERSION,
                    node: self.us.id,
                    name: self.us.hello.name.clone(),
                    logs: self.place.logs(),
                };
                self.clients.say(number, hello);
            }
            ToNode::Nodes => self.ask(number, Request::Nodes),
            ToNode::Processes => self.ask(number, Request::Processes),
            ToNode::Events(of) => self.ask(number, Request::Events(of.map(Pid::from_bits))),
            ToNode::Command { node, command: Command::Remove { node: removed } }
                if node == self.us.id =>
            {
                self.remove_node(number, removed);
            }
            ToNode::Command { node, command: Command::Forget { node: gone, .. } } => {
                self.forget_node(number, node, gone);
            }
            ToNode::Command { node, command } => {
                self.ask(number, Request::Command { node, command });
            }
            ToNode::Call { name, message, wait_ms } => {
                self.call(number, name, message, Duration::from_millis(wait_ms));
            }
            ToNode::Down { now } => self.down(number, now),
            ToNode::Token => self.show_token(number),
            ToNode::RotateToken { grace_ms, until_heard } => {
                self.rotate_token(number, Duration::from_millis(grace_ms), until_heard);
            }
            ToNode::UseToken(secret) => self.use_token(number, secret),
            ToNode::Start(start) => {
                if let Some(client) = self.clients.connected.get_mut(&number) {
                    client.start = Some(*start);
                }
                self.start(number);
            }
            ToNode::Reply { pid, sequence, reply } => {
                let pid = Pid::from_bits(pid);
                let client = self.clients.connected.get(&number);
                if client.is_some_and(|client| client.origin_of.contains(&pid)) {
                    self.replied(pid, sequence, reply);
                }
            }
            ToNode::ClientReply { client, sequence, reply } => {
                self.client_replied(number, Pid::from_bits(client), sequence, &reply);
            }
            ToNode::Kill => {
                let client = self.clients.connected.get(&number);
                if let Some(pid) = client.and_then(|client| client.root) {
                    self.tell(Event::OriginKills(pid));
                }
            }
        }
    }

    pub(super) fn ask(&mut self, number: u64, request: Request) {
        self.clients.last_request += 1;
        let id = RequestId(self.clients.last_request);
        self.clients.asked.insert(id, number);
        self.tell(Event::Request { id, request });
    }

    pub(super) fn respond(&mut self, id: RequestId, response: Response) {
        let Some(number) = self.clients.asked.remove(&id) else { return };
        self.clients.say(
            number,
            match response {
                Response::Processes { processes, silent } => {
                    FromNode::Processes { processes, silent }
                }
                Response::Nodes(nodes) => FromNode::Nodes(nodes),
                Response::Events { told, standing, silent } => {
                    FromNode::Events { told, standing, silent }
                }
                Response::Command(answer) => FromNode::Answer(answer),
            },
        );
    }

    pub(super) fn down(&mut self, number: u64, now: bool) {
        if let Some(reason) = self.why_not_down().filter(|_| !now) {
            self.clients.say(number, FromNode::Answer(Answer::Refused(reason)));
            return;
        }
        self.clients.down.push(number);
        if now {
            self.ending = Some(Ok(()));
        } else {
            let (id, node) = (RequestId(0), self.us.id);
            let command = Command::Drain { on: true };
            self.tell(Event::Request { id, request: Request::Command { node, command } });
        }
    }

    /// Whether nothing is left here. Others get a moment to say that they have heard of what was, so that this node can say that it leaves.
    pub(super) fn may_end(&mut self) -> bool {
        self.empty_ticks = if self.node.is_empty() { self.empty_ticks + 1 } else { 0 };
        self.empty_ticks > 0 && self.node.leaves_nothing() || self.empty_ticks > FAREWELL_TICKS_MAX
    }

    /// The last word, if this node leaves in order.
    pub(super) fn say_farewell(&mut self) {
        if !self.node.leaves_nothing() || !matches!(self.ending, Some(Ok(()))) {
            return;
        }
        let farewell = match self.key.sign_departure(self.us.hello.incarnation) {
            Ok(proof) => self.node.farewell(proof),
            Err(error) => {
                return (self.log)(&format!("others are not told that this node leaves: {error}"));
            }
        };
        let Some(farewell) = farewell else { return };
        for node in Vec::from_iter(self.links.keys().copied()) {
            self.send(node, &farewell);
        }
    }

    /// What would be lost if the node went down without haste.
    fn why_not_down(&self) -> Option<String> {
        if !self.node.is_empty() && self.links.is_empty() {
            let reason = "processes run here, and there is no other node to take them; \
                          `peri down --now` ends them";
            return Some(reason.to_owned());
        }
        let roots = self.clients.connected.values().filter(|client| client.root.is_some());
        let origins = roots.count();
        (origins > 0).then(|| {
            format!(
                "{origins} programs that run were started through this node, and reach their files and \
                 terminals through it; `peri down --now` cuts them off"
            )
        })
    }

    pub(super) fn code_of(start: &Start) -> [u8; 32] {
        Programs::name(start.code, start.canonical_nan)
    }

    /// A program that is needed to start this and is not here.
    fn missing(&mut self, start: &Start) -> Option<Missing> {
        let others = start.programs.iter().map(|(_, wasm_hash)| *wasm_hash);
        let mut needed = std::iter::once(start.code).chain(others);
        needed.find_map(|wasm_hash| {
            let name = Programs::name(wasm_hash, start.canonical_nan);
            self.programs.get(name).is_none().then_some(Missing { wasm_hash, name })
        })
    }

    /// Starts what a command wants started, or asks it for a program that is not here.
    pub(super) fn start(&mut self, number: u64) {
        let start = self.clients.connected.get(&number).and_then(|one| one.start.clone());
        if let Some(Missing { wasm_hash, .. }) = start.and_then(|start| self.missing(&start)) {
            return self.clients.say(number, FromNode::WantProgram { code: wasm_hash });
        }
        let start = self.clients.connected.get_mut(&number).and_then(|one| one.start.take());
        let Some(start) = start else { return };
        let answer = match self.try_start(number, start) {
            Ok(()) => FromNode::Started,
            Err(reason) => FromNode::Answer(Answer::Refused(reason)),
        };
        self.clients.say(number, answer);
    }

    pub(super) fn try_start(&mut self, number: u64, start: Start) -> Result<(), String> {
        let (pid, code) = (start.pid(), Host::code_of(&start));
        if self.clients.connected.get(&number).is_some_and(|client| client.root.is_some()) {
            return Err("a connection starts one program".to_owned());
        }
        self.node.may_start(pid)?;
        let program = self.programs.get(code).ok_or("its program is not here any more")?;
        if start.programs.len() > FAMILY_PROGRAMS_MAX {
            return Err(format!("more than {FAMILY_PROGRAMS_MAX} programs to spawn"));
        }
        if !start.placement.is_valid() {
            return Err(format!("more than {LABELS_MAX} labels, or some that cannot be"));
        }
        let memory = start.memory_bytes_needed.min(start.memory_bytes_max);
        self.node.may_place(&start.placement, memory)?;
        if let Some(name) = &start.devices
            && self.letterbox.names().lookup(name.as_bytes()).is_err()
        {
            let why = super::calls::no_such_name(&self.letterbox.names());
            return Err(format!("--devices {name}: {why}"));
        }
        let exchange = self.exchange(pid, &program);
        let text = |arg: &Vec<u8>| String::from_utf8_lossy(arg).into_owned();
        let name_of = |(name, wasm_hash): &(String, [u8; 32])| {
            (name.clone(), Programs::name(*wasm_hash, start.canonical_nan))
        };
        // One that does not talk is a family of its own, if there is something to be kept to.
        let of_family = program.talks()
            || start.devices.is_some()
            || start.cpu_permille_max.is_some()
            || start.placement.is_some();
        // Whose devices a process serves has none of its origin's to be sent to.
        let device_process = match of_family && start.devices.is_none() {
            true => Some(Pid::new(pid.number(), random().map_err(|error| error.to_string())?)),
            false => None,
        };
        let kin = of_family.then(|| Kin {
            root: pid,
            parent: Pid::from_bits(0),
            programs: start.programs.iter().map(name_of).collect(),
            processes_max: start.processes_max,
            messages_bytes_max: start.messages_bytes_max,
            cpu_permille_max: start.cpu_permille_max,
            name_prefix: start.name_prefix.clone(),
            placement: start.placement.clone(),
            devices: start.devices.clone(),
            device_process: device_process.unwrap_or(Pid::from_bits(0)),
            handler: program.form() == Form::Handler,
        });
        let description = Description {
            pid,
            command: shown(start.args.iter().map(text)),
            code,
            origin: self.us.id,
            started_unix_seconds: start.started_unix_seconds,
            memory_bytes_max: start.memory_bytes_max,
            memory_bytes_needed: memory,
            canonical_nan: start.canonical_nan,
            kin,
        };
        let line = match &description.kin {
            Some(kin) => Some(self.line(&description, kin, start.env.clone(), Vec::new())?),
            None => None,
        };
        let options = ProcessOptions {
            pid,
            args: start.args,
            env: start.env,
            devices: stills::devices(&description, &exchange),
            limits: stills::limits_of(start.memory_bytes_max),
            freeze_every: None,
        };
        let failed = |error: SpawnError| error.to_string();
        let body = match program.form() {
            Form::Program => {
                Body::Process(Box::new(Process::spawn(&program, options).map_err(failed)?))
            }
            Form::Handler => {
                Body::Handler(Box::new(Handler::spawn(&program, options).map_err(failed)?))
            }
        };
        if let Some(device_process) = device_process {
            self.begin_devices(device_process, number)?;
        }
        self.exchanges.insert(pid, exchange);
        self.clients.origins.insert(pid, number);
        if let Some(client) = self.clients.connected.get_mut(&number) {
            client.root = Some(pid);
            client.devices = device_process;
            client.origin_of.insert(pid);
        }
        self.tell(Event::Started(description));
        if start.pin {
            let (id, node) = (RequestId(0), self.us.id);
            let command = Command::Pin { pid };
            self.tell(Event::Request { id, request: Request::Command { node, command } });
        }
        self.begin(body, line);
        Ok(())
    }

    /// A new process runs.
    fn begin(&mut self, body: Body, line: Option<Line>) {
        match body {
            Body::Process(mut process) => {
                if let Some(line) = line {
                    process.set_messages(Box::new(line));
                }
                self.run_again(*process, None);
            }
            Body::Handler(mut handler) => {
                if let Some(line) = line {
                    handler.set_messages(Box::new(line));
                }
                let pid = handler.pid();
                if let Err(error) = self.cores.serve(*handler) {
                    self.lost(pid, &error.to_string());
                }
            }
        }
    }
}

/// A program that is not here.
struct Missing {
    wasm_hash: [u8; 32],
    /// Among nodes.
    name: CodeHash,
}

/// This user's commands.
#[derive(Default)]
pub(super) struct Clients {
    pub(super) connected: HashMap<u64, Client>,
    /// Which command asked what.
    pub(super) asked: HashMap<RequestId, u64>,
    pub(super) last_request: u64,
    /// The commands that are origins.
    pub(super) origins: HashMap<Pid, u64>,
    /// Where the last request of such a process came from.
    pub(super) asking: HashMap<Pid, Asking>,
    /// The commands whose devices these serve.
    pub(super) device_origins: HashMap<Pid, u64>,
    /// Wait for the node to be empty.
    pub(super) down: Vec<u64>,
}

pub(super) struct Client {
    pub(super) to: mpsc::UnboundedSender<FromNode>,
    /// What it wants started, until its programs are there.
    pub(super) start: Option<Start>,
    /// The process that it has started.
    pub(super) root: Option<Pid>,
    /// The process that serves its devices.
    pub(super) devices: Option<Pid>,
    /// All processes that it is the origin of.
    pub(super) origin_of: BTreeSet<Pid>,
    /// What the programs of those are called that its process has spawned.
    pub(super) programs: HashMap<Pid, String>,
}

impl Client {
    fn new(to: mpsc::UnboundedSender<FromNode>) -> Client {
        let (origin_of, programs) = (BTreeSet::new(), HashMap::new());
        Client { to, start: None, root: None, devices: None, origin_of, programs }
    }
}

/// Who waits for the reply to a process's last request: the node that runs it, and the one before, from which it may come late.
#[derive(Debug)]
pub(super) struct Asking {
    sequence: u64,
    nodes: Vec<NodeId>,
}

/// Nodes that make one request of a process: it has moved each time.
const ASKERS_MAX: usize = 8;

impl Clients {
    /// A process's request comes from this node. `false`: it is older than one that came, and nobody waits for it.
    pub(super) fn asks(&mut self, pid: Pid, from: NodeId, sequence: u64) -> bool {
        let asking = self.asking.entry(pid);
        let asking = asking.or_insert_with(|| Asking { sequence, nodes: Vec::new() });
        if sequence < asking.sequence {
            return false;
        }
        if sequence > asking.sequence {
            *asking = Asking { sequence, nodes: Vec::new() };
        }
        asking.nodes.retain(|node| *node != from);
        asking.nodes.truncate(ASKERS_MAX - 1);
        asking.nodes.insert(0, from);
        true
    }

    /// Who is to have the reply to this request.
    pub(super) fn who_asked(&self, pid: Pid, sequence: u64) -> Vec<NodeId> {
        let asking = self.asking.get(&pid).filter(|asking| asking.sequence == sequence);
        asking.map(|asking| asking.nodes.clone()).unwrap_or_default()
    }

    pub(super) fn say(&mut self, number: u64, message: FromNode) {
        if let Some(client) = self.connected.get(&number) {
            // One that takes nothing is gone, or will be.
            let _ = client.to.send(message);
        }
    }

    pub(super) fn origin(&self, pid: Pid) -> Option<&Client> {
        self.connected.get(self.origins.get(&pid)?)
    }

    /// Whoever is the origin of `root` is that of a process, too, which it has spawned.
    pub(super) fn adopt(&mut self, pid: Pid, root: Pid, program: String) {
        let Some(number) = self.origins.get(&root).copied() else { return };
        self.origins.insert(pid, number);
        if let Some(client) = self.connected.get_mut(&number) {
            client.origin_of.insert(pid);
            client.programs.insert(pid, program);
        }
    }

    /// Tells the origin of a process that it has ended. The device process that ends with it, if one does.
    #[must_use]
    pub(super) fn tell_end(&mut self, pid: Pid, end: End) -> Option<Pid> {
        let number = self.origins.get(&pid);
        if let Some(client) = number.and_then(|number| self.connected.get_mut(number)) {
            let end = match client.programs.remove(&pid) {
                Some(program) => FromNode::ChildEnded { pid: pid.bits(), program, end },
                None => FromNode::Ended(end),
            };
            let _ = client.to.send(end);
        }
        let client = number.and_then(|number| self.connected.get_mut(number));
        let devices = client.filter(|client| client.root == Some(pid));
        let devices = devices.and_then(|client| client.devices.take());
        self.forget_origin(pid);
        devices
    }

    /// Tells the origin of a process something for its user.
    pub(super) fn notice(&mut self, pid: Pid, text: String) {
        if let Some(client) = self.origin(pid) {
            let _ = client.to.send(FromNode::Notice(text));
        }
    }

    pub(super) fn forget_origin(&mut self, pid: Pid) {
        self.asking.remove(&pid);
        if let Some(client) = self.origins.remove(&pid).and_then(|one| self.connected.get_mut(&one))
        {
            client.origin_of.remove(&pid);
            client.programs.remove(&pid);
            client.root.take_if(|root| *root == pid);
        }
    }

    pub(super) fn waiting_for(&self, code: [u8; 32]) -> Vec<u64> {
        let waits = |client: &Client| {
            client.start.as_ref().is_some_and(|start| {
                let others = start.programs.iter().map(|(_, wasm_hash)| *wasm_hash);
                let mut needed = std::iter::once(start.code).chain(others);
                needed.any(|one| Programs::name(one, start.canonical_nan) == code)
            })
        };
        self.connected.iter().filter(|(_, one)| waits(one)).map(|(number, _)| *number).collect()
    }
}

/// A command line for people, cut where it is too long.
fn shown(command: impl Iterator<Item = String>) -> Vec<String> {
    let mut left = peripatos_cluster::limits::COMMAND_BYTES_MAX;
    let mut shown = Vec::new();
    for mut part in command {
        if part.len() > left {
            part.truncate(part.floor_char_boundary(left));
            shown.push(part);
            break;
        }
        left -= part.len();
        shown.push(part);
    }
    shown
}
