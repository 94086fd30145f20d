//! Processes that sleep: what waits is put aside as an image, and wakes when it has something to do.
//!
//! Who sleeps, and when, the host decides, between two turns of a core (`crates/host/src/cores/sleep.rs`); its states are those of threads and
//! runs, so they are not here. What is here is what it owes to kernels, nodes and processes, and what those owe to it: a kernel goes on with one
//! that sleeps as if it were awake; nothing that is wanted of it, or that has come for it, is done before it has its memory again; and it
//! goes from core to core and from node to node as any other.

use peripatos_kernel::Form;

use crate::actor::{Doing, Id, MEMORY_BYTES, Sleep};
use crate::checkers;
use crate::config::MS;
use crate::event::Event;
use crate::world::World;

/// What lies where the memory of one that sleeps was.
pub(crate) const PUT_ASIDE: u8 = 0xdd;

/// What those who put processes to sleep do wrong.
#[cfg(feature = "mutations")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// One that has something to do is not woken.
    NotWoken,
    /// Its memory is what it was when it slept before.
    OldImage,
    /// It is shown to its kernel without its memory.
    NotThawed,
}

#[cfg(feature = "mutations")]
impl Lapse {
    /// All of them.
    pub const ALL: [Lapse; 3] = [Lapse::NotWoken, Lapse::OldImage, Lapse::NotThawed];
}

impl World {
    #[cfg(feature = "mutations")]
    fn lapses(&self, lapse: Lapse) -> bool {
        self.lapse == Some(lapse)
    }

    /// A process begins to wait.
    pub(crate) fn perhaps_nap(&mut self, id: Id) {
        if self.random.permille(50) {
            let after = self.random.within(MS / 10..100 * MS);
            self.events.plan(self.now + after, Event::Nap(id, self.actors[id].turns));
        }
    }

    /// It falls asleep, if it has waited since.
    pub(crate) fn nap(&mut self, id: Id, turn: u64) {
        let actor = &self.actors[id];
        let Some((kernel, slot)) = actor.place else { return };
        let idle = actor.role.form() == Form::Handler && !actor.parked && actor.owed.is_empty();
        let waits = actor.doing != Doing::Running || idle && actor.serving.is_empty();
        let may = waits && actor.turns == turn && actor.asleep.is_none();
        if !may || !self.kernels[kernel].is_blocked(slot) {
            return;
        }
        let now = self.now;
        self.trace.note(now, &[46, id as u64], || format!("p{id} falls asleep"));
        let actor = &mut self.actors[id];
        actor.sleeps += 1;
        let image = std::mem::replace(&mut actor.memory, vec![PUT_ASIDE; MEMORY_BYTES]);
        let sum = checkers::sleep::sum(&image);
        #[cfg(feature = "mutations")]
        let image = if self.lapse == Some(Lapse::OldImage) && actor.sleeps > 1 {
            vec![0; MEMORY_BYTES]
        } else {
            image
        };
        actor.asleep = Some(Sleep { image, sum, number: actor.sleeps, waking: false });
    }

    /// One that sleeps has something to do: it wakes when it has its turn.
    pub(crate) fn stirs(&mut self, id: Id) {
        #[cfg(feature = "mutations")]
        if self.lapses(Lapse::NotWoken) {
            return;
        }
        #[cfg(feature = "mutations")]
        if self.lapses(Lapse::NotThawed)
            && let Some((kernel, slot, actor)) = self.parts(id)
        {
            let _ = kernel.wait(slot, &mut actor.memory);
        }
        let Some(sleep) = &mut self.actors[id].asleep else { return };
        if !std::mem::replace(&mut sleep.waking, true) {
            let number = sleep.number;
            let after = self.random.within(1_000..5 * MS);
            self.events.plan(self.now + after, Event::Wake(id, number));
        }
    }

    /// It has its turn, if it still sleeps.
    pub(crate) fn wake(&mut self, id: Id, number: u64) {
        let actor = &self.actors[id];
        if actor.asleep.as_ref().is_none_or(|sleep| sleep.number != number) {
            return;
        }
        if actor.place.is_none() {
            // It is on its way.
            return self.events.plan(self.now + MS, Event::Wake(id, number));
        }
        self.wakes(id);
        self.look(id);
    }

    /// One that has come from another node is awake: what came is its image.
    pub(crate) fn thaws(&mut self, id: Id) {
        self.wakes(id);
    }

    /// A process has its memory again, if it slept.
    pub(crate) fn wakes(&mut self, id: Id) {
        let Some(sleep) = self.actors[id].asleep.take() else { return };
        let now = self.now;
        self.trace.note(now, &[47, id as u64], || format!("p{id} wakes"));
        self.outcome.woken += 1;
        let left = std::mem::replace(&mut self.actors[id].memory, sleep.image);
        checkers::sleep::woke(self, id, &left, sleep.sum);
    }
}
