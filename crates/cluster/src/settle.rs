//! The balance in a cluster in which no node knows how loaded all are: what this node says of promises, and what it does about them.
//! The promises themselves are in [`promises`](crate::promises).

use peripatos_abi::Pid;
use peripatos_balancer::{self as balancer, Bounds, Load, MARGIN_PROMISED};

use crate::event::Action;
use crate::journal::Reason;
use crate::limits::{LEAVING_BYTES_MAX, LEAVING_MAX, ROUND};
use crate::message::{LoadSample, Message};
use crate::node::Node;
use crate::peers::load;
use crate::promises::{Heard, Output, Own, Promise, Redemption, Word};
use crate::source::Conditions;
use crate::{NodeId, Time};

/// What could leave a node, and when that was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spare {
    permille: u32,
    at: Option<Time>,
}

impl Node {
    /// Whether there are so few nodes that each tells its load to all, ten times a second: with all it has links.
    pub(crate) fn knows_all(&self) -> bool {
        let few = self.heard.len().max(self.peers.0.len()) < self.config.knows_all_max;
        few && self.keeps_all()
    }

    /// Samples that are to be sent along with a datagram of membership; `room`: bytes that they may take, of which there is one at least.
    pub fn samples(&mut self, now: Time, room: usize) -> Vec<u8> {
        let own = self.own();
        self.promises.samples(now, &own, room)
    }

    /// How loaded this node is, and what it could give.
    fn own(&self) -> Own {
        Own {
            load: load(self.own_sample()),
            spare_permille: self.spare.permille,
            balancing: self.balancing && !self.draining,
        }
    }

    /// Samples have come along with a datagram.
    pub(crate) fn heard_samples(&mut self, from: NodeId, heard: &[Heard]) {
        let (alive, removed) = (&self.heard, &self.config.removed);
        let counts = |node| alive.address(node).is_some() && !removed.contains_key(&node);
        if counts(from) {
            self.promises.heard(self.now, from, heard, counts);
        }
    }

    /// A word of another node has come.
    pub(crate) fn heard_word(&mut self, from: NodeId, word: Word, out: &mut Vec<Action>) {
        if self.is_removed(from) {
            return;
        }
        if matches!(word, Word::Ask { .. }) {
            self.count_spare();
        }
        let (own, mut outputs) = (self.own(), Vec::new());
        self.promises.word(self.now, &own, from, word, &mut outputs);
        self.do_all(outputs, out);
    }

    /// Counts what could leave, at most once a round: it looks at all that want a core.
    fn count_spare(&mut self) {
        if self.spare.at.is_some_and(|at| self.now.since(at) < ROUND) {
            return;
        }
        let own = self.own_load();
        let nobody = Load { demand_permille: 0, memory_free_bytes: u64::MAX, ..own };
        // To nowhere yet: what pulls one to a node that it calls, or prefers, is left out.
        let together = self.processes.candidates(self.now, self.config.node, |_| true, |_| 0.0);
        let all = together.iter().map(|one| one.candidate).filter(|candidate| {
            balancer::weigh(own, nobody, candidate, &self.prices, MARGIN_PROMISED).is_ok()
        });
        let permille = all.fold(0, |sum: u32, one| sum.saturating_add(one.demand_permille));
        self.spare = Spare { permille, at: Some(self.now) };
    }

    /// Looks at the promises.
    pub(crate) fn settle(&mut self, out: &mut Vec<Action>) {
        let (own, mut outputs) = (self.own(), Vec::new());
        self.promises.handle(self.now, &own, &mut outputs);
        self.do_all(outputs, out);
        self.serve(out);
    }

    fn do_all(&mut self, outputs: Vec<Output>, out: &mut Vec<Action>) {
        for output in outputs {
            match output {
                Output::Say { to, word } => out.push(Action::Say { to, word }),
                Output::Redeem { maker, redemption } => self.redeem(maker, redemption, out),
                Output::Instead { to, promises } => {
                    out.push(Action::Send { to, message: Message::Instead { promises } });
                }
            }
        }
    }

