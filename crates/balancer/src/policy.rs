//! Whom a node asks for processes, and which that one gives.

use std::collections::BinaryHeap;
use std::time::Duration;

use crate::load::Load;
use crate::price::Prices;

/// What is saved must be this many times what the move takes: neither is known well.
const WORTH: f64 = 2.0;
/// A move that lowers the potential by less than this share of what the process adds to it is not proposed: loads and speeds are measured, and
/// measured again they would speak for the way back.
pub const MARGIN: f64 = 0.1;
/// The same for what was promised: many nodes are to be equal at the end, not only any two of them, and each process moves once.
pub const MARGIN_PROMISED: f64 = 0.03;

/// A process that wants a core, on a node that has nothing of what it prefers, counts as losing so many seconds in each: as much as on a
/// core of half the speed. So a preference is worth more than small differences in load, and less than a core that need not be shared.
pub const PREFERENCE: f64 = 1.0;

/// A process that could be given away.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<P> {
    /// Its name.
    pub process: P,
    /// Processor time it has used.
    pub cpu: Duration,
    /// Memory that its move would carry.
    pub memory_bytes: u64,
    /// Memory that it takes where it goes: that, or more, if it is known to need more.
    pub memory_needed_bytes: u64,
    /// How much it wants a core, in thousandths.
    pub demand_permille: u32,
    /// Seconds that it would lose in a second, as those whom it calls would be on another node; less those that it would gain, as
    /// others whom it calls would not.
    pub parting: f64,
    /// Seconds that count as gained in a second, as the other node has more of what it prefers; negative: as it has less
    /// ([`PREFERENCE`]).
    pub preference: f64,
}

/// What speaks for a move, and what against it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// The node that has the process, with it.
    pub giving: Load,
    /// The other one, without it.
    pub taking: Load,
    /// Seconds that all processes together save in a second: what the potential is lower after it.
    pub gain: f64,
    /// Of that, what they save as they talk with others on the same node; negative: what they lose.
    pub talk: f64,
    /// And what counts as saved as the process prefers the other node; negative: as lost.
    pub preference: f64,
    /// How much longer the process may be expected to want a core.
    pub goes_on: Duration,
    /// What the move takes of everybody's time.
    pub price: Duration,
    /// How much the process wants a core, in thousandths.
    pub demand_permille: u32,
}

impl Terms {
    /// How much may want a core at the node that takes, before the process comes, in thousandths, for the move to gain as much as it has to.
    #[must_use]
    pub fn demand_permille_max(&self, margin: f64) -> u32 {
        let demand = f64::from(self.demand_permille) / 1e3;
        let burden = |taking: Load| taking.plus(demand).strain() - taking.strain();
        let relief = self.giving.strain() - self.giving.plus(-demand).strain();
        let most = burden(self.taking) + self.gain - margin * relief.max(self.talk.abs());
        let (mut enough, mut too_much) = (self.taking.demand_permille, u32::MAX);
        while too_much - enough > 1 {
            let middle = enough + (too_much - enough) / 2;
            let load = Load { demand_permille: middle, ..self.taking };
            if burden(load) < most {
                enough = middle;
            } else {
                too_much = middle;
            }
        }
        enough
    }

    fn pay(&self) -> bool {
        self.gain * self.goes_on.as_secs_f64() > WORTH * self.price.as_secs_f64()
    }
}

/// Why a process is not given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// The node that asks takes nothing.
    Closed,
    /// It does not have the memory.
    NoMemory,
    /// The two are about equally loaded, or would be more unequal after it.
    Balanced(Terms),
    /// It is not expected to go on long enough for what the move takes.
    Dear(Terms),
}

/// Of the processes that are not given, the one that comes nearest to it, and why it is not. `None`: there is none.
pub type Nearest<P> = Option<(P, Why)>;

/// How much a node gives at a time, at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Until the other one is as loaded as all would be ([`level`](crate::level)).
    pub level: f64,
    /// Processes.
    pub count: usize,
    /// Of so much demand together, in thousandths of a process; as near as whole processes come to it.
    pub demand_permille: u32,
    /// The share of what a process adds to the potential that its move must gain.
    pub margin: f64,
}

