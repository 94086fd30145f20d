//! One run of a workload, with all processes that it makes, in this command; and how large one is to be.

use super::super::process::load;
use crate::exit::{Code as ExitCode, End, Failure, Result};
use crate::family::{self, Start};
use crate::guests::{SERVANT, WORKLOADS};
use crate::{console, directories, pids};
use peripatos_engine::{Code, CodeKind, Runtime};
use peripatos_host::talk::Rules;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a run is to take.
const TARGET: Duration = Duration::from_millis(1_200);
/// A run that takes so long tells, with a larger one, how fast it is.
const TELLING: Duration = Duration::from_millis(100);
/// How the size grows until then, and how far.
const GROWTH: u32 = 8;
const SIZE_MAX: u32 = 1 << 30;

/// The workloads, and what they spawn.
pub(super) struct Programs {
    workloads: Code,
    servant: Code,
}

/// What a workload has done, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Done {
    items: u64,
    time: Duration,
}

impl Done {
    pub(super) fn per_s(&self) -> f64 {
        self.items as f64 / self.time.as_secs_f64()
    }

    /// `NAME ITEMS SECONDS`.
    fn parse(said: &str, workload: &str) -> Option<Done> {
        let mut words = said.strip_prefix(workload)?.split_ascii_whitespace();
        let (items, seconds) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Done { items, time: Duration::try_from_secs_f64(seconds).ok()? })
    }
}

impl Programs {
    pub(super) fn load(runtime: &Runtime) -> Result<Programs> {
        let load = |guest| load(runtime, guest, CodeKind::Hot);
        Ok(Programs { workloads: load(&WORKLOADS)?, servant: load(&SERVANT)? })
    }

    /// How much of a workload takes as long as a run is to take, beside what any run of it takes: the first meal of ten thousand
    /// is not to be most of what is measured.
    pub(super) fn size(&self, workload: &str, before: Option<u32>) -> Result<u32> {
        let mut size = 1;
        let mut time = self.run(workload, before, size)?.time;
        while time < TELLING && size < SIZE_MAX {
            size = size.saturating_mul(GROWTH).min(SIZE_MAX);
            time = self.run(workload, before, size)?.time;
        }
        let more = size.saturating_mul(GROWTH).min(SIZE_MAX);
        Ok(scaled((size, time), (more, self.run(workload, before, more)?.time)))
    }

    /// Runs a workload. Errors: it failed, or has not done what it was told.
    pub(super) fn run(&self, workload: &str, before: Option<u32>, size: u32) -> Result<Done> {
        let numbers: Vec<u32> = before.into_iter().chain([size]).collect();
        let said = self.output(workload, &numbers)?;
        let done = Done::parse(&said, workload);
        done.filter(|done| is_all(done.items, &numbers)).ok_or_else(|| {
            Failure::new(ExitCode::Internal, workload, format!("of {numbers:?} it did: {said}"))
        })
    }

    fn output(&self, workload: &str, numbers: &[u32]) -> Result<String> {
        let failed = |error| Failure::new(ExitCode::Resources, "console", error);
        let pid = pids::draw()
            .map_err(|error| Failure::new(ExitCode::Resources, "random numbers", error))?;
        let (origin, mut console) = console::captured().map_err(failed)?;
        origin.open(pid, &[]).map_err(|error| directories::failure(&error))?;
        let words = [WORKLOADS.name.to_owned(), workload.to_owned()].into_iter();
        let words = words.chain(numbers.iter().map(u32::to_string));
        let end = family::run(Start {
            code: self.workloads.clone(),
            pid,
            origin,
            args: words.map(String::into_bytes).collect(),
            programs: BTreeMap::from([(SERVANT.name.to_owned(), self.servant.clone())]),
            rules: Rules::default(),
        });
        let said = console.contents().map_err(failed)?;
        let said = String::from_utf8_lossy(&said).trim_end().to_owned();
        let unsuccessful = |cause: &dyn std::fmt::Display| {
            let cause = format!("{cause}: {}", said.lines().next().unwrap_or_default());
            Failure::new(ExitCode::Internal, workload, cause)
        };
        match end {
            Ok(End::Exit(0)) => Ok(said),
            Ok(_) => Err(unsuccessful(&"it ended badly")),
            Err(failure) => Err(unsuccessful(&failure)),
        }
    }
}

/// The size whose part of the time that grows with it is [`TARGET`], as two sizes and their times have it.
fn scaled((size, time): (u32, Duration), (more, longer): (u32, Duration)) -> u32 {
    let growth = longer.saturating_sub(time).as_secs_f64() / f64::from(more.max(size + 1) - size);
    // Should the larger one have been no slower, it is as good as any.
    let wanted = TARGET.as_secs_f64() / growth.max(f64::MIN_POSITIVE);
    (wanted as u32).clamp(1, more.saturating_mul(GROWTH).min(SIZE_MAX))
}

/// Whether so many items are what was asked for: some workloads round up to what can be shared out.
fn is_all(items: u64, numbers: &[u32]) -> bool {
    let asked: u64 = numbers.iter().map(|number| u64::from(*number)).product();
    (asked..asked + ROUNDED_UP_MAX).contains(&items)
}

/// One less than the shares, at most.
const ROUNDED_UP_MAX: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_workload_says() {
        let check = |said: &str, expected: Option<(u64, u64)>| {
            let found = Done::parse(said, "big");
            let expected =
                expected.map(|(items, millis)| Done { items, time: Duration::from_millis(millis) });
            assert_eq!(found, expected, "{said}");
        };
        check("big 1000 0.250000", Some((1000, 250)));
        check("big 1000", None);
        check("small 1000 0.25", None);
        check("big 1000 -1", None);
    }

    #[test]
    fn what_does_not_grow_is_no_reason_for_a_small_size() {
        let ms = Duration::from_millis;
        assert_eq!(scaled((1, ms(100)), (8, ms(800))), 12);
        // The first meal takes most of a second, each other one 30 ms.
        assert_eq!(scaled((1, ms(900)), (8, ms(1_110))), 40);
        assert_eq!(scaled((8, ms(500)), (64, ms(490))), 512);
        assert_eq!(scaled((1, ms(10_000)), (8, ms(80_000))), 1);
        assert_eq!(scaled((SIZE_MAX, ms(1)), (SIZE_MAX, ms(1))), SIZE_MAX);
    }

    #[test]
    fn all_is_what_was_asked_for() {
        assert!(is_all(1000, &[1000]) && is_all(100, &[1]) && is_all(50, &[5, 10]));
        assert!(!is_all(999, &[1000]) && !is_all(49, &[5, 10]) && !is_all(1101, &[1000]));
    }
}