    /// Asks a node for what it has promised; without a link it is called, and asked when the link stands.
    fn redeem(&mut self, maker: NodeId, redemption: Redemption, out: &mut Vec<Action>) {
        if self.peers.is_linked(maker) {
            let message = Message::Redeem { sample: self.own_sample(), redemption };
            out.push(Action::Send { to: maker, message });
        } else if self.can_be_called(maker) {
            self.call(maker, out);
        } else {
            self.promises.unreachable(maker);
        }
    }

    /// There is a link to a node: what it has promised can be redeemed.
    pub(crate) fn reached_maker(&mut self, node: NodeId, out: &mut Vec<Action>) {
        let (own, mut outputs) = (self.own(), Vec::new());
        self.promises.reached(self.now, &own, node, &mut outputs);
        self.do_all(outputs, out);
    }

    /// A node redeems what this one has promised.
    pub(crate) fn asked_to_redeem(
        &mut self,
        from: NodeId,
        sample: LoadSample,
        redemption: Redemption,
        out: &mut Vec<Action>,
    ) {
        self.heard_load(from, sample);
        let (asking, mut outputs) = (load(sample), Vec::new());
        let kept = self.promises.redeemed(self.now, from, asking, redemption, &mut outputs);
        self.do_all(outputs, out);
        self.keeps(from, kept, out);
        self.serve(out);
    }

    /// A node that redeems is told how much of that does not come.
    fn keeps(&self, to: NodeId, permille: u32, out: &mut Vec<Action>) {
        if permille > 0 {
            out.push(Action::Send { to, message: Message::Kept { permille } });
        }
    }

    /// A node from which this one has redeemed gives promises of others instead.
    pub(crate) fn given_instead(
        &mut self,
        from: NodeId,
        promises: &[Promise],
        out: &mut Vec<Action>,
    ) {
        let mut outputs = Vec::new();
        self.promises.instead(self.now, from, promises, &mut outputs);
        self.do_all(outputs, out);
    }

    /// Sends processes to those who have redeemed promises: as many at a time as are good for the links, to each in turn.
    pub(crate) fn serve(&mut self, out: &mut Vec<Action>) {
        while self.balancing && !self.draining {
            let (count, bytes) = self.on_their_way();
            // Not one by one: each time all that want a core are looked at.
            if count > LEAVING_MAX / 2 || bytes > LEAVING_BYTES_MAX / 2 {
                return;
            }
            let Some((to, asking, permille)) = self.promises.next_owed() else { return };
            let linked = self.peers.is_linked(to);
            let bounds = Bounds {
                level: f64::MAX,
                count: LEAVING_MAX - count,
                demand_permille: permille,
                margin: MARGIN_PROMISED,
            };
            let given = if linked { self.given(to, asking, &bounds) } else { Vec::new() };
            let mut moved = 0;
            for (members, terms, demand_permille) in given {
                let reason = Reason::Balance(terms.into());
                let begins =
                    |pid: Pid| self.begin_move(pid, to, reason, Conditions::default(), out).is_ok();
                let began = members.into_iter().map(begins).filter(|began| *began).count();
                if began > 0 {
                    self.promises.goes(self.now, to, demand_permille);
                }
                moved += began;
            }
            if moved == 0 {
                let kept = self.promises.gives_nothing(to);
                self.keeps(to, kept, out);
            }
        }
    }

    /// A node that is being emptied knows few that could take what it has: the least loaded one that it has heard of is called.
    pub(crate) fn call_a_taker(&mut self, out: &mut Vec<Action>) {
        let fresh = self.promises.fresh(self.now);
        let unlinked = fresh.filter(|(node, _)| !self.peers.is_linked(*node));
        if let Some(taker) = balancer::where_to_send(0, unlinked, |_| 0.0) {
            self.call(taker, out);
        }
    }
}
