//! What was answered: a question that is asked again gets the answer that it got, so that nothing is promised twice, and what an answer
//! promised that was lost is not lost.

use std::collections::BTreeMap;

use super::wire::Promise;
use crate::limits::{ASKERS_MAX, PROMISE_LIFE};
use crate::{NodeId, Time};

/// A question with a number that is less, by less than this, was on its way for long. One that is less by more is of a node that has
/// started again: its numbers begin anywhere.
const LATE_MAX: u32 = 1 << 16;

/// By those who have asked: the answer to the last question of each.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<NodeId, Answered>);

#[derive(Debug)]
struct Answered {
    number: u32,
    promises: Vec<Promise>,
    at: Time,
}

/// What a question is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    New,
    /// It was answered with this.
    Again(Vec<Promise>),
    /// Its asker has asked another one since, so it has heard the answer or does not wait for it any more.
    Late,
}

impl Answers {
    pub(super) fn question(&self, now: Time, from: NodeId, number: u32) -> Question {
        let Some(last) = self.0.get(&from) else { return Question::New };
        if last.number == number {
            let since = now.since(last.at);
            let left = |one: &Promise| Promise { left: one.left.saturating_sub(since), ..*one };
            return Question::Again(last.promises.iter().map(left).collect());
        }
        let is_late = (1..LATE_MAX).contains(&last.number.wrapping_sub(number));
        if is_late { Question::Late } else { Question::New }
    }

    /// It is answered with this. Of too many the oldest is forgotten.
    pub(super) fn keep(&mut self, now: Time, to: NodeId, number: u32, promises: Vec<Promise>) {
        if self.0.len() >= ASKERS_MAX && !self.0.contains_key(&to) {
            let oldest = self.0.iter().min_by_key(|(_, answered)| answered.at);
            if let Some(oldest) = oldest.map(|(node, _)| *node) {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(to, Answered { number, promises, at: now });
    }

    /// What was promised so long ago has ended.
    pub(super) fn forget_late(&mut self, now: Time) {
        self.0.retain(|_, answered| now.since(answered.at) < PROMISE_LIFE);
    }

    pub(super) fn forget(&mut self, node: NodeId) {
        self.0.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    const fn promise(left: Duration) -> Promise {
        Promise { maker: NodeId(9), permille: 2_000, left }
    }

    #[test]
    fn a_question_has_one_answer() {
        let (asker, mut answers) = (NodeId(1), Answers::default());
        let first = u32::MAX - 1;
        assert_eq!(answers.question(at(1), asker, first), Question::New);
        answers.keep(at(1), asker, first, vec![promise(PROMISE_LIFE)]);
        let left = PROMISE_LIFE.saturating_sub(Duration::from_secs(2));
        assert_eq!(answers.question(at(3), asker, first), Question::Again(vec![promise(left)]));
        assert_eq!(answers.question(at(3), NodeId(2), first), Question::New);
        // The next one's number is higher, also where numbers begin anew.
        let next = first.wrapping_add(3);
        assert_eq!(answers.question(at(3), asker, next), Question::New);
        answers.keep(at(3), asker, next, Vec::new());
        assert_eq!(answers.question(at(4), asker, first), Question::Late);
        assert_eq!(answers.question(at(4), asker, next), Question::Again(Vec::new()));
        assert_eq!(answers.question(at(4), asker, next.wrapping_sub(LATE_MAX)), Question::New);
        answers.forget_late(at(3) + PROMISE_LIFE);
        assert_eq!(answers.question(at(40), asker, first), Question::New);
    }

    #[test]
    fn of_too_many_the_oldest_is_forgotten() {
        let mut answers = Answers::default();
        for asker in 0..=ASKERS_MAX {
            answers.keep(at(asker as u64), NodeId(asker as u128), 7, Vec::new());
        }
        assert_eq!(answers.0.len(), ASKERS_MAX);
        assert_eq!(answers.question(at(0), NodeId(0), 7), Question::New);
        assert_eq!(answers.question(at(0), NodeId(1), 7), Question::Again(Vec::new()));
    }
}
