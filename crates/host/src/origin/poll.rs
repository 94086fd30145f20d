//! `poll_oneoff`: which subscriptions have come true, and when to look again.

use std::sync::Arc;
use std::time::Duration;

use peripatos_abi::device::Reply;
use peripatos_abi::limits::TRANSFER_BYTES_MAX;
use peripatos_abi::{
    ClockId, Errno, Event, EventFlags, EventKind, Fd, Rights, Subject, Subscription,
};
use rustix::event::{PollFd, PollFlags};
use rustix::io::retry_on_intr;
use rustix::time::Timespec;

use super::clock::Clocks;
use super::step::{Step, Wait};
use super::table::{OpenFile, Table};

/// Looks once. `since_ns`: the process's monotonic clock when the request was first tried, from
/// which relative timeouts count.
pub(super) fn poll(
    table: &Table,
    clocks: &Clocks,
    since_ns: u64,
    subscriptions: &[Subscription],
) -> Step {
    let mut events = Vec::new();
    let mut timeout: Option<Duration> = None;
    let mut waiting = Vec::new();
    for subscription in subscriptions {
        match subscription.subject {
            Subject::Clock { clock, timeout_ns, absolute } => {
                match remaining_ns(clocks, since_ns, clock, timeout_ns, absolute) {
                    Ok(0) => events.push(event(subscription, None)),
                    Ok(ns) => {
                        let ns = Duration::from_nanos(ns);
                        timeout = Some(timeout.map_or(ns, |least| least.min(ns)));
                    }
                    Err(errno) => events.push(event(subscription, Some(errno))),
                }
            }
            Subject::Read(fd) | Subject::Write(fd) => {
                let kind = subscription.subject.kind();
                match subscribed(table, fd, kind) {
                    Ok(file) => waiting.push((subscription, file, interest(kind))),
                    Err(errno) => events.push(event(subscription, Some(errno))),
                }
            }
        }
    }
    events.extend(ready(&waiting));
    if !events.is_empty() {
        return Reply::Events(Arc::new(events)).into();
    }
    let files =
        waiting.into_iter().map(|(_, file, interest)| (Arc::clone(&file.file), interest)).collect();
    Step::Wait(Wait { files, timeout })
}

/// Nanoseconds until the clock gets there; 0: it is there.
fn remaining_ns(
    clocks: &Clocks,
    since_ns: u64,
    clock: ClockId,
    timeout_ns: u64,
    absolute: bool,
) -> Result<u64, Errno> {
    match (clock, absolute) {
        (ClockId::ProcessCpu | ClockId::ThreadCpu, _) => Err(Errno::NotSup),
        (clock, true) => Ok(timeout_ns.saturating_sub(clocks.read(clock))),
        (_, false) => {
            let deadline_ns = since_ns.saturating_add(timeout_ns);
            Ok(deadline_ns.saturating_sub(clocks.read(ClockId::Monotonic)))
        }
    }
}

fn subscribed(table: &Table, fd: Fd, kind: EventKind) -> Result<&OpenFile, Errno> {
    let descriptor = table.get(fd)?;
    let file = descriptor.file()?;
    let right = if kind == EventKind::Read { Rights::FD_READ } else { Rights::FD_WRITE };
    descriptor.allow(Rights::POLL_FD_READWRITE.union(right))?;
    Ok(file)
}

fn interest(kind: EventKind) -> PollFlags {
    if kind == EventKind::Read { PollFlags::IN } else { PollFlags::OUT }
}

/// The events of those that are ready now.
fn ready(waiting: &[(&Subscription, &OpenFile, PollFlags)]) -> Vec<Event> {
    if waiting.is_empty() {
        return Vec::new();
    }
    let mut fds: Vec<_> =
        waiting.iter().map(|(_, file, interest)| PollFd::new(&file.file, *interest)).collect();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if let Err(error) = retry_on_intr(|| rustix::event::poll(&mut fds, Some(&now))) {
        let errno = super::errno::from_host(error);
        return waiting.iter().map(|(one, ..)| event(one, Some(errno))).collect();
    }
    let states = fds.iter().map(PollFd::revents);
    let happened = waiting.iter().zip(states).filter(|(_, state)| !state.is_empty());
    happened
        .map(|((subscription, file, _), state)| ready_event(subscription, file, state))
        .collect()
}

fn ready_event(subscription: &Subscription, file: &OpenFile, state: PollFlags) -> Event {
    let reading = subscription.subject.kind() == EventKind::Read;
    let hangup = state.intersects(PollFlags::HUP | PollFlags::ERR);
    let bytes = match (reading, hangup && !state.contains(PollFlags::IN)) {
        (true, false) => readable_bytes(file),
        (false, false) => u64::from(TRANSFER_BYTES_MAX),
        (_, true) => 0,
    };
    let flags = if hangup { EventFlags::HANGUP } else { EventFlags::NONE };
    Event { bytes, flags, ..event(subscription, None) }
}

/// What can be read at once; at least 1 where that cannot be told, 0 at a file's end.
fn readable_bytes(file: &OpenFile) -> u64 {
    if !file.is_regular() {
        return rustix::io::ioctl_fionread(&file.file).unwrap_or(1);
    }
    let size = rustix::fs::fstat(&file.file).map_or(0, |stat| stat.st_size.unsigned_abs());
    size.saturating_sub(rustix::fs::tell(&file.file).unwrap_or(0))
}

fn event(subscription: &Subscription, error: Option<Errno>) -> Event {
    Event {
        userdata: subscription.userdata,
        error,
        kind: subscription.subject.kind(),
        bytes: 0,
        flags: EventFlags::NONE,
    }
}
