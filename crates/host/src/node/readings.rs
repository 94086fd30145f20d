//! Where a process's clocks stand, while it is answered now by one machine's, now by another one's.

use std::time::Instant;

use peripatos_abi::ClockId;
use peripatos_abi::device::{Reply, Request};

/// What a process has been told by clocks that must not go back, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Of the monotonic clock.
    pub monotonic_ns: u64,
    /// Of processor time.
    pub cpu_ns: u64,
}

impl Readings {
    /// A reply is about to be given: the clock's reading in it is kept, or, if the clock would go back, takes the one before.
    pub(super) fn note(&mut self, request: &Request, reply: Reply, read_at: &mut Instant) -> Reply {
        match (request, reply) {
            (Request::ClockTime(ClockId::Monotonic), Reply::Number(read_ns)) => {
                self.monotonic_ns = self.monotonic_ns.max(read_ns);
                *read_at = Instant::now();
                Reply::Number(self.monotonic_ns)
            }
            (
                Request::ClockTime(ClockId::ProcessCpu | ClockId::ThreadCpu),
                Reply::Number(read_ns),
            ) => {
                self.cpu_ns = self.cpu_ns.max(read_ns);
                Reply::Number(self.cpu_ns)
            }
            (_, reply) => reply,
        }
    }
}

/// Nanoseconds since then.
pub(super) fn elapsed_ns(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
