//! What is measured of membership.

use std::fmt;
use std::time::Duration;

use super::{Config, World};

/// Before anything is measured.
const SETTLES: Duration = Duration::from_secs(5);
/// In which nothing happens.
const QUIET: Duration = Duration::from_secs(20);
/// Whoever has not been told by then is missed.
const TOLD_MAX: Duration = Duration::from_secs(60);
/// Between two things that happen.
const PAUSE: Duration = Duration::from_secs(2);

/// What was measured in a run.
#[derive(Clone, Debug)]
pub struct Report {
    config: Config,
    /// Bytes that a member sent each second while nothing happened, with all headers.
    pub quiet_bytes: u64,
    /// And while members died and joined.
    pub busy_bytes: u64,
    /// From each death until the first was told.
    pub detected: Vec<Duration>,
    /// From then until the last was.
    pub death_told: Vec<Duration>,
    /// From each join until the last was told.
    pub join_told: Vec<Duration>,
    /// Deaths that were told and had not happened.
    pub false_deaths: usize,
    /// Deaths and joins that somebody had not been told of in a minute.
    pub missed: usize,
    /// Members times hours that were simulated.
    pub member_hours: f64,
}

/// Measures: a while in which nothing happens; then one dies and another one joins, so many times.
#[must_use]
pub fn measure(config: Config, times: usize) -> Report {
    let mut world = World::new(config);
    world.run_for(SETTLES);
    let before = world.bytes();
    world.run_for(QUIET);
    let mut report = Report {
        config,
        quiet_bytes: rate(world.bytes() - before, config.members, QUIET),
        busy_bytes: 0,
        detected: Vec::new(),
        death_told: Vec::new(),
        join_told: Vec::new(),
        false_deaths: 0,
        missed: 0,
        member_hours: 0.0,
    };
    let (begun, before) = (world.now(), world.bytes());
    for _ in 0..times {
        let dying = world.any_running();
        world.watch(dying, false);
        world.kill(dying);
        let died = world.now();
        let all = world.run_until(TOLD_MAX, |world| world.untold() == 0);
        match (world.first_told(), all) {
            (Some(first), Some(all)) => {
                report.detected.push(first - died);
                report.death_told.push(died + all - first);
            }
            _ => report.missed += 1,
        }
        world.run_for(PAUSE);
        let new = world.join();
        world.watch(new, true);
        match world.run_until(TOLD_MAX, |world| world.untold() == 0) {
            Some(all) => report.join_told.push(all),
            None => report.missed += 1,
        }
        world.run_for(PAUSE);
    }
    if times > 0 {
        report.busy_bytes =
            rate(world.bytes() - before, config.members, world.now().saturating_sub(begun));
    }
    report.false_deaths = world.false_deaths();
    report.member_hours = config.members as f64 * world.now().as_secs_f64() / 3600.0;
    report
}

fn rate(bytes: u64, members: usize, span: Duration) -> u64 {
    (bytes as f64 / members as f64 / span.as_secs_f64()).round() as u64
}

/// Median and greatest, in seconds.
fn shown(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |index: usize| sorted.get(index).map_or(f64::NAN, Duration::as_secs_f64);
    let last = sorted.len().saturating_sub(1);
    format!("{:.2} s (p99 {:.2}, most {:.2})", at(last / 2), at(last * 99 / 100), at(last))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { members, seed, loss, .. } = self.config;
        let both = self.detected.iter().zip(&self.death_told).map(|(one, other)| *one + *other);
        writeln!(f, "{members} members, seed {seed}, {:.1} % lost", loss as f64 / 10.0)?;
        writeln!(f, "  a death: first told      {}", shown(&self.detected))?;
        writeln!(f, "           from then to all {}", shown(&self.death_told))?;
        writeln!(f, "           all told        {}", shown(&both.collect::<Vec<_>>()))?;
        writeln!(f, "  a join:  all told        {}", shown(&self.join_told))?;
        writeln!(f, "  bytes a member and second: {}, quiet", self.quiet_bytes)?;
        writeln!(f, "                             {}, while they come and go", self.busy_bytes)?;
        writeln!(
            f,
            "  told and not so: {} deaths in {:.1} member hours",
            self.false_deaths, self.member_hours
        )?;
        write!(f, "  not told everybody within a minute: {}", self.missed)
    }
}
