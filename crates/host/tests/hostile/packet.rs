//! Packets of kernels, as they lie in messages and records between nodes: what a kernel makes of them, whoever has said them.

use peripatos_abi::message::Status;
use peripatos_abi::{EndReason, Pid};
use peripatos_kernel::{
    Access, AccessKind, Answer, Body, Bytes, Circle, Concern, Form, Kept, Kernel, Outcome, Packet,
    Place, Slot, Toll, Watch, Woken,
};

const MEMORY_BYTES: usize = 4_096;
const HERE: Place = Place { node: 1, core: 0 };
const THERE: Place = Place { node: 2, core: 0 };
const PACKETS_MAX: usize = 8;
const SECOND: u64 = 1_000_000_000;

fn pid(number: u64) -> Pid {
    Pid::new(number, number)
}

/// Of each kind, from a process that is elsewhere to one that is here.
pub(crate) fn valid() -> Vec<Vec<u8>> {
    let (transaction, hop, number) = (1, 0, 1);
    let bytes = Bytes::from(&b"bytes"[..]);
    let access = Access { kind: AccessKind::Write, lent: 1, offset: 0, len: 5 };
    let circle = Circle { pids: vec![pid(9)], len: 1 };
    let reply = |answer| Body::Reply { transaction, hop, answer };
    let send = Concern::Send { transaction, hop };
    let watch = |watch| Concern::Watch { watch, number };
    let bodies = [
        Body::Send { transaction, hop, message: bytes.clone() },
        Body::Ask { transaction, hop },
        reply(Answer::Replied(bytes.clone())),
        reply(Answer::Failed(Status::NoProcess)),
        reply(Answer::Forwarded { to: pid(2), message: bytes.clone() }),
        reply(Answer::Done(3)),
        Body::Over { transaction, hop },
        Body::Got(send),
        Body::Got(watch(Watch::Link)),
        Body::Got(Concern::Errand { number }),
        Body::NotHere { concern: send, at: Some(THERE) },
        Body::NotHere { concern: watch(Watch::Monitor), at: None },
        Body::NotHere { concern: Concern::Errand { number }, at: Some(HERE) },
        Body::Moved { at: THERE },
        Body::Notify { errand: 1, bits: 5 },
        Body::Watch { watch: Watch::Link, number, again: false },
        Body::Watch { watch: Watch::Monitor, number, again: true },
        Body::Unwatch { errand: 2, watch: Watch::Link, number, theirs: 1 },
        Body::Ended { reason: EndReason::NORMAL },
        Body::Ended { reason: EndReason::Killed.to_bits() },
        Body::Kill { errand: 3 },
        Body::Probe { origin: pid(9), token: transaction, edge: (1, 0), steps: 1, passed: circle },
        Body::Access { transaction, hop, access, bytes },
    ];
    // The last one's first delegate, too (`peripatos_kernel::principal`).
    let delegate = Pid::from_bits(pid(PROCESSES).bits() | 1 << 112);
    let mut all = Vec::new();
    for to in (1..=PROCESSES).map(pid).chain([delegate]) {
        let packet = |body: &Body| {
            let (source, target, body) = (THERE, Some(HERE), body.clone());
            let packet = Packet {
                source,
                target,
                from: pid(9),
                to,
                moved: 0,
                relays: 0,
                body,
                toll: Toll::default(),
            };
            postcard::to_stdvec(&packet).expect("it has a form")
        };
        let singles: Vec<Vec<u8>> = bodies.iter().map(packet).collect();
        // And each after each.
        let pairs =
            singles.iter().flat_map(|one| singles.iter().map(|two| [&one[..], two].concat()));
        all.extend(pairs);
    }
    all
}

/// Processes of the kernel: one that has sent to the one that is elsewhere and lends it something, one that receives, a handler, one
/// that watches it and is linked with it, and one that has sent to a group.
const PROCESSES: u64 = 5;

