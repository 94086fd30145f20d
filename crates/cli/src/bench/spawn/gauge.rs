//! What the breeder reaches of the world: a clock, and somebody who takes note.

use peripatos_abi::Errno;
use peripatos_abi::Pid;
use peripatos_abi::device::{Devices, Reply, Request};
use peripatos_host::talk::{Birth, Home};
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

/// What was noted of one breeder.
#[derive(Clone, Debug, Default)]
pub(super) struct Readings {
    /// How many it has spawned.
    pub(super) born: u32,
    /// Memory of this OS process when the breeder wrote nothing.
    pub(super) resident_bytes: u64,
    /// What it wrote.
    pub(super) times_ns: Vec<u64>,
}

/// Where all of a family comes from.
#[derive(Debug, Default)]
pub(super) struct Nursery(Mutex<Readings>);

impl Nursery {
    pub(super) fn readings(&self) -> Readings {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Readings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home for Nursery {
    fn devices(&self, _: Pid) -> Box<dyn Devices> {
        Box::new(Nothing)
    }

    fn born(&self, _: Birth<'_>) {
        self.lock().born += 1;
    }
}

/// Cells ask nothing.
struct Nothing;

impl Devices for Nothing {
    fn poll_request(&mut self, _: &mut Context<'_>, _: Pid, _: u64, _: &Request) -> Poll<Reply> {
        Poll::Ready(Reply::Failed(Errno::NotSup))
    }
}

/// The breeder's devices.
pub(super) struct Gauge {
    nursery: Arc<Nursery>,
    begun: Instant,
}

impl Gauge {
    pub(super) fn new(nursery: &Arc<Nursery>) -> Gauge {
        Gauge { nursery: Arc::clone(nursery), begun: Instant::now() }
    }
}

impl Devices for Gauge {
    fn poll_request(
        &mut self,
        _: &mut Context<'_>,
        _: Pid,
        _: u64,
        request: &Request,
    ) -> Poll<Reply> {
        Poll::Ready(match request {
            Request::ClockTime(_) => Reply::Number(self.begun.elapsed().as_nanos() as u64),
            Request::Write { data, .. } => {
                let mut readings = self.nursery.lock();
                if data.is_empty() {
                    readings.resident_bytes = resident_bytes();
                }
                let times = data.as_chunks::<8>().0.iter().map(|ns| u64::from_le_bytes(*ns));
                readings.times_ns.extend(times);
                Reply::Number(data.len() as u64)
            }
            _ => Reply::Failed(Errno::NotSup),
        })
    }
}

/// Memory that this OS process has from the system. 0 where the system does not tell.
pub(super) fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    resident.unwrap_or(0_u64) * rustix::param::page_size() as u64
}
