//! Balance in a cluster where no node knows how loaded all are: *settle first, move once*.
//!
//! A node hears of a few others at a time, so whoever has too much finds those who have too little over several steps. If processes
//! made these steps they would move several times each. So promises do: a **promise** says that its *maker* will give so much of its
//! load to whoever *holds* it. It is an amount: it can be parted, and passed on, at the price of a datagram. A node counts what it
//! holds as its own and what it has promised as gone: that is its **effective** load, which others are told and all is weighed by.
//! When a promise has come to rest its holder **redeems** it: the maker looks which processes of its own these shall be, and they go
//! straight to the holder. docs/balancing.md has the argument.
//!
//! ```text
//! light                     heavy, the maker                another one, lighter still
//!   │ ──Ask(effective)──────► │                               │
//!   │ ◄─────Answer(promises)─ │                               │
//!   │ ◄────────────────────────────────────Ask(effective)──── │
//!   │ ────────────────────────────────────Answer(promises)──► │ holds some of it, is asked for none of it any more:
//!   │                         │ ◄────────────Redeem, by link─ │
//!   │                         │ ───────────Offer, by link, …► │
//! ```
//!
//! Invariants:
//! * A promise is a hint. What moves is weighed again when it is redeemed, by the maker's real load. So words that are lost, come twice
//!   or lie cost time and a few datagrams, never a process.
//! * The sum of all effective loads is that of all real ones: what is passed on is taken off, once. A question has a number, and who asks
//!   says it again until there is an answer; the answer is kept, so whatever is lost or comes twice, it is given and taken once.
//! * Every promise ends: by being redeemed, refused, or after [`PROMISE_LIFE`], at its maker and at its holder.
//! * Whatever a peer can make grow has a limit.
//! * Time, words and the seed of what is random come in as arguments: what goes out is a function of them.

mod answers;
mod ledger;
mod view;
mod wire;

use std::time::Duration;

use peripatos_balancer::{Load, MARGIN_PROMISED, median, share, whom_to_ask};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use crate::limits::{
    ASK_AGAIN, ASK_GIVEN_UP, PROMISE_LIFE, PROMISES_PASSED_MAX, REDEEM_AGAIN, ROUND,
    SAMPLED_A_SECOND, SAMPLED_AT_ONCE, SAMPLES_TOLD, SAMPLES_WEIGHED,
};
use crate::{NodeId, Time};
use answers::{Answers, Question};
pub use ledger::Redemption;
use ledger::{Held, Owed, Passed, Promised};
use view::View;
pub use wire::{Heard, MalformedWord, Promise, Word, read_samples};

/// Asks of a node that has cores to spare come so much sooner than in a round.
const SOON: u32 = 4;

/// What a node says of itself each time.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// How loaded it is in truth: what runs here, and what is on its way here.
    pub load: Load,
    /// Of that, what may move and is worth it, in thousandths of a process.
    pub spare_permille: u32,
    /// Whether it gives and takes for the sake of the balance.
    pub balancing: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A datagram is to be sent.
    Say {
        /// To whom.
        to: NodeId,
        /// What.
        word: Word,
    },
    /// That node is to be asked, over a link, for what it has promised. If it cannot be reached: say so ([`Promises::unreachable`]) or nothing,
    /// then it is asked again.
    Redeem {
        /// Who has promised.
        maker: NodeId,
        /// How much of it.
        redemption: Redemption,
    },
    /// Over a link: a node that redeems gets these promises of others instead of as much of this one's own.
    Instead {
        /// Who redeems.
        to: NodeId,
        /// At most [`PROMISES_PASSED_MAX`].
        promises: Vec<Promise>,
    },
}

/// A node's part in it. See the module.
#[derive(Debug)]
pub struct Promises {
    own: NodeId,
    random: Xoshiro256PlusPlus,
    view: View,
    /// What others have promised and this node holds.
    held: Held,
    /// What this node has promised and nobody has redeemed.
    promised: Promised,
    /// Who redeems what this node has promised.
    owed: Owed,
    /// The question that is open.
    asked: Option<Asked>,
    /// The number of the last one.
    questions: u32,
    /// What this node has answered itself.
    answers: Answers,
    next_ask: Time,
    /// Samples have gone out as if at an even pace until then.
    sampled_until: Time,
    /// What was passed on of late: so much of what is held is not at rest.
    passed: Passed,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    to: NodeId,
    number: u32,
    at: Time,
    /// The last time: it is asked again until there is an answer.
    said_at: Time,
}

