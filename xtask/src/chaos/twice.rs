//! Whether a process runs twice. Its requests and messages would not show it: both copies have the same numbers, and what has
//! a number happens once. So nodes are asked, while everything goes on, what they themselves run.
//!
//! Answers of two nodes are of two moments, between which a process may move. Twice is what two nodes have in two rounds, on
//! which it has moved as often, and which has got on at both in between.

use super::world::{MACHINES, Row, World};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const ROUND: Duration = Duration::from_secs(2);

/// Where a process was in a round: machine, moves, CPU time.
type Round = BTreeMap<String, Vec<(usize, Row)>>;

/// Looks until `is_over`. What it finds goes to the journal.
pub(super) fn watch(world: &World, is_over: &AtomicBool) {
    let mut before = Round::new();
    while !is_over.load(Ordering::Relaxed) {
        world.unasked_ends();
        let round = look(world);
        for (pid, places) in round.iter().filter(|(_, places)| places.len() > 1) {
            let got_on = places.iter().filter(|(machine, row)| {
                let earlier = before.get(pid).into_iter().flatten();
                earlier
                    .filter(|(there, then)| there == machine && then.moves == row.moves)
                    .any(|(_, then)| then.cpu_ms < row.cpu_ms)
            });
            if got_on.count() > 1 {
                world.journal.odd(format!("{pid} runs twice: {places:?}"));
            }
        }
        before = round;
        thread::sleep(ROUND);
    }
}

fn look(world: &World) -> Round {
    let mut round = Round::new();
    thread::scope(|scope| {
        let asked = (0..MACHINES).map(|machine| {
            (machine, scope.spawn(move || world.processes_of(machine).unwrap_or_default()))
        });
        for (machine, rows) in asked.collect::<Vec<_>>() {
            for row in rows.join().unwrap_or_default() {
                if !matches!(row.state.as_str(), "moving" | "in-doubt") {
                    round.entry(row.pid.clone()).or_default().push((machine, row));
                }
            }
        }
    });
    round
}
