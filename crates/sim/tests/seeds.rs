//! The runs that every build makes. `cargo xtask sim` makes more.

use peripatos_sim::{Level, Outcome, Size, again, run};

/// Runs a seed; what is found is said with how to see it again.
fn check(seed: u64, level: Level) -> Outcome {
    run(seed, Size::Small, level, false)
        .unwrap_or_else(|found| panic!("{found:?}\nagain: {}", again(seed, Size::Small, level)))
}

#[test]
fn nothing_is_found() {
    let outcomes: Vec<Outcome> = (1..=300).map(|seed| check(seed, Level::Kernels)).collect();
    // That nothing goes wrong is worth something only if something goes on.
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    assert!(sum(|outcome| outcome.replies) > 30_000);
    assert!(sum(|outcome| outcome.moves) > 15_000);
    assert!(sum(|outcome| outcome.forwards) > 3_000);
    assert!(sum(|outcome| outcome.ends) > 500);
    assert!(sum(|outcome| outcome.deadlocks) > 100);
    assert!(sum(|outcome| outcome.unreachable) > 10);
    assert!(sum(|outcome| outcome.accesses) > 1_000);
    assert!(sum(|outcome| outcome.gathered) > 1_000);
    assert!(sum(|outcome| outcome.woken) > 3_000);
}

#[test]
fn nothing_is_found_of_nodes() {
    let outcomes: Vec<Outcome> = (1..=100).map(|seed| check(seed, Level::Nodes)).collect();
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    assert!(sum(|outcome| outcome.replies) > 10_000);
    assert!(sum(|outcome| outcome.moves) > 5_000);
    assert!(sum(|outcome| outcome.ends) > 100);
    assert!(sum(|outcome| outcome.names_lost) > 50);
    assert!(sum(|outcome| outcome.accesses) > 300);
    assert!(sum(|outcome| outcome.gathered) > 300);
    assert!(sum(|outcome| outcome.woken) > 1_000);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    for level in [Level::Kernels, Level::Nodes] {
        for seed in [3, 7, 10, 21] {
            assert_eq!(check(seed, level), check(seed, level));
        }
        assert_ne!(check(3, level).hash, check(7, level).hash);
    }
}
