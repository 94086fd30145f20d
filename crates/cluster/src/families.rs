//! Families: processes that others have spawned, and that end with the first of them.
//!
//! Who belongs to whom is known at the node where the family's origin is attached. Where that node is gone for good nobody
//! could end what is left any more: each node ends what it has of it.

use peripatos_abi::Pid;

use crate::NodeId;
use crate::event::Action;
use crate::homes::Home;
use crate::message::{Command, Description, Kin, Message};
use crate::mutation::Mutation;
use crate::node::Node;
use crate::placement::Placement;

impl Node {
    /// A process here has spawned another one.
    pub(crate) fn born(&mut self, description: Description, out: &mut Vec<Action>) {
        let (origin, own) = (description.origin, self.config.node);
        self.begins_here(description.clone());
        self.is_here(description.pid);
        if origin == own {
            self.heard_of_birth(own, description, out);
        } else {
            self.tell_birth(description.pid, out);
        }
    }

    /// Tells the origin's node, which is another one, of one of its families that it may not know of: what was said when
    /// it was born may be lost.
    pub(crate) fn tell_birth(&self, pid: Pid, out: &mut Vec<Action>) {
        let Some(process) = self.processes.0.get(&pid) else { return };
        let (description, to) = (process.description.clone(), process.description.origin);
        let child = description.kin.as_ref().is_some_and(|kin| kin.root != pid);
        if child && to != self.config.node && !self.does_wrong(Mutation::BirthUntold) {
            out.push(Action::Send { to, message: Message::Born(description) });
        }
    }

    /// A process of a family whose origin is here, or was, has begun there.
    pub(crate) fn heard_of_birth(
        &mut self,
        at: NodeId,
        description: Description,
        out: &mut Vec<Action>,
    ) {
        let pid = description.pid;
        let may_be = description.placement().is_none_or(Placement::is_valid);
        let Some(Kin { root, .. }) = description.kin else { return };
        let program = description.command.first().cloned().unwrap_or_default();
        let lost = self.homes.lost(pid);
        let known = self.homes.knows(pid) || (self.homes.is_over(pid) && lost.is_none());
        if known || description.origin != self.config.node || !may_be {
            // Heard before; or a lie.
            return;
        }
        if !self.homes.knows(root) || self.homes.is_full() {
            // The family is over, and did not know of this one yet.
            return self.kill_at(pid, at, out);
        }
        if let Some(lost) = lost {
            return self.homes.shows_up(description, at, lost);
        }
        self.homes.born(description, at);
        out.push(Action::Adopt { pid, root, program });
    }

    /// A process is over. If it was the first of a family, so are the others.
    pub(crate) fn end_family_of(&mut self, pid: Pid, home: &Home, out: &mut Vec<Action>) {
        // Each of a large family ends once: only for its first one all are looked at.
        if home.is_root() {
            self.end_family(pid, out);
        }
    }

    /// Ends all that belong to a root.
    pub(crate) fn end_family(&mut self, root: Pid, out: &mut Vec<Action>) {
        if self.does_wrong(Mutation::FamilyGoesOn) {
            return;
        }
        for (pid, at) in self.homes.end_family(root) {
            self.kill_at(pid, at, out);
        }
    }

    /// A node is gone for good. Processes whose origins were attached there have none any more; those of a family end, as
    /// they would if the family's first one did.
    pub(crate) fn origins_node_gone(&mut self, node: NodeId, out: &mut Vec<Action>) {
        let mut ended = 0;
        for (pid, _) in self.processes.of_origin(node) {
            let process = self.processes.0.get(&pid);
            if process.is_some_and(|process| process.description.kin.is_some()) {
                // It is here: it was just found.
                ended += usize::from(self.kill(pid, out).is_ok());
            } else {
                self.orphan(pid, out);
            }
        }
        if ended > 0 {
            let name = self.peers.name(node);
            out.push(Action::Log(format!(
                "{ended} processes of families that were started at node {name} end: it is gone"
            )));
        }
    }

    /// Ends a process at whichever node has it.
    pub(crate) fn kill_at(&mut self, pid: Pid, at: NodeId, out: &mut Vec<Action>) {
        // Nobody waits for the answer: the process's end is the answer.
        if at == self.config.node {
            let _ = self.kill(pid, out);
        } else {
            let request = self.next_number();
            let command = Command::Kill { pid };
            out.push(Action::Send { to: at, message: Message::Command { request, command } });
        }
    }
}
