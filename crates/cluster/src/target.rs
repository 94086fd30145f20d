//! A migration at the node that the process comes to.
//!
//! What has come is not run before the source's commit; a commit that never comes leaves nothing behind. What has
//! been committed is remembered until the source has heard of it, so that it can ask again.

use std::collections::BTreeSet;
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_balancer::MEMORY_KEPT_BYTES;

use crate::event::Action;
use crate::limits::{
    FAMILY_PROGRAMS_MAX, MIGRATION_WAIT_MAX, MIGRATIONS_MAX, OUTCOMES_MAX, PROCESSES_MAX,
};
use crate::message::{CodeHash, Luggage, Message, MigrationId, MoveCost};
use crate::mutation::Mutation;
use crate::node::Node;
use crate::placement::unsuited;
use crate::processes::Process;
use crate::{Incarnation, NodeId, Time};

/// A process on its way here.
#[derive(Debug)]
pub(crate) struct Incoming {
    luggage: Luggage,
    phase: Phase,
    /// Programs that it needs and that are not known to be here.
    missing: BTreeSet<CodeHash>,
    pub(crate) deadline: Time,
}

impl Incoming {
    /// The memory that it will take.
    pub(crate) fn memory_bytes_needed(&self) -> u64 {
        self.luggage.memory_bytes_needed()
    }
}

impl Node {
    /// Whether a process may be about to run here, unless it is to go on elsewhere. As long as that is not decided nobody can
    /// be told that it is not here.
    pub(crate) fn may_get(&self, pid: Pid) -> bool {
        self.incoming.values().any(|incoming| incoming.luggage.process.pid == pid)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its programs are looked for here, or are on their way, from its source or from another's.
    Gathering,
    /// Room is made for it.
    MakingRoom,
    /// Its image is on its way.
    Image,
    /// It stands here.
    Prepared,
}

impl Node {
    /// A source offers a process.
    pub(crate) fn offered(
        &mut self,
        from: NodeId,
        id: MigrationId,
        luggage: Luggage,
        out: &mut Vec<Action>,
    ) {
        self.asked_at = None;
        if let Err(reason) = self.takes(from, id, &luggage) {
            out.push(refuse(id, reason));
            return;
        }
        self.promises.comes(self.now, from, luggage.demand_permille);
        let missing: BTreeSet<CodeHash> = luggage.process.codes().into_iter().collect();
        out.extend(missing.iter().map(|code| Action::WantCode(*code)));
        // Longer than the source waits: it is the source that gives up.
        let deadline = self.now + 3 * MIGRATION_WAIT_MAX;
        let phase = Phase::Gathering;
        self.incoming.insert(id, Incoming { luggage, phase, missing, deadline });
    }

    fn takes(&self, from: NodeId, id: MigrationId, luggage: &Luggage) -> Result<(), String> {
        let pid = luggage.process.pid;
        if id.source != from {
            return Err("the offer is not the sender's".to_owned());
        }
        let programs = luggage.process.kin.as_ref().map_or(0, |kin| kin.programs.len());
        if programs > FAMILY_PROGRAMS_MAX {
            return Err(format!("{pid:#} has {programs} programs to spawn"));
        }
        if self.draining {
            return Err("it is being emptied".to_owned());
        }
        if luggage.process.placement().is_some_and(|placement| !placement.is_valid()) {
            return Err(format!("{pid:#} asks for labels that cannot be"));
        }
        if !luggage.process.suits(&self.config.labels) {
            return Err(unsuited(luggage.process.placement()));
        }
        if self.cordoned {
            return Err("it takes no processes (peri uncordon)".to_owned());
        }
        let (bytes, free) = (luggage.memory_bytes_needed(), self.memory_left());
        if bytes.saturating_add(MEMORY_KEPT_BYTES) > free {
            let mb = |bytes: u64| bytes / 1_000_000;
            return Err(format!("{pid:#} needs {} MB, and it has {} MB left", mb(bytes), mb(free)));
        }
        if luggage.demand_permille_max.is_some_and(|max| self.own_sample().demand_permille > max) {
            return Err("others have come first".to_owned());
        }
        if self.incoming.len() >= MIGRATIONS_MAX {
            return Err(format!("{MIGRATIONS_MAX} processes are on their way to it already"));
        }
        if self.processes.0.len() + self.incoming.len() >= PROCESSES_MAX {
            return Err(format!("it has {PROCESSES_MAX} processes"));
        }
        if self.committed.len() >= OUTCOMES_MAX {
            return Err("too many of its migrations have sources that cannot be reached".to_owned());
        }
        let known = self.incoming.values().any(|one| one.luggage.process.pid == pid);
        if known || self.processes.0.contains_key(&pid) {
            return Err(format!("{pid:#} is there already"));
        }
        Ok(())
    }

