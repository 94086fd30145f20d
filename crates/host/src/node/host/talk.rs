//! Packets of message kernels whose way is not known, and names of processes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use peripatos_abi::Pid;
use peripatos_cluster::NodeId;
use peripatos_cluster::message::Message;
use peripatos_kernel::limits::PACKET_NS_MAX;
use peripatos_kernel::{Packet, Place, principal};

use super::Host;

/// Packets that wait until it is known where to. More are lost: kernels send again.
const PACKETS_MAX: usize = 65_536;
/// How long nodes have to say whether they have a process.
const SEEK_MAX: Duration = Duration::from_secs(2);
/// Packets that have waited longer are lost. Half of what a kernel counts on: they have been on their way before.
const PACKET_AGE_MAX: Duration = Duration::from_nanos(PACKET_NS_MAX / 2);
/// Processes that have left, of which is remembered where they went.
const GONE_MAX: usize = 65_536;

/// Processes that packets are for and that are not on this node's cores.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// They stand still here, on their way out; since when a packet waits for one.
    still: HashMap<Pid, Vec<(Instant, Packet)>>,
    sought: HashMap<Pid, Seek>,
    /// Where those went that have left.
    gone: HashMap<Pid, NodeId>,
    /// Oldest first.
    left: VecDeque<Pid>,
    packets: usize,
}

#[derive(Debug)]
struct Seek {
    packets: Vec<Packet>,
    /// Nodes that have not answered.
    open: BTreeSet<NodeId>,
    /// A node that is not reached may have it.
    doubtful: bool,
    deadline: Instant,
}

impl Elsewhere {
    /// From now on packets for this process are kept.
    pub(super) fn stands_still(&mut self, pid: Pid) {
        self.still.entry(pid).or_default();
    }

    /// It goes on here, or is gone: what was kept for it, and is not too old.
    pub(super) fn moves_on(&mut self, pid: Pid) -> Vec<Packet> {
        let kept = self.still.remove(&pid).unwrap_or_default();
        self.packets -= kept.len();
        let young = kept.into_iter().filter(|(since, _)| since.elapsed() < PACKET_AGE_MAX);
        young.map(|(_, packet)| packet).collect()
    }

    pub(super) fn went(&mut self, pid: Pid, to: NodeId) {
        if self.gone.insert(pid, to).is_none() {
            self.left.push_back(pid);
        }
        if self.left.len() > GONE_MAX
            && let Some(oldest) = self.left.pop_front()
        {
            self.gone.remove(&oldest);
        }
    }
}

impl Host {
    /// A packet whose way is not known, from here or from another node.
    pub(super) fn stray(&mut self, packet: Packet) {
        let pid = principal(packet.to);
        if self.letterbox.has(pid) {
            return self.letterbox.bring(packet);
        }
        if self.elsewhere.packets >= PACKETS_MAX {
            return self.log_once("more packets have no known way than are kept");
        }
        if let Some(kept) = self.elsewhere.still.get_mut(&pid) {
            kept.push((Instant::now(), packet));
            self.elsewhere.packets += 1;
            return;
        }
        let to = self.elsewhere.gone.get(&pid).copied();
        if let Some(to) = to.filter(|node| self.links.contains_key(node)) {
            return self.send_on(packet, to);
        }
        if let Some(seek) = self.elsewhere.sought.get_mut(&pid) {
            seek.packets.push(packet);
            self.elsewhere.packets += 1;
            return;
        }
        self.seek(pid, packet);
    }

    fn seek(&mut self, pid: Pid, packet: Packet) {
        let open: BTreeSet<NodeId> = self.links.keys().copied().collect();
        for node in &open {
            self.send(*node, &Message::Seek { pid });
        }
        let doubtful = !self.lost.is_empty();
        let deadline = Instant::now() + SEEK_MAX;
        self.elsewhere.packets += 1;
        let seek = Seek { packets: vec![packet], open, doubtful, deadline };
        self.elsewhere.sought.insert(pid, seek);
        self.found_nowhere(pid);
    }

