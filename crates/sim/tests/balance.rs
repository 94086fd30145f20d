//! The balance of a hundred nodes, in each workload: that it does what docs/balancing.md says, if less exactly.

use std::time::Duration;

use peripatos_sim::balance::{Config, Outcome, Report, Scheme, Workload, plot, simulate};

fn run(workload: Workload, seconds: u64) -> Report {
    let span = Duration::from_secs(seconds);
    simulate(Config { nodes: 100, processes: 2_000, workload, seed: 1, span }, |_| {})
}

fn of(report: &Report, scheme: Scheme) -> &Outcome {
    report.outcomes.iter().find(|one| one.scheme == scheme).expect("it was simulated")
}

#[test]
fn what_begins_on_few_nodes_is_even_and_each_moves_once() {
    // On the slowest node of `Unequal` there are about two, and more move twice.
    for (workload, gap, moves) in [(Workload::Skewed, 0.1, 1.3), (Workload::Unequal, 0.25, 1.5)] {
        let report = run(workload, 40);
        let own = report.own();
        assert!(own.gap() <= gap, "{workload:?}: {}", own.gap());
        assert!(own.moves_ratio() <= moves, "{workload:?}: {}", own.moves_ratio());
        assert!(own.last_moves_a_second() <= 1.0, "{workload:?}");
        let stealing = of(&report, Scheme::Stealing);
        assert!(own.gap() < stealing.gap(), "{workload:?}: {}", stealing.gap());
        let bytes = report.membership_bytes + own.bytes_a_second()[2];
        assert!(bytes <= 4_096.0, "{workload:?}: {bytes} bytes a second");
    }
}

#[test]
fn what_comes_and_goes_is_more_even_than_where_it_began() {
    let than = [
        (Workload::Pareto, Scheme::Random),
        (Workload::Churn, Scheme::Random),
        // Placed at random they would not begin on few nodes at all.
        (Workload::Bursts, Scheme::Stealing),
    ];
    for (workload, other) in than {
        let report = run(workload, 20);
        let (own, other) = (report.own().strain(), of(&report, other).strain());
        assert!(own < other, "{workload:?}: {own}, {other}");
    }
    let report = run(Workload::Wandering, 20);
    assert!(report.own().strain() < 15.0, "of a hundred: {}", report.own().strain());
}

#[test]
fn those_who_call_each_other_come_together() {
    let report = run(Workload::Talkers, 20);
    assert!(of(&report, Scheme::Random).apart() > 0.9);
    // Twos that are full stay apart: there is room for all, not for more.
    assert!(report.own().apart() < 0.6, "{}", report.own().apart());
}

#[test]
fn an_adversary_is_met_by_moving_each_about_once() {
    let report = run(Workload::Oscillating, 20);
    // A thousand have to move for each node to have as many of those that want a core now as of the others.
    assert!(report.own().moves() <= 2 * 1_000, "{}", report.own().moves());
    assert!(report.own().strain() < of(&report, Scheme::Stealing).strain());
}

#[test]
fn a_run_is_a_function_of_its_seed_and_can_be_drawn() {
    let drawn = || plot(&run(Workload::Skewed, 5));
    let svg = drawn();
    assert_eq!(svg, drawn());
    for part in ["<svg", "</svg>", "seconds", "% of the mean", "bytes a second", "two choices"] {
        assert!(svg.contains(part), "{part}");
    }
}
