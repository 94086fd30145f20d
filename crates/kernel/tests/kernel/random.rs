//! Random talk: whoever sends hears exactly once, the right thing, whatever ends and in whatever order packets come.

use peripatos_abi::message::{Envelope, Status};
use peripatos_kernel::{Form, Outcome, Sent, Slot};

use crate::world::{Id, World};

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// What a process does. A handler that replies later is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Free,
    /// It has sent this, to that one.
    Sent(u64, Id),
    Receiving,
    /// It has taken a message with this in it.
    Serving(u64),
    /// A handler that is parked.
    Parked(u64),
}

struct Play {
    world: World,
    forms: Vec<Form>,
    doing: Vec<Doing>,
    /// Of handlers: messages to which each replies later.
    owed: Vec<Vec<(Envelope, u64)>>,
    random: Random,
    sent: u64,
    heard: u64,
}

const STEPS: usize = 1_500;

impl Play {
    fn new(seed: u64) -> Play {
        let mut random = Random::new(seed);
        let cores = 1 + random.below(3);
        let mut world = World::new(cores);
        let mut forms = Vec::new();
        for _ in 0..8 {
            let form = if random.below(3) == 0 { Form::Handler } else { Form::Fiber };
            world.add(random.below(cores), form);
            forms.push(form);
        }
        world.aims = random.below(2) == 0;
        let doing = vec![Doing::Free; forms.len()];
        let owed = vec![Vec::new(); forms.len()];
        Play { world, forms, doing, owed, random, sent: 0, heard: 0 }
    }

    fn lives(&self, id: Id) -> bool {
        self.world.bodies[id].is_some()
    }

    fn step(&mut self) {
        let id = self.random.below(self.forms.len());
        if self.random.below(6) == 0 {
            return self.deliver();
        }
        if !self.lives(id) {
            return;
        }
        if self.random.below(400) == 0 {
            return self.end(id);
        }
        if self.random.below(6) == 0 {
            let to = self.random.below(self.world.kernels.len());
            return self.world.carry(id, to);
        }
        match (self.forms[id], self.doing[id]) {
            (Form::Fiber, Doing::Free) if self.random.below(2) == 0 => self.receive(id),
            (Form::Fiber, Doing::Free) => self.send(id),
            (Form::Fiber, Doing::Sent(..) | Doing::Receiving) => self.wait(id),
            (Form::Fiber, Doing::Serving(number)) => self.reply(id, number),
            (Form::Handler, _) if !self.owed[id].is_empty() && self.random.below(3) == 0 => {
                let at = self.random.below(self.owed[id].len());
                self.pay(id, at);
            }
            (Form::Handler, Doing::Parked(number)) => self.resume(id, number),
            (Form::Handler, _) => self.call(id),
            (Form::Fiber, Doing::Parked(_)) => unreachable!("only handlers are parked"),
        }
    }

    /// A handler that is parked goes on, and replies now or later.
    fn resume(&mut self, id: Id, number: u64) {
        let (core, slot) = self.seat(id);
        self.doing[id] = Doing::Free;
        let answer = answer(number);
        let outcome = if self.random.below(3) == 0 {
            let envelope = self.world.kernels[core].envelope(slot, 8);
            self.owed[id].push((envelope, number));
            Outcome::Later
        } else {
            Outcome::Replied(&answer)
        };
        self.world.kernels[core].resumed(slot, outcome);
    }

    /// A handler replies to a message that it was called for before: whoever waits for it is there to be told.
    fn pay(&mut self, id: Id, at: usize) {
        let (envelope, number) = self.owed[id].swap_remove(at);
        self.world.keep(id, envelope);
        let paid = self.world.reply(id, &answer(number));
        let waits = |one: Id| self.lives(one) && self.doing[one] == Doing::Sent(number, id);
        if (0..self.forms.len()).any(waits) {
            assert_eq!(paid, Ok(()), "{number} is waited for");
        }
    }

    fn seat(&mut self, id: Id) -> (usize, Slot) {
        let body = self.world.body(id);
        (body.core, body.slot)
    }

