//! Membership alone: what must hold of sixty members.

use std::time::Duration;

use peripatos_cluster::membership::Timing;
use peripatos_sim::members::{Config, World, measure};

const MEMBERS: usize = 60;
const SETTLES: Duration = Duration::from_secs(3);

fn timing() -> Timing {
    Timing::of(Duration::from_secs(3))
}

fn config(seed: u64, loss: u64) -> Config {
    Config { members: MEMBERS, seed, loss, timing: timing() }
}

fn world(seed: u64, loss: u64) -> World {
    let mut world = World::new(config(seed, loss));
    world.run_for(SETTLES);
    world
}

#[test]
fn joins_reach_everybody_within_four_periods() {
    for seed in 1..=5 {
        let mut world = world(seed, 0);
        for _ in 0..10 {
            let new = world.join();
            world.watch(new, true);
            let told = world.run_until(4 * timing().probe_every, |world| world.untold() == 0);
            assert!(told.is_some(), "seed {seed}: {} have not been told", world.untold());
        }
        assert!(world.agrees() && world.false_deaths() == 0, "seed {seed}");
    }
}

/// From the first who is told until the last is: what the network takes. Until the first is: who asks is drawn by lot, so that this
/// has no bound; twenty periods are rarely not enough.
#[test]
fn a_death_is_told_to_everybody_within_four_periods() {
    let period = timing().probe_every;
    for seed in 1..=10 {
        let mut world = world(seed, 0);
        let dying = world.any_running();
        world.watch(dying, false);
        let died = world.now();
        world.kill(dying);
        assert!(world.run_until(20 * period, |world| world.first_told().is_some()).is_some());
        let first = world.first_told().unwrap() - died;
        assert!(first >= timing().suspected_for, "seed {seed}: told after {first:?}");
        let all = world.run_until(4 * period, |world| world.untold() == 0);
        assert!(all.is_some(), "seed {seed}: {} have not been told", world.untold());
        assert!(world.agrees() && world.false_deaths() == 0, "seed {seed}");
    }
}

#[test]
fn who_leaves_is_known_to_have_left_at_once() {
    let mut world = world(1, 0);
    let leaving = world.any_running();
    world.watch(leaving, false);
    world.leave(leaving);
    let all = world.run_until(4 * timing().probe_every, |world| world.untold() == 0);
    assert!(all.is_some(), "{} have not been told", world.untold());
    world.run_for(Duration::from_secs(10));
    assert!(world.agrees(), "it does not come back");
}

#[test]
fn with_lost_datagrams_nobody_is_dead_by_mistake() {
    for seed in 1..=5 {
        let mut world = world(seed, 50);
        world.run_for(Duration::from_secs(60));
        assert_eq!(world.false_deaths(), 0, "seed {seed}");
        // Who contradicts a suspicion is not told that it counts as dead.
        assert_eq!(world.rejoins(), 0, "seed {seed}");
        let dying = world.any_running();
        world.kill(dying);
        world.run_for(Duration::from_secs(5));
        assert!(world.agrees(), "seed {seed}: the one that has died, and nobody else");
    }
    // With every second one lost it happens, and they come back.
    let mut world = world(1, 500);
    world.run_for(Duration::from_secs(60));
    assert!(world.false_deaths() > 0, "a test of those who come back needs some");
    assert!(world.rejoins() > 0);
    let agrees = world.run_until(Duration::from_secs(60), World::agrees);
    assert!(agrees.is_some(), "the living are counted as alive again");
}

#[test]
fn who_stood_still_is_dead_for_the_others_and_comes_back() {
    for seed in 1..=5 {
        let mut world = world(seed, 0);
        let slow = world.any_running();
        world.watch(slow, false);
        world.pause(slow);
        world.run_for(Duration::from_secs(10));
        assert_eq!(world.untold(), 0, "seed {seed}: ten seconds are death");
        world.watch(slow, true);
        world.resume(slow);
        let back = world.run_until(Duration::from_secs(3), |world| world.untold() == 0);
        assert!(back.is_some(), "seed {seed}: {} have not been told", world.untold());
        world.run_for(Duration::from_secs(3));
        // It has declared nobody dead for what it did not hear.
        assert!(world.agrees() && world.false_deaths() == 0, "seed {seed}");
    }
}

/// Shorter than a suspicion lasts: who stands still for a moment has nothing to explain.
#[test]
fn who_stands_still_for_a_second_is_not_dead() {
    let mut world = world(7, 0);
    for _ in 0..20 {
        let slow = world.any_running();
        world.pause(slow);
        world.run_for(Duration::from_secs(1));
        world.resume(slow);
        world.run_for(Duration::from_secs(1));
    }
    assert!(world.agrees() && world.false_deaths() == 0 && world.rejoins() == 0);
}

/// One stands still for a moment, and is suspected; then all do, as when a machine with all of them is halted. Nobody has had the time
/// to contradict that the clock says.
#[test]
fn time_in_which_all_stood_still_kills_nobody() {
    for seed in 1..=5 {
        let mut world = world(seed, 0);
        let slow = world.any_running();
        world.pause(slow);
        world.run_for(Duration::from_millis(800));
        (0..MEMBERS).for_each(|index| world.pause(index));
        world.run_for(Duration::from_secs(10));
        (0..MEMBERS).for_each(|index| world.resume(index));
        world.run_for(Duration::from_secs(5));
        assert_eq!(world.false_deaths(), 0, "seed {seed}");
        assert!(world.agrees(), "seed {seed}");
    }
}

#[test]
fn two_halves_heal() {
    // Also where nobody is left on one side but one, or on each.
    for (members, seed) in [(MEMBERS, 1), (MEMBERS, 2), (MEMBERS, 3), (3, 4), (2, 5), (2, 6)] {
        let mut world = World::new(Config { members, ..config(seed, 0) });
        world.run_for(SETTLES);
        world.part(|index| u8::from(index < members / 2));
        world.run_for(Duration::from_secs(30));
        assert!(world.agrees(), "seed {seed}: each half is a cluster of its own");
        assert_eq!(world.false_deaths(), 0, "seed {seed}");
        world.part(|_| 0);
        let healed = world.run_until(Duration::from_secs(10), World::agrees);
        assert!(healed.is_some(), "seed {seed}: all are one cluster again");
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let run = |seed| format!("{}", measure(Config { members: 20, ..config(seed, 50) }, 3));
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
