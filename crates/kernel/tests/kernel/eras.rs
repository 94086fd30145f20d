//! A node that starts again: its new kernels are where others have known those before.

use peripatos_abi::message::Envelope;
use peripatos_kernel::{Form, Kernel, Place};

use crate::world::{ENVELOPE, TO, World};

/// Each era's first word has the same count, and is another one.
#[test]
fn what_a_kernel_says_after_it_began_again_is_not_taken_for_what_was_said_before() {
    let mut world = World::new(2);
    let far = Place { node: 2, core: 1 };
    let receiver = world.add(0, Form::Fiber);
    let to = world.pid(receiver).bits().to_le_bytes();
    for era in [7, 8, 0] {
        world.kernels[1] = Kernel::new(far, era);
        let sender = world.add(1, Form::Fiber);
        let body = world.body(sender);
        body.memory[TO as usize..][..16].copy_from_slice(&to);
        let (slot, memory) = (body.slot, body.memory.clone());
        let bits = 1 << era;
        assert_eq!(world.kernels[1].notify(slot, &memory, TO, bits), Ok(()));
        world.deliver_all();
        assert_eq!(world.receive(receiver, None, 0), Ok(0), "era {era}");
        let envelope = &world.body(receiver).memory[ENVELOPE as usize..];
        let (_, heard) = Envelope::sender(envelope.first_chunk().expect("it is as long"));
        assert_eq!(heard, bits);
    }
}
