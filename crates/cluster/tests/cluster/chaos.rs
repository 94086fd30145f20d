//! Random orders of everything: messages, reports, cuts, deaths, commands. A run is a function of its seed.

use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::Request;
use peripatos_cluster::message::{Command, Hold};

use crate::world::{World, id};

const NODES: usize = 4;
const PROCESSES: u64 = 6;
const STEPS: usize = 3_000;
const SEEDS: u64 = 60;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

#[test]
fn a_process_runs_once_or_not_at_all_whatever_happens() {
    let mut survivors = 0;
    for seed in 0..SEEDS {
        // Half of the runs are without deaths: there every process must be left.
        let deaths = seed % 2 == 1;
        let (mut world, pids) = run(seed, deaths);
        world.link_all();
        world.live(60);
        for pid in &pids {
            let place = world.place(*pid);
            assert!(deaths || place.is_some(), "seed {seed}: {pid} is lost");
            survivors += usize::from(place.is_some());
        }
        let standing: usize = world.hosts.iter().flatten().map(|host| host.frozen.len()).sum();
        assert_eq!(standing, 0, "seed {seed}: a process stands still though all can speak");
        let idle = world.hosts.iter().flatten().all(|host| host.awaited.is_empty());
        assert!(idle, "seed {seed}: a program is waited for that nobody sends");
    }
    assert!(survivors > 0);
}

fn run(seed: u64, deaths: bool) -> (World, Vec<Pid>) {
    let mut random = Random(seed);
    let mut world = World::new(NODES);
    let pids: Vec<Pid> =
        (1..=PROCESSES).map(|number| world.spawn(random.below(NODES), number)).collect();
    for _ in 0..STEPS {
        let (a, b) = (random.below(NODES), random.below(NODES));
        match random.below(100) {
            0..60 => {
                world.deliver(a, b);
            }
            60..85 => {
                world.report(a);
            }
            85..92 => world.pass(Duration::from_millis(50)),
            92..95 => {
                let pid = pids[random.below(pids.len())];
                let hold = Hold::For(500);
                if world.hosts[a].is_some() && a != b {
                    let command = Command::Migrate { pid, to: id(b), hold };
                    world.ask(a, Request::Command { node: id(a), command });
                }
            }
            95 | 96 if a != b => world.cut(a, b),
            97 | 98 if a != b => world.link(a, b),
            99 if deaths && random.below(4) == 0 => {
                world.kill(a);
                world.start(a);
            }
            _ => {}
        }
        for pid in &pids {
            world.place(*pid);
        }
    }
    (world, pids)
}
