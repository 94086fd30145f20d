//! One core: a thread that runs whose turn it is, again and again.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::cpus;
use super::kernel::Kernel;

/// Runs processes on this thread until the kernel closes.
pub(super) fn serve(kernel: &Arc<Kernel>, core: usize, cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        cpus::pin(cpu);
    }
    kernel.show_clock(core);
    let mut mark = thread_cpu();
    while let Some(mut turn) = kernel.next(core, mark) {
        let polled = turn.run();
        let now = thread_cpu();
        let event = kernel.end_slice(core, turn, polled, now.saturating_sub(mark));
        mark = now;
        if let Some(event) = event {
            kernel.tell(event);
            // What the event took is nobody's time.
            mark = thread_cpu();
        }
    }
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
