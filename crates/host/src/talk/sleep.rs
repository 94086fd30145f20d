//! Handlers that sleep between two calls, and who may sleep at all.

use std::collections::HashMap;

use peripatos_abi::Pid;
use peripatos_engine::{Control, Handler, ProcessError, SleepingHandler};
use peripatos_kernel::Slot;

use super::{Talk, with};
use crate::crowd::is_crowded;

/// Of so many that have nothing to do the one that was called longest ago falls asleep.
const COMPARED_MAX: usize = 16;
/// At so many [`make_room`] looks.
const LOOKS_MAX: usize = 64;

/// The handlers that are awake, and some that have gone: those that sleep are many more.
#[derive(Default)]
pub(super) struct Awake {
    slots: Vec<Slot>,
    /// Where [`Talk::next_idle`] goes on.
    hand: usize,
    /// When there are so many those that have gone are looked for.
    room: usize,
}

/// A handler, taken out of its seat.
pub(crate) enum Server {
    Awake(Box<Handler>),
    Asleep(Box<SleepingHandler>),
}

impl Server {
    pub(super) fn pid(&self) -> Pid {
        match self {
            Server::Awake(handler) => handler.pid(),
            Server::Asleep(sleeping) => sleeping.pid(),
        }
    }

    pub(super) fn control(&self) -> Control {
        match self {
            Server::Awake(handler) => handler.control(),
            Server::Asleep(sleeping) => sleeping.control(),
        }
    }

    /// The handler, awake.
    pub(super) fn ready(self) -> Result<Box<Handler>, ProcessError> {
        let mut sleeping = match self {
            Server::Awake(handler) => return Ok(handler),
            Server::Asleep(sleeping) => sleeping,
        };
        // Within one slice a program may wake thousands.
        make_room();
        let pid = sleeping.pid();
        let handler = sleeping
            .wake()
            .map_err(|error| ProcessError::Internal(format!("it could not be woken: {error}")))?;
        let _ = with(|talk| talk.sleepers.insert(pid, false));
        Ok(Box::new(handler))
    }
}

impl Talk {
    pub(super) fn take_handler(&mut self, slot: Slot) -> Option<Server> {
        let now_ns = self.now_ns;
        let seat = self.seat(slot);
        seat.since_ns = now_ns;
        if let Some(handler) = seat.handler.take() {
            return Some(Server::Awake(handler));
        }
        let sleeping = seat.asleep.take()?;
        self.note_awake(slot);
        Some(Server::Asleep(sleeping))
    }

    /// This handler is awake from now on.
    pub(super) fn note_awake(&mut self, slot: Slot) {
        let Awake { slots, room, .. } = &mut self.awake;
        if slots.len() >= *room {
            slots.retain(|slot| self.kernel.pid(*slot).is_some());
            *room = 2 * slots.len() + 64;
        }
        slots.push(slot);
    }

    /// One of so many that has not been called since before then.
    fn next_idle(&mut self, before_ns: u64, looks_max: usize) -> Option<Idle> {
        let Awake { slots, hand, .. } = &mut self.awake;
        // When it was called last, and where it is.
        let mut idle: Option<(u64, usize)> = None;
        let mut compared = 0;
        for _ in 0..slots.len().min(looks_max) {
            *hand = if *hand + 1 < slots.len() { *hand + 1 } else { 0 };
            let slot = slots[*hand];
            if self.kernel.pid(slot).is_none() {
                slots.swap_remove(*hand);
                // The last one is there now.
                idle =
                    idle.map(|(at, place)| (at, if place == slots.len() { *hand } else { place }));
                continue;
            }
            let seat = &self.seats[slot.index()];
            let Some(handler) = &seat.handler else { continue };
            if seat.since_ns <= before_ns && !handler.is_parked() {
                idle = Some(idle.unwrap_or((u64::MAX, 0)).min((seat.since_ns, *hand)));
                compared += 1;
            }
            if compared == COMPARED_MAX {
                break;
            }
        }
        idle.map(|(since_ns, at)| Idle { since_ns, at })
    }

    /// Handlers that are awake and were called since then.
    fn called_since(&self, since_ns: u64) -> Vec<Pid> {
        let slots = self.awake.slots.iter().filter(|slot| {
            let seat = self.seats.get(slot.index());
            seat.is_some_and(|seat| seat.handler.is_some() && seat.since_ns >= since_ns)
        });
        slots.filter_map(|slot| self.kernel.pid(*slot)).collect()
    }

    /// The same, taken out of its seat.
    fn take_idle(&mut self, idle: Idle) -> Option<(Slot, Box<Handler>)> {
        let slot = self.awake.slots.swap_remove(idle.at);
        Some((slot, self.seats[slot.index()].handler.take()?))
    }
}

/// A handler that may sleep: until the next one is looked for, or wakes.
pub(crate) struct Idle {
    /// When it was called last, by the board's time.
    pub(crate) since_ns: u64,
    /// Where it is among those that are awake.
    at: usize,
}

/// Handlers that are awake and were called since then, by the board's time.
pub(crate) fn called_since(since_ns: u64) -> Vec<Pid> {
    with(|talk| talk.called_since(since_ns)).unwrap_or_default()
}

/// Whether a process waits, and nothing has come for it.
pub(crate) fn is_blocked(pid: Pid) -> bool {
    with(|talk| talk.kernel.find(pid).is_some_and(|slot| talk.kernel.is_blocked(slot)))
        .unwrap_or_default()
}

/// One of so many handlers that was not called since before then.
pub(crate) fn idle_handler(before_ns: u64, looks_max: usize) -> Option<Idle> {
    with(|talk| talk.next_idle(before_ns, looks_max)).flatten()
}

/// Puts it to sleep: whether it could.
pub(crate) fn lull_handler(idle: Idle) -> bool {
    let Some((slot, handler)) = with(|talk| talk.take_idle(idle)).flatten() else { return false };
    let pid = handler.pid();
    // Outside of the borrow: what it held is dropped.
    let slept = handler.sleep();
    with(|talk| match slept {
        Ok(sleeping) => {
            talk.seat(slot).asleep = Some(Box::new(sleeping));
            talk.sleepers.insert(pid, true);
            true
        }
        Err((handler, _)) => {
            // It is not tried again until it has been called.
            talk.note_awake(slot);
            let seat = talk.seat(slot);
            (seat.handler, seat.since_ns) = (Some(handler), u64::MAX);
            false
        }
    })
    .unwrap_or_default()
}

/// Somebody is about to wake or to be made: if too many are awake, one that is not called falls asleep. A program that
/// calls or makes many may keep its core from everything else meanwhile.
pub(crate) fn make_room() {
    let awake_max = with(|talk| talk.awake_max).unwrap_or(usize::MAX);
    if is_crowded(awake_max)
        && let Some(idle) = idle_handler(u64::MAX - 1, LOOKS_MAX)
    {
        lull_handler(idle);
    }
}

/// More than so many are not to be awake in this OS process.
pub(crate) fn set_awake_max(awake_max: usize) {
    let _ = with(|talk| talk.awake_max = awake_max);
}

/// Handlers that have fallen asleep (`true`) or woken since this was asked last.
pub(crate) fn take_sleepers() -> HashMap<Pid, bool> {
    let take = |talk: &mut Talk| match talk.sleepers.is_empty() {
        true => HashMap::new(),
        false => std::mem::take(&mut talk.sleepers),
    };
    with(take).unwrap_or_default()
}
