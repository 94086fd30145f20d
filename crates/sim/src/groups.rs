//! Groups: who joins and leaves, who sends to all, and what comes of that.

use peripatos_abi::Pid;
use peripatos_abi::message::Status;

use crate::actor::{Doing, Id, MESSAGE, REPLY, ROOM};
use crate::checkers;
use crate::config::SECOND;
use crate::ledger::{Gathering, Sending};
use crate::nodes::Input;
use crate::world::World;

/// Groups that there are.
pub(crate) const GROUPS: usize = 3;
/// To so many members at most one sends: their replies fit.
const MEMBERS_MAX: usize = 8;
/// In a message's count of hops: it is for all members, under the number of the first one's part.
const TO_ALL: u32 = 1 << 31;

/// What a group is called.
pub(crate) fn group_name(group: usize) -> Vec<u8> {
    format!("g{group}").into_bytes()
}

impl World {
    /// Who serves is a member now and then.
    pub(crate) fn perhaps_join(&mut self, id: Id) {
        if self.calm || !self.actors[id].role.serves() || !self.random.permille(100) {
            return;
        }
        let (group, joins) = (self.random.below(GROUPS), self.random.permille(700));
        let Some((kernel, _)) = self.actors[id].place else { return };
        let (node, pid) = (self.node_of[kernel], self.actors[id].pid);
        let Some(cluster) = &mut self.cluster else {
            if joins {
                self.ledger.groups.insert((group, id));
            } else {
                self.ledger.groups.remove(&(group, id));
            }
            return;
        };
        let names = &mut cluster.hosts[node].names;
        let name = group_name(group);
        let result = if joins { names.join(&name, pid) } else { names.leave(&name, pid) };
        // That it is none it may be told where others' words of it are older.
        if !(result == Ok(()) || !joins && result == Err(Status::NoName)) {
            let what = format!("p{id} joins: {joins}, is told {result:?}");
            return self.violated("groups", what);
        }
        if joins && !names.members(&name).contains(&pid) {
            return self.violated("groups", format!("p{id} has joined {name:?}, and is no member"));
        }
        self.input(node, Input::Named);
    }

    /// Who is a member, as a process there knows it. Some may have ended.
    fn members(&self, kernel: usize, group: usize) -> Vec<Pid> {
        match &self.cluster {
            Some(cluster) => cluster.hosts[self.node_of[kernel]].names.members(&group_name(group)),
            None => {
                let members = self.ledger.groups.range((group, 0)..(group + 1, 0));
                members.map(|(_, id)| self.actors[*id].pid).collect()
            }
        }
    }

    /// A process sends to all members of a group.
    pub(crate) fn send_to_group(&mut self, id: Id) {
        let Some((kernel, _)) = self.actors[id].place else { return };
        let group = self.random.below(GROUPS);
        let mut members = self.members(kernel, group);
        if members.is_empty() {
            return self.plan_turn(id, SECOND / 10);
        }
        let first = self.random.below(members.len());
        members.rotate_left(first);
        members.truncate(MEMBERS_MAX);
        let number = self.ledger.sends.len();
        let (gather, now) = (self.ledger.gathers.len(), self.now);
        for pid in &members {
            let sending = Sending::new(id, self.by_pid[pid], now);
            self.ledger.sends.push(Sending { group: Some(gather), ..sending });
        }
        let all = self.random.permille(600);
        // Now and then there is no room for all.
        let room = if self.random.permille(100) { 200 } else { ROOM };
        let parts = (number, members.len());
        self.ledger.gathers.push(Gathering { from: id, all, parts, room, told: false });
        self.trace.note(now, &[44, id as u64, number as u64], || {
            format!("p{id} sends {number} to group {group}, all: {all}, {members:x?}")
        });
        let message = self.message(number, TO_ALL);
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        actor.doing = Doing::Gathering(gather);
        actor.put(MESSAGE, &message);
        let (message, reply) = ((MESSAGE, message.len() as u32), (REPLY, room));
        match kernel.send_all(slot, &actor.memory, &members, message, reply, all) {
            Ok(()) => self.perhaps_nap(id),
            Err(status) => {
                let short = status == Status::TooLong && all && room < 20 * parts.1 as u32;
                if !short {
                    self.violated("groups", format!("p{id} is refused to send: {status:?}"));
                }
                self.gather_over(id, gather);
            }
        }
    }

    /// Which send somebody has taken a message of: of one to all, its own part.
    pub(crate) fn part_of(&self, id: Id, number: usize, hop: u32) -> (usize, u32) {
        if hop & TO_ALL == 0 {
            return (number, hop);
        }
        let group = self.ledger.sends.get(number).and_then(|sending| sending.group);
        let parts = group.map_or((number, 0), |group| self.ledger.gathers[group].parts);
        let mine = (parts.0..parts.0 + parts.1).find(|at| self.ledger.sends[*at].chain[0] == id);
        // For whom it was not: that the checker says.
        (mine.unwrap_or(number), 0)
    }

    /// A process is told what became of its send to a group.
    pub(crate) fn gathered(&mut self, id: Id, gather: usize, result: Result<u32, Status>) {
        let (now, number) = (self.now, self.ledger.gathers[gather].parts.0);
        let words = [45, id as u64, number as u64, u64::from(result.is_ok())];
        self.trace
            .note(now, &words, || format!("p{id} is told of group send {number}: {result:?}"));
        checkers::groups::check(self, id, gather, result);
        self.outcome.gathered += usize::from(result.is_ok());
        self.gather_over(id, gather);
    }

    fn gather_over(&mut self, id: Id, gather: usize) {
        self.ledger.gathers[gather].told = true;
        self.ledger.broken = self.now;
        let actor = &mut self.actors[id];
        (actor.doing, actor.turns) = (Doing::Running, actor.turns + 1);
        self.goes_on(id);
    }
}
