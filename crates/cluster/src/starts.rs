//! What is started: whether it may be, and where it begins.

use peripatos_abi::Pid;
use peripatos_balancer::{Load, MEMORY_KEPT_BYTES};

use crate::NodeId;
use crate::limits::{NODES_NAMED_MAX, PROCESSES_MAX};
use crate::message::Description;
use crate::node::Node;
use crate::placement::Placement;
use crate::processes::Process;

impl Node {
    /// Whether another process may be started here. Errors: why not.
    ///
    /// # Errors
    /// The node is being emptied; there are too many, or one of this name.
    pub fn may_start(&self, pid: Pid) -> Result<(), String> {
        if self.draining {
            let name = &self.config.name;
            return Err(format!("node {name} is being emptied (peri drain --off {name})"));
        }
        if self.processes.0.len() + self.incoming.len() >= PROCESSES_MAX {
            return Err(format!("this node has {PROCESSES_MAX} processes"));
        }
        if self.processes.0.contains_key(&pid) {
            return Err(format!("{pid:#} runs here already"));
        }
        Ok(())
    }

    /// Whether there is a node that may run this, takes it, and has the memory that it will need: this one runs what is started on
    /// it though it is cordoned.
    ///
    /// # Errors
    /// No node has what it asks for, or those that have take nothing now: which. Or these do not have the memory: how much they
    /// have.
    pub fn may_place(&self, placement: &Placement, memory_bytes_needed: u64) -> Result<(), String> {
        let others = self.peers.0.keys().copied().filter(|node| self.is_reached(*node));
        let suited: Vec<NodeId> =
            others.filter(|node| self.peers.suits(*node, placement)).collect();
        let own = placement.suits(&self.config.labels);
        let takers: Vec<NodeId> =
            suited.iter().copied().filter(|node| !self.peers.is_closed(*node)).collect();
        if own || !takers.is_empty() {
            return self.has_memory(own, &takers, memory_bytes_needed);
        }
        if self.heard.all().any(|node| !self.peers.0.contains_key(&node)) {
            // Nobody here has met that one yet: what it is labelled with is seen then.
            return Ok(());
        }
        if suited.is_empty() {
            return Err(format!("no node suits {placement} (peri nodes shows their labels)"));
        }
        let names: Vec<String> = suited.iter().map(|node| self.peers.name(*node)).collect();
        let names = names.join(", ");
        Err(format!(
            "of the nodes that suit {placement} none takes processes now: {names} (peri uncordon, peri drain --off)"
        ))
    }

    /// Whether one of these has so much memory left, or has not said. `own`: this one is among them.
    fn has_memory(&self, own: bool, others: &[NodeId], needed: u64) -> Result<(), String> {
        let own_name = || self.config.name.clone();
        let own = own.then(|| (own_name(), self.memory_left()));
        let free = |load: Load| load.memory_free_bytes;
        let loads = others.iter().map(|node| (*node, self.peers.load(*node)));
        let known =
            loads.clone().filter_map(|(node, load)| Some((self.peers.name(node), free(load?))));
        let mut left: Vec<(String, u64)> = own.into_iter().chain(known).collect();
        let unknown = loads.clone().any(|(_, load)| load.is_none());
        if needed == 0 || unknown || left.iter().any(|(_, left)| fits(needed, *left)) {
            return Ok(());
        }
        left.sort_by_key(|(_, left)| std::cmp::Reverse(*left));
        let more = left.len().saturating_sub(NODES_NAMED_MAX);
        left.truncate(NODES_NAMED_MAX);
        let mib = |bytes: u64| bytes >> 20;
        let each = left.into_iter().map(|(name, left)| format!("{name} has {} MiB", mib(left)));
        let each = each.collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(", and {more} have less") } else { String::new() };
        Err(format!(
            "it needs {} MiB of memory, and no node that may run it has so much left and {} MiB to spare: {each}{more}",
            mib(needed),
            mib(MEMORY_KEPT_BYTES),
        ))
    }

    /// A process that was started or spawned here. If it may not run here, or this node does not have the memory that it will need, it
    /// leaves at the next look.
    pub(crate) fn begins_here(&mut self, description: Description) {
        let needed = description.memory_bytes_needed;
        let lacks_memory = needed > 0 && !fits(needed, self.memory_left());
        if lacks_memory || !description.suits(&self.config.labels) {
            self.misplaced.insert(description.pid);
        }
        let process = Process::new(description, self.now);
        self.prefers_at_begin(&process);
        self.processes.insert(process);
    }

    /// Those that have ended, or left, or have the memory now that was lacking when they began, are misplaced no longer.
    pub(crate) fn forget_placed(&mut self) {
        let has_memory = fits(0, self.memory_left());
        let (processes, labels) = (&self.processes.0, &self.config.labels);
        self.misplaced.retain(|pid| {
            let process = processes.get(pid);
            process.is_some_and(|process| !has_memory || !process.description.suits(labels))
        });
    }
}

/// Whether a process that needs so much memory fits into what is left, and something is kept.
fn fits(needed: u64, left: u64) -> bool {
    needed.saturating_add(MEMORY_KEPT_BYTES) <= left
}
