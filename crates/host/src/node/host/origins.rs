//! Requests of processes on their way to their origins, and the replies on their way back.

use std::sync::Arc;

use peripatos_abi::device::{self, Ahead, Reply};
use peripatos_abi::{Errno, Pid};
use peripatos_cluster::message::{End, FailureKind, Message};
use peripatos_cluster::{Event, NodeId};
use peripatos_engine::Code;

use super::super::exchange::{AtEnd, Exchange};
use super::super::protocol::FromNode;
use super::{Host, Input, Inputs};

/// Processes that are not here any more of whose failed requests a node is to be told.
const UNSERVED_MAX: usize = 1_000;

impl Host {
    /// A local process asks.
    pub(super) fn request(&mut self, pid: Pid, sequence: u64, ahead: Ahead, request: Vec<u8>) {
        let own = self.us.id;
        match self.node.origin_of(pid) {
            Some(origin) if origin == own => self.ask_origin(pid, own, sequence, ahead, request),
            // It has come, or asks for the first time, since the node fell silent.
            Some(origin) if self.silent.contains(&origin) => {
                self.silence(pid);
                self.want_link(Some(origin));
            }
            Some(origin) => self.send(origin, &Message::Request { pid, sequence, ahead, request }),
            None => {}
        }
    }

    /// A node is silent: processes whose origins are there are told, and do not wait for them any more.
    pub(super) fn origins_silent(&mut self, node: NodeId) {
        self.silent.insert(node);
        let there = |pid: &&Pid| self.node.origin_of(**pid) == Some(node);
        let pids: Vec<Pid> = self.exchanges.keys().filter(there).copied().collect();
        pids.into_iter().for_each(|pid| self.silence(pid));
    }

    /// It is back, or another OS process of it is there.
    pub(super) fn origins_back(&mut self, node: NodeId) {
        if self.silent.remove(&node) {
            let there = |pid: &Pid| self.node.origin_of(*pid) == Some(node);
            let exchanges = self.exchanges.iter().filter(|(pid, _)| there(pid));
            exchanges.for_each(|(_, exchange)| exchange.origin_back());
        }
    }

    /// Those commands hear of it whose programs run there.
    pub(super) fn tell_silent(&mut self, node: NodeId) {
        let name = self.node.name_of(node);
        let runs_there = |pid: Pid| self.node.home_of(pid) == Some(node);
        let clients = self.clients.connected.values();
        for client in clients.filter(|client| client.root.is_some_and(runs_there)) {
            // One that takes nothing is gone, or will be.
            let _ = client.to.send(FromNode::Silent { node: name.clone() });
        }
    }

    fn silence(&mut self, pid: Pid) {
        if let Some(exchange) = self.exchanges.get(&pid) {
            exchange.origin_silent();
        }
        self.end_if_heard(pid);
    }

    /// A process that has ended has done so, once its origin has heard all that it had written: or cannot be told, and whoever hears of
    /// the end is.
    pub(super) fn end_if_heard(&mut self, pid: Pid) {
        let Some(end) = self.ended.get(&pid) else { return };
        let outstanding = self.exchanges.get(&pid).map(|exchange| exchange.at_end());
        let lost = match outstanding {
            Some(AtEnd::OnItsWay) => return,
            Some(AtEnd::Lost(bytes)) => Some(bytes),
            Some(AtEnd::Nothing) | None => None,
        };
        let end = match lost {
            Some(bytes) => End::Failed {
                kind: FailureKind::Internal,
                message: format!(
                    "its last {bytes} bytes of output to files may be lost: the node to which this command is attached was cut off from \
                     the one that ran it (it ended {})",
                    shown(end)
                ),
            },
            None => end.clone(),
        };
        self.ended.remove(&pid);
        self.note_unserved(pid);
        self.exchanges.remove(&pid);
        self.tell(Event::Ended { pid, end });
    }

    /// A process is here no more, or is about to leave: what its user is to know of its requests is kept until he can be told.
    pub(super) fn note_unserved(&mut self, pid: Pid) {
        let requests = self.exchanges.get(&pid).map_or(0, |exchange| exchange.take_unserved());
        let Some(origin) = self.node.origin_of(pid).filter(|_| requests > 0) else { return };
        let kept = self.unserved.entry(origin).or_default();
        if kept.len() < UNSERVED_MAX {
            *kept.entry(pid).or_default() += requests;
        }
    }

