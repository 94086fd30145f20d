//! One node, as a state machine: told of events, it says what is to be done.
//!
//! Invariants:
//! * at most one node runs a process: see `source` and `target` for how a move keeps that;
//! * what a peer says changes only what is the peer's to say: its own processes, its own migrations;
//! * nothing waits for ever but a process in doubt, and that shows in `ps`.

use std::collections::{BTreeMap, BTreeSet};

use peripatos_abi::Pid;
use peripatos_balancer::Prices;

use crate::directory::Directory;
use crate::event::{Action, Config, Event, Peer, RequestId};
use crate::farewell::Left;
use crate::heard::Heard;
use crate::homes::Homes;
use crate::journal::Journal;
use crate::lease::Expired;
use crate::limits::{PROCESSES_MAX, SPEED_PERMILLE_UNKNOWN};
use crate::links::{Links, is_upkeep};
use crate::message::{CodeHash, Description, End, Message, MigrationId};
use crate::mutation::Mutation;
use crate::peers::Peers;
use crate::preferences::Preferring;
use crate::processes::{Process, Processes, State};
use crate::promises::Promises;
use crate::reach::Reaching;
use crate::removed::Removal;
use crate::requests::Waiting;
use crate::settle::Spare;
use crate::source::Outgoing;
use crate::survey::{self, Survey};
use crate::target::Incoming;
use crate::{Incarnation, NodeId, Time};

/// One node. See the module's page.
#[derive(Debug)]
pub struct Node {
    pub(crate) config: Config,
    pub(crate) now: Time,
    pub(crate) processes: Processes,
    pub(crate) peers: Peers,
    pub(crate) heard: Heard,
    pub(crate) reaching: Reaching,
    pub(crate) links: Links,
    /// What those were called that operators have given up: word of what they ran is still to come. At most as many as peers.
    pub(crate) given_up: BTreeMap<NodeId, String>,
    pub(crate) left: Left,
    pub(crate) expired: Expired,
    pub(crate) homes: Homes,
    pub(crate) directory: Directory,
    pub(crate) outgoing: BTreeMap<MigrationId, Outgoing>,
    pub(crate) incoming: BTreeMap<MigrationId, Incoming>,
    /// Programs that are on their way here, and from whom.
    pub(crate) fetching: BTreeMap<CodeHash, NodeId>,
    /// Migrations whose processes have come, and whose sources may not know it.
    pub(crate) committed: BTreeMap<MigrationId, Pid>,
    /// Ends that the origins' nodes have not heard of.
    pub(crate) unheard: BTreeMap<Pid, (NodeId, End)>,
    pub(crate) waiting: BTreeMap<u64, Waiting>,
    pub(crate) surveys: BTreeMap<u64, Survey>,
    pub(crate) draining: bool,
    pub(crate) cordoned: bool,
    /// Whether it gives and takes processes for the sake of the balance.
    pub(crate) balancing: bool,
    /// Processes that began here and may not run here.
    pub(crate) misplaced: BTreeSet<Pid>,
    pub(crate) preferring: Preferring,
    /// Processes that were sent away, until it is seen whether they have left.
    pub(crate) sent_away: BTreeSet<Pid>,
    /// How many of its processes suit no node that takes any, and when that was counted. `None`: it is not being emptied.
    pub(crate) stuck: Option<(Time, u32)>,
    /// When we asked for work; `None`: no question is open.
    pub(crate) asked_at: Option<Time>,
    /// Where there are too many nodes to know them all.
    pub(crate) promises: Promises,
    pub(crate) spare: Spare,
    /// The last one that was told the load in turn.
    pub(crate) told_load: Option<NodeId>,
    pub(crate) next_balance: Time,
    pub(crate) last_balance: Time,
    /// What a core does here in a second, in thousandths of the reference.
    pub(crate) speed_permille: u32,
    /// Memory for more processes, as far as it is known.
    pub(crate) memory_free_bytes: u64,
    /// What moves have taken.
    pub(crate) prices: Prices,
    pub(crate) journal: Journal,
    last_number: u64,
    #[cfg(feature = "mutations")]
    pub(crate) mutation: Option<Mutation>,
}

/// Who wants to know what came of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// A client of this node.
    Local(RequestId),
    /// A client of that node, under that node's number.
    Remote(NodeId, u64),
}