impl Promises {
    /// Of a node that has heard nothing yet.
    #[must_use]
    pub fn new(own: NodeId, now: Time, seed: u64) -> Promises {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        // Not all at the same time.
        let next_ask = now + ROUND.mul_f64(random.random_range(0.0..1.0));
        Promises {
            own,
            random,
            view: View::default(),
            held: Held::default(),
            promised: Promised::default(),
            owed: Owed::default(),
            asked: None,
            // A node that has started again has asked others before.
            questions: (seed >> 32) as u32 ^ seed as u32,
            answers: Answers::default(),
            next_ask,
            sampled_until: now,
            passed: Passed::default(),
        }
    }

    /// How loaded the node is if all promises are kept.
    #[must_use]
    pub fn effective(&self, real: Load) -> Load {
        let more = u64::from(real.demand_permille) + self.held.permille();
        let demand = more.saturating_sub(self.promised.permille() + self.owed.permille());
        Load { demand_permille: u32::try_from(demand).unwrap_or(u32::MAX), ..real }
    }

    /// Samples to be sent along with a datagram that goes out anyway: the node's own, and a few that it has heard; at most so many bytes,
    /// or one. There are none if there were many just before.
    pub fn samples(&mut self, now: Time, own: &Own, room: usize) -> Vec<u8> {
        let each = Duration::from_secs(1) / SAMPLED_A_SECOND;
        if self.sampled_until.since(now) > each * SAMPLED_AT_ONCE {
            return wire::put_samples(own.load, &[], 0);
        }
        self.sampled_until = self.sampled_until.max(now) + each;
        let told = self.view.some_fresh(now, SAMPLES_TOLD, &mut self.random);
        wire::put_samples(self.effective(own.load), &told, room)
    }

    /// Samples have come along with a datagram. `lives`: who is a member.
    pub fn heard(
        &mut self,
        now: Time,
        from: NodeId,
        heard: &[Heard],
        lives: impl Fn(NodeId) -> bool,
    ) {
        for one in heard {
            let node = one.node.unwrap_or(from);
            if node != self.own && lives(node) {
                self.view.note(now, node, one.load, one.age);
            }
        }
    }

    /// Nodes that were heard of just now, each with how loaded it is.
    pub fn fresh(&self, now: Time) -> impl Iterator<Item = (NodeId, Load)> {
        self.view.fresh(now)
    }

    /// Time has passed.
    pub fn handle(&mut self, now: Time, own: &Own, out: &mut Vec<Output>) {
        self.view.forget_old(now);
        self.held.forget_late(now);
        self.promised.forget_late(now);
        self.owed.forget_late(now);
        self.answers.forget_late(now);
        if own.balancing {
            self.redeem(now, own, out);
            self.ask(now, own, out);
        }
    }

