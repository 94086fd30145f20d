//! The ways that packets take: to cores, over links, and to a node's thread, if nobody knows better.

use peripatos_abi::Pid;
use peripatos_cluster::message::Message;
use peripatos_cluster::{Event as Told, Lookup, Step, Strays};
use peripatos_kernel::{Packet, principal};

use super::{Input, Item, id_of, index_of, time};
use crate::event::Event;
use crate::world::World;

/// From core to core.
const HOP: u64 = 2_000;

impl World {
    /// On which core of a node a process is.
    pub(crate) fn core_of(&self, node: usize, pid: Pid) -> Option<usize> {
        let actor = &self.actors[*self.by_pid.get(&pid)?];
        let at = actor.place.map(|(kernel, _)| kernel).or(actor.heading)?;
        (self.node_of[at] == node && actor.lives()).then_some(at)
    }

    /// A kernel has something to send.
    pub(crate) fn post(&mut self, kernel: usize, packet: Packet) {
        let node = self.node_of[kernel];
        let own = self.places[kernel].node;
        let at = match packet.target {
            Some(place) if place.node != own => None,
            Some(place) => self.places.iter().position(|one| *one == place),
            None => None,
        };
        let near = packet.target.is_none_or(|place| place.node == own);
        let at = at.or_else(|| near.then(|| self.core_of(node, principal(packet.to)))?);
        match at {
            Some(at) => {
                let packet = self.aim(kernel, at, packet);
                self.events.plan(self.now + HOP, Event::Packet(at, Box::new(packet)));
            }
            None => self.leaves(node, packet),
        }
    }

    /// It is not for a core of this node.
    fn leaves(&mut self, node: usize, packet: Packet) {
        let to = packet.target.and_then(|place| self.node_index(place.node));
        let sent = to.is_some_and(|to| to != node && self.talk(node, to, &packet));
        if !sent {
            self.input(node, Input::Stray(Box::new(packet)));
        }
    }

    /// A packet has come to a node.
    pub(crate) fn bring_here(&mut self, node: usize, packet: Packet) {
        match self.core_of(node, principal(packet.to)) {
            Some(at) => self.events.plan(self.now + HOP, Event::Packet(at, Box::new(packet))),
            None => self.leaves(node, Packet { target: None, ..packet }),
        }
    }

    /// A packet's way is not known.
    pub(crate) fn stray(&mut self, node: usize, packet: Packet) {
        let (now, pid) = (time(self.now), principal(packet.to));
        if let Some(to) = packet.target.and_then(|place| self.node_index(place.node)) {
            self.want_link(node, to);
        }
        let lead = self.cluster().hosts[node].node.lead(pid);
        self.strays(node, |strays, here, out| strays.take(now, pid, packet, lead, here, out));
    }

    /// Something is for a node: if there is no link it is called.
    fn want_link(&mut self, node: usize, to: usize) {
        if to != node && !self.cluster().hosts[node].standing.contains_key(&to) {
            self.tell(node, Told::Wanted(id_of(to)));
        }
    }

    /// Looks for packets' ways, and does what comes of it.
    pub(crate) fn strays(
        &mut self,
        node: usize,
        look: impl FnOnce(&mut Strays<Packet>, &dyn Fn(Pid) -> bool, &mut Vec<Step<Packet>>),
    ) {
        let mut steps = Vec::new();
        let mut strays = std::mem::take(&mut self.cluster().hosts[node].strays);
        look(&mut strays, &|pid| self.core_of(node, pid).is_some(), &mut steps);
        self.cluster().hosts[node].strays = strays;
        for step in steps {
            match step {
                Step::Bring(packet) => self.bring_here(node, packet),
                // Without a link it is lost.
                Step::SendOn(to, packet) => {
                    if !self.talk(node, index_of(to), &packet) {
                        self.want_link(node, index_of(to));
                    }
                }
                Step::Call(to) => self.want_link(node, index_of(to)),
                Step::Nobody(packet) => self.nobody_here(node, packet, 0),
                Step::Ask(to, pid, question) => {
                    if !self.cluster().hosts[node].standing.contains_key(&index_of(to)) {
                        let lookup = Lookup::Seek { pid, question };
                        self.send_lookup(node, index_of(to), &lookup);
                        continue;
                    }
                    self.cluster().hosts[node].used.insert(index_of(to));
                    let message = Message::Seek { pid, question };
                    self.say(node, index_of(to), Item::message(message));
                }
                Step::Lost(packet) => {
                    self.violated("limits", format!("n{node} has no room for {packet:?}"));
                }
            }
        }
    }

    /// Nobody has the process that a packet is for, and so many kernels of the node know nothing of it: the next one is
    /// asked, that of the packet's source, if it is here, as the last.
    fn nobody_here(&mut self, node: usize, packet: Packet, asked: usize) {
        let kernels: Vec<usize> = self.kernels_of(node).collect();
        let last = kernels.iter().position(|kernel| self.places[*kernel] == packet.source);
        let next = (last.unwrap_or(0) + 1 + asked) % kernels.len();
        let event = Event::Nobody(kernels[next], Box::new(packet), asked);
        self.events.plan(self.now + HOP, event);
    }

    /// A kernel is asked.
    pub(crate) fn hears_nobody(&mut self, kernel: usize, packet: Packet, asked: usize) {
        let node = self.node_of[kernel];
        let is_last = asked + 1 >= self.kernels_of(node).count();
        self.touched.push(kernel);
        if let Some(packet) = self.kernels[kernel].nobody(packet, is_last) {
            self.nobody_here(node, packet, asked + 1);
        }
    }

    fn kernels_of(&self, node: usize) -> impl Iterator<Item = usize> {
        (0..self.kernels.len()).filter(move |kernel| self.node_of[*kernel] == node)
    }
}
