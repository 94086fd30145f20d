//! What was measured, as JSON and as a table.

use super::systems::System;
use crate::bench::{commit, processor};
use crate::date::today;
use crate::shell::root;
use anyhow::Result;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;

/// Items a second of one system in one row, of each round; or why there are none.
pub(super) struct Figure {
    pub(super) row: &'static str,
    pub(super) what: &'static str,
    pub(super) system: &'static str,
    pub(super) result: Result<Vec<f64>, String>,
}

impl Figure {
    fn rates(&self) -> Option<&[f64]> {
        self.result.as_deref().ok()
    }

    /// How many times as fast as another one.
    fn ratio(&self, to: &Figure) -> Option<f64> {
        let rounds = self.rates()?.iter().zip(to.rates()?);
        Some(median(rounds.map(|(own, other)| own / other)))
    }
}

/// NaN of none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count => f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]),
    }
}

/// Writes `benches/DATE-peers.json` and `.md`; earlier ones of the same day are replaced.
pub(super) fn write(
    systems: &[System],
    figures: &[Figure],
    cpus: usize,
    rounds: usize,
    profile: &str,
) -> Result<()> {
    let versions: serde_json::Map<String, Value> =
        systems.iter().map(|system| (system.name.to_owned(), json!(system.version))).collect();
    let rows = figures.chunks(systems.len());
    let metrics: Vec<Value> =
        rows.clone().flat_map(|row| row.iter().map(|figure| metric(figure, &row[0]))).collect();
    let record = json!({
        "date": today(),
        "commit": commit(),
        "processor": processor(),
        "cpus": cpus,
        "profile": profile,
        "rounds": rounds,
        "versions": versions,
        "metrics": metrics,
    });
    let mut text = format!(
        "# Peers, {}\n\nCommit {}, {profile} profile; {}, {cpus} CPUs for each, {rounds} rounds. Made by `cargo xtask \
         bench peers`.\n\n",
        today(),
        commit(),
        processor(),
    );
    for System { name, version, .. } in systems {
        let _ = writeln!(text, "- {name}: {}", version.as_deref().unwrap_or("absent"));
    }
    text += "\nItems a second; in brackets, how many times as fast Peripatos is.\n\n| workload | item |";
    systems.iter().for_each(|system| text += &format!(" {} |", system.name));
    text += "\n|---|---|";
    systems.iter().for_each(|_| text += "---:|");
    text += "\n";
    for row in rows {
        let _ = write!(text, "| {} | {} |", row[0].row, row[0].what);
        row.iter().for_each(|figure| text += &format!(" {} |", cell(figure, &row[0])));
        text += "\n";
    }
    print!("{text}");
    let stem = root().join("benches").join(format!("{}-peers", today()));
    fs::write(stem.with_extension("json"), serde_json::to_string_pretty(&record)? + "\n")?;
    fs::write(stem.with_extension("md"), text)?;
    eprintln!("xtask: record written to benches/{}-peers.{{json,md}}", today());
    Ok(())
}

fn metric(figure: &Figure, ours: &Figure) -> Value {
    let value = figure.rates().map(|rates| median(rates.iter().copied()));
    json!({
        "workload": figure.row,
        "system": figure.system,
        "unit": "1/s",
        "value": value,
        "rounds": figure.rates(),
        "peripatos_ratio": ours.ratio(figure),
    })
}

fn cell(figure: &Figure, ours: &Figure) -> String {
    let rates = match &figure.result {
        Ok(rates) => rates,
        Err(why) => return why.clone(),
    };
    let value = thousands(median(rates.iter().copied()));
    match ours.ratio(figure) {
        Some(ratio) if figure.system != ours.system => format!("{value} ({ratio:.2})"),
        _ => value,
    }
}

/// 1234567: `1,234,567`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_000.0), "1,000");
    }

    #[test]
    fn ratios_are_of_rounds() {
        let figure =
            |rates: &[f64]| Figure { row: "", what: "", system: "", result: Ok(rates.to_vec()) };
        // The machine was three times as slow in the second round.
        let ratio = figure(&[6.0, 2.0, 6.0]).ratio(&figure(&[3.0, 1.0, 3.0]));
        assert_eq!(ratio, Some(2.0));
        let failed = Figure { result: Err("fails".to_owned()), ..figure(&[]) };
        assert_eq!(failed.ratio(&figure(&[1.0])), None);
    }
}