/// Weighs a move. `margin`: the share of what the process adds to the potential that the move must gain ([`MARGIN`]).
///
/// # Errors
/// Why it is not to be made.
pub fn weigh<P>(
    giving: Load,
    taking: Load,
    candidate: &Candidate<P>,
    prices: &Prices,
    margin: f64,
) -> Result<Terms, Why> {
    if taking.closed {
        return Err(Why::Closed);
    }
    if !taking.has_memory_for(candidate.memory_needed_bytes) {
        return Err(Why::NoMemory);
    }
    let demand = f64::from(candidate.demand_permille) / 1e3;
    let relief = giving.strain() - giving.plus(-demand).strain();
    let burden = taking.plus(demand).strain() - taking.strain();
    let terms = Terms {
        giving,
        taking,
        gain: relief - burden - candidate.parting + candidate.preference,
        talk: -candidate.parting,
        preference: candidate.preference,
        goes_on: prices.goes_on(candidate.cpu),
        price: prices.of_move(candidate.memory_bytes),
        demand_permille: candidate.demand_permille,
    };
    if terms.gain <= margin * relief.max(candidate.parting.abs()) {
        return Err(Why::Balanced(terms));
    }
    if !terms.pay() {
        return Err(Why::Dear(terms));
    }
    Ok(terms)
}

/// Whom a node asks for processes: the one with which a move would gain most, and more than `margin`. `None`: it would gain with
/// nobody. Who is being emptied need not be asked.
#[must_use]
pub fn whom_to_ask<N>(
    own: Load,
    peers: impl IntoIterator<Item = (N, Load)>,
    margin: f64,
) -> Option<N> {
    let prices = Prices::default();
    let gains = peers.into_iter().filter_map(|(node, load)| {
        if load.demand_permille == 0 || load.draining {
            return None;
        }
        // Somebody there who may go on for ever.
        let demand_permille = load.demand_permille.min(1_000);
        let candidate = Candidate {
            process: (),
            cpu: Duration::from_secs(3_600),
            memory_bytes: 0,
            memory_needed_bytes: 0,
            demand_permille,
            parting: 0.0,
            preference: 0.0,
        };
        let terms = weigh(load, own, &candidate, &prices, margin).ok()?;
        Some((node, terms.gain))
    });
    let most = gains.reduce(|most, one| if one.1 > most.1 { one } else { most });
    most.map(|(node, _)| node)
}

/// What a node gives to one that asks: processes that are worth their moves, best first, until the two are about equally loaded, or
/// the bounds are reached. The other one is not to be more loaded than all would be: others will ask, too, and nobody is to move twice.
///
/// # Errors
/// Nothing is given: of the process that comes nearest to it, why; of none, if there is none.
pub fn what_to_give<P: Ord + Copy>(
    own: Load,
    asking: Load,
    candidates: &[Candidate<P>],
    prices: &Prices,
    bounds: &Bounds,
) -> Result<Vec<(P, Terms)>, Nearest<P>> {
    let (mut own, mut asking, mut left) = (own, asking, bounds.demand_permille);
    let worth = |one: &Candidate<P>| {
        let price = prices.of_move(one.memory_bytes).as_nanos().max(1);
        (prices.goes_on(one.cpu).as_nanos() * u128::from(one.demand_permille) / price, one.process)
    };
    // Few of many are given: they need not all be sorted.
    let mut best: BinaryHeap<_> =
        candidates.iter().enumerate().map(|(at, one)| (worth(one), at)).collect();
    let (mut given, mut nearest) = (Vec::new(), None);
    while given.len() < bounds.count && left > 0 {
        let Some((_, at)) = best.pop() else { break };
        let candidate = &candidates[at];
        if candidate.demand_permille / 2 > left {
            continue;
        }
        match weigh(own, asking, candidate, prices, bounds.margin) {
            Ok(terms) => {
                let demand = f64::from(candidate.demand_permille) / 1e3;
                if !asking.has_room(demand, bounds.level) {
                    nearest.get_or_insert((candidate.process, Why::Balanced(terms)));
                    continue;
                }
                let needed = candidate.memory_needed_bytes;
                (own, asking) = (own.plus(-demand), asking.and(demand, needed));
                left = left.saturating_sub(candidate.demand_permille);
                given.push((candidate.process, terms));
            }
            Err(why) => {
                nearest.get_or_insert((candidate.process, why));
            }
        }
    }
    if given.is_empty() { Err(nearest) } else { Ok(given) }
}

