//! Hosts that look for processes, as far as the books of `world` go.

use peripatos_abi::Pid;
use peripatos_cluster::message::{End, Message, Sighting, Sought};
use peripatos_cluster::{Event, NodeId, Step, Strays};

use crate::world::{Index, World, id};

impl World {
    /// A packet for a process is at a node, and its way is not known. `led`: the directory is asked first.
    pub(crate) fn packet(&mut self, index: Index, pid: Pid, led: bool) {
        let lead = if led { self.host(index).node.lead(pid) } else { None };
        let now = self.now;
        self.strays(index, |strays, here, out| strays.take(now, pid, pid, lead, here, out));
    }

    pub(crate) fn sought(&mut self, index: Index, from: Index, pid: Pid, question: u64) {
        let now = self.now;
        let host = self.host(index);
        let running = host.running.contains(&pid).then_some(true);
        let here = running.or_else(|| host.strays.has(now, id(from), pid));
        if let Some(sighting) = host.node.sighting(pid, here) {
            let sought = Sought { pid, question, sighting };
            if self.linked(index).contains(&from) {
                return self.send(index, id(from), Message::Sought(sought));
            }
            self.seek_messages += 1;
            self.found(from, index, sought);
        }
    }

    pub(crate) fn found(&mut self, index: Index, from: Index, sought: Sought) {
        let now = self.now;
        self.strays(index, |strays, here, out| strays.found(now, id(from), sought, here, out));
    }

    pub(crate) fn seek_without(&mut self, index: Index, node: Index) {
        let now = self.now;
        self.strays(index, |strays, here, out| strays.unlinked(now, id(node), here, out));
    }

    pub(crate) fn seek_no_longer(&mut self, index: Index) {
        let now = self.now;
        self.strays(index, |strays, here, out| strays.tick(now, here, out));
    }

    pub(crate) fn comes(&mut self, index: Index, pid: Pid) {
        let now = self.now;
        let host = self.host(index);
        let kept = host.strays.comes(now, pid);
        host.brought.extend(kept);
    }

    pub(crate) fn went(&mut self, index: Index, pid: Pid, to: NodeId) {
        let now = self.now;
        for packet in self.host(index).strays.went(now, pid, to) {
            self.packet(index, packet, true);
        }
    }

    fn strays(
        &mut self,
        index: Index,
        look: impl FnOnce(&mut Strays<Pid>, &dyn Fn(Pid) -> bool, &mut Vec<Step<Pid>>),
    ) {
        let Some(host) = &mut self.hosts[index] else { return };
        let mut steps = Vec::new();
        let running = &host.running;
        look(&mut host.strays, &|pid| running.contains(&pid), &mut steps);
        for step in steps {
            match step {
                Step::Bring(packet) => self.host(index).brought.push(packet),
                // On its way nothing happens.
                Step::SendOn(node, packet) => self.packet(node.0 as usize, packet, true),
                Step::Nobody(packet) => self.host(index).refused.push(packet),
                Step::Call(node) => self.tell(index, Event::Wanted(node)),
                Step::Ask(node, pid, question)
                    if self.linked(index).contains(&(node.0 as usize)) =>
                {
                    self.send(index, node, Message::Seek { pid, question });
                }
                // Without a link it is a datagram.
                Step::Ask(node, pid, question) => {
                    self.seek_messages += 1;
                    if self.hosts[node.0 as usize].is_some() {
                        self.sought(node.0 as usize, index, pid, question);
                    }
                }
                Step::Lost(packet) => panic!("n{index} has no room for {packet}"),
            }
        }
    }
}

/// It has ended on a core, and its node has not heard of that: it may have answered before.
#[test]
fn who_has_just_ended_is_not_denied() {
    let mut world = World::new(2);
    let pid = world.spawn(0, 7);
    assert_eq!(world.host(0).node.sighting(pid, Some(false)), None);
    world.tell(0, Event::Ended { pid, end: End::Exited(0) });
    assert_eq!(world.host(0).node.sighting(pid, Some(false)), Some(Sighting::NotHere));
}
