//! What a watcher does when it is its turn: monitors, links, children, bits.

use peripatos_abi::message::Status;

use crate::actor::{Id, Role, TO};
use crate::config::{MS, SECOND};
use crate::ledger::pair;
use crate::world::World;

impl World {
    pub(crate) fn watch_turn(&mut self, id: Id) {
        let choice = if self.calm { 9 } else { self.random.below(12) };
        let other = self.random.below(self.actors.len());
        if other == id {
            return self.plan_turn(id, MS);
        }
        match choice {
            0..3 => self.monitor(id, other),
            3 => self.unmonitor(id),
            // It would take the whole run along.
            4 if self.actors[other].role == Role::Watcher => self.link(id, other),
            5 => self.unlink(id),
            6 => self.have_child(id),
            7 => self.end_child(id),
            8 => self.notify(id, other),
            _ => {
                let timeout = self.random.within(MS..SECOND);
                return self.receive(id, timeout);
            }
        }
        let think = self.random.within(MS..self.config.think + 2 * MS);
        self.plan_turn(id, think);
    }

    fn monitor(&mut self, id: Id, other: Id) {
        let pid = self.actors[other].pid;
        let now = self.now;
        self.trace.note(now, &[14, id as u64, other as u64], || format!("p{id} monitors p{other}"));
        let Some((kernel, slot, _)) = self.parts(id) else { return };
        let result = kernel.monitor(slot, pid);
        self.ledger.monitors.insert((id, other));
        self.expect("monitor", id, result);
    }

    fn unmonitor(&mut self, id: Id) {
        let mine = self.ledger.monitors.range((id, 0)..(id + 1, 0)).next().copied();
        let Some((_, other)) = mine else { return };
        let pid = self.actors[other].pid;
        let now = self.now;
        self.trace
            .note(now, &[15, id as u64, other as u64], || format!("p{id} unmonitors p{other}"));
        let Some((kernel, slot, _)) = self.parts(id) else { return };
        let result = kernel.unmonitor(slot, pid);
        self.ledger.monitors.remove(&(id, other));
        self.expect("unmonitor", id, result);
    }

    fn link(&mut self, id: Id, other: Id) {
        let pid = self.actors[other].pid;
        let now = self.now;
        self.trace.note(now, &[16, id as u64, other as u64], || format!("p{id} links p{other}"));
        let Some((kernel, slot, _)) = self.parts(id) else { return };
        let result = kernel.link(slot, pid);
        let link = self.ledger.links.entry(pair(id, other)).or_default();
        link.told &= link.undone.is_none();
        link.undone = None;
        (link.by, link.made) = (id, now);
        self.expect("link", id, result);
    }

    fn unlink(&mut self, id: Id) {
        let open = self.ledger.links.iter().find(|((one, other), link)| {
            (*one == id || *other == id) && link.by == id && link.undone.is_none()
        });
        let Some(((one, other), _)) = open else { return };
        let other = if *one == id { *other } else { *one };
        let pid = self.actors[other].pid;
        let now = self.now;
        self.trace.note(now, &[17, id as u64, other as u64], || format!("p{id} unlinks p{other}"));
        let Some((kernel, slot, _)) = self.parts(id) else { return };
        let result = kernel.unlink(slot, pid);
        if let Some(link) = self.ledger.links.get_mut(&pair(id, other)) {
            link.undone = Some(now);
        }
        self.expect("unlink", id, result);
    }

    fn have_child(&mut self, id: Id) {
        let Some((kernel, _)) = self.actors[id].place else { return };
        if self.actors.len() < 2 * self.config.processes {
            let mut role = if self.random.permille(500) { Role::Server } else { Role::Client };
            if self.cluster.is_some() && self.random.permille(300) {
                role = Role::Watcher;
            }
            self.spawn(kernel, role, Some(id));
        }
    }

    fn end_child(&mut self, id: Id) {
        let other = if self.random.permille(200) {
            self.random.below(self.actors.len())
        } else {
            let mine = |child: &Id| self.actors[*child].parent == Some(id);
            match (0..self.actors.len()).find(|child| mine(child) && self.actors[*child].lives()) {
                Some(child) => child,
                None => return,
            }
        };
        let (pid, mine) = (self.actors[other].pid, self.actors[other].parent == Some(id));
        let now = self.now;
        self.trace.note(now, &[18, id as u64, other as u64], || format!("p{id} ends p{other}"));
        if mine {
            self.ledger.killed.push((id, other));
        }
        let Some((kernel, slot, _)) = self.parts(id) else { return };
        match kernel.end(slot, pid) {
            Err(Status::NotPermitted) if !mine => {}
            result => self.expect("end", id, result),
        }
    }

    fn notify(&mut self, id: Id, other: Id) {
        let pid = self.actors[other].pid;
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        actor.put(TO, &pid.bits().to_le_bytes());
        let result = kernel.notify(slot, &actor.memory, TO, 1);
        self.expect("notify", id, result);
    }

    fn expect(&mut self, what: &str, id: Id, result: Result<(), Status>) {
        if let Err(status) = result {
            self.violated("truth", format!("p{id} is refused to {what}: {status:?}"));
        }
    }
}
