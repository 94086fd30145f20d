//! The scheme that ships, in this world: what a node's thread does around the state machine.

use std::collections::BTreeMap;
use std::time::Duration;

use peripatos_balancer::{
    Bounds, Candidate, Load, MARGIN, MARGIN_PROMISED, Prices, rest_after, weigh, what_to_give,
};
use peripatos_cluster::Time;
use peripatos_cluster::limits::{
    AWAY_PATIENCE, CALL_AWAY, DRAWN_MAX, GOSSIP_BYTES_MAX, LEAVING_MAX, ROUND, SEAL_BYTES,
};
use peripatos_cluster::membership::Timing;
use peripatos_cluster::promises::{Output, Own, Promise, Promises, Redemption, Word, read_samples};

use super::Workload;
use super::machine::{Place, ProcessIndex};
use super::workload::mates;
use super::world::{What, World, id_of};

/// Headers of IPv4 and UDP, and what kind of datagram it is.
const HEADER_BYTES: usize = 20 + 8 + 1;
/// Until silence is told: what `peri up` has as its own default.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(3);
/// A link is made: TCP's and TLS's round trips, and the signatures.
const LINK_TAKES: Duration = Duration::from_millis(5);
/// Calls that a talker makes in a second, to each of those whom it calls.
const CALLS_A_SECOND: f64 = 5_000.0;

/// What one node knows and has measured.
pub(super) struct Mind {
    pub(super) promises: Promises,
    pub(super) prices: Prices,
    /// What could leave, and when that was counted.
    spare: Option<(Duration, u32)>,
    /// Nodes to which it has a link, and when what was sent last arrives there: a link keeps the order.
    links: BTreeMap<usize, Duration>,
    wakes_at: Duration,
}

impl World {
    /// A node begins.
    pub(super) fn wake_up(&mut self, at: usize) {
        let seed = self.random.next();
        self.minds.push(Mind {
            promises: Promises::new(id_of(at), Time(self.now), seed),
            prices: Prices::default(),
            spare: None,
            links: BTreeMap::new(),
            wakes_at: Duration::MAX,
        });
        let period = Timing::of(UNREACHABLE_AFTER).probe_every.as_nanos() as u64;
        let phase = Duration::from_nanos(self.random.within(0..period));
        self.after(phase, What::Ping(at));
        self.sleep(at);
        if self.config.workload == Workload::Talkers {
            self.after(phase + AWAY_PATIENCE, What::Follow(at));
        }
    }

    /// How loaded a node is, as it measures itself.
    fn load(&mut self, at: usize) -> Load {
        let machine = &mut self.machines[at];
        Load {
            cores: machine.cores,
            speed_permille: machine.speed_permille,
            demand_permille: machine.demand_permille(self.now),
            memory_free_bytes: u64::MAX,
            draining: false,
            closed: false,
        }
    }

    fn own(&mut self, at: usize) -> Own {
        let load = self.load(at);
        let spare_permille = self.minds[at].spare.map_or(0, |(_, permille)| permille);
        let demand_permille = load.demand_permille + self.coming[at];
        Own { load: Load { demand_permille, ..load }, spare_permille, balancing: true }
    }

    /// What a node would have if all promises were kept, in processes.
    pub(super) fn effective(&mut self, at: usize) -> f64 {
        let own = self.own(at);
        f64::from(self.minds[at].promises.effective(own.load).demand_permille) / 1e3
    }

    /// Counts what could leave, if it was not counted for a round.
    fn count_spare(&mut self, at: usize) {
        let fresh = |(when, _): &(Duration, u32)| self.now - *when < ROUND;
        if self.minds[at].spare.as_ref().is_some_and(fresh) {
            return;
        }
        let load = self.load(at);
        let nobody = Load { demand_permille: 0, ..load };
        let prices = self.minds[at].prices;
        let candidates = self.candidates(at, None);
        let pays = |one: &&Candidate<ProcessIndex>| {
            weigh(load, nobody, one, &prices, MARGIN_PROMISED).is_ok()
        };
        let spare = candidates.iter().filter(pays).map(|one| one.demand_permille).sum();
        self.minds[at].spare = Some((self.now, spare));
    }

    /// Processes that may leave: to that machine.
    fn candidates(&self, at: usize, to: Option<usize>) -> Vec<Candidate<ProcessIndex>> {
        let machine = &self.machines[at];
        let free = machine
            .wanting
            .iter()
            .filter(|index| self.processes[**index as usize].rests_until <= self.now);
        free.map(|index| self.candidate(*index, at, to)).collect()
    }

