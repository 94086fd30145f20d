//! The processes whose origin is attached to this node, wherever they run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use peripatos_abi::Pid;

use crate::event::Action;
use crate::limits::{HOMES_MAX, LOST_AFTER, OVER_KEPT};
use crate::message::{Description, Message, MoveCosts, ProcessRow, RowState};
use crate::node::Node;
use crate::{NodeId, Time};

/// Where such a process is.
#[derive(Debug)]
pub(crate) struct Home {
    process: Description,
    /// The node that last said it runs there.
    pub(crate) at: NodeId,
    /// How often it had moved when it came there.
    moves: u32,
    /// That node is gone: unless the process shows up elsewhere by then, it is lost.
    pub(crate) lost_at: Option<Time>,
    /// Its origin wants it to end, and it may have been on its way when it was told.
    pub(crate) killed: bool,
    /// Its origin has gone. It is kept in mind only to end with its family, or because it is to end.
    pub(crate) orphaned: bool,
    /// The node that last had it has it no more, and nobody else has said that it came.
    astray: bool,
}

impl Home {
    /// Whether it was the first of a family.
    pub(crate) fn is_root(&self) -> bool {
        self.process.kin.as_ref().is_some_and(|kin| kin.root == self.process.pid)
    }
}

/// What is known of one that is over.
#[derive(Debug)]
struct Over {
    since: Time,
    lost: Option<Lost>,
}

/// It did not end, as far as anybody knows: its node was gone, and nobody had said that it came elsewhere. It may have, where
/// nobody could be asked, and lives then without an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// It was to end, and may not have heard of that.
    pub(crate) killed: bool,
}

/// All of them; and those whose node is gone, or was.
#[derive(Debug, Default)]
pub(crate) struct Homes {
    all: BTreeMap<Pid, Home>,
    /// Those that are looked for: they have a time at which they are lost, or had one.
    looked_for: BTreeSet<Pid>,
    /// Some may be astray, and not all nodes were reached since.
    may_be_astray: bool,
    /// Those that are over, for a while: a word of their births may come late.
    over: BTreeMap<Pid, Over>,
    /// Oldest first.
    ends: VecDeque<(Pid, Time)>,
}

impl Homes {
    /// A process runs at that node, or did when that was sent: what it did last counts. `None`: it was not started
    /// here, or its origin has gone.
    pub(crate) fn runs_at(&mut self, pid: Pid, at: NodeId, moves: u32) -> Option<&Home> {
        let home = self.all.get_mut(&pid)?;
        if moves >= home.moves {
            (home.at, home.moves, home.lost_at) = (at, moves, None);
            home.astray = false;
        }
        Some(home)
    }

    pub(crate) fn started(&mut self, process: Description) {
        let at = process.origin;
        self.born(process, at);
    }

    /// The node that last said it runs there.
    pub(crate) fn node_of(&self, pid: Pid) -> Option<NodeId> {
        self.all.get(&pid).map(|home| home.at)
    }

