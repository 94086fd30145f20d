//! A migration at the node that the process leaves.
//!
//! ```text
//! Offered ─Ready─► Copying ─copied─► Freezing ─frozen─► Sending ─Prepared─► Committing ─Outcome─► gone, or back
//!    └──────────── refused, cut, too late: the process goes on here ─────────┘   └─ cut: in doubt, stands still
//! ```
//! From Offered a process with little memory goes to Freezing: it stands still no longer without being copied.
//!
//! The commit is the point of no return: before it this node alone decides, after it the target does. When the
//! link breaks behind it, nobody here can know which of the two happened, and the process stands still until the
//! target can be asked, or is known to be gone: never two copies.

use std::time::Duration;

use peripatos_abi::Pid;

use crate::event::Action;
use crate::journal::{Happening, Reason, brief};
use crate::limits::{MIGRATION_WAIT_MAX, MIGRATIONS_MAX, PRE_COPY_BYTES_MIN, PRE_COPY_TIME_MAX};
use crate::message::{Answer, Hold, Luggage, Message, MigrationId, MoveCost};
use crate::mutation::Mutation;
use crate::node::{Asker, Node};
use crate::placement::unsuited;
use crate::precopy::PreCopied;
use crate::processes::State;
use crate::{Incarnation, NodeId, Time};

/// A process on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pid: Pid,
    pub(crate) to: NodeId,
    to_incarnation: Incarnation,
    phase: Phase,
    reason: Reason,
    memory_bytes: u64,
    /// When the target had all programs, and room.
    ready: Time,
    /// Before the commit: given up then.
    deadline: Time,
    /// Who is to be told.
    asker: Option<Asker>,
    offered: Time,
    /// When it was to be frozen.
    began: Time,
    copied: PreCopied,
    image_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Offered,
    /// Its memory is copied while it runs.
    Copying,
    Freezing,
    /// Given up while the process was being frozen: it goes on as soon as it stands.
    GivenUp(String),
    Sending,
    Committing,
    InDoubt,
}

impl Outgoing {
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.phase == Phase::InDoubt
    }

    /// What it has taken, now that the target says that the process runs.
    fn cost(&self, now: Time) -> MoveCost {
        let since = |time| now.since(time).as_micros() as u64;
        MoveCost {
            freeze_us: since(self.began),
            total_us: since(self.offered),
            image_bytes: self.image_bytes,
            copied_bytes: self.copied.bytes,
            rounds: self.copied.rounds,
        }
    }

    /// Whether the process runs here still.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.phase, Phase::Offered | Phase::Copying)
    }

    /// When it is given up; never, once the commit is out.
    pub(crate) fn deadline(&self) -> Time {
        match self.phase {
            Phase::Committing | Phase::InDoubt => Time::NEVER,
            _ => self.deadline,
        }
    }
}

/// What goes with an order to move a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    /// It is to stay where it comes.
    pub(crate) hold: Option<Hold>,
    /// Who wants to know what came of it.
    pub(crate) asker: Option<Asker>,
    /// See [`Luggage::demand_permille_max`].
    pub(crate) demand_permille_max: Option<u32>,
}

impl Node {
    /// Memory of a process that can be carried in the time that it may take, at this node's rate.
    pub(crate) fn carried_bytes_max(&self) -> u64 {
        let rate = self.config.move_bytes_per_s;
        rate.map_or(u64::MAX, |rate| rate.saturating_mul(PRE_COPY_TIME_MAX.as_secs()))
    }

