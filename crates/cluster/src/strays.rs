//! Packets of message kernels whose way is not known, and the search for the processes that they are for.
//!
//! What stands still here on its way out keeps its packets until it is over. Whoever has left is known for a while. For all
//! others nodes are asked, once for all packets: alone the one that should know, and whom that one names; if that comes to
//! nothing, all that can be asked: over links, and in datagrams those without one that gossip says live. Only who says that it has a process gets its packets, and only of what all deny, each to the
//! same question, nobody has it. A node that cannot be asked may have it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use peripatos_abi::Pid;

use crate::limits::{
    ANSWERS_MAX, ASKED_AT_ONCE_MAX, GONE_MAX, LEAD_WAIT_MAX, LEADS_MAX, PEERS_MAX, REACH_WAIT_MAX,
    SEEK_WAIT_MAX, STRAY_AGE_MAX, STRAYS_MAX, UNMET_WAIT_MAX,
};
use crate::message::{Sighting, Sought};
use crate::mutation::Mutation;
use crate::{NodeId, Time};

/// What is to be done with a packet, or to bring one on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<P> {
    /// The process that it is for is here.
    Bring(P),
    /// It goes on to that node.
    SendOn(NodeId, P),
    /// Nobody has the process: its sender is told.
    Nobody(P),
    /// Something waits for a link to that node.
    Call(NodeId),
    /// That node is asked about this process, over its link or in a datagram, with this question's number
    /// ([`Message::Seek`](crate::message::Message::Seek)).
    Ask(NodeId, Pid, u64),
    /// More packets wait than are kept: this one is lost. Kernels send again.
    Lost(P),
}

/// Packets for processes that are not on this node's cores. See the module.
#[derive(Debug)]
pub struct Strays<P> {
    /// They stand still here, on their way out; since when a packet waits for one.
    still: HashMap<Pid, Vec<(Time, P)>>,
    sought: BTreeMap<Pid, Seek<P>>,
    questions: u64,
    /// Where those went that have left, or that they have ended here (`None`), and when. None of them has come back: who
    /// follows such words comes from each to a later one, and never in a circle.
    gone: HashMap<Pid, (Option<NodeId>, Time)>,
    /// Oldest first.
    left: VecDeque<(Pid, Time)>,
    packets: usize,
    linked: BTreeSet<NodeId>,
    /// Nodes that gossip says live.
    members: BTreeSet<NodeId>,
    /// Packets for processes that are there, until there is a link to these nodes; since when.
    parked: BTreeMap<NodeId, Vec<(Time, P)>>,
    /// Nodes that cannot be asked, and are not known to be gone.
    cut: BTreeSet<NodeId>,
    /// Nodes that others know, and to which there was no link yet; since when.
    unmet: BTreeMap<NodeId, Time>,
    #[cfg(feature = "mutations")]
    pub(crate) mutation: Option<Mutation>,
}

#[derive(Debug)]
struct Seek<P> {
    packets: Vec<P>,
    asked: Asked,
    /// What was answered to an earlier question was so before this one: a process may have moved on between the two.
    question: u64,
    /// Nodes that have not answered.
    open: BTreeSet<NodeId>,
    /// Of those, the ones that are still to be asked.
    unasked: Vec<NodeId>,
    /// A node that is not reached may have it.
    doubtful: bool,
    deadline: Time,
}

impl<P> Seek<P> {
    /// Asks as many as may be at a time.
    fn ask_some(&mut self, pid: Pid, out: &mut Vec<Step<P>>) {
        let some = self.unasked.len().min(ASKED_AT_ONCE_MAX);
        let question = self.question;
        out.extend(self.unasked.drain(..some).map(|node| Step::Ask(node, pid, question)));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// One node, which is the so-manieth.
    Alone(u8),
    All,
}

impl<P> Default for Strays<P> {
    fn default() -> Strays<P> {
        Strays {
            still: HashMap::new(),
            sought: BTreeMap::new(),
            questions: 0,
            gone: HashMap::new(),
            left: VecDeque::new(),
            packets: 0,
            linked: BTreeSet::new(),
            members: BTreeSet::new(),
            parked: BTreeMap::new(),
            cut: BTreeSet::new(),
            unmet: BTreeMap::new(),
            #[cfg(feature = "mutations")]
            mutation: None,
        }
    }
}

/// Where nodes are, and processes that come and go.
impl<P> Strays<P> {
    /// A link to a node stands. What has waited for it is to be sent there.
    #[must_use]
    pub fn linked(&mut self, node: NodeId) -> Vec<P> {
        self.linked.insert(node);
        self.cut.remove(&node);
        self.unmet.remove(&node);
        let parked = self.parked.remove(&node).unwrap_or_default();
        self.packets -= parked.len();
        parked.into_iter().map(|(_, packet)| packet).collect()
    }

