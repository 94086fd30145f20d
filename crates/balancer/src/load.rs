//! How loaded a node is, and what that costs those who run there.

/// So much memory is left to a node that takes processes.
pub const MEMORY_KEPT_BYTES: u64 = 64 << 20;

/// How loaded a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Kernel threads that run processes.
    pub cores: u32,
    /// What one of them does in a second, in thousandths of what a core of the reference does alone: less where others use the
    /// CPU, too.
    pub speed_permille: u32,
    /// Processes that want a core, in thousandths, over the last moments.
    pub demand_permille: u32,
    /// Memory that there is for more processes, bytes.
    pub memory_free_bytes: u64,
    /// It is being emptied: what it has goes without being asked for.
    pub draining: bool,
    /// It takes nothing, because it is being emptied or because somebody wants it so.
    pub closed: bool,
}

impl Load {
    /// With so much more demand, in processes, or less.
    pub(crate) fn plus(self, processes: f64) -> Load {
        let demand = (self.demand() + processes).max(0.0) * 1e3;
        Load { demand_permille: demand.round() as u32, ..self }
    }

    /// With so much less demand, in thousandths of a process.
    pub(crate) fn less(self, permille: u32) -> Load {
        Load { demand_permille: self.demand_permille.saturating_sub(permille), ..self }
    }

    /// With so much more.
    pub(crate) fn more(self, permille: u32) -> Load {
        Load { demand_permille: self.demand_permille.saturating_add(permille), ..self }
    }

    /// By how much the strain falls with a little less demand, for each process of it.
    pub(crate) fn relief(self) -> f64 {
        self.slope(self.demand() > f64::from(self.cores.max(1)))
    }

    /// By how much it rises with a little more.
    pub(crate) fn burden(self) -> f64 {
        self.slope(self.demand() >= f64::from(self.cores.max(1)))
    }

    fn slope(self, crowded: bool) -> f64 {
        let waiting =
            if crowded { 2.0 * self.demand() / f64::from(self.cores.max(1)) } else { 1.0 };
        waiting / self.speed()
    }

    /// Whether a process of so much memory fits in, and something is left.
    #[must_use]
    pub fn has_memory_for(self, memory_bytes: u64) -> bool {
        memory_bytes.saturating_add(MEMORY_KEPT_BYTES) <= self.memory_free_bytes
    }

    /// With a process more, of this demand and memory.
    pub(crate) fn and(self, processes: f64, memory_bytes: u64) -> Load {
        let memory_free_bytes = self.memory_free_bytes.saturating_sub(memory_bytes);
        Load { memory_free_bytes, ..self.plus(processes) }
    }

    /// Processes that want a core.
    #[must_use]
    pub fn demand(self) -> f64 {
        f64::from(self.demand_permille) / 1e3
    }

    /// Seconds that the node's processes take, all together, for each second of the reference core that they get done together at
    /// full speed: with a core each that is their number, divided by the speed; where there are more than cores, each waits, and it
    /// is the square of their number, divided by the cores' speed. The sum of this over all nodes is the potential.
    ///
    /// It is convex in the demand and increases with it, so the least sum is where no single process would be better off
    /// elsewhere, but for those it would stand in the way of there.
    #[must_use]
    pub fn strain(self) -> f64 {
        let (demand, cores) = (self.demand(), f64::from(self.cores.max(1)));
        demand * (demand / cores).max(1.0) / self.speed()
    }

    /// How much less it has than so many processes for each reference core, in thousandths of a process.
    #[must_use]
    pub fn less_than(self, level: f64) -> u32 {
        ((level * self.capacity() - self.demand()).max(0.0) * 1e3) as u32
    }

    /// What all its cores do in a second, in reference cores.
    fn capacity(self) -> f64 {
        f64::from(self.cores.max(1)) * self.speed()
    }

    /// Whether it takes a process of this demand when all nodes are to have as much to do as they can, and that is `level`: it has a
    /// core to spare, or is below that without it.
    pub(crate) fn has_room(self, demand: f64, level: f64) -> bool {
        let free = self.demand() + demand <= f64::from(self.cores.max(1));
        free || self.demand() < level * self.capacity()
    }