    /// Begins to move a process. Errors: why not; nothing has changed.
    pub(crate) fn begin_move(
        &mut self,
        pid: Pid,
        to: NodeId,
        reason: Reason,
        conditions: Conditions,
        out: &mut Vec<Action>,
    ) -> Result<(), String> {
        let Conditions { hold, asker, demand_permille_max } = conditions;
        if to == self.config.node {
            return Err(format!("{pid:#} runs there already"));
        }
        // What begins on a link that is about to be closed would end with it.
        let peer = self.peers.0.get(&to).filter(|known| known.linked && !self.is_parting(to));
        let to_incarnation = match peer {
            Some(known) => known.peer.incarnation,
            None => return Err(format!("node {} cannot be reached", self.peers.name(to))),
        };
        if self.outgoing.len() >= MIGRATIONS_MAX {
            return Err(format!("{MIGRATIONS_MAX} processes are on their way out already"));
        }
        let number = self.next_number();
        let (source, incarnation) = (self.config.node, self.config.incarnation);
        let migration = MigrationId { source, incarnation, number };
        let unheard = self.committed.values().any(|came| *came == pid)
            && !self.does_wrong(Mutation::MovesOnUnheard);
        let most = self.carried_bytes_max();
        let process = self.processes.0.get_mut(&pid);
        let process = process.ok_or_else(|| format!("{pid:#} does not run here"))?;
        if process.state != State::Running {
            return Err(format!("{pid:#} is on its way out already"));
        }
        // Should this node be lost, that one lets its own copy go on: the process must not be elsewhere then.
        if unheard {
            return Err(format!(
                "{pid:#} has just come, and the node that it left has not heard so"
            ));
        }
        let labels = &self.peers.0[&to].peer.labels;
        if !process.description.suits(labels) {
            let why = unsuited(process.description.placement());
            return Err(format!("node {}: {why}", self.peers.name(to)));
        }
        if process.memory_bytes > most {
            let mb = |bytes: u64| bytes / 1_000_000;
            return Err(format!(
                "{pid:#} has {} MB, and its node carries {} MB in {} s (peri up --move-rate)",
                mb(process.memory_bytes),
                mb(most),
                PRE_COPY_TIME_MAX.as_secs(),
            ));
        }
        let luggage = Luggage {
            process: process.description.clone(),
            moves: process.moves.saturating_add(1),
            costs: process.costs,
            cpu_ms: process.cpu().as_millis() as u64,
            memory_bytes: process.memory_bytes,
            demand_permille: process.demand_permille(self.now),
            hold,
            demand_permille_max,
            orphaned: process.orphaned,
        };
        let memory_bytes = process.memory_bytes;
        let needed = process.memory_bytes_needed();
        self.processes.set_state(pid, State::Leaving(migration), self.now);
        let deadline = self.now + MIGRATION_WAIT_MAX;
        let outgoing = Outgoing {
            pid,
            to,
            to_incarnation,
            phase: Phase::Offered,
            reason,
            ready: self.now,
            memory_bytes,
            deadline,
            asker,
            offered: self.now,
            began: self.now,
            copied: PreCopied::default(),
            image_bytes: 0,
        };
        self.outgoing.insert(migration, outgoing);
        self.peers.expect_one_more(to, needed);
        out.push(Action::Send { to, message: Message::Offer { migration, luggage } });
        Ok(())
    }

    /// The target has the program and waits for what comes.
    pub(crate) fn target_ready(&mut self, from: NodeId, id: MigrationId, out: &mut Vec<Action>) {
        let now = self.now;
        let Some(outgoing) = self.outgoing_to(from, id) else { return };
        if outgoing.phase != Phase::Offered {
            return;
        }
        outgoing.ready = now;
        let pid = outgoing.pid;
        let memory_bytes = self.processes.0.get(&pid).map_or(0, |process| process.memory_bytes);
        if memory_bytes < PRE_COPY_BYTES_MIN {
            return self.freeze(id, out);
        }
        if let Some(outgoing) = self.outgoing_to(from, id) {
            outgoing.phase = Phase::Copying;
            out.push(Action::PreCopy { to: from, pid, migration: id });
        }
    }

    /// What could be copied while the process runs has been.
    pub(crate) fn pre_copied(&mut self, id: MigrationId, copied: PreCopied, out: &mut Vec<Action>) {
        let now = self.now;
        let copying = |one: &&mut Outgoing| one.phase == Phase::Copying;
        if let Some(outgoing) = self.outgoing.get_mut(&id).filter(copying) {
            outgoing.copied = copied;
            outgoing.deadline = now + MIGRATION_WAIT_MAX;
            self.freeze(id, out);
        }
    }

