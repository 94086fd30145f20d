//! The clocks of a process.

use peripatos_abi::ClockId;
use rustix::time::{ClockId as Host, Timespec, clock_getres, clock_gettime};

const NANOSECONDS: u64 = 1_000_000_000;

/// Clocks that go on where they stood when the process was frozen: neither goes back over a move,
/// and neither counts the time spent as an image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    monotonic: Continued,
    cpu: Continued,
}

/// A clock of this system, shifted.
#[derive(Clone, Copy, Debug)]
struct Continued {
    host: Host,
    /// The system's reading when this clock was set.
    host_start_ns: u64,
    /// This clock's reading then.
    start_ns: u64,
}

impl Clocks {
    /// Of a new process. Its monotonic clock is the system's.
    pub(super) fn new() -> Self {
        Self::at(read(Host::Monotonic), 0)
    }

    /// Of a process whose clocks stood at these readings.
    pub(super) fn at(monotonic_ns: u64, cpu_ns: u64) -> Self {
        let start = |host, start_ns| Continued { host, host_start_ns: read(host), start_ns };
        Self {
            monotonic: start(Host::Monotonic, monotonic_ns),
            cpu: start(Host::ProcessCPUTime, cpu_ns),
        }
    }

    /// Nanoseconds. Processor time is that of this whole OS process since the process began here.
    pub(super) fn read(&self, clock: ClockId) -> u64 {
        match clock {
            ClockId::Realtime => read(Host::Realtime),
            ClockId::Monotonic => self.monotonic.read(),
            ClockId::ProcessCpu | ClockId::ThreadCpu => self.cpu.read(),
        }
    }

    /// Nanoseconds between two ticks.
    pub(super) fn resolution(&self, clock: ClockId) -> u64 {
        let host = match clock {
            ClockId::Realtime => Host::Realtime,
            ClockId::Monotonic => self.monotonic.host,
            ClockId::ProcessCpu | ClockId::ThreadCpu => self.cpu.host,
        };
        nanoseconds(clock_getres(host)).max(1)
    }
}

impl Continued {
    fn read(&self) -> u64 {
        self.start_ns.saturating_add(read(self.host).saturating_sub(self.host_start_ns))
    }
}

fn read(clock: Host) -> u64 {
    nanoseconds(clock_gettime(clock))
}

/// Times before the clock's zero are 0.
pub(super) fn nanoseconds(time: Timespec) -> u64 {
    let Ok(seconds) = u64::try_from(time.tv_sec) else { return 0 };
    seconds.saturating_mul(NANOSECONDS).saturating_add(time.tv_nsec.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_on_where_they_stood() {
        let far = 1 << 60;
        let clocks = Clocks::at(far, far);
        for clock in [ClockId::Monotonic, ClockId::ProcessCpu] {
            let first = clocks.read(clock);
            assert!(first >= far);
            assert!(clocks.read(clock) >= first);
        }
        assert!(Clocks::new().read(ClockId::Realtime) > far);
    }
}
