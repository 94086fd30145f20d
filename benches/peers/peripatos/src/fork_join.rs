//! Fork and join. *Create*: processes that do next to nothing are made, tell so and end; an item is one of them.
//! *Throughput*: messages go to sixty counters in turn; an item is one of them.

use std::time::Instant;

use peripatos::{Error, Pid, send, spawn_fn};

use crate::gathering::{sum, tell};
use crate::part::COUNTER;
use crate::{Done, servants};

/// Processes that are there at a time.
const WAVE: u32 = 500;
const COUNTERS: u32 = 60;

fn child(number: u32) {
    tell(u64::from(number) + 1);
}

pub(crate) fn create(processes: u32) -> Result<Done, Error> {
    let begun = Instant::now();
    let (mut left, mut total) = (processes, 0);
    while left > 0 {
        let wave = left.min(WAVE);
        for number in 0..wave {
            spawn_fn(child, &(left - wave + number))?;
        }
        total += sum(wave)?;
        left -= wave;
    }
    let count = u64::from(processes);
    let done = Done::since(begun, count);
    assert_eq!(total, count * (count + 1) / 2, "some are lost");
    Ok(done)
}

pub(crate) fn throughput(messages: u32) -> Result<Done, Error> {
    let counters: Vec<Pid> =
        (0..COUNTERS).map(|_| servants::start(&[COUNTER])).collect::<Result<_, _>>()?;
    let (each, mut total, mut count) = (messages.div_ceil(COUNTERS), 0, [0; 8]);
    let begun = Instant::now();
    for round in 1..=each {
        for counter in &counters {
            send(*counter, &1_u64.to_le_bytes(), &mut count)?;
            total += u64::from(u64::from_le_bytes(count) == u64::from(round));
        }
    }
    let done = Done::since(begun, total);
    assert_eq!(total, u64::from(each * COUNTERS), "messages were lost");
    counters.into_iter().try_for_each(servants::dismiss)?;
    Ok(done)
}