    /// A node can be reached again: the users of processes that were started there are told.
    pub(super) fn tell_unserved(&mut self, node: NodeId) {
        let mut unserved = self.unserved.remove(&node).unwrap_or_default();
        for (pid, exchange) in &self.exchanges {
            if self.node.origin_of(*pid) == Some(node) {
                *unserved.entry(*pid).or_default() += exchange.take_unserved();
            }
        }
        for (pid, requests) in unserved.into_iter().filter(|(_, requests)| *requests > 0) {
            self.send(node, &Message::Unserved { pid, requests });
        }
    }

    /// The user of a process is told.
    pub(super) fn heard_unserved(&mut self, from: NodeId, pid: Pid, requests: u64) {
        let (there, here) = (self.node.name_of(from), &self.us.hello.name);
        let text = format!(
            "{requests} requests of the program failed with EIO: node {there}, on which it ran, could not reach node {here}, to which this \
             command is attached; what it has read or written may not be whole"
        );
        self.clients.notice(pid, text);
    }

    /// A process is to end. If it has, and there is no way to its origin, nobody waits for that any more.
    pub(super) fn end_unheard(&mut self, pid: Pid) {
        let origin = self.node.origin_of(pid);
        let far = origin.is_some_and(|node| node != self.us.id && !self.links.contains_key(&node));
        if far && self.ended.contains_key(&pid) {
            self.silence(pid);
        }
    }

    pub(super) fn ask_origin(
        &mut self,
        pid: Pid,
        from: NodeId,
        sequence: u64,
        ahead: Ahead,
        request: Vec<u8>,
    ) {
        if !self.clients.asks(pid, from, sequence) {
            return;
        }
        let request = FromNode::Request { pid: pid.bits(), sequence, ahead, request };
        let asked = self.clients.origin(pid).is_some_and(|one| one.to.send(request).is_ok());
        if asked {
            return;
        }
        self.clients.asking.remove(&pid);
        if from != self.us.id {
            self.send(from, &Message::OriginGone { pid });
        } else {
            self.origin_gone(pid);
        }
    }

    /// Nobody serves a local process any more.
    pub(super) fn origin_gone(&mut self, pid: Pid) {
        if let Some(exchange) = self.exchanges.get(&pid) {
            exchange.origin_gone();
        }
        self.end_if_heard(pid);
    }

    pub(super) fn replied(&mut self, pid: Pid, sequence: u64, reply: Vec<u8>) {
        for node in self.clients.who_asked(pid, sequence) {
            if node == self.us.id {
                self.deliver(pid, sequence, &reply);
            } else {
                self.send(node, &Message::Reply { pid, sequence, reply: reply.clone() });
            }
        }
    }

    pub(super) fn deliver(&mut self, pid: Pid, sequence: u64, reply: &[u8]) {
        let Some(exchange) = self.exchanges.get(&pid) else { return };
        match device::decode_reply(reply) {
            Ok(reply) => exchange.deliver(sequence, reply),
            Err(error) => {
                let line = format!("{pid:#}: its origin's reply is damaged: {error}");
                exchange.deliver(sequence, Reply::Failed(Errno::Io));
                self.log_once(&line);
            }
        }
        self.end_if_heard(pid);
    }

    /// The traffic with its origin of a process that runs this program.
    pub(super) fn exchange(&self, pid: Pid, program: &Code) -> Arc<Exchange> {
        let exchange = exchange(pid, self.inputs.clone());
        // Who talks learns from others that time has passed.
        if !program.talks() {
            exchange.read_ahead();
            exchange.write_behind(self.allowance.clone());
        }
        exchange
    }
}

/// An end in words, for the user.
fn shown(end: &End) -> String {
    match end {
        End::Exited(code) => format!("with code {code}"),
        End::Raised(signal) => format!("by signal {signal}"),
        End::Failed { message, .. } => message.clone(),
        End::Killed | End::Lost { .. } | End::Frozen => "from outside".to_owned(),
    }
}

/// The traffic of a process of this node with its origin.
pub(super) fn exchange(pid: Pid, inputs: Inputs) -> Arc<Exchange> {
    Exchange::new(pid, move |pid, sequence, ahead, request| {
        // The exchange has checked it: it has a form.
        if let Ok(request) = device::encode_request(request) {
            inputs.send(Input::Request { pid, sequence, ahead, request });
        }
    })
}
