//! The balance: what this node tells its peers of its load, and what it does about theirs.

use std::collections::BTreeSet;

use peripatos_abi::Pid;
use peripatos_balancer as balancer;
use peripatos_balancer::Load;

use crate::NodeId;
use crate::event::Action;
use crate::limits::{ASK_WAIT_MAX, BALANCE_EVERY, LEAVING_BYTES_MAX, LEAVING_MAX};
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

    /// What this node takes has changed: others hear so now, not at the next look.
    pub(crate) fn balance_at_once(&mut self) {
        self.next_balance = self.now;
    }

    /// How loaded this node is. What is on its way here counts as here.
    pub(crate) fn own_sample(&self) -> LoadSample {
        LoadSample {
            cores: self.config.cores,
            runnable: self.processes.runnable() + self.incoming.len() as u32,
            processes: (self.processes.0.len() + self.incoming.len()) as u32,
            draining: self.draining,
            cordoned: self.cordoned,
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

    /// A node that is being emptied sends everything away, as much at a time as is good for the link.
    pub(crate) fn send_away(&mut self, out: &mut Vec<Action>) {
        let (mut count, mut bytes) = self.on_their_way();
        let mut fits = |(_, memory_bytes): &(Pid, u64)| {
            bytes = bytes.saturating_add(*memory_bytes);
            count += 1;
            count == 1 || (count <= LEAVING_MAX && bytes <= LEAVING_BYTES_MAX)
        };
        // Those whose sources have not heard that they have come cannot go on yet.
        let unheard: BTreeSet<Pid> = self.committed.values().copied().collect();
        let free = self.processes.to_leave().filter(|(pid, _)| !unheard.contains(pid));
        let leaving: Vec<Pid> = free.take_while(|one| fits(one)).map(|(pid, _)| pid).collect();
        for pid in leaving {
            let Some(to) = balancer::where_to_send(self.peers.loads(self.now)) else { return };
            if let Err(reason) = self.begin_move(pid, to, None, None, out) {
                out.push(Action::Log(format!("{pid:#} stays here: {reason}")));
            }
        }
    }

    pub(crate) fn heard_load(&mut self, from: NodeId, sample: LoadSample) {
        if let Some(known) = self.peers.0.get_mut(&from) {
            known.load = Some((self.now, sample));
        }
    }
}
