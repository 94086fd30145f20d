//! Asking a running process for attention, from any thread.

/// A handle on one process: clone it, send it to other threads, keep it as long as you like.
///
/// Requests to a process that has ended, or whose store is gone, do nothing.
#[derive(Clone, Debug)]
pub struct Control {}

impl Control {
    /// Asks the process to freeze at its next check, or in the host call it waits in. Returns at once;
    /// [`crate::Process::run`] then returns [`crate::Outcome::Frozen`], or its end if that came first.
    pub fn freeze(&self) {}

    /// Ends the process's time slice: at its next check it gives way once to whoever else its executor runs.
    pub fn preempt(&self) {}
}