    fn freeze(&mut self, id: MigrationId, out: &mut Vec<Action>) {
        let now = self.now;
        if let Some(outgoing) = self.outgoing.get_mut(&id) {
            (outgoing.phase, outgoing.began) = (Phase::Freezing, now);
            out.push(Action::Freeze { pid: outgoing.pid, migration: id });
        }
    }

    /// The target does not take it, or has failed to.
    pub(crate) fn target_refused(
        &mut self,
        from: NodeId,
        id: MigrationId,
        reason: String,
        out: &mut Vec<Action>,
    ) {
        if self.outgoing_to(from, id).is_some() {
            let reason = format!("node {}: {reason}", self.peers.name(from));
            self.give_up(id, reason, out);
        }
    }

    /// The process stands still.
    pub(crate) fn frozen(&mut self, id: MigrationId, image_bytes: u64, out: &mut Vec<Action>) {
        let Some(outgoing) = self.outgoing.get_mut(&id) else { return };
        let (pid, to) = (outgoing.pid, outgoing.to);
        match outgoing.phase.clone() {
            Phase::Freezing => {
                outgoing.phase = Phase::Sending;
                outgoing.image_bytes = image_bytes;
                out.push(Action::SendImage { to, pid, migration: id });
            }
            Phase::GivenUp(reason) => self.goes_on_here(id, reason, out),
            Phase::Offered
            | Phase::Copying
            | Phase::Sending
            | Phase::Committing
            | Phase::InDoubt => {}
        }
    }

    /// The process cannot be copied or frozen, and goes on.
    pub(crate) fn not_frozen(&mut self, id: MigrationId, reason: String, out: &mut Vec<Action>) {
        if let Some(outgoing) = self.outgoing.get(&id) {
            out.push(abort(outgoing.to, id));
            self.finish_move(id, Answer::Refused(reason), out);
        }
    }

    /// The process has ended before it stood still.
    pub(crate) fn ended_while_leaving(&mut self, id: MigrationId, out: &mut Vec<Action>) {
        if let Some(outgoing) = self.outgoing.get(&id) {
            out.push(abort(outgoing.to, id));
            let reason = format!("{:#} ended before it was moved", outgoing.pid);
            self.finish_move(id, Answer::Refused(reason), out);
        }
    }

    /// The process stands at the target, whole: from here on it is the target's.
    pub(crate) fn target_prepared(&mut self, from: NodeId, id: MigrationId, out: &mut Vec<Action>) {
        let Some(outgoing) = self.outgoing_to(from, id) else {
            out.push(abort(from, id));
            return;
        };
        if outgoing.phase == Phase::Sending {
            outgoing.phase = Phase::Committing;
            out.push(Action::Send { to: from, message: Message::Commit { migration: id } });
            if self.does_wrong(Mutation::DroppedAtCommit) {
                self.outcome(from, id, true, out);
            }
        }
    }

    /// The target says what became of it.
    pub(crate) fn outcome(
        &mut self,
        from: NodeId,
        id: MigrationId,
        committed: bool,
        out: &mut Vec<Action>,
    ) {
        let now = self.now;
        let waits = |one: &&mut Outgoing| matches!(one.phase, Phase::Committing | Phase::InDoubt);
        let outgoing = self.outgoing_to(from, id).filter(waits);
        let outgoing = outgoing.map(|one| (one.pid, one.cost(now)));
        let cost = outgoing.filter(|_| committed).map(|(_, cost)| cost);
        out.push(Action::Send { to: from, message: Message::Closed { migration: id, cost } });
        let Some((pid, moved)) = outgoing else { return };
        if !committed {
            self.goes_on_here(id, "the target did not take it over".to_owned(), out);
            return;
        }
        let process = self.processes.remove(pid, now);
        out.push(Action::Discard { pid, to: from });
        let forgets = self.does_wrong(Mutation::KillForgotten);
        if process.as_ref().is_some_and(|process| process.killed && !forgets) {
            self.kill_at(pid, from, out);
        }
        if let Some(process) = process {
            self.homes.runs_at(pid, from, process.moves.saturating_add(1));
        }
        self.finish_move(id, Answer::Moved(moved), out);
        if self.draining || !self.misplaced.is_empty() {
            // One has gone: the next one need not wait for the next look.
            self.send_away(out);
        }
        self.serve(out);
    }