    /// Gossip says that a node lives: it can be asked without a link.
    pub fn lives(&mut self, node: NodeId) {
        self.members.insert(node);
        self.cut.remove(&node);
        self.unmet.remove(&node);
    }

    /// It does not say so any more. `here`: whether a process is on this node's cores.
    pub fn lives_no_more(
        &mut self,
        now: Time,
        node: NodeId,
        here: impl Fn(Pid) -> bool,
        out: &mut Vec<Step<P>>,
    ) {
        if self.members.remove(&node) && !self.linked.contains(&node) {
            self.cut.insert(node);
            self.search_without(now, node, here, out);
        }
    }

    /// Another node knows this one. Until there is a link to it, it may have what is looked for; but not for ever. It may have been
    /// known here, too, and have started again since.
    pub fn heard_of(&mut self, now: Time, node: NodeId) {
        let ignores = self.does_wrong(Mutation::UnmetIgnored);
        if !ignores && !self.can_be_asked(node) && self.unmet.len() < PEERS_MAX {
            let since = self.unmet.entry(node).or_insert(now);
            if now.since(*since) >= UNMET_WAIT_MAX {
                *since = now;
            }
        }
    }

    /// It does not any more: what the node was asked it does not answer, and may have. `here`: whether a process is on
    /// this node's cores.
    pub fn unlinked(
        &mut self,
        now: Time,
        node: NodeId,
        here: impl Fn(Pid) -> bool,
        out: &mut Vec<Step<P>>,
    ) {
        if self.linked.remove(&node) && !self.members.contains(&node) {
            self.cut.insert(node);
        }
        self.search_without(now, node, here, out);
    }

    fn search_without(
        &mut self,
        now: Time,
        node: NodeId,
        here: impl Fn(Pid) -> bool,
        out: &mut Vec<Step<P>>,
    ) {
        for pid in self.sought.keys().copied().collect::<Vec<_>>() {
            let Some(seek) = self.sought.get_mut(&pid) else { continue };
            if seek.open.remove(&node) {
                seek.unasked.retain(|one| *one != node);
                seek.doubtful = true;
                self.is_answered(now, pid, &here, out);
            }
        }
    }

    /// What that node had when there was a link to it is known to be gone. If it has started again, and others have told of it, it may
    /// have something.
    pub fn node_gone(&mut self, node: NodeId) {
        self.gone.retain(|_, (to, _)| *to != Some(node));
        self.cut.remove(&node);
    }

    /// From now on packets for this process are kept, when it is not on the cores. It is being frozen: whoever asks has to
    /// be told that it is here all the time.
    pub fn stands_still(&mut self, pid: Pid) {
        self.still.entry(pid).or_default();
    }

    /// What is said to another node that looks for this process: whether to send its packets here. One that has ended here
    /// lately is here: it may have answered before, and that is known here only. One that has just left is here yet: where it
    /// goes they may have denied having it a moment ago. `None`: so it is, but its packets could not follow it just now, or
    /// would come back to `from`, who asks: it had gone there. Nothing is said.
    #[must_use]
    pub fn has(&self, now: Time, from: NodeId, pid: Pid) -> Option<bool> {
        if self.still.contains_key(&pid) {
            return Some(true);
        }
        match self.gone.get(&pid) {
            Some((None, at)) if now.since(*at) <= ANSWERS_MAX => Some(true),
            Some((Some(to), at)) if lately(now, *at) => {
                (*to != from && self.linked.contains(to)).then_some(true)
            }
            _ => Some(false),
        }
    }

    /// It runs here from now on: what was kept for it, and is not too old.
    pub fn comes(&mut self, now: Time, pid: Pid) -> Vec<P> {
        self.gone.remove(&pid);
        self.moves_on(now, pid)
    }

    /// It does not stand here any more.
    fn moves_on(&mut self, now: Time, pid: Pid) -> Vec<P> {
        let kept = self.still.remove(&pid).unwrap_or_default();
        self.packets -= kept.len();
        let young = kept.into_iter().filter(|(since, _)| now.since(*since) < STRAY_AGE_MAX);
        young.map(|(_, packet)| packet).collect()
    }

    /// It runs there now. The packets that were kept for it are to be [taken](Strays::take) again.
    pub fn went(&mut self, now: Time, pid: Pid, to: NodeId) -> Vec<P> {
        self.leaves(now, pid, Some(to))
    }

    /// It has ended here. The packets that were kept for it are to be [taken](Strays::take) again.
    pub fn ended(&mut self, now: Time, pid: Pid) -> Vec<P> {
        self.leaves(now, pid, None)
    }

