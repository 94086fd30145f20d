//! The ticker: a thread that ends slices. It sleeps until the next one is over, and while no core has
//! more than one process to run, it sleeps without end.

use peripatos_engine::Control;

use super::kernel::Kernel;

/// Ends slices until the kernel closes.
pub(super) fn serve(kernel: &Kernel) {
    while let Some(expired) = kernel.expired() {
        // A process that has left its core in the meantime gives way once for nothing.
        expired.iter().for_each(Control::preempt);
    }
}
