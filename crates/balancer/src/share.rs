//! How much of what one node has is promised to another one: an amount, not processes.

use std::time::Duration;

use crate::load::Load;
use crate::policy::{Candidate, MARGIN_PROMISED, weigh};
use crate::price::Prices;

/// How much of what `giving` has would be done sooner at `taking`, in thousandths of a process: after so much has gone
/// neither would gain from more. 0: not even one process would gain clearly. Who is being emptied gives without being asked.
#[must_use]
pub fn share(giving: Load, taking: Load) -> u32 {
    let one = giving.demand_permille.min(1_000);
    if one == 0 || giving.draining {
        return 0;
    }
    let lasting = Candidate {
        process: (),
        cpu: Duration::from_secs(3_600),
        memory_bytes: 0,
        memory_needed_bytes: 0,
        demand_permille: one,
        parting: 0.0,
        preference: 0.0,
    };
    if weigh(giving, taking, &lasting, &Prices::default(), MARGIN_PROMISED).is_err() {
        return 0;
    }
    // The more has gone the less is the next bit worth, and the dearer is it there.
    let (mut enough, mut too_much) = (0, giving.demand_permille);
    while too_much - enough > 1 {
        let middle = enough + (too_much - enough) / 2;
        if giving.less(middle).relief() > taking.more(middle).burden() {
            enough = middle;
        } else {
            too_much = middle;
        }
    }
    enough
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_it_neither_would_gain_from_more() {
        let load = |cores, speed_permille, processes: u32| Load {
            cores,
            speed_permille,
            demand_permille: processes * 1_000,
            memory_free_bytes: u64::MAX,
            draining: false,
            closed: false,
        };
        let check = |giving, taking, expected: u32| {
            let given = share(giving, taking);
            assert!(given.abs_diff(expected) <= 2, "{given} of {giving:?} to {taking:?}");
        };
        let alike = |processes| load(1, 1_000, processes);
        check(alike(100), alike(0), 50_000);
        check(alike(2), alike(0), 1_000);
        check(alike(3), alike(1), 1_000);
        check(alike(2), alike(1), 0);
        check(alike(1), alike(0), 0);
        check(alike(103), alike(100), 0);
        check(alike(110), alike(100), 5_000);
        check(alike(0), alike(0), 0);
        // In proportion to the cores, and to their speed.
        check(alike(100), load(3, 1_000, 0), 75_000);
        check(load(1, 500, 30), load(1, 1_000, 0), 20_000);
        // Each has a core.
        check(load(4, 1_000, 4), load(4, 1_000, 0), 0);
        check(alike(4), load(8, 1_000, 0), 3_000);
        check(alike(9), Load { closed: true, ..alike(0) }, 0);
        check(Load { draining: true, closed: true, ..alike(9) }, alike(0), 0);
    }
}
