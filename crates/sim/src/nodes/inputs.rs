//! A node's thread: what it is told, by its own cores and threads, in their order.

use peripatos_abi::EndReason;
use peripatos_cluster::message::{End, FailureKind};
use peripatos_cluster::{Event as Told, PreCopied, Sample, Talks};

use super::{Input, description, time};
use crate::actor::{Doing, Id};
use crate::config::MS;
use crate::event::Event;
use crate::world::World;

/// Between two looks at the clock.
const TICK: u64 = 100 * MS;

impl World {
    /// Something is on its way to a node's thread.
    pub(crate) fn input(&mut self, node: usize, input: Input) {
        let most = if self.nodes[node].slow { 20 * MS } else { MS / 10 };
        let delay = self.random.within(1_000..most);
        let now = self.now;
        let host = &mut self.cluster().hosts[node];
        host.last_input = host.last_input.max(now + delay);
        let (at, incarnation) = (host.last_input, host.incarnation);
        self.events.plan(at, Event::Input(node, incarnation, Box::new(input)));
    }

    /// It is there.
    pub(crate) fn takes_input(&mut self, node: usize, input: Input) {
        match input {
            Input::Ended(id) => {
                let pid = self.actors[id].pid;
                self.cluster().hosts[node].leaving.remove(&pid);
                let now = time(self.now);
                for packet in self.cluster().hosts[node].strays.ended(now, pid) {
                    self.stray(node, packet);
                }
                let reason = self.actors[id].end.and_then(|end| end.reason);
                self.tell(node, Told::Ended { pid, end: end_of(reason) });
            }
            Input::Born(id) => {
                let born = self.description(id);
                self.tell(node, Told::Born(born));
            }
            Input::PreCopied(migration, true) => {
                let copied = PreCopied { rounds: 1, bytes: 1 };
                self.tell(node, Told::PreCopied { migration, copied });
            }
            Input::PreCopied(migration, false) => {
                let reason = "no way for it".to_owned();
                self.tell(node, Told::NotFrozen { migration, reason });
            }
            Input::Stopped(pid) => self.stopped(node, pid),
            Input::Captured(migration, pid, captured) => {
                if captured {
                    let bytes = &self.cluster().hosts[node].still;
                    let image_bytes = bytes.get(&pid).map_or(0, |still| still.bytes.len() as u64);
                    self.tell(node, Told::Frozen { migration, image_bytes });
                } else {
                    self.run_again(node, pid);
                    let reason = "no memory".to_owned();
                    self.tell(node, Told::NotFrozen { migration, reason });
                }
            }
            Input::Stray(packet) => self.stray(node, *packet),
            Input::Named => self.named(node),
            Input::RoomMade(migration) => self.tell(node, Told::RoomMade(migration)),
            Input::Thawed(migration, true) => self.tell(node, Told::Prepared(migration)),
            Input::Thawed(migration, false) => {
                self.forget_arrived(node, migration);
                let reason = "it did not come".to_owned();
                self.tell(node, Told::NotPrepared { migration, reason });
            }
            Input::Compiled(code) => {
                self.cluster().hosts[node].codes.insert(code);
                self.tell(node, Told::CodeReady(code));
            }
        }
    }

    /// What is said of a process to nodes.
    pub(crate) fn description(&self, id: Id) -> peripatos_cluster::message::Description {
        let actor = &self.actors[id];
        description(actor, &self.actors[actor.root])
    }

    /// A process begins.
    pub(crate) fn begins(&mut self, id: Id) {
        let Some((kernel, _)) = self.actors[id].place else { return };
        let node = self.node_of[kernel];
        let born = self.description(id);
        let parent = self.actors[id].parent;
        let host = &mut self.cluster().hosts[node];
        host.codes.insert(born.code);
        let incarnation = host.incarnation;
        if parent.is_none() {
            self.actors[id].origin_incarnation = Some(incarnation);
            self.ledger.adopted.insert(id);
        }
        match parent {
            // Whoever starts a program waits for it.
            None => self.tell(node, Told::Started(born)),
            Some(_) => self.input(node, Input::Born(id)),
        }
        self.register(id);
    }

    /// A node takes an event in, and what it wants is done.
    pub(crate) fn tell(&mut self, node: usize, event: Told) {
        let mut actions = Vec::new();
        let now = time(self.now);
        self.cluster().hosts[node].node.handle(now, event, &mut actions);
        for action in actions {
            self.act(node, action);
        }
    }

    /// A node looks at the clock.
    pub(crate) fn host_tick(&mut self, node: usize) {
        let every = if self.calm { 5 * TICK } else { TICK };
        self.events.plan(self.now + every, Event::HostTick(node));
        if !self.nodes[node].alive {
            return;
        }
        let now = time(self.now);
        let samples: Vec<Sample> = self.samples(node);
        if !samples.is_empty() {
            self.tell(node, Told::Samples(samples));
        }
        self.tell_used(node);
        self.tell(node, Told::Tick);
        self.tell_samples(node);
        self.look_at_trouble();
        self.strays(node, |strays, here, out| strays.tick(now, here, out));
        self.look_at_leases(node);
    }

    /// How some of the processes do: when nothing more is to happen, nobody wants a core.
    fn samples(&mut self, node: usize) -> Vec<Sample> {
        let cpu = std::time::Duration::from_nanos(self.now);
        let mut samples = Vec::new();
        for id in 0..self.actors.len() {
            let Some((kernel, _)) = self.actors[id].place else { continue };
            if self.node_of[kernel] == node && (self.calm || self.random.permille(200)) {
                let actor = &self.actors[id];
                let talks = Talks::default();
                let runnable = !self.calm && actor.doing == Doing::Running;
                let (pid, core) = (actor.pid, self.places[kernel].core);
                // Every other one is large.
                let (asleep, memory_bytes) = (actor.asleep.is_some(), [1 << 20, 64 << 20][id % 2]);
                samples.push(Sample { pid, core, cpu, runnable, asleep, memory_bytes, talks });
            }
        }
        samples
    }
}

fn end_of(reason: Option<u64>) -> End {
    match reason.and_then(EndReason::from_bits) {
        Some(EndReason::Exited(code)) => End::Exited(code),
        Some(EndReason::Killed) => End::Killed,
        _ => End::Failed { kind: FailureKind::Trap, message: String::new() },
    }
}
