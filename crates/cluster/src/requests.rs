//! What local clients and other nodes ask of this one.

use std::collections::{BTreeMap, BTreeSet};

use peripatos_abi::Pid;

use crate::event::{Action, Request, RequestId, Response};
use crate::journal::{Reason, Standing, Told};
use crate::limits::{ANSWER_WAIT_MAX, COMMAND_WAIT_MAX, LABEL_BYTES_MAX, LISTED_BYTES_MAX};
use crate::message::{Answer, Command, Message, ProcessRow, RowOfNode, RowState};
use crate::node::{Asker, Node};
use crate::placement::Labels;
use crate::reach::Word;
use crate::source::{Conditions, Outgoing};
use crate::survey;
use crate::{NodeId, Time};

/// A question of ours that other nodes have not all answered.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) id: RequestId,
    pub(crate) deadline: Time,
    pub(crate) open: BTreeSet<NodeId>,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Events {
        told: Vec<Told>,
        standing: Option<Standing>,
        silent: Vec<String>,
    },
    Processes {
        /// What each node has said, this one too.
        listed: BTreeMap<NodeId, Vec<ProcessRow>>,
        silent: Vec<String>,
    },
    Command,
}

impl Node {
    /// A local client asks.
    pub(crate) fn request(&mut self, id: RequestId, request: Request, out: &mut Vec<Action>) {
        match request {
            Request::Nodes => {
                let met = self.peers.rows(&self.heard);
                let unmet = self.heard.all().filter(|node| !self.peers.0.contains_key(node));
                let unmet = unmet.map(|node| self.row_of_unmet(node));
                let nodes = std::iter::once(self.own_row()).chain(met).chain(unmet).collect();
                out.push(Action::Respond { id, response: Response::Nodes(nodes) });
            }
            Request::Processes => self.list_all(id, out),
            Request::Events(of) => self.ask_events(id, of, out),
            Request::Command { node, command } if node == self.config.node => {
                self.command(Asker::Local(id), command, out);
            }
            Request::Remove(removal) => {
                let done = self.remove(removal, out);
                let answer = done.map_or_else(Answer::Refused, |()| Answer::Done);
                out.push(Action::Respond { id, response: Response::Command(answer) });
            }
            Request::Command { node, command } => self.pass_on(id, node, command, out),
        }
    }

    fn own_row(&self) -> RowOfNode {
        let load = self.own_sample();
        RowOfNode {
            node: self.config.node,
            name: self.config.name.clone(),
            address: self.config.address.clone(),
            own: true,
            reachable: true,
            draining: self.draining,
            cordoned: self.cordoned,
            labels: self.config.labels.clone(),
            cores: load.cores,
            speed_permille: load.speed_permille,
            runnable: load.runnable,
            processes: load.processes,
            move_bytes_per_s: load.move_bytes_per_s,
            stuck: load.stuck,
            left: self.left.len(),
        }
    }

    /// A member with which there was no link yet: nothing more is known of it.
    fn row_of_unmet(&self, node: NodeId) -> RowOfNode {
        RowOfNode {
            node,
            name: self.name_of(node),
            address: self.heard.address(node).unwrap_or_default().to_owned(),
            own: false,
            reachable: true,
            draining: false,
            cordoned: false,
            labels: Labels::default(),
            cores: 0,
            speed_permille: 0,
            runnable: 0,
            processes: 0,
            move_bytes_per_s: None,
            stuck: 0,
            left: 0,
        }
    }

    /// What runs here, and what was started here and runs elsewhere.
    pub(crate) fn known_rows(&self) -> Vec<ProcessRow> {
        let in_doubt = |id| self.outgoing.get(&id).is_some_and(Outgoing::is_in_doubt);
        let here = |asleep| self.processes.rows(asleep, self.config.node, self.now, in_doubt);
        let elsewhere = self.homes.rows(|pid| !self.processes.0.contains_key(&pid));
        fitting(here(false).chain(elsewhere).chain(here(true)))
    }

    fn list_all(&mut self, id: RequestId, out: &mut Vec<Action>) {
        let number = self.next_number();
        let (mut open, silent) = self.ask_all(number, &Message::List { request: number }, out);
        open.insert(self.config.node);
        let kind = Kind::Processes { listed: BTreeMap::new(), silent };
        let deadline = self.now + ANSWER_WAIT_MAX;
        self.waiting.insert(number, Waiting { id, deadline, open, kind });
        self.survey(survey::Asker::Own(number), out);
    }