    fn candidate(
        &self,
        index: ProcessIndex,
        at: usize,
        to: Option<usize>,
    ) -> Candidate<ProcessIndex> {
        let process = &self.processes[index as usize];
        Candidate {
            process: index,
            cpu: Duration::from_secs_f64(self.machines[at].done_s(process)),
            memory_bytes: process.memory_bytes,
            memory_needed_bytes: process.memory_bytes,
            demand_permille: process.demand_permille(self.now),
            parting: to.map_or(0.0, |to| self.parting(index, at, to)),
            preference: 0.0,
        }
    }

    /// Seconds that a process loses in a second as those whom it calls are elsewhere, if it goes there.
    fn parting(&self, index: ProcessIndex, at: usize, to: usize) -> f64 {
        if self.config.workload != Workload::Talkers {
            return 0.0;
        }
        let lost = |mate: usize| match self.processes[mate].place {
            Place::At(place) if place == at => 1.0,
            Place::At(place) if place == to => -1.0,
            _ => 0.0,
        };
        let all = mates(index as usize, self.processes.len()).map(lost).sum::<f64>();
        all * CALLS_A_SECOND * CALL_AWAY.as_secs_f64()
    }

    /// A member asks another one whether it lives, and tells it of loads by the way.
    pub(super) fn ping(&mut self, at: usize) {
        if !self.machines[at].alive {
            return;
        }
        self.after(Timing::of(UNREACHABLE_AFTER).probe_every, What::Ping(at));
        let to = self.alive[self.random.below(self.alive.len())];
        if to != at {
            self.tell_samples(at, to, true);
        }
    }

    fn tell_samples(&mut self, from: usize, to: usize, question: bool) {
        let own = self.own(from);
        let bytes = self.minds[from].promises.samples(Time(self.now), &own, GOSSIP_BYTES_MAX);
        // The datagram itself is membership's.
        self.bytes += bytes.len() as u64 + 1;
        let wait = self.latency();
        self.after(wait, What::Samples { from, to, bytes, question });
    }

    pub(super) fn samples(&mut self, from: usize, to: usize, bytes: &[u8], question: bool) {
        if !self.machines[to].alive {
            return;
        }
        if let Ok((heard, _)) = read_samples(bytes) {
            self.minds[to].promises.heard(Time(self.now), id_of(from), &heard, |_| true);
        }
        if question {
            self.tell_samples(to, from, false);
        }
    }

    fn sleep(&mut self, at: usize) {
        let wakes_at = self.minds[at].promises.next_deadline().0.max(self.now);
        if self.minds[at].wakes_at != wakes_at {
            self.minds[at].wakes_at = wakes_at;
            self.after(wakes_at - self.now, What::Wake(at));
        }
    }

    pub(super) fn wake(&mut self, at: usize) {
        if !self.machines[at].alive || self.minds[at].wakes_at != self.now {
            return;
        }
        let (own, mut out) = (self.own(at), Vec::new());
        self.minds[at].promises.handle(Time(self.now), &own, &mut out);
        self.act(at, out);
        self.serve(at);
        self.sleep(at);
    }

    pub(super) fn word(&mut self, from: usize, to: usize, word: Word) {
        if !self.machines[to].alive {
            return;
        }
        if matches!(word, Word::Ask { .. }) {
            self.count_spare(to);
        }
        let (own, mut out) = (self.own(to), Vec::new());
        self.minds[to].promises.word(Time(self.now), &own, id_of(from), word, &mut out);
        self.act(to, out);
        self.sleep(to);
    }

