//! Whether a link was of use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a link, or a wire beside it, has carried something that is not there for the link's own sake. All threads that have to do
/// with the link note it here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used(Arc<AtomicBool>);

impl Used {
    /// It has.
    pub(crate) fn note(&self) {
        // Threads that note the same do not take it from each other.
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it has since this was asked last.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}
