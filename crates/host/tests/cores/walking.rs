//! Handlers that go from core to core all the time, at rest, asleep or parked, and become images, while others call them.

use std::time::{Duration, Instant};

use peripatos_abi::Pid;
use peripatos_host::cores::Sample;

use crate::desk::Dice;
use crate::programs::{ADD, PAIR_UP, PASS_ON, handler, program};
use crate::sleeping::{COUNT_ON, Dormitory, NOBODY};
use crate::support::PATIENCE;

/// A handler's: computes, replies with the word plus 7, and traps if one client's questions do not come in order, each
/// once. Keeps what each asks next by its pid.
const COUNT: &str = "
  ;; Its pid's number is in the upper half.
  (local.set $count (i32.add (i32.const 8192) (i32.shl (i32.and (i32.load (i32.const 4104)) (i32.const 1023)) (i32.const 2))))
  (if (i32.ne (i32.load (local.get $count)) (i32.load (i32.const 4128))) (then unreachable))
  (i32.store (local.get $count) (i32.add (i32.load (local.get $count)) (i32.const 1)))
  (local.set $r (i32.const 2000))
  (loop $compute
    (br_if $compute (local.tee $r (i32.sub (local.get $r) (i32.const 1)))))
  (i32.store (i32.const 4128) (i32.add (i32.load (i32.const 4128)) (i32.const 7)))
  (local.get $len)";

/// The same, whoever passes it on.
const ECHO: &str = "
  (local.set $r (i32.const 2000))
  (loop $compute
    (br_if $compute (local.tee $r (i32.sub (local.get $r) (i32.const 1)))))
  (i32.store (i32.const 4128) (i32.add (i32.load (i32.const 4128)) (i32.const 7)))
  (local.get $len)";

/// Asks so often for the sum of its word and its partner's, and exits with 42.
const PAIR_ON: &str = "
  (local.set $count (i32.const QUESTIONS))
  (loop $again
    (i32.store (i32.const 64) (local.get $count))
    (local.set $r (call $send (i32.const 16) (i32.const 64) (i32.const 4) (i32.const 80) (i32.const 4)))
    (if (i32.ne (local.get $r) (i32.const 4)) (then (call $exit (i32.sub (i32.const 0) (local.get $r)))))
    (if (i32.ne (i32.load (i32.const 80)) (i32.mul (local.get $count) (i32.const 2))) (then unreachable))
    (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
  (call $exit (i32.const 42))";

/// On one core they have nowhere to go. Each question is answered once: by one that counts, by one that asks another one
/// first, and by one that replies later.
#[test]
fn handlers_that_walk_miss_nothing_and_hear_nothing_twice() {
    for (cores, awake_max, freezes) in
        [(1, 6_000, false), (2, 6_000, false), (4, 6_000, true), (2, 0, true)]
    {
        let mut house = Dormitory::new(cores, awake_max);
        let counter = house.program(&handler(NOBODY, COUNT));
        let back = house.program(&handler(NOBODY, ECHO));
        let front = house.program(&handler(back, PASS_ON));
        let pairs = house.program(&handler(NOBODY, PAIR_UP));
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(house.program(&program(counter, COUNT_ON)));
            clients.push(house.program(&program(front, COUNT_ON)));
        }
        // They are partners: each waits for the other one.
        clients.extend([(); 2].map(|()| house.program(&program(pairs, PAIR_ON))));
        let servers = [counter, back, front, pairs];
        let begun = Instant::now();
        let mut dice = Dice(7);
        while clients.iter().any(|client| !house.ended.contains_key(client)) {
            let server = servers[dice.roll(4) as usize];
            let _ = house.cores.shift_handler(server, dice.roll(cores as u64) as usize);
            if freezes && dice.roll(4) == 0 {
                // Or it stands still already.
                let _ = house.cores.freeze(servers[dice.roll(4) as usize]);
            }
            house.pass(Duration::from_micros(50));
            assert!(begun.elapsed() < PATIENCE, "an answer that does not come");
        }
        for client in clients {
            assert_eq!(house.exit_code(client), 42, "{cores} cores");
        }
        assert_eq!(house.stopped > 0, freezes, "{}", house.stopped);
        for core in 0..cores {
            let is_here = |sample: &Sample| sample.pid == counter && sample.core == core;
            while !house.cores.sample().iter().any(is_here) {
                // It may just stand still.
                let _ = house.cores.shift_handler(counter, core);
                house.pass(Duration::from_millis(1));
                assert!(begun.elapsed() < PATIENCE, "a handler that does not come");
            }
        }
        house.wait_until(|samples| samples.len() == servers.len());
        for server in servers {
            house.cores.kill(server).unwrap();
            house.wait_until(|samples| samples.iter().all(|sample| sample.pid != server));
        }
    }
}

/// It goes where it is told, and is killed wherever it is by then.
#[test]
fn a_handler_is_killed_on_its_way() {
    let mut house = Dormitory::new(3, 6_000);
    for core in 0..50 {
        let server = house.program(&handler(NOBODY, ECHO));
        house.cores.shift_handler(server, core % 3).unwrap();
        house.cores.shift_handler(server, (core + 1) % 3).unwrap();
        house.cores.kill(server).unwrap();
        house.wait_until(|samples| samples.is_empty());
    }
    assert!(house.cores.shift_handler(Pid::new(1, 1), 0).is_err());
}

/// Asks two, and gives way, for ever.
fn asks_two(other: Pid) -> String {
    let bits = other.bits().to_le_bytes();
    let half = |at: usize| i64::from_le_bytes(bits[at..at + 8].try_into().unwrap());
    format!(
        "
  (i64.store (i32.const 32) (i64.const {}))
  (i64.store (i32.const 40) (i64.const {}))
  (loop $again
    (drop (call $send (i32.const 16) (i32.const 64) (i32.const 4) (i32.const 80) (i32.const 4)))
    (drop (call $send (i32.const 32) (i32.const 64) (i32.const 4) (i32.const 80) (i32.const 4)))
    (drop (call $yield))
    (br $again))",
        half(0),
        half(8)
    )
}

/// Who calls as many on this core as on that one goes nowhere by himself: each of a ring calls one server on either. All are brought
/// together, or parted in fewer places.
#[test]
fn those_who_talk_across_are_brought_together() {
    const COUNT: usize = 64;
    let mut house = Dormitory::new(2, 6_000);
    let servers: Vec<Pid> = (0..COUNT).map(|_| house.program(&handler(NOBODY, ADD))).collect();
    for (at, server) in servers.iter().enumerate() {
        house.cores.shift_handler(*server, at % 2).unwrap();
    }
    // Of how many pairs of neighbours one is on this core and one on that one.
    let apart = |samples: &[Sample]| {
        let core = |pid| samples.iter().find(|sample| sample.pid == pid).map(|sample| sample.core);
        let pairs = (0..COUNT).map(|at| (servers[at], servers[(at + 1) % COUNT]));
        pairs.filter(|(one, next)| core(*one) != core(*next)).count()
    };
    house.wait_until(|samples| apart(samples) == COUNT);
    let clients: Vec<Pid> = (0..COUNT)
        .map(|at| (servers[at], asks_two(servers[(at + 1) % COUNT])))
        .map(|(one, asks)| house.program(&program(one, &asks)))
        .collect();
    house.wait_until(|samples| apart(samples) <= COUNT / 2);
    clients.into_iter().for_each(|client| house.cores.kill(client).unwrap());
}
