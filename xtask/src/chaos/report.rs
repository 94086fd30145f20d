//! What is told at the end.

use super::accounts::{self, Requests, Verdict};
use super::journal::Journal;
use super::work::Piece;
use std::collections::BTreeMap;

/// Prints the tables. `true`: everything is accounted for.
pub(super) fn print(pieces: &[Piece], journal: &Journal) -> bool {
    println!("\nfaults");
    let mut faults: BTreeMap<String, usize> = BTreeMap::new();
    for disturbance in journal.disturbances() {
        *faults.entry(disturbance.what).or_default() += 1;
    }
    for (what, count) in &faults {
        println!("{count:6}  {what}");
    }
    let judged: Vec<(&Piece, Verdict)> =
        pieces.iter().map(|piece| (piece, accounts::judge(piece, journal))).collect();
    print_works(&judged);
    print_losses(&judged);
    print_requests(pieces);
    let (told, gossiped) = accounts::false_suspicions(journal);
    let hours = journal.now().as_secs_f64() / 3600.0;
    println!(
        "\nfalse suspicions: {told} of which somebody was told, {gossiped} by gossip alone, in {hours:.3} hours"
    );
    let mut is_good = true;
    for (piece, verdict) in &judged {
        if let Verdict::Unaccounted(what) = verdict {
            is_good = false;
            println!(
                "NOT ACCOUNTED FOR: piece {}, {} at node {}, {:.3} to {:.3} s: {what}",
                piece.number,
                piece.name,
                piece.node,
                piece.from.as_secs_f64(),
                piece.until.as_secs_f64()
            );
        }
    }
    for oddity in journal.oddities() {
        is_good = false;
        println!("NOT AS IT SHOULD BE: {oddity}");
    }
    is_good
}

fn print_works(judged: &[(&Piece, Verdict)]) {
    println!("\nwork           right  not started  died  silence  suspicion  unaccounted");
    let mut names: Vec<&str> = judged.iter().map(|(piece, _)| piece.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let count = |is: fn(&Verdict) -> bool| {
            judged.iter().filter(|(piece, verdict)| piece.name == name && is(verdict)).count()
        };
        println!(
            "{name:14} {:5}  {:11}  {:4}  {:7}  {:9}  {:11}",
            count(|verdict| *verdict == Verdict::Right),
            count(|verdict| *verdict == Verdict::NotStarted),
            count(|verdict| matches!(verdict, Verdict::Died(_))),
            count(|verdict| *verdict == Verdict::Silence),
            count(|verdict| *verdict == Verdict::Suspicion),
            count(|verdict| matches!(verdict, Verdict::Unaccounted(_))),
        );
    }
}

/// What was lost, and why, each kind of loss once.
fn print_losses(judged: &[(&Piece, Verdict)]) {
    println!("\nlost");
    let mut losses: BTreeMap<(&Verdict, &str, String), usize> = BTreeMap::new();
    for (piece, verdict) in judged {
        if !matches!(verdict, Verdict::Right | Verdict::NotStarted) {
            *losses.entry((verdict, &piece.name, piece.end())).or_default() += 1;
        }
    }
    for ((verdict, name, end), count) in losses {
        let why = match verdict {
            Verdict::Died(how) => format!("a node has died ({how})"),
            Verdict::Silence => "a node was silent".to_owned(),
            Verdict::Suspicion => "a node was suspected wrongly".to_owned(),
            Verdict::Unaccounted(_) => "NOT ACCOUNTED FOR".to_owned(),
            Verdict::Right | Verdict::NotStarted => continue,
        };
        println!("{count:6}  {name}, {end}: {why}");
    }
}

fn print_requests(pieces: &[Piece]) {
    let mut sum = Requests::default();
    for counted in pieces.iter().filter_map(accounts::requests) {
        sum.answered += counted.answered;
        sum.unreachable += counted.unreachable;
        sum.ended += counted.ended;
        sum.absent += counted.absent;
        sum.doubled += counted.doubled;
        sum.missed += counted.missed;
        sum.wrong += counted.wrong;
    }
    let Requests { answered, unreachable, ended, absent, doubled, missed, wrong } = sum;
    println!(
        "\nrequests: {answered} answered once, {doubled} doubled, {missed} missed, {wrong} answered wrong; outcome not \
         known: {unreachable} unreachable, {ended} of a server that had ended; no server {absent} times"
    );
}