    /// Asks all nodes, those that have to be called first included: who is asked, and what those are called that cannot be.
    pub(crate) fn ask_all(
        &mut self,
        number: u64,
        message: &Message,
        out: &mut Vec<Action>,
    ) -> (BTreeSet<NodeId>, Vec<String>) {
        let mut open: BTreeSet<NodeId> = self.peers.all_linked().into_iter().collect();
        for to in open.iter().copied() {
            out.push(Action::Send { to, message: message.clone() });
        }
        let others: BTreeSet<NodeId> =
            self.peers.0.keys().copied().chain(self.heard.all()).collect();
        let mut silent = Vec::new();
        let linked = open.clone();
        let calls = others.difference(&linked).filter(|node| !self.is_removed(**node));
        for node in calls.copied().collect::<Vec<_>>() {
            if self.ask_in_turn(node, number, message, out) {
                open.insert(node);
            } else {
                silent.push(self.name_of(node));
            }
        }
        (open, silent)
    }

    /// Another node has answered a list, or the cores of this one have.
    pub(crate) fn listed(
        &mut self,
        from: NodeId,
        number: u64,
        processes: Vec<ProcessRow>,
        out: &mut Vec<Action>,
    ) {
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        if let (true, Kind::Processes { listed, .. }) =
            (waiting.open.remove(&from), &mut waiting.kind)
        {
            listed.insert(from, processes);
        }
        self.respond_if_complete(number, out);
    }

    fn respond_if_complete(&mut self, number: u64, out: &mut Vec<Action>) {
        if self.waiting.get(&number).is_none_or(|waiting| !waiting.open.is_empty()) {
            return;
        }
        let Some(Waiting { id, kind: Kind::Processes { listed, silent }, .. }) =
            self.waiting.remove(&number)
        else {
            return;
        };
        let mut processes = once_each(listed);
        processes.sort_by_key(|row| row.state == RowState::Asleep);
        let processes = fitting(processes.into_iter());
        out.push(Action::Respond { id, response: Response::Processes { processes, silent } });
    }

    fn pass_on(&mut self, id: RequestId, node: NodeId, command: Command, out: &mut Vec<Action>) {
        let number = self.next_number();
        let deadline = self.now + COMMAND_WAIT_MAX;
        let open = BTreeSet::from([node]);
        self.waiting.insert(number, Waiting { id, deadline, open, kind: Kind::Command });
        let message = Message::Command { request: number, command };
        if self.peers.is_linked(node) {
            out.push(Action::Send { to: node, message });
        } else if !self.call_for(node, Word::Ask(number, Box::new(message)), out) {
            self.was_not_asked(number, node, out);
        }
    }

    /// A node could not be asked: nothing was done there.
    pub(crate) fn was_not_asked(&mut self, number: u64, node: NodeId, out: &mut Vec<Action>) {
        let name = self.name_of(node);
        match self.waiting.get(&number) {
            Some(Waiting { kind: Kind::Command, id, .. }) => {
                let asker = Asker::Local(*id);
                self.waiting.remove(&number);
                let reason = format!("node {name} cannot be reached");
                self.tell(Some(asker), Answer::Refused(reason), out);
            }
            _ => self.leave_out(number, &[name], &[node], out),
        }
    }

    /// Another node has done a command, or not.
    pub(crate) fn answered(
        &mut self,
        from: NodeId,
        number: u64,
        answer: Answer,
        out: &mut Vec<Action>,
    ) {
        let ours = self.waiting.get(&number).is_some_and(|waiting| waiting.open.contains(&from));
        if let (true, Some(waiting)) = (ours, self.waiting.remove(&number)) {
            self.tell(Some(Asker::Local(waiting.id)), answer, out);
        }
    }

