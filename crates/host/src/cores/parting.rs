//! Which of those who talk with each other go to an idle core together.
//!
//! Where all of a core's processes are bound to others on it ([`super::habits`]), none can go alone. So half of those that
//! are ready are chosen such that few calls would cross: from one of them to whom it calls, to who else calls those, and
//! on (a breadth-first search), for who is near in this sense talks among each other. Whether that pays is weighed then:
//! the CPU time that a second core would give against the calls that would take longer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;

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
    let goes = half(talkers, &callers);
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

/// Half of them, in the order in which they are found.
fn half(talkers: &[Talker], callers: &HashMap<Pid, Vec<usize>>) -> Vec<usize> {
    let wanted = talkers.len() / 2;
    let (mut found, mut asked) = (vec![false; talkers.len()], HashSet::new());
    let mut order = Vec::new();
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
            next.extend(new.flat_map(|partner| &callers[partner]));
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    #[test]
    fn nobody_is_no_group() {
        assert_eq!(part(&[]), None);
        assert_eq!(part(&[talker(1, [2, 2], 100)]), None);
    }
}
