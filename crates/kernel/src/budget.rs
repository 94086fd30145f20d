//! How many bytes the kernels of a node keep for the processes of one program: messages that wait, and watches, where a
//! process has many.
//!
//! Who sends is charged, not who receives: a program that floods runs into its own limit, and not its victims into theirs. A
//! sender has one send under way, so what a program has waiting is bounded by its processes; but 64 KiB for each of a
//! million are more than a node has. A message that its receiver takes at once is never charged, nor a short one, which
//! takes less than the process that waits for its reply.
//!
//! Words that nobody waits for, bits and watches, are counted while they are on their way ([`Toll`]): a process that says them in a
//! loop would fill its node's memory, if another core takes them in more slowly, and keep others from saying theirs to other nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peripatos_abi::message::Status;

use crate::limits::{ERRANDS_SHARE_MAX, WORDS_MAX};

/// Messages up to this length are not counted.
pub const FREE_BYTES_MAX: usize = 1_024;

/// See the module.
#[derive(Debug)]
pub struct Budget {
    bytes_max: u64,
    bytes: AtomicU64,
    /// See [`WORDS_MAX`].
    words: AtomicU64,
    /// See [`ERRANDS_SHARE_MAX`].
    errands: AtomicU64,
}

impl Budget {
    /// Of so many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Arc<Budget> {
        let [bytes, words, errands] = [0; 3].map(AtomicU64::new);
        Arc::new(Budget { bytes_max, bytes, words, errands })
    }

    /// Bytes that wait now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Words that nobody waits for and that are on their way now.
    #[must_use]
    pub fn words(&self) -> u64 {
        self.words.load(Ordering::Relaxed)
    }
}

/// A word that nobody waits for, as bits are, and that is on its way to another kernel: it counts among its program's until this is
/// dropped, where it was taken in. A copy of it does not count, nor what comes from another node.
#[derive(Debug, Default)]
pub struct Toll(Option<Arc<Budget>>);

impl Toll {
    /// # Errors
    /// [`Status::Full`]: of [`WORDS_MAX`].
    pub(crate) fn take(budget: Option<&Arc<Budget>>) -> Result<Toll, Status> {
        let Some(budget) = budget else { return Ok(Toll::default()) };
        let before = budget.words.fetch_add(1, Ordering::Relaxed);
        let toll = Toll(Some(Arc::clone(budget)));
        if before >= WORDS_MAX { Err(Status::Full) } else { Ok(toll) }
    }

    /// The same of one that its kernel stands up for, until another node has heard it.
    ///
    /// # Errors
    /// [`Status::Full`]: of [`ERRANDS_SHARE_MAX`].
    pub(crate) fn for_errand(self) -> Result<ErrandToll, Status> {
        let before = match &self.0 {
            Some(budget) => budget.errands.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
        let toll = ErrandToll(self);
        if before >= ERRANDS_SHARE_MAX { Err(Status::Full) } else { Ok(toll) }
    }
}

impl Drop for Toll {
    fn drop(&mut self) {
        if let Some(budget) = &self.0 {
            budget.words.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Clone for Toll {
    fn clone(&self) -> Toll {
        Toll::default()
    }
}

/// Who pays for it is nothing that a packet says.
impl PartialEq for Toll {
    fn eq(&self, _: &Toll) -> bool {
        true
    }
}

impl Eq for Toll {}

/// See [`Toll::for_errand`].
#[derive(Debug)]
pub(crate) struct ErrandToll(Toll);

impl ErrandToll {
    /// Its kernel stands up for it no more: it stays on its way.
    pub(crate) fn near(mut self) -> Toll {
        if let Some(budget) = &self.0.0 {
            budget.errands.fetch_sub(1, Ordering::Relaxed);
        }
        std::mem::take(&mut self.0)
    }
}

impl Drop for ErrandToll {
    fn drop(&mut self) {
        if let Some(budget) = &self.0.0 {
            budget.errands.fetch_sub(1, Ordering::Relaxed);
        }
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