    /// Packets between two kernels keep their order; they may come twice.
    fn deliver(&mut self) {
        self.world.collect_packets();
        let Some(at) = self.world.packets.len().checked_sub(1) else { return };
        let at = self.random.below(at + 1);
        let (source, target) = (self.world.packets[at].source, self.world.packets[at].target);
        let same =
            |packet: &peripatos_kernel::Packet| packet.source == source && packet.target == target;
        let first = self.world.packets.iter().position(same).expect("it is one of them");
        let packet = self.world.packets.remove(first).expect("it is there");
        if self.random.below(10) == 0 {
            self.world.deliver(packet.clone());
        }
        self.world.deliver(packet);
    }

    fn send(&mut self, id: Id) {
        let to = self.random.below(self.forms.len());
        let number = self.sent + 1;
        let pid = self.world.pid(to);
        match self.world.send_or_pass(id, pid, &number.to_le_bytes(), 100) {
            Ok(Sent::Waits) => self.doing[id] = Doing::Sent(number, to),
            Ok(Sent::Pass(_)) => self.pass(id, to, number),
            Ok(Sent::Call(called)) => {
                let answer = answer(number);
                let (core, _) = self.seat(to);
                let envelope = self.world.kernels[core].envelope(called, 8);
                let outcome = match self.random.below(12) {
                    0 => Outcome::Ended,
                    1..4 => Outcome::Parked,
                    // It may reply while it is called, too.
                    4..6 => {
                        self.owed[to].push((envelope, number));
                        self.doing[id] = Doing::Sent(number, to);
                        if self.random.below(2) == 0 {
                            self.pay(to, self.owed[to].len() - 1);
                        }
                        Outcome::Later
                    }
                    _ => Outcome::Replied(&answer),
                };
                let result = self.world.end_call(id, called, outcome);
                match outcome {
                    Outcome::Parked => {
                        assert_eq!(result, Err(Status::Wait));
                        self.doing[id] = Doing::Sent(number, to);
                        self.doing[to] = Doing::Parked(number);
                    }
                    Outcome::Ended => {
                        self.world.end(to);
                        self.hear(id, to, number, result);
                    }
                    Outcome::Replied(_) => self.hear(id, to, number, result),
                    Outcome::Later => assert_eq!(result, Err(Status::Wait)),
                }
            }
            Err(status) => {
                assert_eq!(status, Status::Deadlock);
                return;
            }
        }
        self.sent += 1;
    }

    /// The receiver takes the message at once and perhaps replies at once, or finds it later.
    fn pass(&mut self, id: Id, to: Id, number: u64) {
        self.doing[id] = Doing::Sent(number, to);
        if self.random.below(4) > 0 {
            let taken = self.world.take_passed(to, id).expect("it was passed to it");
            self.took(to, taken.expect("it has room"));
            if self.random.below(2) == 0 {
                let replied = self.world.reply_beneath(to, id, &answer(number));
                assert!(replied.is_some(), "{id} waits for it");
                self.doing[to] = Doing::Free;
            }
        }
        match self.world.end_pass(to, id) {
            Some(len) => self.hear(id, to, number, Ok(len)),
            None => self.wait(id),
        }
    }

    /// The answer, or the word that the receiver has ended, if it has.
    fn hear(&mut self, id: Id, to: Id, number: u64, result: Result<u32, Status>) {
        match result {
            Ok(len) => assert_eq!(self.world.answer(id, len), answer(number)),
            // Of a circle over kernels, two of which have met.
            Err(Status::Deadlock) => {}
            Err(status) => assert_eq!((status, self.lives(to)), (Status::NoProcess, false)),
        }
        self.heard += 1;
        self.doing[id] = Doing::Free;
    }

    fn receive(&mut self, id: Id) {
        match self.world.receive(id, None, 100) {
            Ok(len) => self.took(id, len),
            Err(status) => {
                assert_eq!(status, Status::Wait);
                self.doing[id] = Doing::Receiving;
            }
        }
    }

    fn took(&mut self, id: Id, len: u32) {
        let message = self.world.message(id, len);
        let number = u64::from_le_bytes(message.try_into().expect("eight bytes"));
        self.doing[id] = Doing::Serving(number);
    }

