//! Nothing is kept for ever.

use peripatos_kernel::Kept;

use crate::config::Faults;
use crate::world::World;

/// Nobody says anything new. What was acknowledged is not kept, if no acknowledgement was lost. (An answer that was given
/// within a node, by a process that has left it since, is not acknowledged.)
pub(crate) fn when_quiet(world: &mut World) {
    if world.config.faults == Faults::default() && world.cluster.is_none() {
        check(world, |kept| kept.answers > 5 && 4 * kept.answers > 3 * kept.aliens);
    }
}

/// All was said, and heard.
pub(crate) fn at_rest(world: &mut World) {
    check(world, |kept| kept.errands > 0 || kept.unacknowledged > 0);
}

/// All have ended, and were forgotten.
pub(crate) fn at_end(world: &mut World) {
    check(world, |kept| *kept != Kept::default());
    let left = (0..world.kernels.len())
        .find(|kernel| world.is_alive(*kernel) && !world.kernels[*kernel].is_empty());
    if let Some(kernel) = left {
        world.violated("leaks", format!("k{kernel} has processes that have ended"));
    }
}

fn check(world: &mut World, wrong: impl Fn(&Kept) -> bool) {
    for kernel in 0..world.kernels.len() {
        let kept = world.kernels[kernel].kept();
        if world.is_alive(kernel) && wrong(&kept) {
            world.violated("leaks", format!("k{kernel} keeps {kept:?}"));
        }
    }
}
