//! Philosophers at a round table, each with a fork of its own beside it. An item is a meal: both forks are taken, the one
//! with the lower number first, and given back. Between meals a philosopher gives way to others.

use std::thread::yield_now;
use std::time::Instant;

use peripatos::{Error, Pid, send, spawn_fn};
use serde::{Deserialize, Serialize};

use crate::gathering::{Gathering, belong, maker, tell};
use crate::part::{FORK, GIVE, TAKE, USES};
use crate::{Done, servants};

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Seat {
    number: u32,
    of: u32,
    meals: u32,
}

fn philosopher(Seat { number, of, meals }: Seat) {
    belong();
    let own = servants::start(&[FORK]).expect("a fork");
    let mut next = [0; 16];
    let said = [&number.to_le_bytes()[..], &own.to_bytes()].concat();
    send(maker(), &said, &mut next).expect("the next one's fork");
    let next = Pid::from_bytes(next);
    let forks = if number + 1 == of { [next, own] } else { [own, next] };
    for _ in 0..meals {
        ask(forks[0], TAKE);
        ask(forks[1], TAKE);
        ask(forks[1], GIVE);
        ask(forks[0], GIVE);
        yield_now();
    }
    tell(meals.into());
}

fn ask(fork: Pid, what: u8) {
    send(fork, &[what], &mut []).expect("a fork");
}

pub(crate) fn run(philosophers: u32, meals_each: u32) -> Result<Done, Error> {
    for number in 0..philosophers {
        spawn_fn(philosopher, &Seat { number, of: philosophers, meals: meals_each })?;
    }
    let mut seated = Gathering::<([u8; 4], Pid)>::of(philosophers)?.all;
    seated.sort_by_key(|(_, (number, _))| u32::from_le_bytes(*number));
    let forks: Vec<Pid> = seated.iter().map(|(_, (_, fork))| *fork).collect();
    let begun = Instant::now();
    for (at, (caller, _)) in seated.into_iter().enumerate() {
        caller.reply(&forks[(at + 1) % forks.len()].to_bytes())?;
    }
    let told = Gathering::<[u8; 8]>::of(philosophers)?.all;
    let meals = told.iter().map(|(_, meals)| u64::from_le_bytes(*meals)).sum();
    let done = Done::since(begun, meals);
    // How they leave is not measured.
    told.into_iter().try_for_each(|(caller, _)| caller.reply(&[]))?;
    assert_eq!(meals, u64::from(philosophers) * u64::from(meals_each), "somebody is hungry");
    for fork in forks {
        let mut uses = [0; 8];
        send(fork, &[USES], &mut uses)?;
        servants::dismiss(fork)?;
        assert_eq!(u64::from_le_bytes(uses), 2 * u64::from(meals_each), "a fork counts otherwise");
    }
    Ok(done)
}