    fn wait(&mut self, id: Id) {
        let Some(result) = self.world.wait(id) else { return };
        match self.doing[id] {
            Doing::Sent(number, to) => self.hear(id, to, number, result),
            _ => self.took(id, result.expect("receiving does not fail")),
        }
    }

    fn reply(&mut self, id: Id, number: u64) {
        // The sender may have ended.
        let _ = self.world.reply(id, &answer(number));
        self.doing[id] = Doing::Free;
    }

    fn call(&mut self, id: Id) {
        let (core, slot) = self.seat(id);
        let mut buffer = [0; 100];
        let Some(envelope) = self.world.kernels[core].next_call(slot, &mut buffer) else { return };
        let number = u64::from_le_bytes(*buffer.first_chunk().expect("eight bytes"));
        let answer = answer(number);
        let outcome = match self.random.below(6) {
            0 | 1 => {
                self.doing[id] = Doing::Parked(number);
                Outcome::Parked
            }
            2 => {
                self.owed[id].push((envelope, number));
                Outcome::Later
            }
            _ => Outcome::Replied(&answer),
        };
        self.world.kernels[core].finish_call(slot, outcome);
    }

    fn end(&mut self, id: Id) {
        if let Doing::Sent(..) = self.doing[id] {
            // It will not hear, and need not.
            self.heard += 1;
        }
        self.world.end(id);
    }
}

impl Play {
    /// Everybody serves, until nobody has anything to do. Whoever still waits does so for one that waits, too.
    fn settle(&mut self) {
        for _ in 0..6 * self.forms.len() {
            self.world.deliver_all();
            let living: Vec<Id> = (0..self.forms.len()).filter(|id| self.lives(*id)).collect();
            for id in living {
                match (self.forms[id], self.doing[id]) {
                    (Form::Fiber, Doing::Free) => self.receive(id),
                    (Form::Fiber, Doing::Serving(number)) => self.reply(id, number),
                    (Form::Fiber, Doing::Sent(..) | Doing::Receiving) => self.wait(id),
                    (Form::Handler, _) if !self.owed[id].is_empty() => self.pay(id, 0),
                    (Form::Handler, Doing::Parked(number)) => self.resume(id, number),
                    (Form::Handler, _) => self.call(id),
                    (Form::Fiber, Doing::Parked(_)) => unreachable!("only handlers are parked"),
                }
            }
        }
        for id in (0..self.forms.len()).filter(|id| self.lives(*id)) {
            if let Doing::Sent(_, to) = self.doing[id] {
                let waits = matches!(self.doing[to], Doing::Sent(..));
                assert!(self.lives(to) && waits, "{id} waits for {to}, which has nothing to do");
            }
        }
    }

    /// Everybody ends. Whoever waits for one who has ended is told; of a circle over several kernels, which nobody
    /// sees, one has to end first.
    fn end_all(&mut self) {
        while let Some(first) = (0..self.forms.len()).find(|id| self.lives(*id)) {
            for id in 0..self.forms.len() {
                self.world.deliver_all();
                if self.lives(id) && matches!(self.doing[id], Doing::Sent(..)) {
                    self.wait(id);
                }
                if self.lives(id) && !matches!(self.doing[id], Doing::Sent(..)) {
                    self.end(id);
                }
            }
            self.world.deliver_all();
            if self.lives(first) {
                self.wait(first);
            }
            if self.lives(first) && matches!(self.doing[first], Doing::Sent(..)) {
                let waits_for = match self.doing[first] {
                    Doing::Sent(_, to) => to,
                    other => unreachable!("{other:?} was ended above"),
                };
                assert!(self.lives(waits_for), "who waits for one who has ended is told");
                self.end(first);
            }
        }
    }
}

fn answer(number: u64) -> [u8; 8] {
    (!number).to_le_bytes()
}

#[test]
fn who_sends_hears_once() {
    for seed in 0..600 {
        let mut play = Play::new(seed);
        for _ in 0..STEPS {
            play.step();
        }
        play.settle();
        play.end_all();
        assert_eq!(play.heard, play.sent, "seed {seed}: {:?}", play.doing);
        assert!(play.world.kernels.iter().all(|kernel| kernel.is_empty()), "seed {seed}");
    }
}
