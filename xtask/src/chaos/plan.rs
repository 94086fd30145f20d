//! What goes wrong, and when: a function of the seed alone, so that a run can be made again as far as machines allow.
//!
//! At most two machines are disturbed at a time, and each has a while of peace afterwards: with all of them gone there would
//! be nothing left to be right.

use super::random::Random;
use std::fmt;
use std::time::Duration;

/// Machines that may be disturbed at the same time.
pub(super) const DISTURBED_MAX: usize = 2;
/// How long a machine is left alone after its disturbance: time to come back, and to be given something.
const PEACE: Duration = Duration::from_secs(6);
/// Faults end so long before the end of the run, except that its load has ended as well.
const BEFORE_END: Duration = Duration::from_secs(5);

/// What happens to a machine, or to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// `kill -9`; then it comes back under its name.
    Kill,
    /// `kill -9`; then an operator says that it is gone, and another node takes its place.
    Replace,
    /// SIGSTOP, SIGCONT.
    Pause,
    /// `peri drain`, and `--off`.
    Drain,
    /// SIGTERM: it sends away what it has and ends; then it joins again.
    Terminate,
    /// `peri down`; then it joins again.
    Down,
    /// Its cable is pulled, and plugged in again.
    Cut,
    /// With one other it is on a network of its own.
    Split {
        /// The other machine.
        with: usize,
    },
    /// Nothing that it sends arrives; it hears the others.
    Mute,
    /// Its line is slow and loses packets.
    BadLine,
}

/// One fault of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// Since the beginning of the run.
    pub(super) at: Duration,
    pub(super) lasts: Duration,
    pub(super) machine: usize,
    pub(super) fault: Fault,
}

impl Planned {
    /// Those that it disturbs.
    pub(super) fn machines(&self) -> impl Iterator<Item = usize> {
        let other = match self.fault {
            Fault::Split { with } => Some(with),
            _ => None,
        };
        std::iter::once(self.machine).chain(other)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Kill => "kill",
            Fault::Replace => "replace",
            Fault::Pause => "pause",
            Fault::Drain => "drain",
            Fault::Terminate => "terminate",
            Fault::Down => "down",
            Fault::Cut => "cut",
            Fault::Split { .. } => "split",
            Fault::Mute => "mute",
            Fault::BadLine => "bad line",
        })
    }
}

/// The faults of a run of this length among so many machines, in the order in which they begin. `network`: machines have
/// cables that can be pulled.
pub(super) fn plan(seed: u64, run: Duration, machines: usize, network: bool) -> Vec<Planned> {
    let mut random = Random::new(seed, 1);
    let mut planned: Vec<Planned> = Vec::new();
    let mut at = Duration::from_secs(3);
    loop {
        at += random.time_ms(500, 5000);
        if at >= run {
            return planned;
        }
        let is_free = |machine: &usize| {
            planned.iter().all(|one| {
                one.machines().all(|other| other != *machine) || one.at + one.lasts + PEACE < at
            })
        };
        let free: Vec<usize> = (0..machines).filter(is_free).collect();
        let room = (DISTURBED_MAX + free.len()).saturating_sub(machines);
        if room == 0 {
            continue;
        }
        let machine = *random.one_of(&free);
        let others: Vec<usize> = free.iter().copied().filter(|free| *free != machine).collect();
        let fault = fault(&mut random, network, if room > 1 { &others } else { &[] });
        let lasts = lasts(&mut random, fault);
        if at + lasts + BEFORE_END < run {
            planned.push(Planned { at, lasts, machine, fault });
        }
    }
}

fn fault(random: &mut Random, network: bool, others: &[usize]) -> Fault {
    let nodes =
        [Fault::Kill, Fault::Replace, Fault::Pause, Fault::Drain, Fault::Terminate, Fault::Down];
    let cables = [Fault::Cut, Fault::Cut, Fault::Mute, Fault::BadLine];
    if network && random.below(2) == 0 {
        match others {
            [_, ..] if random.below(3) == 0 => Fault::Split { with: *random.one_of(others) },
            _ => *random.one_of(&cables),
        }
    } else {
        *random.one_of(&nodes)
    }
}

/// Short ones that a link survives, some about as long as it takes to notice, and long ones.
fn lasts(random: &mut Random, fault: Fault) -> Duration {
    match fault {
        Fault::Kill | Fault::Replace | Fault::Terminate | Fault::Down | Fault::Drain => {
            random.time_ms(1000, 9000)
        }
        Fault::BadLine => random.time_ms(3000, 9000),
        Fault::Pause | Fault::Cut | Fault::Split { .. } | Fault::Mute => match random.below(3) {
            0 => random.time_ms(200, 1500),
            1 => random.time_ms(1500, 4000),
            _ => random.time_ms(5000, 12_000),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Duration = Duration::from_secs(600);

    #[test]
    fn a_plan_follows_from_its_seed() {
        assert_eq!(plan(7, RUN, 4, true), plan(7, RUN, 4, true));
        assert_ne!(plan(7, RUN, 4, true), plan(8, RUN, 4, true));
    }

    #[test]
    fn never_more_than_two_machines_are_disturbed() {
        for seed in 0..50 {
            let planned = plan(seed, RUN, 4, true);
            assert!(planned.len() > 20, "seed {seed}: {}", planned.len());
            for one in &planned {
                let mut disturbed: Vec<usize> = planned
                    .iter()
                    .filter(|other| other.at <= one.at && one.at <= other.at + other.lasts)
                    .flat_map(Planned::machines)
                    .collect();
                let count = disturbed.len();
                disturbed.sort_unstable();
                disturbed.dedup();
                assert_eq!(disturbed.len(), count, "seed {seed}: one machine, two faults");
                assert!(count <= DISTURBED_MAX, "seed {seed}");
                assert!(one.at + one.lasts < RUN, "seed {seed}");
            }
        }
    }

    #[test]
    fn every_fault_is_drawn_and_cables_only_where_there_are_some() {
        let kinds = |network| {
            let all = (0..20).flat_map(|seed| plan(seed, RUN, 4, network));
            let mut kinds: Vec<String> = all.map(|one| one.fault.to_string()).collect();
            kinds.sort();
            kinds.dedup();
            kinds
        };
        assert_eq!(kinds(true).len(), 10);
        assert_eq!(kinds(false), ["down", "drain", "kill", "pause", "replace", "terminate"]);
    }
}