    fn leaves(&mut self, now: Time, pid: Pid, to: Option<NodeId>) -> Vec<P> {
        self.gone.insert(pid, (to, now));
        self.left.push_back((pid, now));
        while self.left.len() > GONE_MAX
            && let Some((oldest, at)) = self.left.pop_front()
        {
            // It may have left again since.
            if self.gone.get(&oldest).is_some_and(|(_, since)| *since == at) {
                self.gone.remove(&oldest);
            }
        }
        self.moves_on(now, pid)
    }

    /// Whether a node that is not asked may have what is looked for.
    pub fn is_doubtful(&mut self, now: Time) -> bool {
        self.unmet.retain(|_, since| now.since(*since) < UNMET_WAIT_MAX);
        !self.cut.is_empty() || !self.unmet.is_empty()
    }

    fn can_be_asked(&self, node: NodeId) -> bool {
        self.linked.contains(&node) || self.members.contains(&node)
    }

    /// Whether a node can be asked, or is known to be gone: nothing is in doubt because of it.
    #[must_use]
    pub fn is_known(&self, node: NodeId) -> bool {
        !self.cut.contains(&node) && !self.unmet.contains_key(&node)
    }

    /// Packets that wait here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets
    }

    /// Whether nothing waits here, nobody stands still, and nobody is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets == 0 && self.still.is_empty() && self.sought.is_empty()
    }
}

/// The search.
impl<P> Strays<P> {
    /// A packet for this process has come whose way is not known. `lead`: who should know
    /// ([`Node::lead`](crate::Node::lead)).
    pub fn take(
        &mut self,
        now: Time,
        pid: Pid,
        packet: P,
        lead: Option<NodeId>,
        here: impl Fn(Pid) -> bool,
        out: &mut Vec<Step<P>>,
    ) {
        if here(pid) {
            return out.push(Step::Bring(packet));
        }
        if self.packets >= STRAYS_MAX {
            return out.push(Step::Lost(packet));
        }
        let keeps = !self.does_wrong(Mutation::NothingKept);
        if let Some(kept) = self.still.get_mut(&pid).filter(|_| keeps) {
            kept.push((now, packet));
            self.packets += 1;
            return;
        }
        match self.gone.get(&pid) {
            Some((Some(to), _)) if self.linked.contains(to) => {
                return out.push(Step::SendOn(*to, packet));
            }
            // It cannot follow. Others say yet that it is with them, for it has come from there: they would send it here
            // again. It is lost; its kernel says it again.
            Some((Some(_), at)) if lately(now, *at) => return,
            Some((None, _)) => return out.push(Step::Nobody(packet)),
            _ => {}
        }
        self.packets += 1;
        match self.sought.get_mut(&pid) {
            Some(seek) => seek.packets.push(packet),
            None => self.seek(now, pid, packet, lead, here, out),
        }
    }

    fn seek(
        &mut self,
        now: Time,
        pid: Pid,
        packet: P,
        lead: Option<NodeId>,
        here: impl Fn(Pid) -> bool,
        out: &mut Vec<Step<P>>,
    ) {
        let seek = Seek {
            packets: vec![packet],
            asked: Asked::Alone(0),
            question: 0,
            open: BTreeSet::new(),
            unasked: Vec::new(),
            doubtful: false,
            deadline: now,
        };
        self.sought.insert(pid, seek);
        match lead {
            Some(lead) => self.follow(now, pid, lead, here, out),
            None => self.ask_all(now, pid, here, out),
        }
    }

    /// That node may know more: it is asked alone, unless enough were.
    fn follow(
        &mut self,
        now: Time,
        pid: Pid,
        lead: NodeId,
        here: impl Fn(Pid) -> bool,
        out: &mut Vec<Step<P>>,
    ) {
        let asked = match self.sought.get(&pid).map(|seek| seek.asked) {
            Some(Asked::Alone(before)) if before < LEADS_MAX => Asked::Alone(before + 1),
            _ => return self.is_answered(now, pid, here, out),
        };
        if self.can_be_asked(lead) {
            self.ask(pid, asked, BTreeSet::from([lead]), now + LEAD_WAIT_MAX, out);
        } else {
            self.is_answered(now, pid, here, out);
        }
    }

    fn ask_all(&mut self, now: Time, pid: Pid, here: impl Fn(Pid) -> bool, out: &mut Vec<Step<P>>) {
        let doubtful = self.is_doubtful(now);
        let unlinked =
            if self.does_wrong(Mutation::LinkedAreAll) { None } else { Some(&self.members) };
        let all = self.linked.iter().chain(unlinked.into_iter().flatten()).copied().collect();
        self.ask(pid, Asked::All, all, now + SEEK_WAIT_MAX, out);
        if let Some(seek) = self.sought.get_mut(&pid) {
            seek.doubtful = doubtful;
        }
        self.is_answered(now, pid, here, out);
    }

