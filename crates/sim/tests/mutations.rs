//! Kernels that do something wrong are found out: each mutation by one of these checkers, within so many seeds.

use peripatos_kernel::Mutation;
use peripatos_sim::{Config, Size, World};

/// Seeds until it has to be found.
const SEEDS: u64 = 400;

/// Who finds it. More than one may: which does first depends on the seed.
fn found_by(mutation: Mutation) -> &'static [&'static str] {
    match mutation {
        Mutation::NoDuplicateFilter | Mutation::NoHops => &["once", "lost", "truth", "replies"],
        Mutation::NoForwarder | Mutation::NoResend | Mutation::NoAnswerKept => &["truth", "ends"],
        Mutation::NobodyTold | Mutation::NoGivingUp => &["told", "ends"],
        Mutation::NothingForgotten => &["leaks"],
        Mutation::NoAcknowledgement => &["leaks"],
        Mutation::QueueLost => &["told", "truth"],
        Mutation::ClientsLost => &["truth", "lost", "told"],
        Mutation::NoWordOfLeaving => &["told", "ends"],
        Mutation::NoProbe => &["told"],
        Mutation::ProbeUnchecked => &["truth"],
        Mutation::AnyReply => &["replies", "truth", "once"],
        Mutation::WatchOnce => &["ends"],
    }
}

#[test]
fn each_is_found_out() {
    let (mut unseen, mut wrong) = (Vec::new(), Vec::new());
    for mutation in Mutation::ALL {
        let found = (1..=SEEDS).find_map(|seed| {
            let mut world = World::new(Config::new(seed, Size::Small), false);
            world.mutate(mutation);
            world.run().err()
        });
        match found {
            Some(found) => {
                println!("{mutation:?}: seed {}, {}: {}", found.seed, found.checker, found.what);
                if !found_by(mutation).contains(&found.checker) {
                    wrong.push((mutation, found.checker));
                }
            }
            None => unseen.push(mutation),
        }
    }
    assert!(wrong.is_empty(), "found by others than was thought: {wrong:?}");
    assert!(unseen.is_empty(), "nothing is found in {SEEDS} seeds of {unseen:?}");
}
