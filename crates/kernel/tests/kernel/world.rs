//! Kernels side by side, each with processes that are nothing but memories.

use std::collections::VecDeque;

use peripatos_abi::message::{Envelope, PID_BYTES, Status};
use peripatos_abi::{EndReason, Pid};
use peripatos_kernel::{
    AccessKind, Form, Kernel, Lender, Moving, Outcome, Packet, Place, Sent, Slot, Woken, principal,
};

/// Where things lie in a memory.
pub(crate) const TO: u32 = 16;
pub(crate) const ENVELOPE: u32 = 32;
pub(crate) const MESSAGE: u32 = 1024;
pub(crate) const REPLY: u32 = 70_000;
pub(crate) const MEMORY_BYTES: usize = 140_000;

/// A process: which kernel's, and its memory.
pub(crate) struct Body {
    pub(crate) core: usize,
    pub(crate) slot: Slot,
    pub(crate) pid: Pid,
    pub(crate) memory: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) packets: VecDeque<Packet>,
    pub(crate) bodies: Vec<Option<Body>>,
    /// Who is to be ended, as far as [`World::woken`] was asked.
    pub(crate) killed: Vec<Pid>,
    /// Who is to go where, when [`World::make_moves`] is called.
    pub(crate) moves: Vec<(Id, usize)>,
    /// Bytes of each one's memory.
    pub(crate) memory_bytes: usize,
    /// The host tells kernels where processes are, before what is for them leaves.
    pub(crate) aims: bool,
}

pub(crate) type Id = usize;

pub(crate) fn place(core: usize) -> Place {
    Place { node: 1, core: core as u32 }
}

fn core_of(bodies: &[Option<Body>], pid: Pid) -> Option<usize> {
    bodies.iter().flatten().find(|body| body.pid == pid).map(|body| body.core)
}

impl World {
    pub(crate) fn new(cores: usize) -> World {
        World::with(cores, MEMORY_BYTES)
    }

    /// One of thousands of processes: there is no room for replies.
    pub(crate) fn small(cores: usize) -> World {
        World::with(cores, MESSAGE as usize + 128)
    }

    fn with(cores: usize, memory_bytes: usize) -> World {
        let kernels = (0..cores).map(|core| Kernel::new(place(core), 0)).collect();
        World {
            kernels,
            packets: VecDeque::new(),
            bodies: Vec::new(),
            killed: Vec::new(),
            moves: Vec::new(),
            memory_bytes,
            aims: false,
        }
    }

    pub(crate) fn add(&mut self, core: usize, form: Form) -> Id {
        let id = self.bodies.len();
        let pid = Pid::new(id as u64 + 1, 0x9e37_79b9 * (id as u64 + 1));
        let slot = self.kernels[core].add(pid, form).expect("a new pid");
        self.bodies.push(Some(Body { core, slot, pid, memory: vec![0; self.memory_bytes] }));
        id
    }

    pub(crate) fn add_child(&mut self, core: usize, form: Form, parent: Id) -> Id {
        let id = self.add(core, form);
        let (pid, parent) = (self.pid(id), self.pid(parent));
        let body = self.body(id);
        let slot = body.slot;
        self.kernels[core].remove(slot, EndReason::NORMAL);
        let slot = self.kernels[core].add_child(pid, form, parent).expect("it has gone");
        self.body(id).slot = slot;
        id
    }

    pub(crate) fn make_moves(&mut self) {
        for (id, core) in std::mem::take(&mut self.moves) {
            self.carry(id, core);
        }
    }

    pub(crate) fn body(&mut self, id: Id) -> &mut Body {
        self.bodies[id].as_mut().expect("it lives")
    }

    pub(crate) fn pid(&self, id: Id) -> Pid {
        Pid::new(id as u64 + 1, 0x9e37_79b9 * (id as u64 + 1))
    }

    /// Its kernel, slot and memory.
    fn parts(&mut self, id: Id) -> (&mut Kernel, Slot, &mut Vec<u8>) {
        let body = self.bodies[id].as_mut().expect("it lives");
        (&mut self.kernels[body.core], body.slot, &mut body.memory)
    }