    /// How many are on their way out, and their memory; without those in doubt, which are not carried.
    pub(crate) fn on_their_way(&self) -> (usize, u64) {
        let moving = self.outgoing.values().filter(|outgoing| !outgoing.is_in_doubt());
        let bytes = |pid| self.processes.0.get(&pid).map_or(0, |process| process.memory_bytes);
        moving.fold((0, 0), |(count, sum), one| (count + 1, sum + bytes(one.pid)))
    }

    /// The link to a target is cut.
    /// With whom moves are under way, or not known to be over.
    pub(crate) fn moves_with(&self) -> Vec<NodeId> {
        let targets = self.outgoing.values().map(|outgoing| outgoing.to);
        let sources = self.incoming.keys().chain(self.committed.keys()).map(|id| id.source);
        targets.chain(sources).collect()
    }

    pub(crate) fn target_cut(&mut self, node: NodeId, out: &mut Vec<Action>) {
        for id in self.outgoing_of(node, None) {
            let Some(outgoing) = self.outgoing.get_mut(&id) else { continue };
            let (pid, name) = (outgoing.pid, self.peers.name(node));
            if outgoing.phase == Phase::Committing {
                outgoing.phase = Phase::InDoubt;
                let asker = outgoing.asker.take();
                let text = format!(
                    "{pid:#} is in doubt: the link to node {name} broke after the commit; it stands still here until \
                     that node can be asked"
                );
                out.push(Action::Log(text.clone()));
                self.tell(asker, Answer::Refused(text), out);
                if self.does_wrong(Mutation::DoubtGoesOn) {
                    self.goes_on_here(id, "it is in doubt".to_owned(), out);
                }
            } else if outgoing.phase != Phase::InDoubt {
                self.give_up(id, format!("the link to node {name} broke"), out);
            }
        }
    }

    /// A link to a target stands again, to this incarnation of it.
    pub(crate) fn target_back(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        out: &mut Vec<Action>,
    ) {
        for id in self.outgoing_of(node, None) {
            // What was not committed when the link broke has been given up then.
            let doubtful = self.outgoing.get(&id).filter(|outgoing| outgoing.is_in_doubt());
            let Some(outgoing) = doubtful else { continue };
            if outgoing.to_incarnation == incarnation {
                if self.does_wrong(Mutation::DoubtNotAsked) {
                    continue;
                }
                out.push(Action::Send { to: node, message: Message::Query { migration: id } });
            } else {
                self.goes_on_here(id, "the target is gone".to_owned(), out);
            }
        }
    }

    /// An incarnation of a target is gone, and all that it had.
    pub(crate) fn target_gone(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        out: &mut Vec<Action>,
    ) {
        for id in self.outgoing_of(node, Some(incarnation)) {
            let phase = self.outgoing.get(&id).map(|outgoing| outgoing.phase.clone());
            match phase {
                Some(Phase::InDoubt) if self.does_wrong(Mutation::GoneIgnored) => {}
                Some(Phase::Committing | Phase::InDoubt) => {
                    self.goes_on_here(id, "the target is gone".to_owned(), out);
                }
                _ => self.give_up(id, "the target is gone".to_owned(), out),
            }
        }
    }

