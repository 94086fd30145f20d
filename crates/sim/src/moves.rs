//! Processes go from kernel to kernel: inside of a packet within a node, as bytes between nodes. A move is made on the
//! target, or the process goes on at its source; never both.

use peripatos_abi::EndReason;
use peripatos_kernel::{Form, Moving};

use crate::actor::{Doing, Id, MEMORY_BYTES};
use crate::checkers;
use crate::config::{MS, SECOND};
use crate::event::Event;
use crate::world::World;

impl World {
    pub(crate) fn move_some(&mut self) {
        if self.calm {
            return;
        }
        let next = self.random.within(MS / 10..2 * self.config.move_every);
        self.events.plan(self.now + next, Event::Move);
        let id = self.random.below(self.actors.len());
        let to = self.random.below(self.kernels.len());
        let Some((from, _)) = self.actors[id].place else { return };
        let (one, other) = (self.node_of[from], self.node_of[to]);
        if self.cluster.is_some() && one != other {
            self.ask_to_move(id, one, other);
        } else if from != to && self.is_alive(to) {
            self.depart(id, from, to);
        }
    }

    fn depart(&mut self, id: Id, from: usize, to: usize) {
        let place = self.places[to];
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        let Some(moving) = kernel.extract(slot, place) else { return };
        actor.place = None;
        actor.heading = Some(to);
        self.outcome.moves += 1;
        let now = self.now;
        self.trace.note(now, &[9, id as u64, to as u64], || format!("p{id} goes k{from} -> k{to}"));
        let near = self.node_of[from] == self.node_of[to];
        let (moving, delay) = if near {
            (moving, 2_000)
        } else {
            let delay = self.random.within(MS..50 * MS);
            let long = self.random.permille(50);
            let more = if long { self.random.within(0..3 * SECOND) } else { 0 };
            match Moving::decode(&moving.encode(), MEMORY_BYTES) {
                Ok(moving) => (moving, delay + more),
                Err(error) => return self.violated("limits", format!("p{id}: {error}")),
            }
        };
        self.events.plan(self.now + delay, Event::Arrive(id, from, to, Box::new(moving)));
    }

    /// A process reaches a kernel, or goes back to where it was.
    pub(crate) fn comes(&mut self, id: Id, from: usize, to: usize, moving: Moving) {
        self.actors[id].heading = None;
        if !self.actors[id].lives() {
            // Its node has crashed meanwhile.
            return;
        }
        let near = self.node_of[from] == self.node_of[to];
        let refused = !near && self.random.permille(50);
        let at = if self.is_alive(to) && !refused { to } else { from };
        if !self.is_alive(at) {
            return self.gone(id, None);
        }
        let now = self.now;
        self.trace.note(now, &[10, id as u64, at as u64], || format!("p{id} is at k{at}"));
        if !near {
            self.thaws(id);
        }
        self.touched.push(at);
        let Some(slot) = self.kernels[at].adopt(moving) else {
            return self.violated("copies", format!("p{id} is at k{at} already"));
        };
        self.actors[id].place = Some((at, slot));
        checkers::copies::check(self, id);
        self.tell_lost_names(id);
        let lag = self.random.within(0..self.config.directory_lag + 1);
        self.events.plan(self.now + lag, Event::Learn(id, Some(at), now));
        self.settles(id);
    }

    /// A process is at a kernel, and goes on.
    pub(crate) fn settles(&mut self, id: Id) {
        if self.ended {
            return self.end(id, EndReason::NORMAL);
        }
        match (self.actors[id].role.form(), self.actors[id].doing) {
            (Form::Fiber, Doing::Running) => self.plan_turn(id, 0),
            (_, Doing::Running) => {}
            _ => self.look(id),
        }
    }

    /// A process is nowhere any more.
    pub(crate) fn gone(&mut self, id: Id, reason: Option<u64>) {
        let now = self.now;
        self.trace.note(now, &[11, id as u64], || format!("p{id} has ended: {reason:?}"));
        let kernel = self.actors[id].place.take().map(|(kernel, _)| kernel);
        self.actors[id].end = Some(crate::actor::End { at: now, reason, kernel });
        self.actors[id].parked = false;
        self.actors[id].asleep = None;
        self.ledger.broken = now;
        let lag = self.random.within(0..self.config.directory_lag.min(5 * SECOND) + 1);
        self.events.plan(self.now + lag, Event::Learn(id, kernel, now + 1));
    }
}