fn kernel() -> (Kernel, Vec<Slot>) {
    let mut kernel = Kernel::new(HERE, 0);
    let forms = [Form::Fiber, Form::Fiber, Form::Handler, Form::Fiber, Form::Fiber];
    let slots = (1..=PROCESSES).zip(forms);
    let slots: Vec<Slot> =
        slots.map(|(number, form)| kernel.add(pid(number), form).expect("a new pid")).collect();
    let mut memory = vec![0; MEMORY_BYTES];
    memory[16..32].copy_from_slice(&pid(9).bits().to_le_bytes());
    kernel.lend(slots[0], &mut memory, (2_000, 100), 3).expect("it lies in its memory");
    kernel.send(slots[0], &memory, 16, (0, 5), (1_000, 100)).expect("it waits");
    let waits = kernel.receive(slots[1], &mut memory, 0, (1_000, 500), 32);
    assert_eq!(waits, Err(Status::Wait));
    kernel.set_room(slots[2], 1_000);
    kernel.monitor(slots[3], pid(9)).expect("it may");
    kernel.link(slots[3], pid(9)).expect("it may");
    let members = [pid(9), pid(4)];
    kernel.send_all(slots[4], &memory, &members, (0, 5), (1_000, 500), true).expect("it waits");
    (kernel, slots)
}

/// As many packets as the bytes are.
pub(crate) fn check(mut bytes: &[u8]) {
    let mut packets = Vec::new();
    while packets.len() < PACKETS_MAX
        && let Ok((packet, rest)) = postcard::take_from_bytes::<Packet>(bytes)
    {
        let again = postcard::to_stdvec(&packet).expect("it has a form");
        assert_eq!(postcard::from_bytes::<Packet>(&again).as_ref(), Ok(&packet));
        packets.push(packet);
        bytes = rest;
    }
    packets.retain(|packet| packet.check().is_ok());
    if packets.is_empty() {
        return;
    }
    let (mut kernel, slots) = kernel();
    // They may come twice, and so may the word that nobody has whom they are for.
    for packet in packets.iter().chain(&packets) {
        kernel.arrived(packet.clone());
        serve(&mut kernel, &slots);
    }
    for packet in packets {
        let _ = kernel.nobody(packet, true);
    }
    for second in 1..=20 {
        kernel.tick(second * SECOND);
        serve(&mut kernel, &slots);
    }
    // Nothing of it is kept when all have ended, and time has passed.
    slots.iter().for_each(|slot| kernel.remove(*slot, EndReason::NORMAL));
    for second in 20..300 {
        kernel.tick(second * SECOND);
        serve(&mut kernel, &slots);
    }
    assert!(kernel.is_empty());
    assert_eq!(kernel.kept(), Kept::default());
}

/// Whoever can go on does, and replies to what it has got.
fn serve(kernel: &mut Kernel, slots: &[Slot]) {
    let mut memory = vec![0; MEMORY_BYTES];
    let mut steps = 0;
    while let Some(woken) = kernel.next_woken() {
        steps += 1;
        assert!(steps < 1_000, "it does not stop");
        let (Woken::Process(slot) | Woken::Handler(slot) | Woken::Kill(slot, _)) = woken;
        let known = slots.contains(&slot) || kernel.pid(slot).is_none();
        assert!(known, "{woken:?}: its host knows of no such process");
        match woken {
            Woken::Process(slot) => {
                let Some(Ok(_)) = kernel.wait(slot, &mut memory) else { continue };
                let _ = kernel.reply(slot, &memory, 32, (0, 10));
                let _ = kernel.receive(slot, &mut memory, 0, (1_000, 500), 32);
            }
            Woken::Handler(slot) => {
                let mut buffer = [0; 1_000];
                if kernel.next_call(slot, &mut buffer).is_some() {
                    kernel.finish_call(slot, Outcome::Replied(b"reply"));
                }
            }
            Woken::Kill(slot, _) => kernel.remove(slot, EndReason::Killed.to_bits()),
        }
    }
    for _ in 0..1_000 {
        if kernel.next_packet().is_none() {
            return;
        }
    }
    panic!("it does not stop talking");
}