    /// A program is here and compiled: room is made for images.
    pub(crate) fn code_ready(&mut self, code: CodeHash, out: &mut Vec<Action>) {
        self.stop_fetching(code, out);
        for (id, incoming) in &mut self.incoming {
            let waited = incoming.missing.remove(&code);
            if waited && incoming.missing.is_empty() {
                incoming.phase = Phase::MakingRoom;
                let (from, migration) = (id.source, *id);
                let luggage = incoming.luggage.clone();
                out.push(Action::Expect { from, migration, luggage });
            }
        }
    }

    /// There is room: the process may be frozen, and its image may come.
    pub(crate) fn room_made(&mut self, id: MigrationId, out: &mut Vec<Action>) {
        let incoming = self.incoming.get_mut(&id);
        if let Some(incoming) = incoming.filter(|one| one.phase == Phase::MakingRoom) {
            incoming.phase = Phase::Image;
            out.push(Action::Send { to: id.source, message: Message::Ready { migration: id } });
        }
    }

    /// A program is not here: one of the sources sends it, once.
    pub(crate) fn code_missing(&mut self, code: CodeHash, out: &mut Vec<Action>) {
        self.fetch(code, out);
    }

    fn fetch(&mut self, code: CodeHash, out: &mut Vec<Action>) {
        if self.fetching.contains_key(&code) {
            return;
        }
        let mut incoming = self.incoming.iter();
        let source = incoming.find(|(_, one)| one.missing.contains(&code)).map(|(id, _)| id.source);
        if let Some(source) = source {
            self.fetching.insert(code, source);
            out.push(Action::Send { to: source, message: Message::WantCode { code } });
        }
    }

    /// Nobody waits for a program any more that was asked for elsewhere.
    fn stop_fetching(&mut self, code: CodeHash, out: &mut Vec<Action>) {
        if self.fetching.remove(&code).is_some() {
            out.push(Action::ForgetCode(code));
        }
    }

    /// A program cannot be used here.
    pub(crate) fn code_failed(&mut self, code: CodeHash, reason: &str, out: &mut Vec<Action>) {
        self.stop_fetching(code, out);
        let failed = |_: &MigrationId, one: &mut Incoming| one.missing.contains(&code);
        for (id, _) in self.incoming.extract_if(.., failed) {
            out.push(refuse(id, reason.to_owned()));
        }
    }

    /// The process stands here, whole.
    pub(crate) fn prepared(&mut self, id: MigrationId, out: &mut Vec<Action>) {
        match self.incoming.get_mut(&id) {
            Some(incoming) if incoming.phase == Phase::Image => {
                incoming.phase = Phase::Prepared;
                let message = Message::Prepared { migration: id };
                out.push(Action::Send { to: id.source, message });
                if self.does_wrong(Mutation::RunsUncommitted) {
                    self.commit(id.source, id, out);
                }
            }
            _ => out.push(Action::Drop(id)),
        }
    }

    /// No process can be made of what has come.
    pub(crate) fn not_prepared(&mut self, id: MigrationId, reason: String, out: &mut Vec<Action>) {
        if self.incoming.remove(&id).is_some() {
            out.push(refuse(id, reason));
        }
    }

    /// The source says: it is yours.
    pub(crate) fn commit(&mut self, from: NodeId, id: MigrationId, out: &mut Vec<Action>) {
        let stands = self.incoming.get(&id).is_some_and(|one| one.phase == Phase::Prepared);
        let incoming = (id.source == from && stands).then(|| self.incoming.remove(&id)).flatten();
        if let Some(incoming) = incoming {
            self.take_over(id, incoming.luggage, out);
        }
        self.tell_outcome(from, id, out);
    }

