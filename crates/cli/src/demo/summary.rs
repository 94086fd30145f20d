//! What the demo says at its end.

use super::dinner::Dinner;
use super::price::Price;
use super::programs::Alone;
use super::screen::{Row, State, seconds};
use super::show::Outcome;
use crate::cpus;
use std::time::Duration;

/// Lines of the dinner's program that are shown.
const DINNER_LINES: usize = 4;

/// What was moved, how long that took, and what the second node was good for.
pub(super) fn of_show(rows: &[Row], alone: &[Alone], outcome: &Outcome) -> String {
    let Outcome { time, drained, freezes_us } = outcome;
    let moves: u32 = rows.iter().map(|row| row.moves).sum();
    let megabytes = rows.iter().map(|row| row.carried_bytes).sum::<u64>() as f64 / 1e6;
    let identical = rows.iter().filter(|row| row.state == State::Identical).count();
    let mut freezes_us = freezes_us.clone();
    freezes_us.sort_unstable();
    let middle = freezes_us.get(freezes_us.len() / 2).copied().unwrap_or(0) as f64 / 1e3;
    let longest = freezes_us.last().copied().unwrap_or(0) as f64 / 1e3;
    let one: Duration = alone.iter().map(|alone| alone.time).sum();
    let cpus = if cpus::two().len() == 2 { 2 } else { 1 };
    let ideal = one / cpus;
    let mut text = format!(
        "moves    {moves} of {} programs, {megabytes:.1} MB carried from OS process to OS process\n\
         freezes  {middle:.1} ms at the median, {longest:.1} ms the longest\n\
         \x20        (from the request to freeze until it ran on the other node)\n\
         output   identical to that of undisturbed runs: {identical} of {}\n",
        rows.len(),
        rows.len(),
    );
    if cpus == 1 {
        text.push_str(&format!(
            "time     {} on two nodes that share this machine's one CPU;\n\
             \x20        {} in one OS process, one after another\n",
            seconds(*time),
            seconds(one),
        ));
        return text;
    }
    text.push_str(&format!(
        "time     {} on two nodes, for {} of which the second was closed\n\
         \x20        {} on one core, one program after another: {:.2} times as long\n\
         \x20        {} would be the ideal for two: {:.0} % of what it took\n",
        seconds(*time),
        seconds(*drained),
        seconds(one),
        one.as_secs_f64() / time.as_secs_f64(),
        seconds(ideal),
        100.0 * ideal.as_secs_f64() / time.as_secs_f64(),
    ));
    text
}

/// What was eaten, and by whom it was counted: the last lines of what the program says.
pub(super) fn of_dinner(dinner: &Dinner) -> String {
    let Dinner { said, processes, moves, is_good } = dinner;
    let counts =
        if *is_good { "and all three counts agree" } else { "BUT THE COUNTS DO NOT AGREE" };
    let mut text = format!(
        "dinner   {processes} processes that talk, carried from node to node {moves} times meanwhile,\n\
         \x20        {counts}:\n"
    );
    let lines: Vec<&str> = said.lines().collect();
    for line in &lines[lines.len().saturating_sub(DINNER_LINES)..] {
        text.push_str(&format!("         {line}\n"));
    }
    text
}

/// What being migratable costs.
pub(super) fn of_price(prices: &[Price]) -> String {
    let mut text = format!("{:<8} {:>10} {:>19}\n", "price", "migratable", "epoch interruption");
    for one in prices {
        text.push_str(&format!("{:<8} {:>10.2} {:>19.2}\n", one.name, one.migratable, one.epoch));
    }
    text + "         times the run time under plain wasmtime, while nothing moves\n"
}
