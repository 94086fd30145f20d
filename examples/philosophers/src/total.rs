//! What was counted, by whom, and whether it agrees.

use std::fmt;
use std::time::Duration;

use peripatos::Pid;

use crate::services::{Counts, Record};

/// Philosophers that are listed one by one.
const LISTED_MAX: usize = 20;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Total {
    records: Vec<(Pid, Record)>,
    by_tables: u64,
    by_forks: u64,
    pub(crate) time: Duration,
}

impl Total {
    pub(crate) fn add(&mut self, philosopher: Pid, record: &Record) {
        self.records.push((philosopher, *record));
    }

    pub(crate) fn add_table(&mut self, counts: Counts) {
        self.by_tables += counts.meals;
        self.by_forks += counts.uses;
    }

    fn by_philosophers(&self) -> u64 {
        self.records.iter().map(|(_, record)| record.meals).sum()
    }

    /// All three count the same: each meal takes two forks.
    pub(crate) fn agrees(&self) -> bool {
        let meals = self.by_philosophers();
        meals == self.by_tables && 2 * meals == self.by_forks
    }

    /// Everybody has eaten.
    pub(crate) fn is_just(&self) -> bool {
        self.records.iter().all(|(_, record)| record.meals > 0)
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut records = self.records.clone();
        records.sort_by_key(|(pid, _)| *pid);
        let milliseconds = |ns: u64| ns as f64 / 1e6;
        if records.len() <= LISTED_MAX {
            for (pid, Record { meals, longest_wait_ns }) in &records {
                let wait = milliseconds(*longest_wait_ns);
                writeln!(f, "{pid:#}: {meals} meals, longest wait {wait:.3} ms")?;
            }
        }
        let spread = |key: fn(&Record) -> u64| {
            let mut all: Vec<u64> = records.iter().map(|(_, record)| key(record)).collect();
            all.sort_unstable();
            let at = |index: usize| all.get(index).copied().unwrap_or_default();
            (at(0), at(all.len() / 2), at(all.len().saturating_sub(1)))
        };
        let (least, median, most) = spread(|record| record.meals);
        writeln!(f, "meals each: {least} to {most}, median {median}")?;
        let (least, median, most) = spread(|record| record.longest_wait_ns);
        let [least, median, most] = [least, median, most].map(milliseconds);
        writeln!(f, "longest waits: {least:.3} to {most:.3} ms, median {median:.3} ms")?;
        let (meals, tables, forks) = (self.by_philosophers(), self.by_tables, self.by_forks);
        writeln!(
            f,
            "counted by philosophers: {meals}, by tables: {tables}, by forks: {forks} uses"
        )?;
        let seconds = self.time.as_secs_f64();
        let rate = meals as f64 / seconds;
        write!(f, "{} philosophers, {seconds:.3} s, {rate:.0} meals/s", records.len())
    }
}
