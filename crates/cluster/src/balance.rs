//! The balance: what this node tells its peers of its load, and what it does about theirs.

use std::collections::{BTreeMap, BTreeSet};

use peripatos_abi::Pid;
use peripatos_balancer as balancer;
use peripatos_balancer::{Bounds, Load, MARGIN, Terms};

use crate::NodeId;
use crate::event::Action;
use crate::journal::Reason;
use crate::limits::{
    ASK_WAIT_MAX, BALANCE_EVERY, BALANCE_SOON, DRAWN_MAX, LEAVING_BYTES_MAX, LEAVING_MAX,
    REFUSED_PAUSE, STUCK_EVERY,
};
use crate::message::{LoadSample, Message};
use crate::node::Node;
use crate::peers::load;
use crate::placement::Placement;
use crate::processes::Process;
use crate::source::Conditions;
use crate::together::Together;

impl Node {
    /// Looks at the balance, if it is time to.
    pub(crate) fn balance(&mut self, out: &mut Vec<Action>) {
        if self.now < self.next_balance {
            return;
        }
        (self.last_balance, self.next_balance) = (self.now, self.now + BALANCE_EVERY);
        self.processes.note_demand(self.now);
        self.count_stuck();
        let sample = self.own_sample();
        for to in self.whom_to_tell() {
            out.push(Action::Send { to, message: Message::Load(sample) });
        }
        self.forget_placed();
        if self.draining || !self.misplaced.is_empty() {
            self.send_away(out);
        } else {
            self.set_refused_aside();
        }
        self.follow_preferences(out);
        if self.balancing && !self.draining {
            self.follow(out);
            if self.knows_all() {
                self.ask(sample, out);
            }
        }
        if !self.knows_all() {
            self.settle(out);
        }
    }

    /// Peers that are told the load now: all, or, where there are too many nodes for that, each often enough that its link is not silent.
    fn whom_to_tell(&mut self) -> Vec<NodeId> {
        let linked = self.peers.all_linked();
        if self.knows_all() {
            return linked;
        }
        let looks = self.config.silent_after.as_millis() / BALANCE_EVERY.as_millis();
        let count = linked.len().div_ceil(looks.max(1) as usize);
        let first = self.told_load.map_or(0, |last| linked.partition_point(|node| *node <= last));
        let told: Vec<NodeId> = linked.iter().cycle().skip(first).take(count).copied().collect();
        self.told_load = told.last().copied();
        told
    }

    /// What this node takes has changed: others hear so now, not at the next look.
    pub(crate) fn balance_at_once(&mut self) {
        self.next_balance = self.now;
    }

    /// This node has less to do than at the last look: it need not wait for the next one to ask for more.
    pub(crate) fn balance_soon(&mut self) {
        self.next_balance = self.next_balance.min(self.last_balance + BALANCE_SOON);
    }

    /// How loaded this node is. What is on its way here counts as here.
    pub(crate) fn own_sample(&self) -> LoadSample {
        let coming = self.incoming.len() as u32;
        LoadSample {
            cores: self.config.cores,
            speed_permille: self.speed_permille,
            memory_free_bytes: self.memory_left(),
            runnable: self.processes.runnable() + coming,
            demand_permille: self.processes.demand_permille() + 1_000 * coming,
            processes: (self.processes.0.len() + self.incoming.len()) as u32,
            draining: self.draining,
            cordoned: self.cordoned,
            move_bytes_per_s: self.config.move_bytes_per_s,
            stuck: self.stuck.map_or(0, |(_, count)| count),
        }
    }

    /// Memory that there is here when all have come that are on their way, and have what they need.
    pub(crate) fn memory_left(&self) -> u64 {
        let coming = self.incoming.values().map(|one| u128::from(one.memory_bytes_needed()));
        let kept = coming.sum::<u128>() + self.processes.reserved_bytes();
        u64::try_from(u128::from(self.memory_free_bytes).saturating_sub(kept)).unwrap_or(u64::MAX)
    }

    /// Counts the processes that no node takes of those that take any, if this one is being emptied and it is time to.
    fn count_stuck(&mut self) {
        let is_fresh = |(at, _)| self.now.since(at) < STUCK_EVERY;
        if !self.draining {
            self.stuck = None;
        } else if !self.stuck.is_some_and(is_fresh) {
            self.stuck = Some((self.now, self.stuck_now()));
        }
    }

