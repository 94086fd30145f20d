//! The processes whose origin is attached to this node, wherever they run.

use std::collections::{BTreeMap, BTreeSet};

use peripatos_abi::Pid;

use crate::limits::{HOMES_MAX, LOST_AFTER};
use crate::message::{Description, MoveCosts, ProcessRow, RowState};
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
    /// Its origin has gone. It is kept in mind only to end with its family.
    pub(crate) orphaned: bool,
}

impl Home {
    /// Whether it was the first of a family.
    pub(crate) fn is_root(&self) -> bool {
        self.process.kin.as_ref().is_some_and(|kin| kin.root == self.process.pid)
    }
}

/// All of them; and those whose node is gone, or was.
#[derive(Debug, Default)]
pub(crate) struct Homes(BTreeMap<Pid, Home>, BTreeSet<Pid>);

impl Homes {
    /// A process runs at that node, or did when that was sent: what it did last counts. `None`: it was not started
    /// here, or its origin has gone.
    pub(crate) fn runs_at(&mut self, pid: Pid, at: NodeId, moves: u32) -> Option<&Home> {
        let home = self.0.get_mut(&pid)?;
        if moves >= home.moves {
            (home.at, home.moves, home.lost_at) = (at, moves, None);
        }
        Some(home)
    }

    pub(crate) fn started(&mut self, process: Description) {
        let at = process.origin;
        self.born(process, at);
    }

    /// A process of this origin has begun at that node.
    pub(crate) fn born(&mut self, process: Description, at: NodeId) {
        let home = Home { at, moves: 0, lost_at: None, killed: false, orphaned: false, process };
        self.0.insert(home.process.pid, home);
    }

    /// Whether no more are taken in.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= HOMES_MAX
    }

    /// Who that is, if it is one of them.
    pub(crate) fn description(&self, pid: Pid) -> Option<&Description> {
        self.0.get(&pid).map(|home| &home.process)
    }

    /// Whether that is one of them.
    pub(crate) fn knows(&self, pid: Pid) -> bool {
        self.0.contains_key(&pid)
    }

    /// The origin of a process has gone. What is to be told: it, and where it runs.
    pub(crate) fn orphan(&mut self, pid: Pid) -> Option<NodeId> {
        let home = self.0.get_mut(&pid)?;
        let at = home.at;
        match home.process.kin {
            Some(_) => home.orphaned = true,
            None => drop(self.0.remove(&pid)),
        }
        Some(at)
    }

    /// A family's root is over: those that are to end with it, and where they are.
    pub(crate) fn end_family(&mut self, root: Pid) -> Vec<(Pid, NodeId)> {
        let of = self.0.iter_mut().filter(|(_, home)| home.process.belongs_to(root));
        let end = |(pid, home): (&Pid, &mut Home)| {
            home.killed = true;
            (*pid, home.at)
        };
        of.map(end).collect()
    }

    pub(crate) fn remove(&mut self, pid: Pid) -> Option<Home> {
        self.0.remove(&pid)
    }

    /// A process's origin wants it to end. Where was it last said to run?
    pub(crate) fn kill(&mut self, pid: Pid) -> Option<NodeId> {
        let home = self.0.get_mut(&pid)?;
        home.killed = true;
        Some(home.at)
    }

    /// All of them, as they would be listed while they are on their way. How they do, only the nodes know that run them.
    pub(crate) fn rows(&self, which: impl Fn(Pid) -> bool) -> impl Iterator<Item = ProcessRow> {
        self.0.iter().filter(move |(pid, _)| which(**pid)).map(|(_, home)| ProcessRow {
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
        for (pid, home) in self.0.iter_mut().filter(|(_, home)| home.at == node) {
            home.lost_at.get_or_insert(now + LOST_AFTER);
            self.1.insert(*pid);
        }
    }

    /// Takes those that did not show up in time.
    pub(crate) fn take_lost(&mut self, now: Time) -> Vec<(Pid, Home)> {
        let Homes(homes, looked_for) = self;
        let lost_at = |homes: &BTreeMap<Pid, Home>, pid: &Pid| homes.get(pid)?.lost_at;
        // Who has shown up is not looked for any more.
        looked_for.retain(|pid| lost_at(homes, pid).is_some());
        let lost = looked_for.extract_if(.., |pid| lost_at(homes, pid).is_some_and(|at| at <= now));
        let lost: Vec<Pid> = lost.collect();
        lost.into_iter().filter_map(|pid| Some((pid, homes.remove(&pid)?))).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.1.iter().filter_map(|pid| self.0.get(pid)?.lost_at).min()
    }
}
