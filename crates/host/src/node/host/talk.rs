//! Packets of message kernels whose way is not known, and names of processes.

use peripatos_abi::Pid;
use peripatos_cluster::message::{Message, Sought};
use peripatos_cluster::{Event, Lookup, NodeId, Step, Strays, Time};
use peripatos_kernel::{NameLost, Packet, principal};

use super::Host;

impl Host {
    pub(super) fn now(&self) -> Time {
        Time(self.started.elapsed())
    }

    /// A packet whose way is not known, from here or from another node.
    pub(super) fn stray(&mut self, packet: Packet) {
        let (now, pid) = (self.now(), principal(packet.to));
        self.want_link(packet.target.map(|place| NodeId(place.node)));
        let lead = self.node.lead(pid);
        self.strays(|strays, here, out| strays.take(now, pid, packet, lead, here, out));
    }

    /// Something is for a node: if there is no link it is called. What it was is said again.
    pub(super) fn want_link(&mut self, node: Option<NodeId>) {
        let unlinked = node.filter(|node| *node != self.us.id && !self.links.contains_key(node));
        unlinked.into_iter().for_each(|node| self.tell(Event::Wanted(node)));
    }

    /// Another node asks.
    pub(super) fn sought(&mut self, from: NodeId, pid: Pid, question: u64) {
        let on_core = self.letterbox.has(pid).then_some(true);
        let here = on_core.or_else(|| self.strays.has(self.now(), from, pid));
        if let Some(sighting) = self.node.sighting(pid, here) {
            let sought = Sought { pid, question, sighting };
            if self.links.contains_key(&from) {
                self.send(from, &Message::Sought(sought));
            } else {
                self.say_lookup(from, &Lookup::Sought(sought));
            }
        }
    }

    /// Another node answers.
    pub(super) fn found(&mut self, from: NodeId, sought: Sought) {
        let now = self.now();
        self.strays(|strays, here, out| strays.found(now, from, sought, here, out));
    }

    /// A node is not there any more: it has nobody, and answers nothing.
    pub(super) fn seek_without(&mut self, node: NodeId) {
        let now = self.now();
        self.strays(|strays, here, out| strays.unlinked(now, node, here, out));
    }

    /// Gossip does not say any more that a node lives: unless it does of another OS process of it.
    pub(super) fn seek_without_member(&mut self, node: NodeId) {
        let gossip = self.gossip.as_ref();
        let lives =
            gossip.is_some_and(|gossip| gossip.membership.alive().any(|one| one.node() == node));
        if !lives {
            let now = self.now();
            self.strays(|strays, here, out| strays.lives_no_more(now, node, here, out));
        }
    }

    /// Nodes that have not answered in time are left out.
    pub(super) fn seek_no_longer(&mut self) {
        let now = self.now();
        self.strays(|strays, here, out| strays.tick(now, here, out));
    }

    /// Looks for packets' ways, and does what comes of it.
    fn strays(
        &mut self,
        look: impl FnOnce(&mut Strays<Packet>, &dyn Fn(Pid) -> bool, &mut Vec<Step<Packet>>),
    ) {
        let mut steps = Vec::new();
        let letterbox = &self.letterbox;
        look(&mut self.strays, &|pid| letterbox.has(pid), &mut steps);
        for step in steps {
            match step {
                Step::Bring(packet) => self.letterbox.bring(packet),
                // Without a link it is lost: kernels send again.
                Step::SendOn(node, packet) => {
                    if self.roads.send_to(node.0, packet).is_some() {
                        self.want_link(Some(node));
                    }
                }
                Step::Nobody(packet) => self.letterbox.nobody(packet),
                Step::Call(node) => self.want_link(Some(node)),
                Step::Ask(node, pid, question) => {
                    if self.links.contains_key(&node) {
                        self.send(node, &Message::Seek { pid, question });
                    } else {
                        self.say_lookup(node, &Lookup::Seek { pid, question });
                    }
                }
                Step::Lost(_) => self.log_once("more packets have no known way than are kept"),
            }
        }
    }

    /// Processes here have names, or have them no more: everybody is told, and whoever has lost one.
    pub(super) fn named(&mut self) {
        for lost in self.letterbox.names().take_losses() {
            let NameLost { name, owner, loser } = lost;
            let name = String::from_utf8_lossy(&name);
            (self.log)(&format!(
                "two have the name {name:?}: {owner:#} keeps it, {loser:#} is told"
            ));
            self.letterbox.lost_names(loser);
        }
        self.tell_changes();
        let letterbox = &self.letterbox;
        let disputes = letterbox.names().take_disputes(|pid| letterbox.has(pid));
        for (node, NameLost { name, owner, loser }) in disputes {
            self.send(NodeId(node), &Message::NameLost { name, owner, loser });
        }
    }

    fn tell_changes(&mut self) {
        let changes = self.letterbox.names().take_changes();
        if changes.is_empty() {
            return;
        }
        let message = Message::Names(on_wire(changes));
        let nodes: Vec<NodeId> = self.links.keys().copied().collect();
        for node in nodes {
            self.send(node, &message);
        }
        self.tell_news();
    }

    /// Those without a link are to hear, too, what everybody hears: names, and who has the token.
    pub(super) fn tell_news(&mut self) {
        let tells = self.issuing.keyring.is_some() || self.letterbox.names().has_own();
        self.tell(Event::News { tells });
    }

    /// A link stands: the peer is told all names.
    pub(super) fn tell_names(&mut self, node: NodeId) {
        // What others have not been told of the changes, this one is told with all the rest.
        let own = self.letterbox.names().own();
        let Some(standing) = self.links.get_mut(&node) else { return };
        if standing.parts {
            // Its own come first of all names, and then take the place of those that it had told.
            standing.names_due = true;
        } else {
            self.letterbox.names().forget_node(node.0);
        }
        if standing.parts || !own.is_empty() {
            self.send(node, &Message::Names(on_wire(own)));
        }
    }

    pub(super) fn heard_names(&mut self, from: NodeId, names: Vec<(Vec<u8>, Option<u128>)>) {
        let changes = names.into_iter().map(|(name, pid)| (name, pid.map(Pid::from_bits)));
        let due = self.links.get_mut(&from).is_some_and(|one| std::mem::take(&mut one.names_due));
        {
            let mut names = self.letterbox.names();
            if due {
                names.forget_node(from.0);
            }
            names.heard(from.0, changes.collect());
        }
        self.named();
    }

    /// Another node says that one of its processes keeps a name.
    pub(super) fn heard_name_lost(&mut self, from: NodeId, lost: NameLost) {
        self.letterbox.names().heard_lost(from.0, lost);
        self.named();
    }
}

fn on_wire(changes: Vec<peripatos_kernel::NameChange>) -> Vec<(Vec<u8>, Option<u128>)> {
    changes.into_iter().map(|(name, pid)| (name, pid.map(Pid::bits))).collect()
}