    fn stuck_now(&self) -> u32 {
        let takers: Vec<(NodeId, Load)> = self.takers().collect();
        let roomiest = |asked: Option<&Placement>| {
            let suits = |node| asked.is_none_or(|asked| self.peers.suits(node, asked));
            let suited = takers.iter().filter(|(node, _)| suits(*node));
            suited.max_by_key(|(_, load)| load.memory_free_bytes).map(|(_, load)| *load)
        };
        // Those of a family ask the same, and mostly stand together: what was found is found once.
        let mut last: Option<(Option<&Placement>, Option<Load>)> = None;
        let most = self.carried_bytes_max();
        let stuck = self.processes.0.values().filter(|process| {
            let asked = process.description.placement();
            let known = last.filter(|(before, _)| *before == asked);
            let (_, taker) = *last.insert(known.unwrap_or_else(|| (asked, roomiest(asked))));
            let bytes = process.memory_bytes_needed();
            // Who is on its way has found a place.
            let fits = taker.is_some_and(|taker| taker.has_memory_for(bytes));
            process.can_leave() && !(fits && process.memory_bytes <= most)
        });
        stuck.count() as u32
    }

    /// Asks for work. One question at a time. Who had nothing just before may have nothing that may run here: others are asked
    /// first.
    fn ask(&mut self, sample: LoadSample, out: &mut Vec<Action>) {
        if self.asked_at.is_some_and(|at| self.now.since(at) < ASK_WAIT_MAX) {
            return;
        }
        self.asked_at = None;
        let (own, peers) = (load(sample), || self.peers.loads(self.now));
        let fresh = peers().filter(|(node, _)| !self.peers.had_nothing(*node, self.now));
        let to = balancer::whom_to_ask(own, fresh, MARGIN);
        if let Some(to) = to.or_else(|| balancer::whom_to_ask(own, peers(), MARGIN)) {
            self.asked_at = Some(self.now);
            out.push(Action::Send { to, message: Message::Ask(sample) });
        }
    }

    /// A node that was asked has nothing to give.
    pub(crate) fn heard_nothing(&mut self, from: NodeId) {
        self.asked_at = None;
        if let Some(known) = self.peers.0.get_mut(&from) {
            known.nothing_at = Some(self.now);
        }
    }

    /// Another node asks for work.
    pub(crate) fn asked(&mut self, from: NodeId, sample: LoadSample, out: &mut Vec<Action>) {
        self.heard_load(from, sample);
        let gives = self.balancing && !self.draining;
        let given = if gives {
            let bounds = self.bounds();
            self.given(from, load(sample), &bounds)
        } else {
            Vec::new()
        };
        let mut moved = 0;
        for (members, terms, _) in given {
            let reason = Reason::Balance(terms.into());
            for pid in members {
                moved += u32::from(
                    self.begin_move(pid, from, reason, Conditions::default(), out).is_ok(),
                );
            }
        }
        if moved == 0 {
            out.push(Action::Send { to: from, message: Message::Nothing });
        }
    }

    /// Where all loads are known: what goes to a node makes it no more loaded than all would be.
    fn bounds(&self) -> Bounds {
        let all = self.peers.loads(self.now).map(|(_, load)| load).chain([self.own_load()]);
        Bounds {
            level: balancer::level(all),
            count: LEAVING_MAX.saturating_sub(self.on_their_way().0),
            demand_permille: u32::MAX,
            margin: MARGIN,
        }
    }

    /// What this node weighs when it is asked. Processes that are on their way here have come for a reason: they are not spare.
    pub(crate) fn own_load(&self) -> Load {
        Load { demand_permille: self.processes.demand_permille(), ..load(self.own_sample()) }
    }

    /// What goes to a node that asks, with the demand of each: as many at a time as are good for the link.
    pub(crate) fn given(
        &mut self,
        to: NodeId,
        asking: Load,
        bounds: &Bounds,
    ) -> Vec<(Vec<Pid>, Terms, u32)> {
        let most = self.carried_bytes_max();
        let suits = |process: &Process| {
            let placement = process.description.placement();
            let suits = placement.is_none_or(|placement| self.peers.suits(to, placement));
            suits && process.memory_bytes <= most
        };
        let preference = |process: &Process| self.preference(process, to);
        let together = self.processes.candidates(self.now, to, suits, preference);
        let (mut count, mut bytes) = self.on_their_way();
        let candidates: Vec<_> = together.iter().map(|one| one.candidate).collect();
        let own = self.own_load();
        let given = balancer::what_to_give(own, asking, &candidates, &self.prices, bounds);
        if let Err(Some((pid, why))) = given {
            self.journal.kept(self.now, pid, to, why.into());
        }
        let named: BTreeMap<Pid, &Together> =
            together.iter().map(|one| (one.candidate.process, one)).collect();
        let fits = |(pid, _): &(Pid, Terms)| {
            bytes = bytes.saturating_add(named[pid].candidate.memory_bytes);
            count += 1;
            count == 1 || bytes <= LEAVING_BYTES_MAX
        };
        let given = given.unwrap_or_default().into_iter().take_while(fits);
        let given = given.map(|(pid, terms)| (&named[&pid], terms));
        given
            .map(|(one, terms)| (one.members.clone(), terms, one.candidate.demand_permille))
            .collect()
    }

