//! Handlers that sleep between two calls, and who may sleep at all.

use std::collections::HashMap;

use peripatos_abi::Pid;
use peripatos_engine::{Control, Handler, ProcessError, SleepingHandler, awake};
use peripatos_kernel::{Slot, State};

use super::{Talk, with};

/// Of so many that have nothing to do the one that was called longest ago falls asleep.
const COMPARED_MAX: usize = 16;

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
        match seat.handler.take() {
            Some(handler) => Some(Server::Awake(handler)),
            None => seat.asleep.take().map(Server::Asleep),
        }
    }

    /// One that has not been called since before then, taken out of its seat.
    fn take_idle(&mut self, before_ns: u64) -> Option<(Slot, Box<Handler>)> {
        let mut idle: Option<(u64, usize)> = None;
        let mut compared = 0;
        for _ in 0..self.seats.len() {
            self.hand = if self.hand + 1 < self.seats.len() { self.hand + 1 } else { 0 };
            let seat = &self.seats[self.hand];
            let Some(handler) = &seat.handler else { continue };
            if seat.since_ns <= before_ns && !handler.is_parked() {
                idle = Some(idle.unwrap_or((u64::MAX, 0)).min((seat.since_ns, self.hand)));
                compared += 1;
            }
            if compared == COMPARED_MAX {
                break;
            }
        }
        let (_, at) = idle?;
        let slot = self.kernel.find(self.seats[at].handler.as_ref()?.pid())?;
        Some((slot, self.seats[at].handler.take()?))
    }
}

/// Whether a process waits, and nothing has come for it.
pub(crate) fn is_blocked(pid: Pid) -> bool {
    let state = with(|talk| talk.kernel.state(talk.kernel.find(pid)?)).flatten();
    matches!(state, Some(State::SendBlocked(_) | State::ReplyBlocked(_) | State::ReceiveBlocked))
}

/// Puts a handler to sleep that was not called since before then: whether it could. `None`: there is no such handler.
pub(crate) fn lull_handler(before_ns: u64) -> Option<bool> {
    let (slot, handler) = with(|talk| talk.take_idle(before_ns)).flatten()?;
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
            let seat = talk.seat(slot);
            (seat.handler, seat.since_ns) = (Some(handler), u64::MAX);
            false
        }
    })
}

/// Somebody is about to wake or to be made: if too many are awake, one that is not called falls asleep. A program that
/// calls or makes many may keep its core from everything else meanwhile.
pub(crate) fn make_room() {
    let awake_max = with(|talk| talk.awake_max).unwrap_or(usize::MAX);
    if awake() > awake_max {
        let _ = lull_handler(u64::MAX - 1);
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