    /// Another node asks.
    pub(super) fn sought(&mut self, from: NodeId, pid: Pid) {
        let here = self.letterbox.has(pid) || self.elsewhere.still.contains_key(&pid);
        self.send(from, &Message::Sought { pid, here });
    }

    /// Another node answers.
    pub(super) fn found(&mut self, from: NodeId, pid: Pid, here: bool) {
        let Some(seek) = self.elsewhere.sought.get_mut(&pid) else { return };
        if !seek.open.remove(&from) {
            return;
        }
        if here {
            for packet in self.take_sought(pid) {
                self.send_on(packet, from);
            }
        } else {
            self.found_nowhere(pid);
        }
    }

    /// If everybody has answered.
    fn found_nowhere(&mut self, pid: Pid) {
        let Some(seek) = self.elsewhere.sought.get(&pid) else { return };
        if !seek.open.is_empty() {
            return;
        }
        let doubtful = seek.doubtful;
        for packet in self.take_sought(pid) {
            // It may have come here meanwhile.
            if self.letterbox.has(pid) {
                self.letterbox.bring(packet);
            } else if !doubtful {
                self.letterbox.nobody(packet);
            }
            // Else it is lost: its kernel says it again, until it gives up.
        }
    }

    fn take_sought(&mut self, pid: Pid) -> Vec<Packet> {
        let packets = self.elsewhere.sought.remove(&pid).map_or(Vec::new(), |seek| seek.packets);
        self.elsewhere.packets -= packets.len();
        packets
    }

    /// A node is not there any more: it has nobody, and answers nothing.
    pub(super) fn seek_without(&mut self, node: NodeId) {
        let sought: Vec<Pid> = self.elsewhere.sought.keys().copied().collect();
        for pid in sought {
            let Some(seek) = self.elsewhere.sought.get_mut(&pid) else { continue };
            if seek.open.remove(&node) {
                seek.doubtful = true;
                self.found_nowhere(pid);
            }
        }
    }

    /// Nodes that have not answered in time are left out.
    pub(super) fn seek_no_longer(&mut self) {
        let now = Instant::now();
        let late = self.elsewhere.sought.iter().filter(|(_, seek)| seek.deadline <= now);
        let late: Vec<Pid> = late.map(|(pid, _)| *pid).collect();
        for pid in late {
            if let Some(seek) = self.elsewhere.sought.get_mut(&pid) {
                seek.open.clear();
                seek.doubtful = true;
            }
            self.found_nowhere(pid);
        }
    }

    fn send_on(&mut self, packet: Packet, to: NodeId) {
        let target = Some(Place { node: to.0, core: u32::MAX });
        // Without a link it is lost: kernels send again.
        let _ = self.roads.send(Packet { target, ..packet });
    }

    /// Processes here have names, or have them no more: everybody is told.
    pub(super) fn named(&mut self) {
        let changes = self.letterbox.names().take_changes();
        if changes.is_empty() {
            return;
        }
        let message = Message::Names(on_wire(changes));
        let nodes: Vec<NodeId> = self.links.keys().copied().collect();
        for node in nodes {
            self.send(node, &message);
        }
    }

    /// A link stands: the peer is told all names.
    pub(super) fn tell_names(&mut self, node: NodeId) {
        // What others have not been told of the changes, this one is told with all the rest.
        let own = self.letterbox.names().own();
        self.letterbox.names().forget_node(node.0);
        if !own.is_empty() {
            self.send(node, &Message::Names(on_wire(own)));
        }
    }

    pub(super) fn heard_names(&mut self, from: NodeId, names: Vec<(Vec<u8>, Option<u128>)>) {
        let changes = names.into_iter().map(|(name, pid)| (name, pid.map(Pid::from_bits)));
        self.letterbox.names().heard(from.0, changes.collect());
    }
}

fn on_wire(changes: Vec<peripatos_kernel::NameChange>) -> Vec<(Vec<u8>, Option<u128>)> {
    changes.into_iter().map(|(name, pid)| (name, pid.map(Pid::bits))).collect()
}
