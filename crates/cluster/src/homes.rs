//! The processes whose origin is attached to this node, wherever they run.

use std::collections::BTreeMap;

use peripatos_abi::Pid;

use crate::limits::LOST_AFTER;
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
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Homes(BTreeMap<Pid, Home>);

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
        let (pid, at) = (process.pid, process.origin);
        self.0.insert(pid, Home { process, at, moves: 0, lost_at: None, killed: false });
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
    pub(crate) fn rows(&self) -> impl Iterator<Item = ProcessRow> {
        self.0.values().map(|home| ProcessRow {
            process: home.process.clone(),
            node: home.at,
            state: RowState::Moving,
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
        for home in self.0.values_mut().filter(|home| home.at == node) {
            home.lost_at.get_or_insert(now + LOST_AFTER);
        }
    }

    /// Takes those that did not show up in time, each with the node that had it.
    pub(crate) fn take_lost(&mut self, now: Time) -> Vec<(Pid, NodeId)> {
        let lost = |_: &Pid, home: &mut Home| home.lost_at.is_some_and(|at| at <= now);
        self.0.extract_if(.., lost).map(|(pid, home)| (pid, home.at)).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.0.values().filter_map(|home| home.lost_at).min()
    }
}