    fn act(&mut self, at: usize, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Say { to, word } => {
                    let to = self.index_of(to);
                    self.bytes += (HEADER_BYTES + SEAL_BYTES + word.to_bytes().len()) as u64;
                    let wait = self.latency();
                    self.after(wait, What::Word { from: at, to, word });
                }
                Output::Redeem { maker, redemption } => {
                    let to = self.index_of(maker);
                    self.send(at, to, What::Redeem { from: at, to, redemption });
                }
                Output::Instead { to, promises } => {
                    let to = self.index_of(to);
                    self.send(at, to, What::Instead { from: at, to, promises });
                }
            }
        }
    }

    /// By link: after all that was sent there before.
    fn send(&mut self, from: usize, to: usize, what: What) {
        let is_linked = self.minds[from].links.contains_key(&to);
        let link = if is_linked { Duration::ZERO } else { LINK_TAKES };
        let arrives = self.now + link + self.latency();
        for (own, other) in [(from, to), (to, from)] {
            let last = self.minds[own].links.entry(other).or_default();
            if own == from {
                *last = arrives.max(*last);
            }
        }
        let arrives = self.minds[from].links[&to];
        self.after(arrives - self.now, what);
    }

    /// A holder redeems what this node has promised.
    pub(super) fn redeemed(&mut self, from: usize, to: usize, redemption: Redemption) {
        if !self.machines[to].alive {
            return;
        }
        let asking = self.own(from).load;
        let (by, mut out) = (id_of(from), Vec::new());
        let promises = &mut self.minds[to].promises;
        let kept = promises.redeemed(Time(self.now), by, asking, redemption, &mut out);
        self.act(to, out);
        self.keeps(to, from, kept);
        self.serve(to);
    }

    /// A holder is told how much of what it has redeemed does not come.
    fn keeps(&mut self, from: usize, to: usize, permille: u32) {
        if permille > 0 {
            self.send(from, to, What::Kept { from, to, permille });
        }
    }

    pub(super) fn instead(&mut self, from: usize, to: usize, promises: &[Promise]) {
        let mut out = Vec::new();
        self.minds[to].promises.instead(Time(self.now), id_of(from), promises, &mut out);
        self.act(to, out);
    }

    pub(super) fn kept(&mut self, from: usize, to: usize, permille: u32) {
        self.minds[to].promises.kept(id_of(from), permille);
    }

    /// Processes go to those who have redeemed promises.
    fn serve(&mut self, at: usize) {
        // Not one by one: all are looked at each time.
        while self.leaving[at] <= LEAVING_MAX / 2 {
            let Some((to, asking, permille)) = self.minds[at].promises.next_owed() else { return };
            let holder = self.index_of(to);
            let candidates = self.candidates(at, Some(holder));
            let bounds = Bounds {
                level: f64::MAX,
                count: LEAVING_MAX - self.leaving[at],
                demand_permille: permille,
                margin: MARGIN_PROMISED,
            };
            let (own, prices) = (self.load(at), self.minds[at].prices);
            match what_to_give(own, asking, &candidates, &prices, &bounds) {
                Ok(given) => {
                    for (index, _) in given {
                        self.begin_move(index, at, holder);
                    }
                }
                Err(_) => {
                    let kept = self.minds[at].promises.gives_nothing(to);
                    self.keeps(at, holder, kept);
                }
            }
        }
    }

    /// A process is on its way.
    pub(super) fn goes(&mut self, from: usize, to: usize, permille: u32) {
        self.minds[from].promises.goes(Time(self.now), id_of(to), permille);
        self.minds[to].promises.comes(Time(self.now), id_of(from), permille);
    }

    /// It has come.
    pub(super) fn has_moved(&mut self, index: ProcessIndex, from: usize, began: Duration) {
        let took = self.now - began;
        let process = &mut self.processes[index as usize];
        process.rests_until = self.now + rest_after(took);
        self.minds[from].prices.note_move(process.memory_bytes, took);
        self.serve(from);
    }

    /// Who calls processes of another node goes there, if that saves more than it costs.
    pub(super) fn follow(&mut self, at: usize) {
        if !self.machines[at].alive {
            return;
        }
        self.after(AWAY_PATIENCE, What::Follow(at));
        let mut left = DRAWN_MAX.min(LEAVING_MAX.saturating_sub(self.leaving[at]));
        let wanting = self.machines[at].wanting.clone();
        for index in wanting {
            let process = &self.processes[index as usize];
            if left == 0 {
                return;
            }
            if process.rests_until > self.now {
                continue;
            }
            let Some(to) = self.drawn_to(index, at) else { continue };
            let candidate = self.candidate(index, at, Some(to));
            let (own, there, prices) = (self.load(at), self.own(to).load, self.minds[at].prices);
            if weigh(own, there, &candidate, &prices, MARGIN).is_ok() {
                left -= 1;
                self.begin_move(index, at, to);
            }
        }
    }

    /// The other node that has most of those whom a process calls. Of two nodes the one with the higher name waits for the other.
    fn drawn_to(&self, index: ProcessIndex, at: usize) -> Option<usize> {
        let places = mates(index as usize, self.processes.len());
        let places: Vec<usize> = places
            .filter_map(|mate| match self.processes[mate].place {
                Place::At(place) => Some(place),
                _ => None,
            })
            .collect();
        let count = |place: usize| places.iter().filter(|other| **other == place).count();
        let away = places.iter().copied().filter(|place| *place != at);
        let most = away.max_by_key(|place| (count(*place), *place))?;
        (count(most) > count(at) || count(most) == count(at) && most < at).then_some(most)
    }
}
