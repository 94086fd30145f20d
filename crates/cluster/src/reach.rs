//! Nodes without a link that something is for: they are called, and clients' questions and commands wait for the link.
//!
//! A node is called if gossip says that it lives. What waits is said when the link stands; if none does in time, or gossip
//! takes its word back, whoever has asked hears what he would have heard at once without gossip: that the node cannot be reached,
//! and that nothing was done. Nothing else waits here: what nodes owe each other they say anew on each link that is made
//! (`Node::link_up`), and what kernels say they say again; for that a call is enough.
//!
//! Invariants:
//! * Each word is said once, or answered as not said; so a command that has waited was not done twice, nor half.
//! * At most [`REACHING_MAX`] words wait, none for longer than [`REACH_WAIT_MAX`]. What is asked of all has to take turns beyond
//!   [`ASKING_MAX`]: so many nodes are called at a time, and nobody is called silent who has not been called.

use std::collections::{BTreeMap, VecDeque};

use crate::event::Action;
use crate::limits::{ANSWER_WAIT_MAX, ASKED_LATER_MAX, ASKING_MAX, REACH_WAIT_MAX, REACHING_MAX};
use crate::message::{Answer, Command, Message};
use crate::node::{Asker, Node};
use crate::{NodeId, Time};

/// What waits for links, by whom it is for.
#[derive(Debug, Default)]
pub(crate) struct Reaching {
    words: BTreeMap<NodeId, Vec<Waits>>,
    len: usize,
    /// Who is to be asked what when fewer words wait.
    later: VecDeque<(NodeId, u64, Box<Message>)>,
}

#[derive(Debug)]
struct Waits {
    deadline: Time,
    word: Word,
}

/// What is to be done when the link stands.
#[derive(Debug)]
pub(crate) enum Word {
    /// This question of ours is asked.
    Ask(u64, Box<Message>),
    /// This command is done here: it has to do with that node.
    Do(Asker, Command),
}

impl Reaching {
    fn push(&mut self, node: NodeId, waits: Waits) {
        self.words.entry(node).or_default().push(waits);
        self.len += 1;
    }

    fn take(&mut self, node: NodeId, which: impl Fn(&Waits) -> bool) -> Vec<Word> {
        let Some(words) = self.words.get_mut(&node) else { return Vec::new() };
        let taken: Vec<Word> =
            words.extract_if(.., |waits| which(waits)).map(|waits| waits.word).collect();
        if words.is_empty() {
            self.words.remove(&node);
        }
        self.len -= taken.len();
        taken
    }

    /// Those for which something waits.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.words.keys().copied()
    }

    /// When the first one has waited for too long.
    pub(crate) fn next_deadline(&self) -> Time {
        let deadlines = self.words.values().flatten().map(|waits| waits.deadline);
        deadlines.min().unwrap_or(Time::NEVER)
    }
}

impl Node {
    /// Whether there is no link to a node, and one may be made.
    pub(crate) fn can_be_called(&self, node: NodeId) -> bool {
        let removed = self.is_removed(node);
        !removed && !self.peers.is_linked(node) && self.heard.address(node).is_some()
    }

    /// Something is for a node to which there is no link: it is called, unless it was just before.
    pub(crate) fn call(&mut self, node: NodeId, out: &mut Vec<Action>) {
        if self.can_be_called(node)
            && let Some(address) = self.heard.take_call(node, self.now)
        {
            out.push(Action::Connect(vec![address]));
        }
    }

    /// The same, and this waits for the link. `false`: it does not, for the node cannot be called, or too much waits.
    pub(crate) fn call_for(&mut self, node: NodeId, word: Word, out: &mut Vec<Action>) -> bool {
        let comes = self.can_be_called(node) || self.is_parting(node);
        if !comes || self.reaching.len >= REACHING_MAX {
            return false;
        }
        self.call(node, out);
        self.reaching.push(node, Waits { deadline: self.now + REACH_WAIT_MAX, word });
        true
    }

    /// A question to all is asked of a node without a link: now, or when it is its turn. `false`: it is not.
    pub(crate) fn ask_in_turn(
        &mut self,
        node: NodeId,
        number: u64,
        message: &Message,
        out: &mut Vec<Action>,
    ) -> bool {
        let message = Box::new(message.clone());
        if self.reaching.len < ASKING_MAX {
            return self.call_for(node, Word::Ask(number, message), out);
        }
        let waits = self.reaching.later.len() < ASKED_LATER_MAX
            && (self.can_be_called(node) || self.is_parting(node));
        if waits {
            self.reaching.later.push_back((node, number, message));
        }
        waits
    }

    /// Fewer words wait: whose turn it is is asked.
    fn ask_next(&mut self, out: &mut Vec<Action>) {
        while self.reaching.len < ASKING_MAX
            && let Some((node, number, message)) = self.reaching.later.pop_front()
        {
            // Whoever has asked may have his answer without it.
            let Some(waiting) = self.waiting.get_mut(&number) else { continue };
            waiting.deadline = self.now + ANSWER_WAIT_MAX;
            if self.peers.is_linked(node) && !self.is_parting(node) {
                out.push(Action::Send { to: node, message: *message });
            } else if !self.call_for(node, Word::Ask(number, message), out) {
                self.was_not_asked(number, node, out);
            }
        }
    }

    /// A link stands, and is not about to be closed: what has waited for it.
    pub(crate) fn reached(&mut self, node: NodeId, out: &mut Vec<Action>) {
        for word in self.reaching.take(node, |_| true) {
            match word {
                Word::Ask(number, message) => {
                    // Whoever has asked may have his answer without it.
                    if self.waiting.contains_key(&number) {
                        out.push(Action::Send { to: node, message: *message });
                    }
                }
                Word::Do(asker, command) => self.command(asker, command, out),
            }
        }
        self.ask_next(out);
    }

    /// Gossip does not say any more that a node lives: nothing waits for it.
    pub(crate) fn is_not_reached(&mut self, node: NodeId, out: &mut Vec<Action>) {
        let words = self.reaching.take(node, |_| true);
        self.words_unsaid(node, words, out);
        self.ask_next(out);
    }

    /// Time has passed: what has waited for long enough.
    pub(crate) fn reach_no_longer(&mut self, out: &mut Vec<Action>) {
        let now = self.now;
        if self.reaching.next_deadline() > now {
            return;
        }
        for node in self.reaching.words.keys().copied().collect::<Vec<_>>() {
            let words = self.reaching.take(node, |waits| waits.deadline <= now);
            self.words_unsaid(node, words, out);
        }
        self.ask_next(out);
    }

    fn words_unsaid(&mut self, node: NodeId, words: Vec<Word>, out: &mut Vec<Action>) {
        for word in words {
            match word {
                Word::Ask(number, _) => self.was_not_asked(number, node, out),
                Word::Do(asker, _) => {
                    let reason = format!("node {} cannot be reached", self.name_of(node));
                    self.tell(Some(asker), Answer::Refused(reason), out);
                }
            }
        }
    }
}
