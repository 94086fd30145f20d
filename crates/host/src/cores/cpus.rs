//! Which CPUs the cores are pinned to, and how much of them they have used.
//!
//! Nodes of one machine tell each other which CPUs are taken, by sockets with abstract names: they are
//! no files, and are gone with their node. It is a courtesy and guards nothing; without it two nodes
//! of one core each would share the first CPU of an otherwise idle machine.

use std::fs::File;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A CPU chosen for a core.
#[derive(Debug)]
pub(super) struct Claim {
    cpu: usize,
    _socket: UnixDatagram,
}

impl Claim {
    /// None: another node has it.
    fn new(cpu: usize) -> Option<Claim> {
        let name = SocketAddr::from_abstract_name(format!("peripatos-cpu-{cpu}"));
        let socket = name.and_then(|name| UnixDatagram::bind_addr(&name)).ok()?;
        Some(Claim { cpu, _socket: socket })
    }

    /// Its number.
    pub(super) fn cpu(&self) -> usize {
        self.cpu
    }
}

/// Chooses up to `count` of the CPUs that this thread may use, of those that no other node has. Cores beyond them are
/// better off where the system puts them than on a CPU that somebody is pinned to: two nodes might choose the same.
/// None at all if there are fewer CPUs than `count`.
pub(super) fn claim(count: usize) -> Vec<Claim> {
    let cpus = allowed();
    if cpus.len() < count {
        return Vec::new();
    }
    cpus.into_iter().filter_map(Claim::new).take(count).collect()
}

/// Binds this thread to a CPU. Where that is not allowed it runs anywhere: only speed is at stake.
pub(super) fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    let _ = sched_setaffinity(None, &set);
}

/// CPUs that this thread may use.
pub(super) fn allowed() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect()
}

/// The CPU time of a thread, for other threads to read. It may be a few milliseconds behind.
#[derive(Debug)]
pub(super) struct ThreadClock(File);

impl ThreadClock {
    /// Of this thread. None where the system does not tell.
    pub(super) fn own() -> Option<ThreadClock> {
        File::open("/proc/thread-self/schedstat").ok().map(ThreadClock)
    }

    /// The time now.
    pub(super) fn read(&self) -> Option<Duration> {
        self.read_both().map(|(ran, _)| ran)
    }

    /// How long the thread has been on a CPU, and how long it has waited for one.
    pub(super) fn read_both(&self) -> Option<(Duration, Duration)> {
        let mut bytes = [0; 64];
        let len = self.0.read_at(&mut bytes, 0).ok()?;
        // The first two of three numbers, nanoseconds; 0 where the system does not count.
        let mut numbers = std::str::from_utf8(&bytes[..len]).ok()?.split(' ');
        let mut next = || numbers.next()?.parse().ok().map(Duration::from_nanos);
        let (ran, waited) = (next()?, next()?);
        (!ran.is_zero()).then_some((ran, waited))
    }
}