    fn ask(
        &mut self,
        pid: Pid,
        asked: Asked,
        open: BTreeSet<NodeId>,
        deadline: Time,
        out: &mut Vec<Step<P>>,
    ) {
        self.questions += 1;
        if let Some(seek) = self.sought.get_mut(&pid) {
            (seek.asked, seek.question) = (asked, self.questions);
            (seek.unasked, seek.deadline) = (open.iter().copied().collect(), deadline);
            seek.open = open;
            seek.ask_some(pid, out);
        }
    }

    /// Another node says what it knows of this process.
    pub fn found(
        &mut self,
        now: Time,
        from: NodeId,
        sought: Sought,
        here: impl Fn(Pid) -> bool,
        out: &mut Vec<Step<P>>,
    ) {
        let Sought { pid, question, sighting } = sought;
        let ignores = self.does_wrong(Mutation::SoughtIgnored);
        let Some(seek) = self.sought.get_mut(&pid).filter(|seek| seek.question == question) else {
            return;
        };
        if ignores || !seek.open.remove(&from) {
            return;
        }
        let alone = seek.asked != Asked::All;
        match sighting {
            Sighting::Here => self.send_on(now, pid, from, out),
            Sighting::Perhaps(node) if alone && self.does_wrong(Mutation::HintBelieved) => {
                self.send_on(now, pid, node, out);
            }
            Sighting::Perhaps(node) if alone => self.follow(now, pid, node, here, out),
            _ => self.is_answered(now, pid, here, out),
        }
    }

    /// It is there. Without a link its packets wait for one, but not for long: kernels send again.
    fn send_on(&mut self, now: Time, pid: Pid, to: NodeId, out: &mut Vec<Step<P>>) {
        let packets = self.take_sought(pid);
        if self.linked.contains(&to) {
            return out.extend(packets.into_iter().map(|packet| Step::SendOn(to, packet)));
        }
        self.packets += packets.len();
        self.parked.entry(to).or_default().extend(packets.into_iter().map(|one| (now, one)));
        out.push(Step::Call(to));
    }

    /// Time has passed: nodes that have not answered by now are left out, and may have what is looked for; more are asked.
    pub fn tick(&mut self, now: Time, here: impl Fn(Pid) -> bool, out: &mut Vec<Step<P>>) {
        for parked in self.parked.values_mut() {
            let before = parked.len();
            parked.retain(|(since, _)| now.since(*since) < REACH_WAIT_MAX);
            self.packets -= before - parked.len();
        }
        self.parked.retain(|_, parked| !parked.is_empty());
        for (pid, seek) in self.sought.iter_mut().filter(|(_, seek)| !seek.unasked.is_empty()) {
            seek.deadline = now + SEEK_WAIT_MAX;
            seek.ask_some(*pid, out);
        }
        let late = self.sought.iter().filter(|(_, seek)| seek.deadline <= now);
        for pid in late.map(|(pid, _)| *pid).collect::<Vec<_>>() {
            if let Some(seek) = self.sought.get_mut(&pid) {
                seek.open.clear();
                seek.doubtful = true;
            }
            self.is_answered(now, pid, &here, out);
        }
    }

    /// If everybody has answered who was asked, and nobody has it, the search goes on, or is over.
    fn is_answered(
        &mut self,
        now: Time,
        pid: Pid,
        here: impl Fn(Pid) -> bool,
        out: &mut Vec<Step<P>>,
    ) {
        let Some(seek) = self.sought.get(&pid).filter(|seek| seek.open.is_empty()) else { return };
        // It may have come here meanwhile, and perhaps is about to leave again.
        let back = here(pid) || self.still.contains_key(&pid);
        let believes = self.does_wrong(Mutation::NotKnownBelieved);
        if seek.asked != Asked::All && !back && !believes {
            return self.ask_all(now, pid, here, out);
        }
        let doubtful = seek.doubtful && !self.does_wrong(Mutation::NeverDoubtful);
        for packet in self.take_sought(pid) {
            if here(pid) {
                out.push(Step::Bring(packet));
            } else if let Some(kept) = self.still.get_mut(&pid) {
                kept.push((now, packet));
                self.packets += 1;
            } else if !doubtful {
                out.push(Step::Nobody(packet));
            }
            // Else it is lost: its kernel says it again, until it gives up.
        }
    }

    fn take_sought(&mut self, pid: Pid) -> Vec<P> {
        let packets = self.sought.remove(&pid).map_or(Vec::new(), |seek| seek.packets);
        self.packets -= packets.len();
        packets
    }
}

/// Whether one that left then may have been denied, where it has gone, to who is asking yet.
fn lately(now: Time, left: Time) -> bool {
    now.since(left) <= 2 * SEEK_WAIT_MAX
}
