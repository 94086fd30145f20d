//! What has become of each piece of work, and whether somebody's death or silence accounts for it.
//!
//! What `peri` promises, as it is held here: a program does what it would undisturbed, and once; or the node that ran it, or
//! the one that its `peri run` spoke to, has died, and `peri run` says so (code 76); or a node was silent, and the program,
//! or one that it talked with, was told so and made of it what it could (EIO, `unreachable`).

use super::journal::Journal;
use super::work::{Kind, Piece};
use std::collections::BTreeMap;
use std::time::Duration;

/// `peri run`: what ran it, or what became of it, is lost.
const LOST: i32 = 76;

/// What has become of a piece.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// All as it would have been undisturbed.
    Right,
    /// There was no node to start it at.
    NotStarted,
    /// Lost with a node that had died.
    Died(String),
    /// A node was silent, and it was told so.
    Silence,
    /// The same, but nothing had been done to that node: it was suspected wrongly.
    Suspicion,
    /// Nothing accounts for it.
    Unaccounted(String),
}

/// What clients have counted, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Requests {
    pub(super) answered: u64,
    pub(super) unreachable: u64,
    pub(super) ended: u64,
    pub(super) absent: u64,
    pub(super) doubled: u64,
    pub(super) missed: u64,
    pub(super) wrong: u64,
}

/// What has become of it.
pub(super) fn judge(piece: &Piece, journal: &Journal) -> Verdict {
    if piece.could_not_start() {
        return match journal.death(Some(&piece.node), piece.from, piece.until) {
            Some(_) => Verdict::NotStarted,
            None if piece.stderr.contains("is being emptied") => Verdict::NotStarted,
            None => Verdict::Unaccounted(format!("could not start: {}", piece.stderr.trim())),
        };
    }
    let Some(status) = piece.status else {
        return Verdict::Unaccounted("did not end".to_owned());
    };
    let what = match wrong(piece) {
        None => return Verdict::Right,
        Some(Wrong::Doubled(what)) => return Verdict::Unaccounted(what),
        Some(Wrong::Lacks(what)) => what,
    };
    if status.code() == Some(LOST) {
        return lost(piece, journal);
    }
    if matches!(piece.kind, Kind::Dinner) {
        // Those who dine are linked: one who dies with his node takes all along.
        if let Some(how) = journal.death(None, piece.from, piece.until) {
            return Verdict::Died(how);
        }
    }
    let mut silences = journal.silences(piece.from, piece.until);
    silences.retain(|(silence, _)| silence.was_told);
    match silences.iter().any(|(_, explained)| *explained) {
        true => Verdict::Silence,
        false if !silences.is_empty() => Verdict::Suspicion,
        false => Verdict::Unaccounted(what),
    }
}

/// Its `peri run` says that a node has taken it along, or that its own node has ended: is that so?
fn lost(piece: &Piece, journal: &Journal) -> Verdict {
    let ran = piece.stderr.split("node ").filter_map(|rest| rest.split_once(", which ran"));
    let node = ran.last().map_or(piece.node.as_str(), |(node, _)| node);
    match journal.death(Some(node), piece.from, piece.until) {
        Some(how) => Verdict::Died(how),
        None => Verdict::Unaccounted(format!("node {node} has not died: {}", piece.stderr.trim())),
    }
}

/// What is wrong with it.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    /// Something is missing: it may have been lost.
    Lacks(String),
    /// Something is there that no loss can account for.
    Doubled(String),
}

fn wrong(piece: &Piece) -> Option<Wrong> {
    let code = piece.status.and_then(|status| status.code());
    let lacks = |what: &str| {
        let said = piece.stderr.trim();
        Some(Wrong::Lacks(format!("{what}, {}: {said}", piece.end())))
    };
    match &piece.kind {
        Kind::Program { stdout, exit } => match () {
            () if !is_part(&piece.stdout, stdout) => {
                Some(Wrong::Doubled("has printed what it should not".to_owned()))
            }
            () if piece.stdout != *stdout => lacks("its output is not whole"),
            () if code != Some(*exit) => lacks("it should end otherwise"),
            () => None,
        },
        Kind::File { contents, .. } => {
            let file = piece.file();
            match () {
                () if !contents.starts_with(&file) => {
                    Some(Wrong::Doubled("has written what it should not".to_owned()))
                }
                () if file != *contents => lacks("its file is not whole"),
                () if code != Some(0) => lacks("it should end with code 0"),
                () => None,
            }
        }
        Kind::Dinner => match () {
            () if piece.stderr.contains("the counts do not agree") => {
                let said = String::from_utf8_lossy(&piece.stdout).trim().replace('\n', "; ");
                Some(Wrong::Doubled(format!("meals are not counted right: {said}")))
            }
            () if code != Some(0) => lacks("the dinner has failed"),
            () => None,
        },
        Kind::Client => match requests(piece) {
            Some(Requests { doubled: 0, missed: 0, wrong: 0, .. }) if code == Some(0) => None,
            Some(counted) if counted.doubled + counted.missed + counted.wrong > 0 => {
                Some(Wrong::Doubled(String::from_utf8_lossy(&piece.stdout).trim().to_owned()))
            }
            _ => lacks("it should say what it has counted"),
        },
        Kind::Server => match code {
            // It was interrupted.
            None => None,
            Some(_) => lacks("it should not end"),
        },
    }
}

/// What a client has counted. `None`: it has not said so.
pub(super) fn requests(piece: &Piece) -> Option<Requests> {
    let text = String::from_utf8_lossy(&piece.stdout);
    // It is printed again if its origin was silent.
    let words: Vec<&str> = text.lines().next()?.split_whitespace().collect();
    let counts: BTreeMap<&str, u64> =
        words.chunks_exact(2).filter_map(|pair| Some((pair[0], pair[1].parse().ok()?))).collect();
    let count = |word| counts.get(word).copied();
    Some(Requests {
        answered: count("answered")?,
        unreachable: count("unreachable")?,
        ended: count("ended")?,
        absent: count("absent")?,
        doubled: count("doubled")?,
        missed: count("missed")?,
        wrong: count("wrong")?,
    })
}

/// Whether `part` can be had from `whole` by leaving out bytes. What was done twice is longer, or in another order.
fn is_part(part: &[u8], whole: &[u8]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|byte| whole.any(|other| other == byte))
}

/// Suspicions that nothing accounts for: how many who waited were told of, and how many of gossip alone.
pub(super) fn false_suspicions(journal: &Journal) -> (usize, usize) {
    let all = journal.silences(Duration::ZERO, journal.now());
    let wrongly = |was_told| {
        all.iter().filter(|(one, explained)| one.was_told == was_told && !explained).count()
    };
    (wrongly(true), wrongly(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_something_is_a_part_and_what_was_done_twice_is_not() {
        let check = |part: &str, expected| {
            assert_eq!(is_part(part.as_bytes(), b"1 one\n2 two\n"), expected, "{part:?}");
        };
        check("", true);
        check("1 one\n", true);
        check("2 two\n", true);
        check("1 one\n2 two\n", true);
        check("1 one\n1 one\n2 two\n", false);
        check("2 two\n1 one\n", false);
    }
}
