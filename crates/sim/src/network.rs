//! What is between kernels: in a node a queue, between nodes what goes wrong.

use peripatos_kernel::limits::PACKET_NS_MAX;
use peripatos_kernel::{Body, Packet, principal};

use crate::config::{MS, SECOND};
use crate::event::Event;
use crate::world::World;

/// From core to core.
const HOP: u64 = 2_000;

impl World {
    /// A kernel has something to send.
    pub(crate) fn transmit(&mut self, kernel: usize, packet: Packet) {
        let (now, words) = (self.now, [1, kernel as u64, packet.to.number(), packet.from.number()]);
        self.trace.note(now, &words, || format!("k{kernel} says {packet:?}"));
        if self.cluster.is_some() {
            return self.post(kernel, packet);
        }
        match packet.target {
            Some(place) => {
                let found = self.places.iter().position(|one| *one == place);
                match found {
                    Some(target) => self.carry(kernel, target, packet),
                    None => self.violated("limits", format!("a packet to nowhere: {packet:?}")),
                }
            }
            None => self.look_up(kernel, packet),
        }
    }

    /// A host looks for the process that a packet is for.
    fn look_up(&mut self, kernel: usize, packet: Packet) {
        let Some(id) = self.by_pid.get(&principal(packet.to)).copied() else {
            return self.nobody(kernel, packet);
        };
        let node = self.node_of[kernel];
        // It knows its own.
        if let Some((at, _)) = self.actors[id].place
            && self.node_of[at] == node
        {
            let packet = self.aim(kernel, at, packet);
            return self.carry(kernel, at, packet);
        }
        let known = self.directory[id].0;
        let end = self.actors[id].end.filter(|end| end.reason.is_some());
        let has_ended = end.is_some_and(|end| end.kernel == known);
        match known {
            // That one knows where it went, if not too long ago, and what it had answered.
            Some(at) if at != kernel && self.is_alive(at) => self.carry(kernel, at, packet),
            _ if has_ended => self.nobody(kernel, packet),
            // It does not know better: if it matters, it will come again.
            _ => {}
        }
    }

    /// A host knows on which of its cores a process is, and mostly tells the kernel before the packet leaves.
    pub(crate) fn aim(&mut self, kernel: usize, at: usize, mut packet: Packet) -> Packet {
        if !self.random.permille(200) {
            let place = self.places[at];
            self.kernels[kernel].aim(&mut packet, |_| Some(place));
        }
        packet
    }

    fn nobody(&mut self, kernel: usize, packet: Packet) {
        self.kernels[kernel].nobody(packet, true);
        self.touched.push(kernel);
    }

    fn carry(&mut self, from: usize, to: usize, packet: Packet) {
        let (source, target) = (self.node_of[from], self.node_of[to]);
        if source == target {
            return self.events.plan(self.now + HOP, Event::Packet(to, Box::new(packet)));
        }
        if !self.reaches(source, target) {
            return;
        }
        let faults = self.config.faults;
        if !self.calm && self.random.permille(faults.loss) {
            return;
        }
        let bytes = postcard::to_stdvec(&packet).expect("a packet has a form");
        let packet: Packet = postcard::from_bytes(&bytes).expect("it was made here");
        if let Err(error) = packet.check() {
            return self.violated("limits", format!("{error}: {packet:?}"));
        }
        if !self.calm && self.random.permille(faults.twice) {
            let late = self.random.permille(faults.late);
            let delay = if late { self.random.within(SECOND..PACKET_NS_MAX) } else { self.delay() };
            self.events.plan(self.now + delay, Event::Packet(to, Box::new(packet.clone())));
        }
        let delay = self.delay();
        self.events.plan(self.now + delay, Event::Packet(to, Box::new(packet)));
    }

    pub(crate) fn delay(&mut self) -> u64 {
        if !self.calm && self.random.permille(self.config.faults.slow) {
            self.random.within(10 * MS..500 * MS)
        } else {
            self.random.within(20_000..2 * MS)
        }
    }

    pub(crate) fn reaches(&self, source: usize, target: usize) -> bool {
        let parted = self.parted.as_ref().is_some_and(|side| side[source] != side[target]);
        !parted && self.nodes[target].alive
    }

    /// A packet reaches its kernel, if that is still there, and nothing has come between.
    pub(crate) fn arrives(&mut self, kernel: usize, packet: Packet) {
        let source = (packet.source.node - 1) as usize;
        let target = self.node_of[kernel];
        let cut = source != target && !self.reaches(source, target);
        if cut && self.cluster.is_none() || !self.is_alive(kernel) {
            return;
        }
        let number = match &packet.body {
            Body::Send { transaction, .. } | Body::Reply { transaction, .. } => *transaction,
            _ => 0,
        };
        let (now, words) = (self.now, [2, kernel as u64, packet.to.number(), number]);
        self.trace.note(now, &words, || format!("k{kernel} hears {packet:?}"));
        self.kernels[kernel].arrived(packet);
        self.touched.push(kernel);
    }
}
