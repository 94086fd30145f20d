//! What is said of moves when somebody asks.

use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_balancer as balancer;

use crate::NodeId;
use crate::event::{Action, RequestId, Response};
use crate::journal::{Kept, Loaded, Standing, Told, Weighed};
use crate::limits::{ANSWER_WAIT_MAX, HAPPENINGS_TOLD_MAX, OTHERS_TOLD_MAX};
use crate::message::Message;
use crate::node::Node;
use crate::peers::load;
use crate::processes::State;
use crate::requests::{Kind, Waiting};

impl Node {
    /// A local client asks what has happened: to a process, or to all.
    pub(crate) fn ask_events(&mut self, id: RequestId, of: Option<Pid>, out: &mut Vec<Action>) {
        let number = self.next_number();
        let message = Message::Events { request: number, of: of.map(Pid::bits) };
        let (open, silent) = self.ask_all(number, &message, out);
        let (told, standing) = self.events_here(of);
        let kind = Kind::Events { told, standing, silent };
        let deadline = self.now + ANSWER_WAIT_MAX;
        self.waiting.insert(number, Waiting { id, deadline, open, kind });
        self.respond_to_events(number, out);
    }

    /// What this node has to say of it.
    pub(crate) fn events_here(&self, of: Option<Pid>) -> (Vec<Told>, Option<Standing>) {
        let told = self.journal.told(self.config.node, self.now, of, HAPPENINGS_TOLD_MAX);
        (told, of.and_then(|pid| self.standing(pid)))
    }

    /// Another node has said what it has to say.
    pub(crate) fn heard_events(
        &mut self,
        from: NodeId,
        number: u64,
        mut heard: Vec<Told>,
        stands: Option<Standing>,
        out: &mut Vec<Action>,
    ) {
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        if let (true, Kind::Events { told, standing, .. }) =
            (waiting.open.remove(&from), &mut waiting.kind)
        {
            heard.truncate(HAPPENINGS_TOLD_MAX);
            told.append(&mut heard);
            *standing = standing.take().or(stands);
        }
        self.respond_to_events(number, out);
    }

    /// Answers, if all that were asked have.
    pub(crate) fn respond_to_events(&mut self, number: u64, out: &mut Vec<Action>) {
        if self.waiting.get(&number).is_none_or(|waiting| !waiting.open.is_empty()) {
            return;
        }
        let Some(Waiting { id, kind: Kind::Events { mut told, standing, silent }, .. }) =
            self.waiting.remove(&number)
        else {
            return;
        };
        told.sort_by_key(|one| std::cmp::Reverse(one.age_ms));
        let over = told.len().saturating_sub(HAPPENINGS_TOLD_MAX);
        told.drain(..over);
        let response = Response::Events { told, standing: standing.map(Box::new), silent };
        out.push(Action::Respond { id, response });
    }

    /// What would become of a process that runs here.
    fn standing(&self, pid: Pid) -> Option<Standing> {
        let process = self.processes.0.get(&pid)?;
        let stays = process.stays_until.since(self.now);
        let forever = stays > Duration::from_secs(u64::from(u32::MAX));
        let mut others: Vec<(NodeId, Result<Weighed, Kept>)> = self
            .peers
            .loads(self.now)
            .map(|(node, _)| (node, self.would_give(pid, node)))
            .collect();
        // The likeliest first.
        let gain = |weighed: &Result<Weighed, Kept>| match weighed {
            Ok(weighed) | Err(Kept::Dear(weighed) | Kept::Balanced(weighed)) => weighed.gain_us,
            Err(Kept::Closed | Kept::Unsuited | Kept::NoMemory | Kept::MoveRate) => i64::MIN,
        };
        others.sort_by_key(|(_, weighed)| std::cmp::Reverse((weighed.is_ok(), gain(weighed))));
        others.truncate(OTHERS_TOLD_MAX);
        Some(Standing {
            node: self.config.node,
            here: self.own_load().into(),
            demand_permille: process.demand_permille(self.now),
            cpu_ms: process.cpu().as_millis() as u64,
            memory_bytes: process.memory_bytes,
            memory_bytes_needed: process.memory_bytes_needed(),
            moving: process.state != State::Running,
            balancing: self.balancing,
            stays_ms: if forever { u64::MAX } else { stays.as_millis() as u64 },
            pinned: process.pinned && process.stays_until > self.now,
            others,
        })
    }

    /// What is said to that node if it asks now, and this process is the one that comes nearest.
    pub(crate) fn would_give(&self, pid: Pid, to: NodeId) -> Result<Weighed, Kept> {
        let process = &self.processes.0[&pid];
        let placement = process.description.placement();
        if placement.is_some_and(|placement| !self.peers.suits(to, placement)) {
            return Err(Kept::Unsuited);
        }
        if process.memory_bytes > self.carried_bytes_max() {
            return Err(Kept::MoveRate);
        }
        let sample = self.peers.0.get(&to).and_then(|known| known.load).map(|(_, sample)| sample);
        let Some(sample) = sample else { return Err(Kept::Closed) };
        let (traffic, mut candidate) = (&process.traffic, process.candidate(self.now));
        candidate.parting = traffic.near_s() - traffic.away_s(to);
        candidate.preference = self.preference(process, to);
        let (own, there, prices) = (self.own_load(), load(sample), &self.prices);
        let weighed = balancer::weigh(own, there, &candidate, prices, balancer::MARGIN);
        weighed.map(Weighed::from).map_err(Kept::from)
    }
}

/// In words: `2.0 on 1 core of 0.97`: so many processes, and the cores' speed.
impl std::fmt::Display for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let thousandths = |permille: u32| f64::from(permille) / 1e3;
        let (demand, speed) = (thousandths(self.demand_permille), thousandths(self.speed_permille));
        let cores = if self.cores == 1 { "core" } else { "cores" };
        write!(f, "{demand:.1} on {} {cores} of {speed:.2}", self.cores)
    }
}
