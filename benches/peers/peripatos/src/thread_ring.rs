//! A token goes round a ring of processes, each of which forwards it to the next. An item is a hop.

use std::time::Instant;

use peripatos::{Error, Pid, end, receive, send, spawn_fn};

use crate::Done;

const RING: usize = 100;

/// Learns who is next, then hands tokens on. Where a token has no hops left, the reply goes to whoever sent it.
fn link_of_ring(_: ()) {
    let mut buffer = [0; 32];
    let first = receive(&mut buffer).expect("a message").message().expect("whom to hand it on to");
    let next: Pid = first.decode().expect("a pid");
    first.reply(&[]).expect("one who waits");
    loop {
        let Some(token) = receive(&mut buffer).expect("a message").message() else { continue };
        let hops = token.bytes.try_into().map(u64::from_le_bytes).expect("a number");
        match hops.checked_sub(1) {
            None => token.caller.reply(&Pid::own().to_bytes()).expect("one who waits"),
            Some(left) => token.caller.forward(next, &left.to_le_bytes()).expect("the next"),
        }
    }
}

pub(crate) fn run(hops: u32) -> Result<Done, Error> {
    let ring: Vec<Pid> =
        (0..RING).map(|_| spawn_fn(link_of_ring, &())).collect::<Result<_, _>>()?;
    for (at, link) in ring.iter().enumerate() {
        send(*link, &ring[(at + 1) % RING].to_bytes(), &mut [])?;
    }
    let mut last = [0; 16];
    let begun = Instant::now();
    send(ring[0], &u64::from(hops).to_le_bytes(), &mut last)?;
    let done = Done::since(begun, hops.into());
    assert_eq!(last, ring[hops as usize % RING].to_bytes(), "it ended elsewhere");
    ring.into_iter().try_for_each(end)?;
    Ok(done)
}