    pub(crate) fn send(&mut self, id: Id, to: Pid, message: &[u8]) -> Result<Sent, Status> {
        self.send_with(id, to, message, 65_536)
    }

    pub(crate) fn send_with(
        &mut self,
        id: Id,
        to: Pid,
        message: &[u8],
        room: u32,
    ) -> Result<Sent, Status> {
        let (kernel, slot, memory) = self.parts(id);
        memory[TO as usize..][..PID_BYTES].copy_from_slice(&to.bits().to_le_bytes());
        memory[MESSAGE as usize..][..message.len()].copy_from_slice(message);
        let (reply, room) = if memory.len() < MEMORY_BYTES { (0, 0) } else { (REPLY, room) };
        kernel.send(slot, memory, TO, (MESSAGE, message.len() as u32), (reply, room))
    }

    /// The same, and one that waits for it could run at once.
    pub(crate) fn send_or_pass(
        &mut self,
        id: Id,
        to: Pid,
        message: &[u8],
        room: u32,
    ) -> Result<Sent, Status> {
        let (kernel, slot, memory) = self.parts(id);
        memory[TO as usize..][..PID_BYTES].copy_from_slice(&to.bits().to_le_bytes());
        memory[MESSAGE as usize..][..message.len()].copy_from_slice(message);
        kernel.send_or_pass(slot, memory, TO, (MESSAGE, message.len() as u32), (REPLY, room))
    }

    /// Takes what that one, beneath it, has passed to it.
    pub(crate) fn take_passed(&mut self, id: Id, beneath: Id) -> Option<Result<u32, Status>> {
        let pid = self.pid(beneath);
        let mut sent = std::mem::take(&mut self.body(beneath).memory);
        let (kernel, slot, memory) = self.parts(id);
        let taken = kernel.take_passed(slot, memory, &Lender { pid, memory: &mut sent });
        self.body(beneath).memory = sent;
        taken
    }

    /// Replies to that one, beneath it, at once.
    pub(crate) fn reply_beneath(&mut self, id: Id, beneath: Id, message: &[u8]) -> Option<()> {
        let (pid, client) = (self.pid(beneath), self.body(beneath).slot);
        let mut memory_beneath = std::mem::take(&mut self.body(beneath).memory);
        let (kernel, slot, memory) = self.parts(id);
        memory[MESSAGE as usize..][..message.len()].copy_from_slice(message);
        let lender = (client, Lender { pid, memory: &mut memory_beneath });
        let part = (MESSAGE, message.len() as u32);
        let done = kernel.reply_beneath(slot, memory, ENVELOPE, part, lender);
        self.body(beneath).memory = memory_beneath;
        done
    }

    /// Its turn, for what that one has passed to it, is over.
    pub(crate) fn end_pass(&mut self, id: Id, beneath: Id) -> Option<u32> {
        let sent = std::mem::take(&mut self.body(beneath).memory);
        let sender = self.body(beneath).slot;
        let (kernel, slot, _) = self.parts(id);
        let replied = kernel.end_pass(sender, slot, &sent);
        self.body(beneath).memory = sent;
        replied
    }

    pub(crate) fn receive(&mut self, id: Id, from: Option<Pid>, room: u32) -> Result<u32, Status> {
        let (kernel, slot, memory) = self.parts(id);
        if let Some(from) = from {
            memory[TO as usize..][..PID_BYTES].copy_from_slice(&from.bits().to_le_bytes());
        }
        let from = if from.is_some() { TO } else { 0 };
        kernel.receive(slot, memory, from, (MESSAGE, room), ENVELOPE)
    }

    pub(crate) fn wait(&mut self, id: Id) -> Option<Result<u32, Status>> {
        let (kernel, slot, memory) = self.parts(id);
        kernel.wait(slot, memory)
    }

