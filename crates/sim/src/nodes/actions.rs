//! What a node wants done.

use peripatos_cluster::message::{Command, Hold, Message};
use peripatos_cluster::{Action, Event as Told, Lookup, NodeId, Request, RequestId};

use super::{Input, Item, address, id_of, index_of};
use crate::actor::Id;
use crate::checkers;
use crate::config::MS;
use crate::event::Event;
use crate::world::World;

/// How long a command of a core takes to reach the process.
const HOP: u64 = 2_000;

impl World {
    pub(crate) fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Send { to, message } => {
                let to = index_of(to);
                if let Message::WantCode { code } = message {
                    self.cluster().hosts[node].awaited.insert(code, to);
                }
                let moves = matches!(
                    message,
                    Message::Prepared { .. } | Message::Commit { .. } | Message::Outcome { .. }
                );
                self.say(node, to, Item::message(message));
                if moves {
                    self.disturb(node, to);
                }
            }
            Action::ForgetNames(of) => self.cluster().hosts[node].names.forget_node(of.0),
            Action::Connect(addresses) => {
                let others: Vec<usize> =
                    addresses.iter().filter_map(|one| self.at_address(one)).collect();
                for other in others {
                    let at = self.now + self.random.within(MS / 10..20 * MS);
                    self.events.plan(at, Event::Call(node, other));
                }
            }
            Action::Hint { to, entries } => {
                self.send_lookup(node, index_of(to), &Lookup::Entries(entries));
            }
            Action::HangUp(peer) => self.hang_up(node, index_of(peer)),
            Action::Say { to, word } => self.say_in_datagram(node, index_of(to), &word),
            Action::WantCode(code) => {
                let there = self.cluster().hosts[node].codes.contains(&code);
                let event = if there { Told::CodeReady(code) } else { Told::CodeMissing(code) };
                self.tell(node, event);
            }
            Action::ForgetCode(code) => {
                self.cluster().hosts[node].awaited.remove(&code);
            }
            Action::SendCode { to, code } => {
                if self.cluster().hosts[node].codes.contains(&code) {
                    self.say(node, index_of(to), Item::Code(code));
                }
            }
            Action::PreCopy { migration, .. } => {
                let fails = !self.calm && self.random.permille(20);
                let input = Box::new(Input::PreCopied(migration, !fails));
                let at = self.now + self.random.within(MS..50 * MS);
                let incarnation = self.cluster().hosts[node].incarnation;
                self.events.plan(at, Event::Input(node, incarnation, input));
            }
            // What has been copied may be told of all the same: nobody asks any more.
            Action::StopCopying(_) => {}
            Action::Freeze { pid, migration } => {
                let host = &mut self.cluster().hosts[node];
                host.leaving.insert(pid, migration);
                host.strays.stands_still(pid);
                let incarnation = host.incarnation;
                self.events.plan(self.now + HOP, Event::Freeze(node, incarnation, pid));
            }
            Action::SendImage { to, pid, migration } => {
                let host = &self.cluster().hosts[node];
                let Some(still) = host.still.get(&pid) else { return };
                let item = Item::Image(migration, still.bytes.clone(), host.names.of(pid));
                self.say(node, index_of(to), item);
            }
            Action::Resume(pid) => self.run_again(node, pid),
            Action::Discard { pid, to } => self.discard(node, pid, to),
            Action::Expect { from: _, migration, luggage } => {
                let host = &mut self.cluster().hosts[node];
                host.expected.insert(migration, luggage.process.pid);
                self.input(node, Input::RoomMade(migration));
            }
            Action::Activate { migration, pid } => self.activate(node, migration, pid),
            Action::Drop(migration) => self.forget_arrived(node, migration),
            Action::Kill(pid) => {
                let incarnation = self.cluster().hosts[node].incarnation;
                self.events.plan(self.now + HOP, Event::Kill(node, incarnation, pid));
            }
            Action::NodeGone(gone) => {
                self.cluster().hosts[node].strays.node_gone(gone);
                self.is_silenced(node, gone);
                self.unreachable(node, gone);
            }
            Action::NodeSilent(silent) => {
                self.is_silenced(node, silent);
                self.unreachable(node, silent);
            }
            Action::Adopt { pid, .. } => {
                let id = self.by_pid[&pid];
                if !self.ledger.adopted.insert(id) {
                    self.violated("origins", format!("n{node} is told twice that p{id} begins"));
                }
            }
            // What processes do just now is nothing that a property is about: no core knows.
            Action::Survey { survey, .. } => {
                self.tell(node, Told::Surveyed { survey, doings: Vec::new() });
            }
            // No operator is simulated who removes nodes.
            Action::Remove(_) | Action::WasRemoved { .. } => {
                self.violated("told", format!("n{node} speaks of removed nodes"));
            }
            // Its `peri run` is not simulated.
            Action::OriginGone(_) | Action::TellDeadlock { .. } => {}
            Action::TellOrigin { pid, end } => checkers::origins::told(self, node, pid, &end),
            Action::Respond { id, .. } => {
                if !self.cluster().hosts[node].asked.remove(&id) {
                    self.violated("told", format!("n{node} answers {id:?} again"));
                }
            }
            Action::Log(line) => {
                let now = self.now;
                self.trace.note(now, &[35, node as u64], || format!("n{node}: {line}"));
            }
        }
    }

    fn at_address(&self, of: &str) -> Option<usize> {
        (0..self.nodes.len()).find(|index| address(*index) == of)
    }

    /// The kernels of a node are told that another one cannot be reached.
    fn unreachable(&mut self, node: usize, silent: NodeId) {
        for kernel in 0..self.kernels.len() {
            if self.node_of[kernel] == node {
                self.events.plan(self.now + HOP, Event::Unreachable(kernel, index_of(silent)));
            }
        }
    }

    /// Somebody wants a process moved to another node, from whichever of them.
    pub(crate) fn ask_to_move(&mut self, id: Id, from: usize, to: usize) {
        let asks = self.random.below(self.nodes.len());
        if !self.nodes[asks].alive {
            return;
        }
        let pid = self.actors[id].pid;
        let hold = Hold::For(self.random.within(1..500));
        let command = Command::Migrate { pid, to: id_of(to), hold };
        let cluster = self.cluster();
        cluster.requests += 1;
        let number = RequestId(cluster.requests);
        cluster.hosts[asks].asked.insert(number);
        let request = Request::Command { node: id_of(from), command };
        self.tell(asks, Told::Request { id: number, request });
    }
}