impl Node {
    /// A node without processes and without peers.
    #[must_use]
    pub fn new(config: Config) -> Node {
        // Both are drawn by lot.
        let seed = config.incarnation.0 ^ config.node.0 as u64;
        let promises = Promises::new(config.node, Time::default(), seed);
        Node {
            directory: Directory::new(config.node),
            balancing: config.balancing,
            config,
            now: Time::default(),
            processes: Processes::default(),
            peers: Peers::default(),
            heard: Heard::default(),
            reaching: Reaching::default(),
            links: Links::default(),
            given_up: BTreeMap::new(),
            left: Left::default(),
            expired: Expired::default(),
            homes: Homes::default(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            fetching: BTreeMap::new(),
            committed: BTreeMap::new(),
            unheard: BTreeMap::new(),
            waiting: BTreeMap::new(),
            surveys: BTreeMap::new(),
            draining: false,
            cordoned: false,
            misplaced: BTreeSet::new(),
            preferring: Preferring::default(),
            sent_away: BTreeSet::new(),
            stuck: None,
            asked_at: None,
            promises,
            spare: Spare::default(),
            told_load: None,
            next_balance: Time::default(),
            last_balance: Time::default(),
            speed_permille: SPEED_PERMILLE_UNKNOWN,
            memory_free_bytes: u64::MAX,
            prices: Prices::default(),
            journal: Journal::default(),
            last_number: 0,
            #[cfg(feature = "mutations")]
            mutation: None,
        }
    }

    /// Takes an event in, and appends what is to be done, in order.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        self.now = self.now.max(now);
        let from = out.len();
        match event {
            Event::Tick => self.tell_keepers(out),
            Event::LinkUp(peer) => self.link_up(peer, out),
            Event::LinkDown(node) => self.link_down(node, out),
            Event::LinkParted(node) => self.link_parted(node, out),
            Event::Used(nodes) => nodes.into_iter().for_each(|node| self.used(node)),
            Event::News { tells } => self.news(tells),
            Event::Keep(nodes) => self.keep_links(nodes),
            Event::MemberUp(member) => self.member_up(&member, out),
            Event::MemberDown(member) => self.member_down(&member, out),
            Event::Wanted(node) => self.call(node, out),
            Event::Gone { node, incarnation } => self.gone(node, incarnation, out),
            Event::LeaseExpired { node, incarnation } => self.lease_expired(node, incarnation, out),
            Event::SignedAnew(removed) => self.signed_anew(&removed, out),
            Event::Loads { from, heard } => self.heard_samples(from, &heard),
            Event::Word { from, word } => self.heard_word(from, word, out),
            Event::Message { from, message } => self.message(from, message, out),
            Event::Started(description) => self.started(description),
            Event::Born(description) => self.born(description, out),
            Event::Samples(samples) => self.processes.take_samples(samples, self.now),
            Event::Speed(permille) => self.speed_permille = permille,
            Event::MemoryFree(bytes) => self.memory_free_bytes = bytes,
            Event::Ended { pid, end } => self.ended(pid, end, out),
            Event::OriginKills(pid) => self.origin_kills(pid, out),
            Event::OriginGone(pid) => self.origin_left(pid, out),
            Event::CodeReady(code) => self.code_ready(code, out),
            Event::CodeMissing(code) => self.code_missing(code, out),
            Event::CodeFailed(code, reason) => self.code_failed(code, &reason, out),
            Event::PreCopied { migration, copied } => self.pre_copied(migration, copied, out),
            Event::Frozen { migration, image_bytes } => self.frozen(migration, image_bytes, out),
            Event::NotFrozen { migration, reason } => self.not_frozen(migration, reason, out),
            Event::RoomMade(migration) => self.room_made(migration, out),
            Event::Prepared(migration) => self.prepared(migration, out),
            Event::NotPrepared { migration, reason } => self.not_prepared(migration, reason, out),
            Event::Surveyed { survey, doings } => self.surveyed(survey, doings, out),
            Event::Deadlock { circle, len } => self.deadlocked(circle, len, out),
            Event::Request { id, request } => self.request(id, request, out),
        }
        self.due(out);
        self.route(from, out);
    }