    fn take_over(&mut self, id: MigrationId, luggage: Luggage, out: &mut Vec<Action>) {
        let (pid, origin, moves) = (luggage.process.pid, luggage.process.origin, luggage.moves);
        let (orphaned, rest) = (luggage.orphaned, peripatos_balancer::rest_after(Duration::ZERO));
        self.processes.insert(Process::arrived(luggage, self.now, rest));
        self.is_here(pid);
        if !self.does_wrong(Mutation::OutcomeForgotten) {
            self.committed.insert(id, pid);
        }
        out.push(Action::Activate { migration: id, pid });
        if orphaned {
            out.push(Action::OriginGone(pid));
        }
        if origin == self.config.node {
            self.origin_hears_of(pid, self.config.node, moves, out);
        } else {
            self.tell_birth(pid, out);
            out.push(Action::Send { to: origin, message: Message::Arrived { pid, moves } });
        }
    }

    /// What became of it? What has not been committed by now never will be.
    pub(crate) fn queried(&mut self, from: NodeId, id: MigrationId, out: &mut Vec<Action>) {
        if id.source == from {
            self.drop_incoming(id, out);
            self.tell_outcome(from, id, out);
        }
    }

    /// What a source may not have heard, or has heard without that we heard of it.
    pub(crate) fn outcomes_again(&self, source: NodeId, out: &mut Vec<Action>) {
        for id in self.committed.keys().filter(|id| id.source == source) {
            self.tell_outcome(source, *id, out);
        }
    }

    fn tell_outcome(&self, to: NodeId, id: MigrationId, out: &mut Vec<Action>) {
        let committed = self.committed.contains_key(&id);
        out.push(Action::Send { to, message: Message::Outcome { migration: id, committed } });
    }

    /// The source has changed its mind, or has heard the outcome.
    pub(crate) fn aborted(&mut self, from: NodeId, id: MigrationId, out: &mut Vec<Action>) {
        if id.source == from {
            self.drop_incoming(id, out);
        }
    }

    /// The source has heard the outcome, and says what the move has taken.
    pub(crate) fn closed(&mut self, from: NodeId, id: MigrationId, cost: Option<MoveCost>) {
        let pid = (id.source == from).then(|| self.committed.remove(&id)).flatten();
        let process = pid.and_then(|pid| self.processes.0.get_mut(&pid));
        if let (Some(process), Some(cost)) = (process, cost) {
            process.costs.add(cost);
        }
    }

    /// The link to a source is cut. It has not committed, as far as we know; if it has, it will ask.
    pub(crate) fn source_cut(&mut self, node: NodeId, out: &mut Vec<Action>) {
        let of = |id: &&MigrationId| id.source == node;
        let cut: Vec<MigrationId> = self.incoming.keys().filter(of).copied().collect();
        for id in cut {
            self.drop_incoming(id, out);
        }
    }

    /// This OS process of a source lives; what others of it have left behind nobody will ask for.
    pub(crate) fn source_is(&mut self, node: NodeId, incarnation: Option<Incarnation>) {
        self.committed.retain(|id, _| id.source != node || Some(id.incarnation) == incarnation);
    }

    /// Drops what has waited too long for its source.
    pub(crate) fn drop_late(&mut self, out: &mut Vec<Action>) {
        let late = |(_, one): &(&MigrationId, &Incoming)| one.deadline <= self.now;
        let late: Vec<MigrationId> = self.incoming.iter().filter(late).map(|(id, _)| *id).collect();
        for id in late {
            self.drop_incoming(id, out);
            out.push(refuse(id, "it took too long".to_owned()));
        }
    }

    fn drop_incoming(&mut self, id: MigrationId, out: &mut Vec<Action>) {
        let Some(incoming) = self.incoming.remove(&id) else { return };
        if matches!(incoming.phase, Phase::MakingRoom | Phase::Image | Phase::Prepared) {
            out.push(Action::Drop(id));
        }
        // Others may wait for programs that this one's source was to send.
        for code in incoming.missing {
            if self.fetching.get(&code) == Some(&id.source) {
                self.stop_fetching(code, out);
                self.fetch(code, out);
            }
        }
    }
}

fn refuse(id: MigrationId, reason: String) -> Action {
    Action::Send { to: id.source, message: Message::Refused { migration: id, reason } }
}