    /// To all of these.
    pub(crate) fn send_all(
        &mut self,
        id: Id,
        to: &[Pid],
        message: &[u8],
        all: bool,
    ) -> Result<(), Status> {
        let (kernel, slot, memory) = self.parts(id);
        memory[MESSAGE as usize..][..message.len()].copy_from_slice(message);
        kernel.send_all(slot, memory, to, (MESSAGE, message.len() as u32), (REPLY, 65_536), all)
    }

    /// It will lend this part of its memory.
    pub(crate) fn lend(&mut self, id: Id, part: (u32, u32), rights: u32) -> Result<(), Status> {
        let (kernel, slot, memory) = self.parts(id);
        kernel.lend(slot, memory, part, rights)
    }

    /// How much was lent with the message whose envelope it has.
    pub(crate) fn measure_lease(&mut self, id: Id) -> Result<(), Status> {
        let (kernel, slot, memory) = self.parts(id);
        kernel.measure_lease(slot, memory, ENVELOPE)
    }

    /// Reads from there, to where messages go.
    pub(crate) fn read_lease(&mut self, id: Id, offset: u32, len: u32) -> Result<(), Status> {
        let (kernel, slot, memory) = self.parts(id);
        kernel.read_lease(slot, memory, ENVELOPE, offset, (MESSAGE, len))
    }

    /// Writes there.
    pub(crate) fn write_lease(&mut self, id: Id, offset: u32, bytes: &[u8]) -> Result<(), Status> {
        let (kernel, slot, memory) = self.parts(id);
        memory[MESSAGE as usize..][..bytes.len()].copy_from_slice(bytes);
        kernel.write_lease(slot, memory, ENVELOPE, offset, (MESSAGE, bytes.len() as u32))
    }

    /// Does this at once to what was lent with the message whose envelope it has, with so many bytes where messages go, for that
    /// one waits beneath it.
    pub(crate) fn access_beneath(
        &mut self,
        id: Id,
        beneath: Id,
        what: (AccessKind, u32),
        len: u32,
    ) -> Option<Result<u32, Status>> {
        let pid = self.pid(beneath);
        let mut lent = std::mem::take(&mut self.body(beneath).memory);
        let (kernel, slot, memory) = self.parts(id);
        let lender = Lender { pid, memory: &mut lent };
        let done = kernel.access_beneath(slot, memory, ENVELOPE, what, (MESSAGE, len), lender);
        self.body(beneath).memory = lent;
        done
    }

    /// If it waits for a message, it does not any more.
    pub(crate) fn stop_receiving(&mut self, id: Id) -> Option<Result<u32, Status>> {
        let (kernel, slot, memory) = self.parts(id);
        if kernel.time_out(slot) { kernel.wait(slot, memory) } else { None }
    }

    /// Puts an envelope where replies take it from.
    pub(crate) fn keep(&mut self, id: Id, envelope: Envelope) {
        let at = ENVELOPE as usize;
        self.body(id).memory[at..at + Envelope::BYTES].copy_from_slice(&envelope.to_bytes());
    }

    pub(crate) fn reply(&mut self, id: Id, message: &[u8]) -> Result<(), Status> {
        let (kernel, slot, memory) = self.parts(id);
        memory[MESSAGE as usize..][..message.len()].copy_from_slice(message);
        kernel.reply(slot, memory, ENVELOPE, (MESSAGE, message.len() as u32))
    }

    pub(crate) fn forward(
        &mut self,
        id: Id,
        to: Pid,
        message: &[u8],
    ) -> Result<Option<Slot>, Status> {
        let (kernel, slot, memory) = self.parts(id);
        memory[TO as usize..][..PID_BYTES].copy_from_slice(&to.bits().to_le_bytes());
        memory[MESSAGE as usize..][..message.len()].copy_from_slice(message);
        kernel.forward(slot, memory, ENVELOPE, TO, (MESSAGE, message.len() as u32))
    }

    pub(crate) fn notify(&mut self, id: Id, to: Pid, bits: u64) {
        self.try_notify(id, to, bits).expect("little is on its way");
    }