    /// A command for this node.
    pub(crate) fn command(&mut self, asker: Asker, command: Command, out: &mut Vec<Action>) {
        let done = match command {
            Command::Migrate { to, .. } if self.can_be_called(to) || self.is_parting(to) => {
                return self.call_first(asker, to, command, out);
            }
            Command::Migrate { pid, to, hold } => {
                let (hold, asker) = (Some(hold), Some(asker));
                let conditions = Conditions { hold, asker, ..Conditions::default() };
                match self.begin_move(pid, to, Reason::ByHand, conditions, out) {
                    // Answered when it has moved.
                    Ok(()) => return,
                    Err(reason) => Err(reason),
                }
            }
            Command::Pin { pid } => match self.processes.0.get_mut(&pid) {
                Some(process) => {
                    (process.pinned, process.stays_until) = (true, Time::NEVER);
                    Ok(())
                }
                None => Err(format!("{pid:#} does not run here")),
            },
            Command::Unpin { pid } => match self.processes.0.get_mut(&pid) {
                Some(process) => {
                    (process.pinned, process.stays_until) = (false, self.now);
                    Ok(())
                }
                None => Err(format!("{pid:#} does not run here")),
            },
            Command::Kill { pid } => self.kill(pid, out),
            Command::Drain { on } => {
                self.draining = on;
                self.balance_at_once();
                Ok(())
            }
            Command::Balance { on } => {
                self.balancing = on;
                self.balance_at_once();
                Ok(())
            }
            Command::BalanceNow => {
                self.processes.rest_no_more(self.now);
                self.peers.ask_again();
                self.asked_at = None;
                self.balance_at_once();
                Ok(())
            }
            Command::Cordon { on } => {
                self.cordoned = on;
                self.balance_at_once();
                Ok(())
            }
            Command::Forget { node, proof } => match asker {
                // Otherwise who has stolen a node could have two copies of a process run.
                Asker::Remote(from, _) if proof.is_none() => {
                    Err(self.unproved_gone(from, node, out))
                }
                _ => self.forget(node, out),
            },
            // The host signs for those of its operator; others sign for nothing.
            Command::Remove { .. } => {
                Err("only an operator's command at a node that has the token removes a node"
                    .to_owned())
            }
        };
        self.tell(Some(asker), done.map_or_else(Answer::Refused, |()| Answer::Done), out);
    }

    /// A command has to do with a node to which there is no link.
    fn call_first(&mut self, asker: Asker, node: NodeId, command: Command, out: &mut Vec<Action>) {
        if !self.call_for(node, Word::Do(asker, command), out) {
            let reason = format!("node {} cannot be reached", self.name_of(node));
            self.tell(Some(asker), Answer::Refused(reason), out);
        }
    }

    /// Another node says that one is gone, and does not prove that an operator says so: what it hears.
    fn unproved_gone(&self, from: NodeId, node: NodeId, out: &mut Vec<Action>) -> String {
        let (from, node) = (self.name_of(from), self.name_of(node));
        out.push(Action::Log(format!(
            "node {from} says that node {node} is gone, and does not prove that an operator says so: it is not believed"
        )));
        "that a node is gone only an operator's command says, at a node that has the token"
            .to_owned()
    }

    fn forget(&mut self, node: NodeId, out: &mut Vec<Action>) -> Result<(), String> {
        match self.peers.0.get(&node) {
            // All are told, and some have never met it. It may have been where nobody knew what is looked for.
            None => {
                self.heard.found(node);
                out.push(Action::NodeGone(node));
                Ok(())
            }
            Some(known) if known.linked => {
                let name = self.peers.name(node);
                Err(format!("node {name} is there; end it with `peri down`"))
            }
            Some(_) => {
                self.gone_for_good(node, out);
                Ok(())
            }
        }
    }

    /// Nodes that cannot answer any more are left out.
    pub(crate) fn node_silent(&mut self, node: NodeId, out: &mut Vec<Action>) {
        let name = self.peers.name(node);
        let of = |waiting: &Waiting| waiting.open.contains(&node);
        let numbers: Vec<u64> =
            self.waiting.iter().filter(|(_, one)| of(one)).map(|(number, _)| *number).collect();
        for number in numbers {
            self.leave_out(number, std::slice::from_ref(&name), &[node], out);
        }
    }

    pub(crate) fn answer_late(&mut self, out: &mut Vec<Action>) {
        let now = self.now;
        let late: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.deadline <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            let Some(waiting) = self.waiting.get(&number) else { continue };
            let nodes: Vec<NodeId> = waiting.open.iter().copied().collect();
            let names: Vec<String> = nodes.iter().map(|node| self.name_of(*node)).collect();
            self.leave_out(number, &names, &nodes, out);
        }
    }

    fn leave_out(
        &mut self,
        number: u64,
        names: &[String],
        nodes: &[NodeId],
        out: &mut Vec<Action>,
    ) {
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        waiting.open.retain(|node| !nodes.contains(node));
        match &mut waiting.kind {
            Kind::Processes { silent, .. } => {
                silent.extend_from_slice(names);
                self.respond_if_complete(number, out);
            }
            Kind::Events { silent, .. } => {
                silent.extend_from_slice(names);
                self.respond_to_events(number, out);
            }
            Kind::Command => {
                let asker = Asker::Local(waiting.id);
                self.waiting.remove(&number);
                let reason = format!(
                    "node {} does not answer; whether it was done is not known",
                    names.join(", ")
                );
                self.tell(Some(asker), Answer::Refused(reason), out);
            }
        }
    }

    /// Gives an answer to whoever asked.
    pub(crate) fn tell(&self, asker: Option<Asker>, answer: Answer, out: &mut Vec<Action>) {
        match asker {
            None => {}
            Some(Asker::Local(id)) => {
                out.push(Action::Respond { id, response: Response::Command(answer) });
            }
            Some(Asker::Remote(to, request)) => {
                out.push(Action::Send { to, message: Message::Answer { request, answer } });
            }
        }
    }
}