    /// When [`Promises::handle`] is to be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.asked.map_or(self.next_ask, |asked| asked.said_at + ASK_AGAIN)
    }

    /// Asks the one with which most would be gained; or the same again, as long as there is no answer.
    fn ask(&mut self, now: Time, own: &Own, out: &mut Vec<Output>) {
        let load = self.effective(own.load);
        self.asked = self.asked.filter(|asked| now.since(asked.at) < ASK_GIVEN_UP);
        if let Some(asked) = &mut self.asked {
            if now.since(asked.said_at) >= ASK_AGAIN {
                asked.said_at = now;
                out.push(Output::Say {
                    to: asked.to,
                    word: Word::Ask { number: asked.number, load },
                });
            }
            return;
        }
        if now < self.next_ask {
            return;
        }
        let fresh = self.view.some_to_ask(now, SAMPLES_WEIGHED, &mut self.random);
        self.asked = whom_to_ask(load, fresh, MARGIN_PROMISED).map(|to| {
            self.questions = self.questions.wrapping_add(1);
            let number = self.questions;
            out.push(Output::Say { to, word: Word::Ask { number, load } });
            Asked { to, number, at: now, said_at: now }
        });
        self.next_ask = now + ROUND.mul_f64(self.random.random_range(0.75..1.25));
    }

    /// A word of another node has come.
    pub fn word(&mut self, now: Time, own: &Own, from: NodeId, word: Word, out: &mut Vec<Output>) {
        match word {
            Word::Ask { number, load } => {
                self.view.note(now, from, load, Duration::ZERO);
                let promises = match self.answers.question(now, from, number) {
                    Question::Late => return,
                    Question::Again(promises) => promises,
                    Question::New => {
                        let promises = self.promise(now, own, from, load);
                        self.answers.keep(now, from, number, promises.clone());
                        promises
                    }
                };
                let load = self.effective(own.load);
                let word = Word::Answer { number, load, promises };
                out.push(Output::Say { to: from, word });
                self.tell_makers(now, out);
            }
            Word::Answer { number, load, promises } => {
                let open = self.asked.filter(|asked| (asked.to, asked.number) == (from, number));
                if open.is_none() {
                    return;
                }
                self.asked = None;
                self.view.note(now, from, load, Duration::ZERO);
                self.take(now, own, from, &promises, out);
            }
        }
    }

    /// What is given to a node that asks: what makes the two equal. Promises of others first, which costs nobody anything.
    fn promise(&mut self, now: Time, own: &Own, to: NodeId, asking: Load) -> Vec<Promise> {
        let amount = if own.balancing { share(self.effective(own.load), asking) } else { 0 };
        let mut given = self.held.part(now, to, amount, PROMISES_PASSED_MAX - 1);
        let passed: u32 = given.iter().map(|promise| promise.permille).sum();
        self.passed.add(now, passed);
        let gone = self.promised.permille() + self.owed.permille();
        let spare = u64::from(own.spare_permille).saturating_sub(gone);
        let permille = u64::from(amount - passed).min(spare) as u32;
        if permille > 0 {
            self.promised.add(now, permille);
            given.push(Promise { maker: self.own, permille, left: PROMISE_LIFE });
        }
        given
    }

    fn take(
        &mut self,
        now: Time,
        own: &Own,
        from: NodeId,
        promises: &[Promise],
        out: &mut Vec<Output>,
    ) {
        for promise in promises {
            if promise.maker == self.own {
                self.promised.take(promise.permille);
            } else {
                self.held.add(now, promise);
            }
        }
        if promises.is_empty() {
            self.view.had_nothing(now, from);
        } else {
            if self.idle_permille(own) > 0 {
                self.next_ask = now + ROUND / SOON;
            }
            self.redeem(now, own, out);
        }
    }

    /// How much more its cores would do at once.
    fn idle_permille(&self, own: &Own) -> u32 {
        let cores = own.load.cores.saturating_mul(1_000);
        let busy = u64::from(own.load.demand_permille) + self.held.redeemed_permille();
        u64::from(cores).saturating_sub(busy) as u32
    }

    /// What a node has less, in truth, than half of those that it has heard of have if all promises are kept: it will not be asked for that.
    fn settled_permille(&self, now: Time, own: &Own) -> u64 {
        let heard: Vec<Load> = self.view.fresh(now).map(|(_, load)| load).collect();
        if heard.len() < SAMPLES_WEIGHED {
            return 0;
        }
        own.load.less_than(median(heard)).into()
    }

    /// Redeems what is at rest; and what cores wait for that have nothing to do, wherever the rest may go.
    fn redeem(&mut self, now: Time, own: &Own, out: &mut Vec<Output>) {
        // Who has still to give as much has, in truth, more than others: what it holds goes to who redeems from it.
        let gives = self.promised.permille() + self.owed.permille();
        let stays = self.held.permille().saturating_sub(gives);
        self.held.redeem_resting(now, stays.saturating_sub(self.passed.permille(now)));
        let settled = self.settled_permille(now, own).min(stays);
        let settled = settled.saturating_sub(self.held.redeemed_permille()) as u32;
        self.held.redeem(now, self.idle_permille(own).max(settled));
        self.tell_makers(now, out);
    }

    /// Tells makers how much is to come, if that has changed or was long ago.
    fn tell_makers(&mut self, now: Time, out: &mut Vec<Output>) {
        let due = self.held.take_due(now, REDEEM_AGAIN).into_iter();
        out.extend(due.map(|(maker, redemption)| Output::Redeem { maker, redemption }));
    }

    /// A maker gives promises of others instead of what was redeemed from it.
    pub fn instead(
        &mut self,
        now: Time,
        maker: NodeId,
        promises: &[Promise],
        out: &mut Vec<Output>,
    ) {
        for promise in promises.iter().take(PROMISES_PASSED_MAX) {
            let permille = self.held.replace(now, maker, promise.permille);
            if promise.maker == self.own {
                self.promised.take(permille);
            } else {
                self.held.redeem_one(now, promise.maker, permille);
            }
        }
        self.tell_makers(now, out);
    }

    /// There is a link to that node: what it has promised can be redeemed now.
    pub fn reached(&mut self, now: Time, own: &Own, maker: NodeId, out: &mut Vec<Output>) {
        if let Some(redemption) = self.held.reached(now, maker).filter(|_| own.balancing) {
            out.push(Output::Redeem { maker, redemption });
        }
    }

    /// A process is on its way here from that node.
    pub fn comes(&mut self, now: Time, maker: NodeId, permille: u32) {
        self.held.came(now, maker, permille);
    }

    /// A maker says that so much of what was redeemed from it does not come.
    pub fn kept(&mut self, maker: NodeId, permille: u32) {
        self.held.kept(maker, permille);
    }

    /// A maker cannot be reached.
    pub fn unreachable(&mut self, maker: NodeId) {
        self.held.gone(maker);
    }

    /// That OS process of a node is gone: nothing can be redeemed there.
    pub fn gone(&mut self, node: NodeId) {
        self.held.gone(node);
        self.owed.remove(node);
        self.view.forget(node);
        self.answers.forget(node);
        self.asked = self.asked.filter(|asked| asked.to != node);
    }

    /// A holder, which is in truth so loaded, redeems what this node has promised. If it is less than before, somebody else holds the
    /// rest now. How much of it does not come, in thousandths of a process: the holder is to be told.
    ///
    /// What this node holds itself of others' promises goes there first: else those who have promised each other would wait for each
    /// other.
    #[must_use]
    pub fn redeemed(
        &mut self,
        now: Time,
        by: NodeId,
        load: Load,
        redemption: Redemption,
        out: &mut Vec<Output>,
    ) -> u32 {
        let Redemption { permille, before } = redemption;
        let (owed, gone) = (self.owed.of(by), self.owed.gone_lately(now, by));
        let (more, less) = match before {
            Some(before) => (permille.saturating_sub(before), before.saturating_sub(permille)),
            // What is on its way there it may have counted.
            None if gone > 0 => (0, owed.saturating_sub(permille)),
            None => (permille.saturating_sub(owed), owed.saturating_sub(permille)),
        };
        let redeemed = u64::from(more).min(self.promised.permille()) as u32;
        self.promised.take(redeemed);
        // Somebody else holds that now, also if it has gone to this one meanwhile; no more than that can have been passed on.
        self.promised.add(now, less.min(owed.saturating_add(gone)));
        let owed = owed.saturating_add(redeemed).saturating_sub(less);
        let promises = self.held.part_loose(now, Some(by), owed, PROMISES_PASSED_MAX);
        let instead: u32 = promises.iter().map(|promise| promise.permille).sum();
        if instead > 0 {
            out.push(Output::Instead { to: by, promises });
        }
        let owed = owed - instead;
        more - redeemed + owed - self.owed.set(now, by, load, owed)
    }

    /// To whom processes are to go next, how loaded it is, and how much. Each is named in turn.
    pub fn next_owed(&mut self) -> Option<(NodeId, Load, u32)> {
        self.owed.next()
    }

    /// A process of so much demand goes to one that has redeemed a promise.
    pub fn goes(&mut self, now: Time, to: NodeId, permille: u32) {
        self.owed.goes(now, to, permille);
    }

    /// There is nothing (more) that could go there: so much of what was redeemed does not come.
    pub fn gives_nothing(&mut self, to: NodeId) -> u32 {
        self.owed.remove(to)
    }
}