    /// Gives up what has taken too long.
    pub(crate) fn give_up_late_moves(&mut self, out: &mut Vec<Action>) {
        let now = self.now;
        let late = |outgoing: &Outgoing| {
            outgoing.deadline() <= now && !matches!(outgoing.phase, Phase::GivenUp(_))
        };
        let late: Vec<MigrationId> =
            self.outgoing.iter().filter(|(_, one)| late(one)).map(|(id, _)| *id).collect();
        for id in late {
            self.give_up(id, "it took too long".to_owned(), out);
        }
    }

    /// Ends a migration whose commit is not out: the process goes on here, as soon as it stands still if it is being
    /// frozen.
    fn give_up(&mut self, id: MigrationId, reason: String, out: &mut Vec<Action>) {
        let Some(outgoing) = self.outgoing.get_mut(&id) else { return };
        out.push(abort(outgoing.to, id));
        match outgoing.phase {
            Phase::Offered | Phase::Copying => self.finish_move(id, Answer::Refused(reason), out),
            Phase::Freezing => outgoing.phase = Phase::GivenUp(reason),
            Phase::Sending => self.goes_on_here(id, reason, out),
            Phase::GivenUp(_) | Phase::Committing | Phase::InDoubt => {}
        }
    }

    /// The process stands still here and is ours: it goes on.
    fn goes_on_here(&mut self, id: MigrationId, reason: String, out: &mut Vec<Action>) {
        if let Some(outgoing) = self.outgoing.get(&id) {
            out.push(Action::Resume(outgoing.pid));
            self.finish_move(id, Answer::Refused(reason), out);
        }
    }

    /// The migration is over.
    fn finish_move(&mut self, id: MigrationId, answer: Answer, out: &mut Vec<Action>) {
        let Some(outgoing) = self.outgoing.remove(&id) else { return };
        if outgoing.phase == Phase::Copying {
            out.push(Action::StopCopying(id));
        }
        let rest = peripatos_balancer::rest_after(Duration::ZERO);
        let stays_until = self.now + rest;
        let forgets = self.does_wrong(Mutation::KillForgotten);
        // Who is to leave a node that is emptied is refused each second, perhaps.
        let mut again = false;
        self.processes.set_state(outgoing.pid, State::Running, self.now);
        if let Some(process) = self.processes.0.get_mut(&outgoing.pid) {
            again = process.aside_until > Time::default();
            process.stays_until = process.stays_until.max(stays_until);
            if process.killed && !forgets {
                out.push(Action::Kill(outgoing.pid));
            }
        }
        self.note_move(&outgoing, &answer);
        if let (Answer::Refused(reason), None, false) = (&answer, &outgoing.asker, again) {
            out.push(Action::Log(format!("{:#} stays here: {reason}", outgoing.pid)));
        }
        self.tell(outgoing.asker, answer, out);
    }

    /// What came of it is remembered, for people and for the next ones.
    fn note_move(&mut self, outgoing: &Outgoing, answer: &Answer) {
        let Outgoing { pid, to, reason, ready, memory_bytes, .. } = *outgoing;
        let happening = match answer {
            Answer::Moved(cost) => {
                self.prices.note_move(memory_bytes, self.now.since(ready));
                Happening::Moved { reason, cost: *cost }
            }
            Answer::Refused(why) => Happening::Failed { reason, why: brief(why.clone()) },
            Answer::Done => return,
        };
        self.journal.note(self.now, pid, to, happening);
    }

    fn outgoing_to(&mut self, node: NodeId, id: MigrationId) -> Option<&mut Outgoing> {
        self.outgoing.get_mut(&id).filter(|outgoing| outgoing.to == node)
    }

    fn outgoing_of(&self, node: NodeId, incarnation: Option<Incarnation>) -> Vec<MigrationId> {
        let of = |outgoing: &Outgoing| {
            outgoing.to == node && incarnation.is_none_or(|one| one == outgoing.to_incarnation)
        };
        self.outgoing.iter().filter(|(_, one)| of(one)).map(|(id, _)| *id).collect()
    }
}

fn abort(to: NodeId, migration: MigrationId) -> Action {
    Action::Send { to, message: Message::Abort { migration } }
}
