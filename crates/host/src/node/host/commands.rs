//! What this user's commands ask.

use std::collections::HashMap;
use std::sync::Arc;

use peripatos_abi::Pid;
use peripatos_cluster::message::{Answer, Command, Description};
use peripatos_cluster::{Event, NodeId, Request, RequestId, Response};
use peripatos_engine::{Process, ProcessOptions};
use tokio::sync::mpsc;

use super::super::clients::FromClient;
use super::super::exchange::RemoteDevices;
use super::super::programs::Programs;
use super::super::protocol::{FromNode, Start, ToNode, VERSION};
use super::super::stills;
use super::Host;

impl Host {
    pub(super) fn client(&mut self, number: u64, said: FromClient) {
        match said {
            FromClient::Connected(to) => {
                self.clients.connected.insert(number, Client { to, start: None, origin_of: None });
            }
            FromClient::Gone => {
                self.clients.down.retain(|one| *one != number);
                let gone = self.clients.connected.remove(&number);
                if let Some(pid) = gone.and_then(|client| client.origin_of) {
                    self.clients.forget_origin(pid);
                    self.tell(Event::OriginGone(pid));
                }
            }
            FromClient::Program(wasm) => {
                let start = self.clients.connected.get(&number).and_then(|one| one.start.as_ref());
                if let Some(code) = start.map(Host::code_of) {
                    self.compile(code, wasm.into());
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
                    node: self.us.credentials.id,
                    name: self.us.hello.name.clone(),
                    logs: self.place.logs(),
                };
                self.clients.say(number, hello);
            }
            ToNode::Nodes => self.ask(number, Request::Nodes),
            ToNode::Processes => self.ask(number, Request::Processes),
            ToNode::Command { node, command } => {
                self.ask(number, Request::Command { node, command });
            }
            ToNode::Down { now } => self.down(number, now),
            ToNode::Start(start) => {
                let code = Host::code_of(&start);
                if let Some(client) = self.clients.connected.get_mut(&number) {
                    client.start = Some(*start);
                }
                match self.programs.get(code) {
                    Some(_) => self.start(number),
                    None => self.clients.say(number, FromNode::WantProgram),
                }
            }
            ToNode::Reply { sequence, reply } => {
                let client = self.clients.connected.get(&number);
                if let Some(pid) = client.and_then(|client| client.origin_of) {
                    self.replied(pid, sequence, reply);
                }
            }
            ToNode::Kill => {
                let client = self.clients.connected.get(&number);
                if let Some(pid) = client.and_then(|client| client.origin_of) {
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
        if now || self.node.is_empty() {
            self.ending = Some(Ok(()));
        } else {
            let (id, node) = (RequestId(0), self.us.credentials.id);
            let command = Command::Drain { on: true };
            self.tell(Event::Request { id, request: Request::Command { node, command } });
        }
    }

    /// What would be lost if the node went down without haste.
    fn why_not_down(&self) -> Option<String> {
        if !self.node.is_empty() && self.links.is_empty() {
            let reason = "processes run here, and there is no other node to take them; \
                          `peri down --now` ends them";
            return Some(reason.to_owned());
        }
        let origins = self.clients.origins.len();
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

    /// The program of what a command wants started is there.
    pub(super) fn start(&mut self, number: u64) {
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
        self.node.may_start(pid)?;
        let program = self.programs.get(code).ok_or("its program is not here any more")?;
        let exchange = self.exchange(pid);
        let text = |arg: &Vec<u8>| String::from_utf8_lossy(arg).into_owned();
        let description = Description {
            pid,
            command: shown(start.args.iter().map(text)),
            code,
            origin: self.us.credentials.id,
            started_unix_seconds: start.started_unix_seconds,
            memory_bytes_max: start.memory_bytes_max,
            canonical_nan: start.canonical_nan,
        };
        let options = ProcessOptions {
            pid,
            args: start.args,
            env: start.env,
            devices: Box::new(RemoteDevices::new(Arc::clone(&exchange))),
            limits: stills::limits_of(start.memory_bytes_max),
            freeze_every: None,
        };
        let process = Process::spawn(&program, options).map_err(|error| error.to_string())?;
        self.exchanges.insert(pid, exchange);
        self.clients.origins.insert(pid, number);
        if let Some(client) = self.clients.connected.get_mut(&number) {
            client.origin_of = Some(pid);
        }
        self.tell(Event::Started(description));
        self.run_again(process);
        Ok(())
    }
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
    pub(super) asking: HashMap<Pid, NodeId>,
    /// Wait for the node to be empty.
    pub(super) down: Vec<u64>,
}

pub(super) struct Client {
    pub(super) to: mpsc::Sender<FromNode>,
    /// What it wants started, until its program is there.
    pub(super) start: Option<Start>,
    /// The process that it is the origin of.
    pub(super) origin_of: Option<Pid>,
}

impl Clients {
    pub(super) fn say(&mut self, number: u64, message: FromNode) {
        if let Some(client) = self.connected.get(&number) {
            // One that takes nothing is gone, or will be.
            let _ = client.to.try_send(message);
        }
    }

    pub(super) fn origin(&self, pid: Pid) -> Option<&Client> {
        self.connected.get(self.origins.get(&pid)?)
    }

    pub(super) fn forget_origin(&mut self, pid: Pid) {
        self.asking.remove(&pid);
        if let Some(client) = self.origins.remove(&pid).and_then(|one| self.connected.get_mut(&one))
        {
            client.origin_of = None;
        }
    }

    pub(super) fn waiting_for(&self, code: [u8; 32]) -> Vec<u64> {
        let waits = |client: &Client| {
            client.start.as_ref().is_some_and(|start| Host::code_of(start) == code)
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