/// As many as fit into one frame. Those that sleep come last. (A line is made when it is asked for: of many most are not.)
fn fitting(rows: impl Iterator<Item = ProcessRow>) -> Vec<ProcessRow> {
    let mut left = LISTED_BYTES_MAX;
    let fit = |row: &ProcessRow| match left.checked_sub(bytes_of(row)) {
        Some(less) => {
            left = less;
            true
        }
        None => false,
    };
    rows.take_while(fit).collect()
}

/// At most what a line takes on the wire.
fn bytes_of(row: &ProcessRow) -> usize {
    // Numbers, hashes and what stands before each text.
    const FIXED: usize = 256;
    const TEXT: usize = 8;
    let command = row.process.command.iter().map(|word| word.len() + TEXT).sum::<usize>();
    let kin = row.process.kin.as_ref().map_or(0, |kin| {
        let programs = kin.programs.iter().map(|(name, _)| name.len() + TEXT + 32).sum::<usize>();
        let labels = [&kin.placement.on, &kin.placement.not_on, &kin.placement.prefer];
        let labels = labels.into_iter().map(Vec::len).sum::<usize>();
        programs + kin.name_prefix.len() + TEXT + 64 + labels * 2 * (LABEL_BYTES_MAX + TEXT)
    });
    FIXED + command + kin
}

/// A process that is just moving may be listed at both ends: where it has moved to counts. Or at neither, if one end was
/// asked before and the other one after: then its origin's node knows of it.
fn once_each(listed: BTreeMap<NodeId, Vec<ProcessRow>>) -> Vec<ProcessRow> {
    let silent = |row: &ProcessRow| !listed.contains_key(&row.node);
    let mut latest: BTreeMap<Pid, ((bool, u32), &ProcessRow)> = BTreeMap::new();
    for (from, rows) in &listed {
        // What a node that does not answer runs is not known.
        for row in rows.iter().filter(|row| !silent(row)) {
            let word = (row.node == *from, row.moves);
            let known = latest.get(&row.process.pid);
            if known.is_none_or(|(known, _)| *known < word) {
                latest.insert(row.process.pid, (word, row));
            }
        }
    }
    latest.into_values().map(|(_, row)| row.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Description, MoveCosts};

    fn row(number: u64, state: RowState) -> ProcessRow {
        let process = Description {
            pid: Pid::new(number, 7),
            command: vec!["x".repeat(2_000)],
            code: [0; 32],
            origin: NodeId(1),
            started_unix_seconds: 0,
            memory_bytes_max: 0,
            memory_bytes_needed: 0,
            canonical_nan: false,
            kin: None,
        };
        let costs = MoveCosts::default();
        let (core, cpu_ms, memory_bytes, moves) = (None, 0, 0, 0);
        let (node, pinned, doing) = (NodeId(1), false, None);
        ProcessRow { process, node, state, doing, core, cpu_ms, memory_bytes, moves, costs, pinned }
    }

    #[test]
    fn a_list_that_is_too_long_is_cut_where_they_sleep() {
        let state = |number| if number % 100 == 0 { RowState::Waiting } else { RowState::Asleep };
        let of = |asleep| {
            let all = (0..10_000).map(move |number| row(number, state(number)));
            all.filter(move |row| (row.state == RowState::Asleep) == asleep)
        };
        let rows = fitting(of(false).chain(of(true)));
        let awake = rows.iter().filter(|row| row.state == RowState::Waiting).count();
        assert_eq!(awake, 100);
        assert!(rows.len() > awake && rows.iter().map(bytes_of).sum::<usize>() <= LISTED_BYTES_MAX);
        assert_eq!(fitting([row(1, RowState::Asleep)].into_iter()).len(), 1);
    }
}
