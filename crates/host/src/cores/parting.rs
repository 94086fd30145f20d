//! Which of those who talk with each other go to an idle core together.
//!
//! Where all of a core's processes are bound to others on it ([`super::habits`]), none can go alone. So half of those that
//! are ready are chosen such that few calls would cross: from one of them to whom it calls, to who else calls those, and
//! on (a breadth-first search), for who is near in this sense talks among each other. Whether that pays is weighed then:
//! the CPU time that a second core would give against the calls that would take longer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;
use std::{iter, mem};

use peripatos_abi::Pid;

use super::habits::Habits;

/// Whom a process called last: two, for more it can hardly be said to be near to.
pub(super) type Partners = [Option<Pid>; 2];

/// A process that is ready and talks.
pub(super) struct Talker {
    pub(super) pid: Pid,
    pub(super) habits: Habits,
    pub(super) partners: Partners,
}

/// A group that could be given away is looked for so often at most: all that are ready are looked at.
const AFTER: Duration = Duration::from_millis(20);
/// And so that to look for it, and to give it away, takes one part of so many of the time.
const SHARE: u32 = 20;

/// After how long a group is looked for again, if that took so long last time.
pub(super) fn pause(took: Duration) -> Duration {
    AFTER.max(took * SHARE)
}

/// Those of these that are ready who may go. Whoever has too much with him stays, and so do those who call him; the others go without them.
pub(super) fn free(
    ready: Vec<(Pid, Habits)>,
    partners: impl Fn(Pid) -> Partners,
    is_laden: impl Fn(Pid) -> bool,
) -> Vec<Talker> {
    let talkers = ready.into_iter().filter_map(|(pid, habits)| {
        let partners = partners(pid);
        let stays = iter::once(pid).chain(partners.into_iter().flatten()).any(&is_laden);
        (!stays).then_some(Talker { pid, habits, partners })
    });
    talkers.collect()
}

/// Who goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) talkers: Vec<Pid>,
    /// Whom they call more than those do who stay.
    pub(super) servers: Vec<Pid>,
}

/// Who of these is to go. `None`: it would not pay.
pub(super) fn part(talkers: &[Talker]) -> Option<Group> {
    let mut callers: HashMap<Pid, Vec<usize>> = HashMap::new();
    for (at, talker) in talkers.iter().enumerate() {
        for partner in talker.partners.iter().flatten() {
            callers.entry(*partner).or_default().push(at);
        }
    }
    let (mut goes, _) = half(talkers, &callers);
    // They have their turns in the same order as here.
    goes.sort_unstable();
    let mut going = vec![false; talkers.len()];
    goes.iter().for_each(|at| going[*at] = true);
    let mut servers = Vec::new();
    let mut crossing = Vec::new();
    for (server, callers) in &callers {
        let (go, stay): (Vec<usize>, Vec<usize>) = callers.iter().partition(|at| going[**at]);
        if go.len() > stay.len() {
            servers.push(*server);
            crossing.extend(stay);
        } else {
            crossing.extend(go);
        }
    }
    let gains_ns: u64 = goes.iter().map(|at| talkers[*at].habits.used_ns()).sum();
    let costs_ns: u64 = crossing.iter().map(|at| talkers[*at].habits.parting_ns() / 2).sum();
    if goes.is_empty() || costs_ns >= gains_ns {
        return None;
    }
    servers.sort_unstable();
    Some(Group { talkers: goes.iter().map(|at| talkers[*at].pid).collect(), servers })
}

