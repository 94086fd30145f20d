//! How many processes this OS process can have awake: what it has least of is mappings and address space.

use std::fs;
use std::sync::OnceLock;

use peripatos_engine::{awake, places};

/// Mappings of a place, where a process has its memories and its stack: one is accessible, one is not.
const MAPPINGS: usize = 2;
/// Mappings that are left for all the rest: code, heaps, what lies in the engine's pool, memories that have grown.
const OTHER_MAPPINGS: usize = 14_530;
/// So many memories and stacks may lie beside the places: second memories of programs, memories of 64 bits.
const BESIDE: usize = 5_000;
/// The address space has room for so many, however many mappings it may have: of 128 TiB a program takes 5.3 GiB (4 for
/// its memory, 1 for the frames that a freeze saves, the rest for its stack and guards).
const ADDRESSED_MAX: usize = 20_500;
/// Linux's own limit of mappings, where it cannot be read.
const MAPPINGS_MAX: usize = 65_530;

/// Processes of this OS process that may be awake although some of them only wait: of more, those that have waited longest
/// sleep. It follows from the mappings that the system allows (`vm.max_map_count`).
#[must_use]
pub fn awake_max() -> usize {
    places_max().saturating_sub(BESIDE).min(ADDRESSED_MAX)
}

/// Whether some should sleep, if so many may be awake.
pub(crate) fn is_crowded(awake_max: usize) -> bool {
    awake() > awake_max || places() > places_max()
}

fn places_max() -> usize {
    static MAX: OnceLock<usize> = OnceLock::new();
    *MAX.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
        places_with(text.trim().parse().unwrap_or(MAPPINGS_MAX))
    })
}

/// If so many mappings are allowed.
fn places_with(mappings: usize) -> usize {
    (mappings.saturating_sub(OTHER_MAPPINGS) / MAPPINGS).min(ADDRESSED_MAX + BESIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_awake_as_the_system_has_mappings_for() {
        assert_eq!(places_with(MAPPINGS_MAX), ADDRESSED_MAX + BESIDE);
        assert_eq!(places_with(0), 0);
        assert_eq!(places_with(1 << 20), ADDRESSED_MAX + BESIDE);
        assert!(awake_max() <= ADDRESSED_MAX);
    }
}