    /// Who calls processes of another node goes there, if that saves more than it costs.
    fn follow(&mut self, out: &mut Vec<Action>) {
        let mut left = DRAWN_MAX.min(LEAVING_MAX.saturating_sub(self.on_their_way().0));
        for (pid, to) in self.processes.drawn(self.config.node, self.now) {
            if left == 0 {
                return;
            }
            match self.would_give(pid, to) {
                Ok(weighed) => {
                    left -= 1;
                    let reason = Reason::Balance(weighed);
                    // What is in the way now, as that the process has just come, is not at one of the next looks.
                    let _ = self.begin_move(pid, to, reason, Conditions::default(), out);
                }
                Err(why) => self.journal.kept(self.now, pid, to, why),
            }
        }
    }

    /// A node that is being emptied sends everything away, as much at a time as is good for the link; any other one what may
    /// not run here.
    pub(crate) fn send_away(&mut self, out: &mut Vec<Action>) {
        self.set_refused_aside();
        if !self.knows_all() {
            self.call_a_taker(out);
        }
        if self.takers().next().is_none() {
            // Of a million processes none need be looked at.
            return;
        }
        let (mut count, mut bytes) = self.on_their_way();
        let mut fits = |memory_bytes: u64| {
            bytes = bytes.saturating_add(memory_bytes);
            count += 1;
            count == 1 || (count <= LEAVING_MAX && bytes <= LEAVING_BYTES_MAX)
        };
        // Those whose sources have not heard that they have come cannot go on yet.
        let unheard: BTreeSet<Pid> = self.committed.values().copied().collect();
        let processes = &self.processes.0;
        let misplaced = self.misplaced.iter().filter_map(|pid| processes.get(pid));
        let all = self.draining.then(|| processes.values()).into_iter().flatten();
        let free = all.chain(misplaced.filter(|_| !self.draining)).filter(|process| {
            let pid = process.description.pid;
            let may = process.can_leave() && process.aside_until <= self.now;
            may && !unheard.contains(&pid) && self.who_takes(process).is_some()
        });
        let leaving = free.take_while(|process| fits(process.memory_bytes));
        let leaving: Vec<Pid> = leaving.map(|process| process.description.pid).collect();
        for pid in leaving {
            // Who has least to do is another one, each time one has gone there.
            let to = self.processes.0.get(&pid).and_then(|process| self.who_takes(process));
            let reason = if self.draining { Reason::Emptied } else { Reason::Unsuited };
            let moved = to.map(|to| self.begin_move(pid, to, reason, Conditions::default(), out));
            if moved.is_some() {
                self.sent_away.insert(pid);
            }
            if let Some(Err(reason)) = moved {
                out.push(Action::Log(format!("{pid:#} stays here: {reason}")));
            }
        }
    }

    /// Of those that were sent away the ones that are still here let others go first for a while: who is refused again and
    /// again would else keep all that come after it.
    fn set_refused_aside(&mut self) {
        let aside_until = self.now + REFUSED_PAUSE;
        let processes = &mut self.processes.0;
        self.sent_away.retain(|pid| match processes.get_mut(pid) {
            Some(process) if process.can_leave() => {
                process.aside_until = aside_until;
                false
            }
            leaves_or_gone => leaves_or_gone.is_some(),
        });
    }

    /// Nodes that take processes, whatever these ask for.
    pub(crate) fn takers(&self) -> impl Iterator<Item = (NodeId, Load)> {
        self.peers.loads(self.now).filter(|(_, load)| !load.closed && load.cores > 0)
    }

    /// The least loaded node that takes a process; one that has refused another just before only if there is none else.
    fn who_takes(&self, process: &Process) -> Option<NodeId> {
        let placement = process.description.placement();
        let suits = |node| placement.is_none_or(|placement| self.peers.suits(node, placement));
        let takers = || self.takers().filter(|(node, _)| suits(*node));
        let willing = takers().filter(|(node, _)| !self.peers.has_refused(*node, self.now));
        let bytes = process.memory_bytes_needed();
        let preference = |node| self.preference_of(placement, node);
        let willing = balancer::where_to_send(bytes, willing, preference);
        willing.or_else(|| balancer::where_to_send(bytes, takers(), preference))
    }

    pub(crate) fn heard_load(&mut self, from: NodeId, sample: LoadSample) {
        if let Some(known) = self.peers.0.get_mut(&from) {
            known.load = Some((self.now, sample));
        }
    }
}
