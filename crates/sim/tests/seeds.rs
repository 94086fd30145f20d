//! The runs that every build makes. `cargo xtask sim` makes more.

use peripatos_sim::{Outcome, Size, run};

/// Runs a seed; what is found is said with how to see it again.
fn check(seed: u64, size: Size) -> Outcome {
    run(seed, size, false).unwrap_or_else(|found| {
        let large = if size == Size::Large { " --large" } else { "" };
        panic!("{found:?}\nagain: cargo run -p peripatos-sim -- --seed {seed}{large} --trace",)
    })
}

#[test]
fn nothing_is_found() {
    let outcomes: Vec<Outcome> = (1..=300).map(|seed| check(seed, Size::Small)).collect();
    // That nothing goes wrong is worth something only if something goes on.
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    assert!(sum(|outcome| outcome.replies) > 30_000);
    assert!(sum(|outcome| outcome.moves) > 15_000);
    assert!(sum(|outcome| outcome.forwards) > 3_000);
    assert!(sum(|outcome| outcome.ends) > 500);
    assert!(sum(|outcome| outcome.deadlocks) > 100);
    assert!(sum(|outcome| outcome.unreachable) > 10);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    for seed in [3, 7, 10, 21] {
        assert_eq!(check(seed, Size::Small), check(seed, Size::Small));
    }
    assert_ne!(check(3, Size::Small).hash, check(7, Size::Small).hash);
}
