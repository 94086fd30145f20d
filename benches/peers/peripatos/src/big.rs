//! A hundred processes ping each other at random. Each asks, and has a handler that answers in its stead: who waits for
//! a reply cannot reply. An item is a ping and its answer.

use std::time::Instant;

use peripatos::{Error, Pid, send, spawn_fn};

use crate::gathering::{Gathering, belong, maker, sum, tell};
use crate::part::COUNTER;
use crate::{Done, servants};

const PROCESSES: u32 = 100;

fn asker((number, pings): (u32, u32)) {
    belong();
    let answers = servants::start(&[COUNTER]).expect("a servant");
    let mut all = [0; 16 * PROCESSES as usize];
    send(maker(), &answers.to_bytes(), &mut all).expect("all others");
    let all: Vec<[u8; 16]> = all.as_chunks().0.to_vec();
    let mut random = u64::from(number) + 1;
    for _ in 0..pings {
        // Xorshift (Marsaglia 2003).
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let other = Pid::from_bytes(all[(random % u64::from(PROCESSES)) as usize]);
        send(other, &1_u64.to_le_bytes(), &mut [0; 8]).expect("an answer");
    }
    tell(pings.into());
}

pub(crate) fn run(pings: u32) -> Result<Done, Error> {
    let each = pings.div_ceil(PROCESSES);
    for number in 0..PROCESSES {
        spawn_fn(asker, &(number, each))?;
    }
    let gathering = Gathering::<Pid>::of(PROCESSES)?;
    let answering: Vec<Pid> = gathering.all.iter().map(|(_, pid)| *pid).collect();
    let list: Vec<u8> = answering.iter().flat_map(|pid| pid.to_bytes()).collect();
    let begun = Instant::now();
    for (caller, _) in gathering.all {
        caller.reply(&list)?;
    }
    let total = sum(PROCESSES)?;
    let done = Done::since(begun, total);
    assert_eq!(total, u64::from(each * PROCESSES), "pings were lost");
    let mut answered = 0;
    for pid in answering {
        let mut count = [0; 8];
        send(pid, &0_u64.to_le_bytes(), &mut count)?;
        answered += u64::from_le_bytes(count);
        servants::dismiss(pid)?;
    }
    assert_eq!(answered, total, "pings were not answered");
    Ok(done)
}