/// Half of them, in the order in which they are found, and how many were looked at for that.
fn half(talkers: &[Talker], callers: &HashMap<Pid, Vec<usize>>) -> (Vec<usize>, usize) {
    let wanted = talkers.len() / 2;
    let (mut found, mut asked) = (vec![false; talkers.len()], HashSet::new());
    let (mut order, mut looks) = (Vec::new(), 0);
    for start in 0..talkers.len() {
        let mut next = VecDeque::from([start]);
        while let Some(at) = next.pop_front().filter(|_| order.len() < wanted) {
            if mem::replace(&mut found[at], true) {
                continue;
            }
            order.push(at);
            // Who else calls one is looked at once: thousands may call the same.
            let partners = talkers[at].partners.iter().flatten();
            let new = partners.filter(|partner| asked.insert(**partner));
            for partner in new {
                looks += callers[partner].len();
                next.extend(&callers[partner]);
            }
        }
    }
    (order, looks)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn pid(number: u64) -> Pid {
        Pid::new(number, 1)
    }

    /// It has called them so often, computing so long for each call.
    fn talker(number: u64, partners: [u64; 2], computes_ns: u64) -> Talker {
        let mut habits = Habits::default();
        habits.note_slice(Duration::from_nanos(100 * computes_ns), 100);
        Talker { pid: pid(number), habits, partners: partners.map(|partner| Some(pid(partner))) }
    }

    /// Philosophers and their forks.
    fn ring(philosophers: u64) -> Vec<Talker> {
        let fork = |at: u64| 1_000 + at % philosophers;
        // In an order that says nothing.
        let order = (0..philosophers).map(|at| at * 37 % philosophers);
        order.map(|at| talker(at, [fork(at), fork(at + 1)], 500)).collect()
    }

    #[test]
    fn a_long_ring_is_cut_in_two_places() {
        let group = part(&ring(200)).unwrap();
        assert_eq!(group.talkers.len(), 100);
        let goes: HashSet<Pid> = group.talkers.into_iter().collect();
        let neighbours =
            (0..200).filter(|at| goes.contains(&pid(*at)) != goes.contains(&pid((at + 1) % 200)));
        assert_eq!(neighbours.count(), 2);
        assert_eq!(group.servers.len(), 99);
    }

    #[test]
    fn a_short_one_is_not() {
        assert_eq!(part(&ring(5)), None);
    }

    #[test]
    fn of_two_pairs_one_goes() {
        let pairs = [talker(1, [11, 11], 100), talker(2, [12, 12], 100)];
        let group = part(&pairs).unwrap();
        assert_eq!(group, Group { talkers: vec![pid(1)], servers: vec![pid(11)] });
    }

    #[test]
    fn those_who_call_one_server_stay_with_it() {
        let clients: Vec<Talker> = (0..100).map(|at| talker(at, [999, 999], 1_000)).collect();
        assert_eq!(part(&clients), None);
    }

    /// Thousands that call the same two servers, or each another's, are each looked at as often as they call somebody: to look at all callers of a
    /// server for each of them took time that grew with the square of their number.
    #[test]
    fn each_is_looked_at_as_often_as_it_calls() {
        const COUNT: u64 = 10_000;
        let same = (0..COUNT).map(|at| talker(at, [COUNT, COUNT + 1], 500)).collect();
        for talkers in [same, ring(COUNT)] {
            let mut callers: HashMap<Pid, Vec<usize>> = HashMap::new();
            for (at, talker) in talkers.iter().enumerate() {
                for partner in talker.partners.iter().flatten() {
                    callers.entry(*partner).or_default().push(at);
                }
            }
            let (goes, looks) = half(&talkers, &callers);
            assert_eq!(goes.len() as u64, COUNT / 2);
            assert!(looks as u64 <= 2 * COUNT, "{looks} looks at {COUNT}");
        }
    }

    #[test]
    fn looking_takes_a_small_part_of_the_time() {
        for took_us in [0, 1, 1_000, 50_000, 10_000_000] {
            let took = Duration::from_micros(took_us);
            assert!(pause(took) >= 20 * took && pause(took) >= Duration::from_millis(20));
        }
    }

    /// One server has too much with it. Its clients stay; philosophers, who do not call it, go as if those were not there.
    #[test]
    fn who_calls_a_laden_server_keeps_nobody_else() {
        let laden = pid(5_000);
        let clients = (2_000..2_100).map(|at| talker(at, [5_000, 5_000], 500));
        let all: Vec<Talker> = ring(200).into_iter().chain(clients).collect();
        let partners: HashMap<Pid, Partners> =
            all.iter().map(|talker| (talker.pid, talker.partners)).collect();
        let looks = Cell::new(0);
        let is_laden = |pid| {
            looks.set(looks.get() + 1);
            pid == laden
        };
        let ready: Vec<_> = all.into_iter().map(|talker| (talker.pid, talker.habits)).collect();
        let count = ready.len();
        let free = free(ready, |pid| partners[&pid], is_laden);
        assert_eq!(free.len(), 200);
        assert!(looks.get() <= 3 * count, "{} looks at {count}", looks.get());
        let group = part(&free).expect("philosophers go");
        assert_eq!((group.talkers.len(), group.servers.len()), (100, 99));
    }

    #[test]
    fn nobody_is_no_group() {
        assert_eq!(part(&[]), None);
        assert_eq!(part(&[talker(1, [2, 2], 100)]), None);
    }
}
