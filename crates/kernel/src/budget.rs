//! How many bytes the kernels of a node keep for the processes of one program: messages that wait, and watches, where a
//! process has many.
//!
//! Who sends is charged, not who receives: a program that floods runs into its own limit, and not its victims into theirs. A
//! sender has one send under way, so what a program has waiting is bounded by its processes; but 64 KiB for each of a
//! million are more than a node has. A message that its receiver takes at once is never charged, nor a short one, which
//! takes less than the process that waits for its reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peripatos_abi::message::Status;

/// Messages up to this length are not counted.
pub const FREE_BYTES_MAX: usize = 1_024;

/// See the module.
#[derive(Debug)]
pub struct Budget {
    bytes_max: u64,
    bytes: AtomicU64,
}

impl Budget {
    /// Of so many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Arc<Budget> {
        Arc::new(Budget { bytes_max, bytes: AtomicU64::new(0) })
    }

    /// Bytes that wait now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Bytes of one message that waits, until this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Charge {
    /// For a message of this length. `None`: it is free.
    ///
    /// # Errors
    /// [`Status::Full`].
    #[inline]
    pub(crate) fn of(budget: Option<&Arc<Budget>>, len: usize) -> Result<Option<Charge>, Status> {
        match budget {
            Some(budget) if len > FREE_BYTES_MAX => Charge::take(budget, len as u64).map(Some),
            _ => Ok(None),
        }
    }

    /// So many bytes.
    ///
    /// # Errors
    /// [`Status::Full`].
    #[cold]
    pub(crate) fn take(budget: &Arc<Budget>, bytes: u64) -> Result<Charge, Status> {
        let before = budget.bytes.fetch_add(bytes, Ordering::Relaxed);
        let charge = Charge { budget: Arc::clone(budget), bytes };
        // Dropped, it gives back what it has taken.
        if before + bytes > budget.bytes_max { Err(Status::Full) } else { Ok(charge) }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
