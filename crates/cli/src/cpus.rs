//! The CPUs that this command may use: a demo or a bench has one for each of two nodes where there are two.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Numbers of the first two; fewer where there are fewer.
pub(crate) fn two() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).take(2).collect()
}

/// Does something with this thread, and all threads and OS processes that it starts meanwhile, bound to one CPU.
pub(crate) fn on<T>(cpu: Option<usize>, work: impl FnOnce() -> T) -> T {
    let (Some(cpu), Ok(before)) = (cpu, sched_getaffinity(None)) else { return work() };
    let mut one = CpuSet::new();
    one.set(cpu);
    // Where that is not allowed the system chooses: only the times are less steady.
    let _ = sched_setaffinity(None, &one);
    let done = work();
    let _ = sched_setaffinity(None, &before);
    done
}