    pub(crate) fn try_notify(&mut self, id: Id, to: Pid, bits: u64) -> Result<(), Status> {
        let (kernel, slot, memory) = self.parts(id);
        memory[TO as usize..][..PID_BYTES].copy_from_slice(&to.bits().to_le_bytes());
        kernel.notify(slot, memory, TO, bits)
    }

    pub(crate) fn end_call(
        &mut self,
        id: Id,
        to: Slot,
        outcome: Outcome<'_>,
    ) -> Result<u32, Status> {
        let (kernel, slot, memory) = self.parts(id);
        kernel.end_call(slot, to, outcome, memory)
    }

    /// A process ends.
    pub(crate) fn end(&mut self, id: Id) {
        self.end_with(id, EndReason::NORMAL);
    }

    pub(crate) fn end_with(&mut self, id: Id, reason: u64) {
        let body = self.bodies[id].take().expect("it lives");
        self.kernels[body.core].remove(body.slot, reason);
    }

    /// A process goes to another kernel.
    pub(crate) fn carry(&mut self, id: Id, to: usize) {
        self.carry_to(id, to, place(to));
    }

    /// The same, to a kernel that may be another node's.
    pub(crate) fn carry_to(&mut self, id: Id, to: usize, place: Place) {
        let body = self.bodies[id].as_mut().expect("it lives");
        let moving = self.kernels[body.core].extract(body.slot, place).expect("it is there");
        // As in an image.
        let moving = Moving::decode(&moving.encode(), MEMORY_BYTES).expect("it was made here");
        body.core = to;
        body.slot = self.kernels[to].adopt(moving).expect("it is nowhere else");
    }

    /// Who can go on, in order: pids of processes, and of handlers that can be called.
    pub(crate) fn woken(&mut self) -> Vec<(Pid, bool)> {
        let mut all = Vec::new();
        for kernel in &mut self.kernels {
            while let Some(woken) = kernel.next_woken() {
                let (slot, handler) = match woken {
                    Woken::Process(slot) => (slot, false),
                    Woken::Handler(slot) => (slot, true),
                    Woken::Kill(slot, _) => {
                        self.killed.extend(kernel.pid(slot));
                        continue;
                    }
                };
                all.extend(kernel.pid(slot).map(|pid| (pid, handler)));
            }
        }
        all
    }

    pub(crate) fn collect_packets(&mut self) {
        for kernel in &mut self.kernels {
            while let Some(mut packet) = kernel.next_packet() {
                if self.aims {
                    kernel.aim(&mut packet, |pid| core_of(&self.bodies, pid).map(place));
                }
                self.packets.push_back(*packet);
            }
        }
    }

    /// Delivers one packet. What has no target goes to whoever has the process: that is the host's to find out.
    pub(crate) fn deliver(&mut self, packet: Packet) {
        let (source, to) = (packet.source, packet.to);
        let target = packet.target.map(|place| place.core as usize);
        let target = target.or_else(|| core_of(&self.bodies, principal(to)));
        match target {
            Some(core) => self.kernels[core].arrived(packet),
            None => {
                let last = source.core as usize;
                let cores = self.kernels.len();
                let mut packet = Some(packet);
                for core in (1..=cores).map(|after| (last + after) % cores) {
                    packet = packet.and_then(|one| self.kernels[core].nobody(one, core == last));
                }
            }
        }
    }

    pub(crate) fn deliver_all(&mut self) {
        loop {
            self.collect_packets();
            let Some(packet) = self.packets.pop_front() else { return };
            self.deliver(packet);
        }
    }

    pub(crate) fn message(&mut self, id: Id, len: u32) -> Vec<u8> {
        self.body(id).memory[MESSAGE as usize..][..len as usize].to_vec()
    }

    pub(crate) fn answer(&mut self, id: Id, len: u32) -> Vec<u8> {
        self.body(id).memory[REPLY as usize..][..len as usize].to_vec()
    }

    /// From whom the last message was.
    pub(crate) fn sender(&mut self, id: Id) -> (Pid, u64) {
        let memory = &self.body(id).memory;
        Envelope::sender(memory[ENVELOPE as usize..].first_chunk().expect("it lies in the memory"))
    }
}
