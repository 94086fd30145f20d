//! Kernels and nodes that do something wrong are found out: each mutation by one of these checkers, within so many seeds.

use peripatos_kernel::Mutation;
use peripatos_sim::{Config, Lapse, Level, NodeMutation, Size, Violation, World};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// Seeds until it has to be found.
const SEEDS: u64 = 3_000;

/// Who finds it. More than one may: which does first depends on the seed.
fn found_by(mutation: Mutation) -> &'static [&'static str] {
    match mutation {
        Mutation::NoDuplicateFilter | Mutation::NoHops => &["once", "lost", "truth", "replies"],
        Mutation::NoForwarder => &["truth", "ends"],
        Mutation::NoResend | Mutation::NoAnswerKept => &["truth", "ends", "told"],
        Mutation::AnswersEndToo => &["truth"],
        Mutation::NobodyTold | Mutation::NoGivingUp => &["told", "ends"],
        Mutation::NothingForgotten => &["leaks"],
        Mutation::NoAcknowledgement => &["leaks"],
        Mutation::QueueLost => &["told", "truth"],
        Mutation::ClientsLost => &["truth", "lost", "told"],
        Mutation::NoWordOfLeaving => &["told", "ends"],
        Mutation::NoProbe => &["told"],
        Mutation::ProbeUnchecked => &["truth"],
        Mutation::DebtsForgotten => &["told", "truth", "lost"],
        Mutation::AnyReply => &["replies", "truth", "once", "limits", "leases"],
        Mutation::WatchOnce => &["ends"],
        Mutation::PassedNotKept => &["told", "truth"],
        // It replies to the next one instead.
        Mutation::ServedForgotten => &["told", "truth", "replies", "leases"],
        Mutation::LeaseOutlives | Mutation::WriteUnseen => &["leases"],
        // It asks after what nobody knows of.
        Mutation::WantedLost => &["told", "leases"],
        // A kernel's state is checked on its way to another node.
        Mutation::DelegatesLeft => &["told", "groups", "truth", "limits"],
        Mutation::MemberUncounted => &["told"],
        Mutation::NameKept | Mutation::LoserUntold | Mutation::NamesNotCompared => &["names"],
    }
}

/// The same, of nodes.
fn found_in_nodes_by(mutation: NodeMutation) -> &'static [&'static str] {
    match mutation {
        NodeMutation::RunsUncommitted
        | NodeMutation::DroppedAtCommit
        | NodeMutation::DoubtGoesOn
        | NodeMutation::OutcomeForgotten => &["copies"],
        NodeMutation::DoubtNotAsked => &["copies", "told", "ends"],
        // Two copies talk, or one that stands still is missed, before they are counted.
        NodeMutation::MovesOnUnheard => &["copies", "leaks", "ends", "truth", "once", "replies"],
        NodeMutation::GoneIgnored => &["copies", "told", "names", "ends", "origins", "tables"],
        NodeMutation::OutcomeKept | NodeMutation::EndNotRepeated => &["tables", "origins"],
        // A link of one that goes on may be what shows it first.
        NodeMutation::FamilyGoesOn | NodeMutation::BirthUntold | NodeMutation::KillForgotten => {
            &["families", "ends"]
        }
        NodeMutation::LossUnnoticed => &["origins", "tables", "families"],
        NodeMutation::UnmetIgnored => &["truth", "ends", "leases"],
        // A packet may go round until there is no room for more.
        NodeMutation::NeverDoubtful => &["truth", "ends"],
        NodeMutation::SoughtIgnored => &["truth", "ends", "told"],
        // Who lives is called ended.
        NodeMutation::NotKnownBelieved => &["truth", "ends"],
        // Or packets wait for ever where it is not.
        NodeMutation::HintBelieved => &["truth", "ends", "told", "tables"],
        NodeMutation::NamesOutlive => &["names"],
        // Who lives where there is no link is called ended.
        NodeMutation::LinkedAreAll => &["truth", "ends"],
        NodeMutation::PartedUnheard => &["told"],
        // Two copies, or what only one of two could have done.
        NodeMutation::NotFenced => &["copies", "told", "names", "truth", "families", "leases"],
        // See below.
        NodeMutation::DirectoryWrong | NodeMutation::NothingKept | NodeMutation::ExpiredHeard => {
            &[]
        }
    }
}