    /// When the node wants to be told the time at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        let outgoing = self.outgoing.values().map(Outgoing::deadline);
        let incoming = self.incoming.values().map(|incoming| incoming.deadline);
        let waiting = self.waiting.values().map(|waiting| waiting.deadline);
        let surveys = self.surveys.values().map(|survey| survey.deadline);
        let lost = self.homes.next_deadline();
        let deadlines = outgoing.chain(incoming).chain(waiting).chain(surveys).chain(lost);
        let silent = self.peers.next_silent(&self.heard);
        let first = self.next_balance.min(silent).min(self.heard.next_call());
        let first = first.min(self.reaching.next_deadline()).min(self.next_look());
        deadlines.fold(first, Time::min)
    }

    /// Whether nothing runs here and nothing is on its way: it can go without loss.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.0.is_empty() && self.incoming.is_empty() && self.outgoing.is_empty()
    }

    /// The node at which the origin of a process that runs here is attached.
    #[must_use]
    pub fn origin_of(&self, pid: Pid) -> Option<NodeId> {
        self.processes.0.get(&pid).map(|process| process.description.origin)
    }

    /// The node that last said that it runs a process whose origin is attached here.
    #[must_use]
    pub fn home_of(&self, pid: Pid) -> Option<NodeId> {
        self.homes.node_of(pid)
    }

    /// Where a process goes that is on its way out.
    #[must_use]
    pub fn target_of(&self, migration: MigrationId) -> Option<NodeId> {
        self.outgoing.get(&migration).map(|outgoing| outgoing.to)
    }

    /// The root of the family of a process that runs here. `None`: it has none.
    #[must_use]
    pub fn root_of(&self, pid: Pid) -> Option<Pid> {
        self.processes.0.get(&pid)?.description.kin.as_ref().map(|kin| kin.root)
    }

    /// What a node is called.
    #[must_use]
    pub fn name_of(&self, node: NodeId) -> String {
        if let (false, Some(name)) = (self.peers.0.contains_key(&node), self.heard.name(node)) {
            return name.to_owned();
        }
        self.given_up.get(&node).cloned().unwrap_or_else(|| self.peers.name(node))
    }

    fn due(&mut self, out: &mut Vec<Action>) {
        self.give_up_late_moves(out);
        self.drop_late(out);
        self.reach_no_longer(out);
        self.end_late_surveys(out);
        self.answer_late(out);
        if self.heard.next_call() <= self.now {
            let needed = self.needed();
            let wanted = |node| needed.has(node) && !self.peers.is_linked(node);
            let calls = self.heard.take_calls(self.now, wanted);
            if !calls.is_empty() {
                out.push(Action::Connect(calls));
            }
        }
        self.look_at_links(out);
        for node in self.peers.take_silent(self.now, &self.heard) {
            let name = self.peers.name(node);
            out.push(Action::Log(format!("node {name} is silent: who waits for it is told")));
            out.push(Action::NodeSilent(node));
        }
        for (pid, home) in self.homes.take_lost(self.now) {
            let end = End::Lost { node: self.name_of(home.at) };
            self.is_over_for_origin(pid, &home, end, out);
        }
        self.balance(out);
    }

    fn message(&mut self, from: NodeId, message: Message, out: &mut Vec<Action>) {
        if self.is_removed(from) {
            return;
        }
        if !matches!(message, Message::Left(_)) {
            self.is_there(from);
        }
        if !is_upkeep(&message) {
            self.used(from);
        }
        match message {
            Message::Load(sample) => self.heard_load(from, sample),
            // Whom a larger cluster has gossip tells.
            Message::Members(members) if !self.are_few(members.len().max(self.heard.len())) => {}
            Message::Members(members) => {
                let unknown = |node| {
                    let removed = self.is_removed(node);
                    node != self.config.node && !self.peers.is_linked(node) && !removed
                };
                let others = members.into_iter().filter(|member| unknown(member.node));
                let addresses = others.map(|member| member.address);
                out.push(Action::Connect(addresses.filter(|one| !one.is_empty()).collect()));
            }
            Message::Removed(removed) => self.heard_removed(from, &removed, out),
            Message::Left(left) => self.heard_left(from, &left, out),
            Message::Ask(sample) => self.asked(from, sample, out),
            Message::Nothing => self.heard_nothing(from),
            Message::Redeem { sample, redemption } => {
                self.asked_to_redeem(from, sample, redemption, out);
            }
            Message::Instead { promises } => self.given_instead(from, &promises, out),
            Message::Kept { permille } => self.promises.kept(from, permille),
            Message::Events { request, of } => {
                let (told, standing) = self.events_here(of.map(Pid::from_bits));
                let standing = standing.map(Box::new);
                let message = Message::Happened { request, told, standing };
                out.push(Action::Send { to: from, message });
            }
            Message::Happened { request, told, standing } => {
                self.heard_events(from, request, told, standing.map(|one| *one), out);
            }
            Message::Offer { migration, luggage } => self.offered(from, migration, luggage, out),
            Message::Refused { migration, reason } => {
                self.peers.refuses(from, self.now);
                self.target_refused(from, migration, reason, out);
            }
            Message::WantCode { code } => out.push(Action::SendCode { to: from, code }),
            Message::Ready { migration } => self.target_ready(from, migration, out),
            Message::Abort { migration } => self.aborted(from, migration, out),
            Message::Prepared { migration } => self.target_prepared(from, migration, out),
            Message::Commit { migration } => self.commit(from, migration, out),
            Message::Query { migration } => self.queried(from, migration, out),
            Message::Outcome { migration, committed } => {
                self.outcome(from, migration, committed, out);
            }
            Message::Closed { .. } if self.does_wrong(Mutation::OutcomeKept) => {}
            Message::Closed { migration, cost } => self.closed(from, migration, cost),
            Message::Arrived { pid, .. } if self.runs_here(pid) => self.not_so(from, pid, out),
            Message::Arrived { pid, moves } => self.origin_hears_of(pid, from, moves, out),
            Message::HaveYou { pid } => self.asked_for(from, pid, out),
            Message::HaveNot { pid } => {
                self.homes.is_not_at(pid, from);
                self.lose_astray();
            }
            Message::Born(description) => self.heard_of_birth(from, description, out),
            Message::Ended { pid, .. } if self.runs_here(pid) => self.not_so(from, pid, out),
            Message::Ended { pid, end } => {
                out.push(Action::Send { to: from, message: Message::EndHeard { pid } });
                self.tell_origin(pid, end, out);
            }
            Message::EndHeard { pid } => {
                if self.unheard.get(&pid).is_some_and(|(origin, _)| *origin == from) {
                    self.unheard.remove(&pid);
                }
            }
            Message::OriginGone { pid } => {
                let of = |process: &Process| process.description.origin == from;
                if self.processes.0.get(&pid).is_some_and(of) {
                    self.orphan(pid, out);
                }
            }
            Message::Entries(entries) => self.heard_entries(from, entries, out),
            Message::Part => self.asked_to_part(from, out),
            Message::Parted => self.has_parted(from, out),
            Message::Stay => self.stays(from, out),
            Message::Deadlock { circle, len } => self.heard_of_deadlock(from, &circle, len, out),
            Message::List { request } => self.survey(survey::Asker::Peer(from, request), out),
            Message::Listed { request, processes } => self.listed(from, request, processes, out),
            Message::Command { request, command } => {
                self.command(Asker::Remote(from, request), command, out);
            }
            Message::Answer { request, answer } => self.answered(from, request, answer, out),
            // The host carries these past the node.
            Message::Bulk { .. }
            | Message::Wire(_)
            | Message::Identity(_)
            | Message::Request { .. }
            | Message::Unserved { .. }
            | Message::Reply { .. }
            | Message::Talk(_)
            | Message::Names(_)
            | Message::NameLost { .. }
            | Message::Seek { .. }
            | Message::Sought(_) => {}
        }
    }

    /// Whether there is a link to a node, or one can be made.
    pub(crate) fn is_reached(&self, node: NodeId) -> bool {
        self.peers.is_linked(node) || self.heard.address(node).is_some()
    }

    /// Whether a process runs here for certain. Whoever else says that it does, or did to its end, lies.
    pub(crate) fn runs_here(&self, pid: Pid) -> bool {
        self.processes.0.get(&pid).is_some_and(|process| process.state == State::Running)
    }

    fn not_so(&self, from: NodeId, pid: Pid, out: &mut Vec<Action>) {
        let name = self.peers.name(from);
        out.push(Action::Log(format!("node {name} says that it has {pid:#}, which runs here")));
    }

    fn link_up(&mut self, peer: Peer, out: &mut Vec<Action>) {
        let (node, incarnation) = (peer.node, peer.incarnation);
        if self.is_removed(node) {
            // The link was made while word of it was on its way.
            let proof = self.removed()[&node];
            let message = Message::Removed(vec![Removal { node, proof }]);
            out.extend([Action::Send { to: node, message }, Action::Remove(vec![node])]);
            return;
        }
        let before = self.peers.0.get(&node).map(|known| known.peer.incarnation);
        if !self.peers.linked(self.now, peer) {
            out.push(Action::Log(format!("too many nodes: {node:#} is not taken")));
            return;
        }
        self.heard.found(node);
        self.keeper_comes(node);
        self.given_up.remove(&node);
        self.is_there(node);
        if let Some(old) = before.filter(|old| *old != incarnation) {
            self.gone(node, old, out);
        }
        self.target_back(node, incarnation, out);
        self.source_is(node, Some(incarnation));
        self.tell_removed(node, out);
        self.tell_left(node, out);
        if self.keeps_all() || !self.heard.is_up(node, incarnation) {
            let unmet = (!self.keeps_all()).then_some(&self.heard);
            let members = self.peers.members(unmet);
            out.push(Action::Send { to: node, message: Message::Members(members) });
        }
        for (pid, moves) in self.processes.of_origin(node) {
            self.tell_birth(pid, out);
            out.push(Action::Send { to: node, message: Message::Arrived { pid, moves } });
        }
        self.outcomes_again(node, out);
        self.ask_for_homes(node, out);
        self.lose_astray();
        let again = !self.does_wrong(Mutation::EndNotRepeated);
        let ends = self.unheard.iter().filter(|(_, (origin, _))| *origin == node && again);
        for (pid, (_, end)) in ends {
            let message = Message::Ended { pid: *pid, end: end.clone() };
            out.push(Action::Send { to: node, message });
        }
        // The newcomer hears of our load at once, and we look at the balance when we hear of its.
        out.push(Action::Send { to: node, message: Message::Load(self.own_sample()) });
        self.say_held(node, out);
        self.reached_maker(node, out);
    }

    fn link_down(&mut self, node: NodeId, out: &mut Vec<Action>) {
        let silent_at = self.now + self.config.silent_after;
        self.unlinked(node, Some(silent_at), out);
        if let Some(known) = self.peers.0.get_mut(&node) {
            known.load = None;
        }
        self.links.lost(node);
        self.homes.keep_astray();
        self.heard.unlinked(self.now, self.config.node, node);
        self.node_silent(node, out);
    }

    /// There is no link any more. `silent_at`: when those are told who wait for something there, unless gossip says that it lives.
    pub(crate) fn unlinked(
        &mut self,
        node: NodeId,
        silent_at: Option<Time>,
        out: &mut Vec<Action>,
    ) {
        if let Some(known) = self.peers.0.get_mut(&node) {
            (known.linked, known.silent_at) = (false, silent_at);
        }
        if self.heard.address(node).is_none() {
            self.keeper_goes(node);
        }
        self.target_cut(node, out);
        self.source_cut(node, out);
        self.names_end_with(node, out);
        if self.is_removed(node) {
            self.gone_for_good(node, out);
        }
        self.perhaps_left(node, out);
    }

    /// An OS process of another node has ended, and with it all that it ran and served.
    pub(crate) fn gone(&mut self, node: NodeId, incarnation: Incarnation, out: &mut Vec<Action>) {
        self.peers.gone(node, incarnation);
        self.heard.down(node, incarnation);
        self.heard.found(node);
        self.not_heard(node, out);
        self.promises.gone(node);
        self.target_gone(node, incarnation, out);
        self.source_is(node, None);
        self.origins_node_gone(node, out);
        out.push(Action::NodeGone(node));
        if !self.does_wrong(Mutation::LossUnnoticed) {
            self.homes.node_gone(node, self.now);
            // What it had may have come to it without that we heard of it.
            for other in self.peers.0.keys().copied().collect::<Vec<_>>() {
                self.ask_for_homes(other, out);
            }
            self.lose_astray();
        }
        self.unheard.retain(|_, (origin, _)| *origin != node);
    }

    fn started(&mut self, description: Description) {
        if description.origin == self.config.node {
            self.homes.started(description.clone());
        }
        let pid = description.pid;
        self.begins_here(description);
        self.is_here(pid);
    }

    fn ended(&mut self, pid: Pid, end: End, out: &mut Vec<Action>) {
        let Some(process) = self.processes.remove(pid, self.now) else { return };
        self.prices.note_end(process.cpu());
        self.balance_soon();
        self.is_over(&process);
        if let State::Leaving(migration) = process.state {
            self.ended_while_leaving(migration, out);
        }
        let origin = process.description.origin;
        if origin == self.config.node {
            self.tell_origin(pid, end, out);
        } else {
            let gone = self.peers.is_gone(origin) || self.given_up.contains_key(&origin);
            if !gone {
                self.unheard.insert(pid, (origin, end.clone()));
            }
            if self.unheard.len() > PROCESSES_MAX {
                self.unheard.pop_first();
            }
            out.push(Action::Send { to: origin, message: Message::Ended { pid, end } });
        }
    }

    /// Ends a process here; one that stands still, on its way out, as soon as that is over.
    pub(crate) fn kill(&mut self, pid: Pid, out: &mut Vec<Action>) -> Result<(), String> {
        let process = self.processes.0.get_mut(&pid);
        let process = process.ok_or_else(|| format!("{pid:#} does not run here"))?;
        match process.state {
            State::Running => out.push(Action::Kill(pid)),
            State::Leaving(migration) => {
                process.killed = true;
                if self.outgoing.get(&migration).is_some_and(Outgoing::runs) {
                    out.push(Action::Kill(pid));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}