    fn speed(self) -> f64 {
        f64::from(self.speed_permille.max(1)) / 1e3
    }
}

/// Processes for each reference core if what all these nodes have were spread evenly over those that take any.
#[must_use]
pub fn level(loads: impl IntoIterator<Item = Load>) -> f64 {
    let (mut demand, mut capacity) = (0.0, 0.0);
    for load in loads {
        if !load.closed {
            capacity += load.capacity();
        }
        // Who keeps what he has is no part of it.
        if !load.closed || load.draining {
            demand += load.demand();
        }
    }
    if capacity > 0.0 { demand / capacity } else { 0.0 }
}

/// Processes for each reference core that half of these nodes have, or more, and half of them, or less. `0` of none.
#[must_use]
pub fn median(loads: impl IntoIterator<Item = Load>) -> f64 {
    let open = loads.into_iter().filter(|load| !load.closed);
    let mut crowding: Vec<f64> = open.map(|load| load.demand() / load.capacity()).collect();
    let middle = crowding.len() / 2;
    if crowding.is_empty() {
        return 0.0;
    }
    *crowding.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_what_each_would_have() {
        let load = |cores, processes: u32, closed, draining| Load {
            cores,
            speed_permille: 500,
            demand_permille: processes * 1_000,
            memory_free_bytes: u64::MAX,
            draining,
            closed,
        };
        let open = |cores, processes| load(cores, processes, false, false);
        let check = |loads: &[Load], expected: f64| {
            assert!((level(loads.iter().copied()) - expected).abs() < 1e-9, "{loads:?}");
        };
        check(&[], 0.0);
        check(&[open(1, 6), open(3, 0)], 3.0);
        check(&[open(1, 6), load(3, 9, true, false)], 12.0);
        check(&[open(2, 6), load(3, 9, true, true)], 15.0);
        // One for each core is never too much.
        assert!(open(2, 1).has_room(1.0, 0.1) && !open(2, 2).has_room(1.0, 0.1));
        assert!(open(2, 2).has_room(1.0, 2.5) && !open(2, 3).has_room(1.0, 2.5));
    }

    #[test]
    fn the_median_is_what_half_of_them_have() {
        let load = |cores, processes: u32, closed| Load {
            cores,
            speed_permille: 500,
            demand_permille: processes * 1_000,
            memory_free_bytes: u64::MAX,
            draining: false,
            closed,
        };
        let check = |loads: &[Load], expected: f64| {
            assert!((median(loads.iter().copied()) - expected).abs() < 1e-9, "{loads:?}");
        };
        check(&[], 0.0);
        check(&[load(1, 9, true)], 0.0);
        check(&[load(1, 0, false), load(1, 900, false), load(2, 4, false)], 4.0);
        check(&[load(1, 900, false), load(1, 1, false), load(4, 4, false), load(1, 0, true)], 2.0);
        assert_eq!(load(4, 5, false).less_than(4.0), 3_000);
        assert_eq!(load(4, 9, false).less_than(4.0), 0);
    }

    #[test]
    fn strain_is_time_that_processes_take() {
        let check = |cores, speed_permille, demand_permille, expected: f64| {
            let (draining, closed, memory_free_bytes) = (false, false, u64::MAX);
            let load = Load {
                cores,
                speed_permille,
                demand_permille,
                memory_free_bytes,
                draining,
                closed,
            };
            assert!((load.strain() - expected).abs() < 1e-9, "{load:?}: {}", load.strain());
        };
        check(1, 1000, 0, 0.0);
        check(1, 1000, 500, 0.5);
        check(1, 1000, 1000, 1.0);
        check(1, 1000, 2000, 4.0);
        check(1, 2000, 2000, 2.0);
        check(4, 1000, 3000, 3.0);
        check(4, 1000, 8000, 16.0);
        // A node that says nonsense is a slow one.
        check(0, 1000, 2000, 4.0);
        check(1, 0, 1000, 1000.0);
    }
}