    /// A process of this origin has begun at that node.
    pub(crate) fn born(&mut self, process: Description, at: NodeId) {
        let (moves, lost_at) = (0, None);
        let (killed, orphaned, astray) = (false, false, false);
        let home = Home { at, moves, lost_at, killed, orphaned, astray, process };
        self.all.insert(home.process.pid, home);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether no more are taken in.
    pub(crate) fn is_full(&self) -> bool {
        self.all.len() >= HOMES_MAX
    }

    /// Who that is, if it is one of them.
    pub(crate) fn description(&self, pid: Pid) -> Option<&Description> {
        self.all.get(&pid).map(|home| &home.process)
    }

    /// Whether that is one of them.
    pub(crate) fn knows(&self, pid: Pid) -> bool {
        self.all.contains_key(&pid)
    }

    /// The origin of a process has gone. What is to be told: it, and where it runs.
    pub(crate) fn orphan(&mut self, pid: Pid) -> Option<NodeId> {
        let home = self.all.get_mut(&pid)?;
        let at = home.at;
        match home.process.kin {
            None if !home.killed => drop(self.all.remove(&pid)),
            // It is to end, and may not have heard of that.
            None | Some(_) => home.orphaned = true,
        }
        Some(at)
    }

    /// A family's root is over: those that are to end with it, and where they are.
    pub(crate) fn end_family(&mut self, root: Pid) -> Vec<(Pid, NodeId)> {
        let of = self.all.iter_mut().filter(|(_, home)| home.process.belongs_to(root));
        let end = |(pid, home): (&Pid, &mut Home)| {
            home.killed = true;
            (*pid, home.at)
        };
        of.map(end).collect()
    }

    /// One that was taken for lost lives. It is kept in mind to end with its family, or because it is to end; its origin has
    /// heard that it is over.
    pub(crate) fn shows_up(&mut self, process: Description, at: NodeId, lost: Lost) {
        let pid = process.pid;
        self.over.remove(&pid);
        self.born(process, at);
        if let Some(home) = self.all.get_mut(&pid) {
            (home.killed, home.orphaned) = (lost.killed, true);
        }
    }

    /// A process has ended.
    pub(crate) fn remove(&mut self, pid: Pid, now: Time) -> Option<Home> {
        self.ended(pid, now, None);
        self.all.remove(&pid)
    }

    fn lose(&mut self, pid: Pid, now: Time) -> Option<Home> {
        let home = self.all.remove(&pid)?;
        self.ended(pid, now, Some(Lost { killed: home.killed }));
        Some(home)
    }

    fn ended(&mut self, pid: Pid, since: Time, lost: Option<Lost>) {
        self.over.insert(pid, Over { since, lost });
        self.ends.push_back((pid, since));
        while let Some((oldest, at)) = self.ends.front().copied()
            && (since.since(at) > OVER_KEPT || self.ends.len() > HOMES_MAX)
        {
            self.ends.pop_front();
            if self.over.get(&oldest).is_some_and(|over| over.since == at) {
                self.over.remove(&oldest);
            }
        }
    }

    /// Whether that one was taken for lost, and nobody has said since that it ended.
    pub(crate) fn lost(&self, pid: Pid) -> Option<Lost> {
        self.over.get(&pid)?.lost
    }

    /// Whether that one is known to be over.
    pub(crate) fn is_over(&self, pid: Pid) -> bool {
        self.over.contains_key(&pid)
    }

    /// A process's origin wants it to end. Where was it last said to run?
    pub(crate) fn kill(&mut self, pid: Pid) -> Option<NodeId> {
        let home = self.all.get_mut(&pid)?;
        home.killed = true;
        Some(home.at)
    }

    /// All of them, as they would be listed while they are on their way. How they do, only the nodes know that run them.
    pub(crate) fn rows(&self, which: impl Fn(Pid) -> bool) -> impl Iterator<Item = ProcessRow> {
        self.all.iter().filter(move |(pid, _)| which(**pid)).map(|(_, home)| ProcessRow {
            process: home.process.clone(),
            node: home.at,
            state: RowState::Moving,
            doing: None,
            core: None,
            cpu_ms: 0,
            memory_bytes: 0,
            moves: home.moves,
            costs: MoveCosts::default(),
            pinned: false,
        })
    }

    /// A node is gone.
    pub(crate) fn node_gone(&mut self, node: NodeId, now: Time) {
        for (pid, home) in self.all.iter_mut().filter(|(_, home)| home.at == node) {
            home.lost_at.get_or_insert(now + LOST_AFTER);
            self.looked_for.insert(*pid);
        }
    }

    /// Those that run at that node, as far as is known.
    pub(crate) fn at(&self, node: NodeId) -> impl Iterator<Item = Pid> {
        self.all.iter().filter(move |(_, home)| home.at == node).map(|(pid, _)| *pid)
    }

    /// That node does not have it. It has left, or has ended, and we are about to hear of that; or never shall.
    pub(crate) fn is_not_at(&mut self, pid: Pid, node: NodeId) {
        if let Some(home) = self.all.get_mut(&pid).filter(|home| home.at == node) {
            home.astray = true;
            self.may_be_astray = true;
        }
    }

    /// Whether somebody is looked for whom any node that is not reached may have.
    pub(crate) fn may_be_astray(&self) -> bool {
        self.may_be_astray
    }

    /// There is no node that cannot be reached, and could have those that are astray: unless they show up by then, they are lost.
    pub(crate) fn lose_astray(&mut self, at: Time) {
        self.may_be_astray = false;
        for (pid, home) in self.all.iter_mut().filter(|(_, home)| home.astray) {
            home.lost_at.get_or_insert(at);
            self.looked_for.insert(*pid);
        }
    }

    /// A link broke, and what was to be said of them on it may be lost.
    pub(crate) fn keep_astray(&mut self) {
        for pid in &self.looked_for {
            if let Some(home) = self.all.get_mut(pid).filter(|home| home.astray) {
                home.lost_at = None;
                self.may_be_astray = true;
            }
        }
    }

    /// Takes those that did not show up in time: they are lost.
    pub(crate) fn take_lost(&mut self, now: Time) -> Vec<(Pid, Home)> {
        let Homes { all, looked_for, .. } = self;
        let lost_at = |all: &BTreeMap<Pid, Home>, pid: &Pid| all.get(pid)?.lost_at;
        // Who has shown up is not looked for any more.
        looked_for.retain(|pid| lost_at(all, pid).is_some());
        let lost = looked_for.extract_if(.., |pid| lost_at(all, pid).is_some_and(|at| at <= now));
        let lost: Vec<Pid> = lost.collect();
        lost.into_iter().filter_map(|pid| Some((pid, self.lose(pid, now)?))).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.looked_for.iter().filter_map(|pid| self.all.get(pid)?.lost_at).min()
    }
}

/// Those of them that may have been lost.
impl Node {
    /// Whether those processes of origins here that are said to run there do.
    pub(crate) fn ask_for_homes(&self, node: NodeId, out: &mut Vec<Action>) {
        let homes = self.homes.at(node);
        out.extend(homes.map(|pid| Action::Send { to: node, message: Message::HaveYou { pid } }));
    }

    pub(crate) fn lose_astray(&mut self) {
        if self.peers.are_reached(&self.heard) {
            // A link that has broken already is seen to have by then.
            let wait = LOST_AFTER.max(8 * self.config.silent_after);
            self.homes.lose_astray(self.now + wait);
        }
    }

    pub(crate) fn asked_for(&self, from: NodeId, pid: Pid, out: &mut Vec<Action>) {
        let coming = self.committed.values().any(|one| *one == pid);
        if !self.processes.0.contains_key(&pid) && !coming {
            out.push(Action::Send { to: from, message: Message::HaveNot { pid } });
        }
    }
}