#[test]
fn each_is_found_out() {
    check(
        &Mutation::ALL,
        |seed, mutation| {
            let mut world = World::new(Config::new(seed, Size::Small, Level::Kernels), false);
            world.mutate(mutation);
            world.run().err()
        },
        found_by,
    );
}

/// Who drives the kernels puts processes to sleep.
#[test]
fn each_lapse_of_sleep_is_found_out() {
    let run = |level| {
        move |seed, lapse| {
            let mut world = World::new(Config::new(seed, Size::Small, level), false);
            world.mutate_hosts(lapse);
            world.run().err()
        }
    };
    let by = |lapse| -> &'static [&'static str] {
        match lapse {
            Lapse::NotWoken => &["sleep", "told", "leaks"],
            Lapse::OldImage => &["sleep"],
            // What was for it is gone when it has its memory.
            Lapse::NotThawed => &["sleep", "truth", "told", "leases"],
        }
    };
    check(&Lapse::ALL, run(Level::Kernels), by);
    check(&Lapse::ALL, run(Level::Nodes), by);
}

/// Of nodes; of every second seed one where many moves, broken links and crashes meet, for some show only there.
fn stormy(seed: u64) -> Config {
    let mut config = Config::new(seed, Size::Small, Level::Nodes);
    if seed.is_multiple_of(2) {
        config.move_every = 20 * MS;
        config.break_every = SECOND;
        config.faults.crashes = config.faults.crashes.max(config.cores.len() - 1);
    }
    config
}

/// Of nodes; of every second seed one where nodes part and meet again, and processes move all the while: names are in dispute.
fn divided(seed: u64) -> Config {
    let mut config = Config::new(seed, Size::Small, Level::Nodes);
    if seed.is_multiple_of(2) {
        config.move_every = 5 * MS;
        config.break_every = 300 * MS;
        (config.faults.partitions, config.faults.crashes) = (12, 0);
    }
    config
}

#[test]
fn each_of_names_is_found_out() {
    check(
        &Mutation::OF_NAMES,
        |seed, mutation| {
            let mut world = World::new(divided(seed), false);
            world.mutate_names(mutation);
            world.run().err()
        },
        found_by,
    );
}

#[test]
fn each_of_nodes_is_found_out() {
    check(
        &NodeMutation::ALL,
        |seed, mutation| {
            let mut world = World::new(stormy(seed), false);
            world.mutate_nodes(mutation);
            world.run().err()
        },
        found_in_nodes_by,
    );
}

/// What the directory says is a hint. And a packet that is not kept for one that stands still costs time: it is looked for, nobody
/// denies having it, and its sender says it again. Whoever would be refused since its lease has expired has ended before.
#[test]
fn a_wrong_directory_and_packets_not_kept_do_no_harm() {
    for (seed, mutation) in (1..=300).flat_map(|seed| NodeMutation::HARMLESS.map(|one| (seed, one)))
    {
        let mut world = World::new(Config::new(seed, Size::Small, Level::Nodes), false);
        world.mutate_nodes(mutation);
        let found = world.run().err();
        assert!(found.is_none(), "{mutation:?}: {found:?}");
    }
}

/// Runs seeds until each mutation is found by who should find it.
fn check<M: Copy + std::fmt::Debug>(
    all: &[M],
    run: impl Fn(u64, M) -> Option<Violation>,
    by: fn(M) -> &'static [&'static str],
) {
    let (mut unseen, mut wrong) = (Vec::new(), Vec::new());
    for mutation in all.iter().copied() {
        match (1..=SEEDS).find_map(|seed| run(seed, mutation)) {
            Some(found) => {
                println!("{mutation:?}: seed {}, {}: {}", found.seed, found.checker, found.what);
                if !by(mutation).contains(&found.checker) {
                    wrong.push((mutation, found.checker));
                }
            }
            None => unseen.push(mutation),
        }
    }
    assert!(wrong.is_empty(), "found by others than was thought: {wrong:?}");
    assert!(unseen.is_empty(), "nothing is found in {SEEDS} seeds of {unseen:?}");
}