/// Where a process goes that has to leave, and needs so much memory: to where it adds least to the potential, of the nodes that take it.
/// `preference`: seconds in a second that a node counts as better than others, as it has what the process prefers.
#[must_use]
pub fn where_to_send<N: Copy>(
    memory_needed_bytes: u64,
    peers: impl IntoIterator<Item = (N, Load)>,
    preference: impl Fn(N) -> f64,
) -> Option<N> {
    let has_memory = |load: Load| load.has_memory_for(memory_needed_bytes);
    let takes = |load: Load| !load.closed && load.cores > 0 && has_memory(load);
    let takers = peers.into_iter().filter(|(_, load)| takes(*load));
    let burden = |load: Load| load.plus(1.0).strain() - load.strain();
    let burdens = takers.map(|(node, load)| (node, burden(load) - preference(node)));
    burdens.reduce(|least, one| if one.1 < least.1 { one } else { least }).map(|(node, _)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn up_to(count: usize) -> Bounds {
        Bounds { level: f64::MAX, count, demand_permille: u32::MAX, margin: MARGIN }
    }

    const fn load(cores: u32, processes: u32) -> Load {
        Load {
            cores,
            speed_permille: 1_000,
            demand_permille: processes * 1_000,
            memory_free_bytes: u64::MAX,
            draining: false,
            closed: false,
        }
    }

    const fn draining(cores: u32, processes: u32) -> Load {
        Load { draining: true, closed: true, ..load(cores, processes) }
    }

    /// It takes nothing, and keeps what it has.
    const fn cordoned(cores: u32, processes: u32) -> Load {
        Load { closed: true, ..load(cores, processes) }
    }

    const fn of_speed(speed_permille: u32, load: Load) -> Load {
        Load { speed_permille, ..load }
    }

    const fn one(process: u8, seconds: u64, memory_bytes: u64) -> Candidate<u8> {
        let cpu = Duration::from_secs(seconds);
        Candidate {
            process,
            cpu,
            memory_bytes,
            memory_needed_bytes: memory_bytes,
            demand_permille: 1_000,
            parting: 0.0,
            preference: 0.0,
        }
    }

    #[test]
    fn the_one_is_asked_of_whom_most_is_gained() {
        let check = |own, peers: &[(u8, Load)], expected| {
            assert_eq!(
                whom_to_ask(own, peers.iter().copied(), MARGIN),
                expected,
                "{own:?} {peers:?}"
            );
        };
        check(load(1, 0), &[], None);
        check(load(1, 0), &[(1, load(1, 1))], None);
        check(load(1, 0), &[(1, load(1, 2)), (2, load(1, 4)), (3, load(4, 5))], Some(2));
        check(load(2, 1), &[(1, load(2, 3))], Some(1));
        check(load(1, 1), &[(1, load(1, 3))], Some(1));
        check(load(1, 1), &[(1, load(1, 2))], None);
        check(draining(1, 0), &[(1, load(1, 9))], None);
        check(load(1, 0), &[(1, load(1, 3)), (2, draining(1, 9))], Some(1));
        check(cordoned(1, 0), &[(1, load(1, 9))], None);
        check(load(1, 0), &[(1, cordoned(1, 9)), (2, load(1, 3))], Some(1));
        // A lone process gains from a faster core, and not from one that is hardly so.
        check(of_speed(2_000, load(1, 0)), &[(1, load(1, 1))], Some(1));
        check(of_speed(1_050, load(1, 0)), &[(1, load(1, 1))], None);
        check(load(1, 0), &[(1, of_speed(500, load(1, 1)))], Some(1));
        // Three on a core of double speed are as well off as they would be there.
        check(load(1, 1), &[(1, of_speed(2_000, load(1, 3)))], None);
    }

    #[test]
    fn what_is_given_makes_the_two_more_equal() {
        let old = [one(1, 5, 1 << 20), one(2, 50, 1 << 20), one(3, 60, 1 << 30)];
        let check = |own, asking, candidates: &[Candidate<u8>], expected: &[u8]| {
            let given = what_to_give(own, asking, candidates, &Prices::default(), &up_to(8));
            let given: Vec<u8> = given.unwrap_or_default().into_iter().map(|one| one.0).collect();
            assert_eq!(given, expected, "{own:?} {asking:?}");
        };
        check(load(1, 4), load(1, 0), &old, &[2, 1]);
        check(load(1, 9), load(1, 0), &old, &[2, 1, 3]);
        check(load(1, 1), load(1, 0), &old, &[]);
        check(load(1, 2), load(1, 1), &old, &[]);
        check(load(2, 2), load(2, 0), &old, &[]);
        check(load(1, 4), draining(1, 0), &old, &[]);
        check(load(1, 4), cordoned(1, 0), &old, &[]);
        check(cordoned(1, 4), load(1, 0), &old, &[2, 1]);
        check(cordoned(1, 1), load(1, 0), &old, &[]);
        // Nothing is known of it but that others take a hundredth of a second, as long as a move.
        check(load(1, 2), load(1, 0), &[one(1, 0, 10 << 20)], &[]);
        check(load(1, 4), load(1, 0), &[], &[]);
    }

    #[test]
    fn it_is_said_why_nothing_is_given() {
        let check = |own, asking, candidates: &[Candidate<u8>], expected: &str| {
            let why =
                what_to_give(own, asking, candidates, &Prices::default(), &up_to(8)).err().unwrap();
            assert!(format!("{why:?}").contains(expected), "{why:?}");
        };
        check(load(1, 4), load(1, 0), &[], "None");
        check(load(1, 4), cordoned(1, 0), &[one(1, 9, 0)], "Closed");
        let full = Load { memory_free_bytes: 100 << 20, ..load(1, 0) };
        check(load(1, 4), full, &[one(1, 9, 40 << 20)], "NoMemory");
        // It has little yet, and is known to need more.
        let needs = |bytes| Candidate { memory_needed_bytes: bytes, ..one(1, 9, 1 << 20) };
        check(load(1, 4), full, &[needs(40 << 20)], "NoMemory");
        assert!(weigh(load(1, 4), full, &needs(36 << 20), &Prices::default(), MARGIN).is_ok());
        check(load(1, 2), load(1, 1), &[one(1, 9, 0)], "Balanced");
        check(load(1, 2), load(1, 0), &[one(1, 1, 1 << 30)], "Dear");
    }

    #[test]
    fn a_preference_counts_and_is_not_all_that_counts() {
        let check = |own: Load, taking: Load, preference: f64, moves: bool| {
            let candidate = Candidate { preference, ..one(1, 9, 1 << 20) };
            let weighed = weigh(own, taking, &candidate, &Prices::default(), MARGIN);
            assert_eq!(weighed.is_ok(), moves, "{own:?} {taking:?} {preference}");
        };
        // One that is as well off goes to where it prefers to be, also if that is somewhat slower, and does not come back.
        check(load(1, 1), load(1, 0), PREFERENCE, true);
        check(load(1, 1), of_speed(700, load(1, 0)), PREFERENCE, true);
        check(load(1, 1), load(1, 0), -PREFERENCE, false);
        check(load(1, 1), of_speed(1_400, load(1, 0)), -PREFERENCE, false);
        // It does not share a core for it, and leaves if it has to: the core of another one is worth more.
        check(load(1, 1), load(1, 1), PREFERENCE, false);
        check(load(1, 2), load(1, 0), -PREFERENCE, true);
        check(load(1, 1), of_speed(3_000, load(1, 0)), -PREFERENCE, false);
        check(load(1, 2), of_speed(400, load(1, 0)), -PREFERENCE, false);
        check(load(1, 2), of_speed(400, load(1, 0)), 0.0, true);
        // Half of what it prefers is worth half as much.
        check(load(1, 1), of_speed(800, load(1, 0)), PREFERENCE / 2.0, true);
        check(load(1, 1), of_speed(600, load(1, 0)), PREFERENCE / 2.0, false);
    }

    #[test]
    fn it_is_known_up_to_which_load_a_move_gains_enough() {
        let check = |own: Load, taking: Load, preference: f64| {
            let candidate = Candidate { preference, ..one(1, 9, 0) };
            let weighed = |taking| weigh(own, taking, &candidate, &Prices::default(), MARGIN);
            let most = weighed(taking).expect("it gains").demand_permille_max(MARGIN);
            let with = |demand_permille| Load { demand_permille, ..taking };
            assert!(weighed(with(most - 2)).is_ok(), "{own:?} {taking:?}: {most}");
            assert!(weighed(with(most + 2)).is_err(), "{own:?} {taking:?}: {most}");
        };
        check(load(1, 1), load(1, 0), PREFERENCE);
        check(load(1, 4), load(1, 0), 0.0);
        check(load(1, 4), load(8, 3), PREFERENCE);
        check(load(1, 9), of_speed(700, load(2, 3)), -PREFERENCE);
    }

    #[test]
    fn as_many_are_given_as_make_the_two_equal() {
        let many: Vec<Candidate<u8>> = (0..100).map(|number| one(number, 9, 0)).collect();
        let given =
            what_to_give(load(1, 100), load(1, 0), &many, &Prices::default(), &up_to(usize::MAX));
        let given = given.unwrap();
        assert!((46..=50).contains(&given.len()), "{}", given.len());
        assert!(given[0].1.gain > given[40].1.gain, "the first ones gain most");
        let few =
            what_to_give(load(1, 100), load(1, 0), &many, &Prices::default(), &up_to(3)).unwrap();
        assert_eq!(few.len(), 3);
        // There is memory for three, and what is kept.
        let room = Load { memory_free_bytes: (64 + 3 * 10) << 20, ..load(1, 0) };
        let large: Vec<Candidate<u8>> = (0..9).map(|number| one(number, 9, 10 << 20)).collect();
        let given = what_to_give(load(1, 9), room, &large, &Prices::default(), &up_to(9));
        assert_eq!(given.unwrap().len(), 3);
        // Others will ask, too.
        let bounded = |bounds: Bounds| {
            let given = what_to_give(load(1, 100), load(1, 0), &many, &Prices::default(), &bounds);
            given.map_or(0, |given| given.len())
        };
        assert_eq!(bounded(Bounds { level: 20.0, ..up_to(99) }), 20);
        // What was promised, as near as whole processes come to it.
        for (demand_permille, expected) in [(0, 0), (499, 0), (500, 1), (7_400, 7), (7_600, 8)] {
            assert_eq!(bounded(Bounds { demand_permille, ..up_to(99) }), expected);
        }
    }

    #[test]
    fn who_has_to_leave_goes_where_it_is_least_in_the_way() {
        let where_to_send =
            |bytes, peers: &[(u8, Load)]| where_to_send(bytes, peers.iter().copied(), |_| 0.0);
        let peers = [(1, load(1, 2)), (2, load(4, 2)), (3, draining(9, 0))];
        assert_eq!(where_to_send(0, &peers), Some(2));
        assert_eq!(where_to_send(0, &[(3, draining(9, 0)), (4, cordoned(9, 0))]), None);
        let full = Load { memory_free_bytes: 100 << 20, ..load(1, 0) };
        assert_eq!(where_to_send(40 << 20, &[(1, full), (2, load(1, 5))]), Some(2));
        assert_eq!(where_to_send(30 << 20, &[(1, full), (2, load(1, 5))]), Some(1));
        assert_eq!(where_to_send(0, &[(1, load(1, 0)), (2, of_speed(2_000, load(1, 0)))]), Some(2));
    }

    #[test]
    fn who_has_to_leave_goes_where_it_prefers_to_be_if_it_need_not_share_a_core_there() {
        let check = |first: Load, preferred: Load, expected| {
            let preference = |node| if node == 2 { PREFERENCE } else { 0.0 };
            let to = where_to_send(0, [(1, first), (2, preferred)], preference);
            assert_eq!(to, Some(expected), "{first:?} {preferred:?}");
        };
        check(load(1, 0), load(1, 0), 2);
        check(load(1, 0), of_speed(600, load(1, 0)), 2);
        check(load(1, 0), load(1, 1), 1);
        check(load(1, 1), load(1, 1), 2);
    }
}
