//! The balance: what this node tells its peers of its load, and what it does about theirs.

use peripatos_abi::Pid;
use peripatos_balancer as balancer;
use peripatos_balancer::Load;

use crate::NodeId;
use crate::event::Action;
use crate::limits::{ASK_WAIT_MAX, BALANCE_EVERY};
use crate::message::{LoadSample, Message};
use crate::node::Node;
use crate::peers::load;

impl Node {
    /// Looks at the balance, if it is time to.
    pub(crate) fn balance(&mut self, out: &mut Vec<Action>) {
        if self.now < self.next_balance {
            return;
        }
        self.next_balance = self.now + BALANCE_EVERY;
        let sample = self.own_sample();
        for to in self.peers.all_linked() {
            out.push(Action::Send { to, message: Message::Load(sample) });
        }
        if self.draining {
            self.send_away(out);
        } else {
            self.ask(sample, out);
        }
    }

    /// How loaded this node is. What is on its way here counts as here.
    pub(crate) fn own_sample(&self) -> LoadSample {
        LoadSample {
            cores: self.config.cores,
            runnable: self.processes.runnable() + self.incoming.len() as u32,
            processes: (self.processes.0.len() + self.incoming.len()) as u32,
            draining: self.draining,
        }
    }

    /// Asks for work. One question at a time.
    fn ask(&mut self, sample: LoadSample, out: &mut Vec<Action>) {
        if self.asked_at.is_some_and(|at| self.now.since(at) < ASK_WAIT_MAX) {
            return;
        }
        self.asked_at = None;
        if let Some(to) = balancer::whom_to_ask(load(sample), self.peers.loads(self.now)) {
            self.asked_at = Some(self.now);
            out.push(Action::Send { to, message: Message::Ask(sample) });
        }
    }

    /// Another node asks for work.
    pub(crate) fn asked(&mut self, from: NodeId, sample: LoadSample, out: &mut Vec<Action>) {
        self.heard_load(from, sample);
        let candidates = self.processes.candidates(self.now);
        // Processes that are on their way here have come for a reason: they are not counted as spare.
        let own = Load { runnable: self.processes.runnable(), ..load(self.own_sample()) };
        let given = balancer::what_to_give(own, load(sample), &candidates);
        let moved = given.map(|pid| self.begin_move(pid, from, None, None, out));
        if !matches!(moved, Some(Ok(()))) {
            out.push(Action::Send { to: from, message: Message::Nothing });
        }
    }

    /// A node that is being emptied sends everything away, one process a look.
    fn send_away(&mut self, out: &mut Vec<Action>) {
        let first = self.processes.first_to_leave();
        let to = balancer::where_to_send(self.peers.loads(self.now));
        if let (Some(pid), Some(to)) = (first, to) {
            self.send_one_away(pid, to, out);
        }
    }

    fn send_one_away(&mut self, pid: Pid, to: NodeId, out: &mut Vec<Action>) {
        if let Err(reason) = self.begin_move(pid, to, None, None, out) {
            out.push(Action::Log(format!("{pid:#} stays here: {reason}")));
        }
    }

    pub(crate) fn heard_load(&mut self, from: NodeId, sample: LoadSample) {
        if let Some(known) = self.peers.0.get_mut(&from) {
            known.load = Some((self.now, sample));
        }
    }
}
