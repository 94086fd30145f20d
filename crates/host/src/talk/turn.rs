//! A receiver that was waiting for a message gets it at once: it runs within its sender's slice, on the sender's stack,
//! until it waits again. Mostly the reply is there then, and the sender has never waited.
//!
//! Or it wants to read or write what the sender lends: that is done here, and it runs on.
//!
//! So a round trip between two fibers of a core is one change of stacks there and back, without a turn of the core's loop.
//! The receiver's time is charged to the sender, as a handler's is.

use peripatos_abi::Pid;
use peripatos_engine::{Answer, beneath};
use peripatos_kernel::{Form, Slot, Woken};

use super::{Talk, deliver, with};

/// Who can go on at once.
pub(super) struct Turn {
    sender: Slot,
    receiver: Slot,
    run: fn(Pid) -> bool,
    pid: Pid,
}

impl Talk {
    /// The receiver, if this send has reached one that waited on its fiber, and nothing else is to be done.
    pub(super) fn turn(&mut self, sender: Slot) -> Option<Turn> {
        let Woken::Process(receiver) = self.kernel.only_woken()? else { return None };
        if self.kernel.form(receiver) != Some(Form::Fiber) {
            return None;
        }
        let pid = self.kernel.pid(receiver)?;
        // If it has not come to wait for what it was to receive, it runs, or will.
        self.seat(receiver).waker.as_ref()?;
        self.kernel.next_woken();
        self.seat(sender).looks = true;
        self.note_call(sender, receiver);
        Some(Turn { sender, receiver, run: self.surroundings.turn, pid })
    }

    /// Whether the receiver has got what it wanted of the sender's memory, and nothing else is to be done.
    fn goes_on(&mut self, turn: &Turn) -> bool {
        let woken = Woken::Process(turn.receiver);
        let goes_on =
            self.kernel.only_woken() == Some(woken) && self.seat(turn.receiver).waker.is_some();
        if goes_on {
            self.kernel.next_woken();
            self.seat(turn.sender).looks = true;
        }
        goes_on
    }
}

/// Lets it run, for the sender of this pid. Its answer, if it is there then.
pub(super) fn take(pid: Pid, turn: &Turn, memory: &mut [u8]) -> Option<Answer> {
    let (answer, waker, quiet) = loop {
        let beneath = beneath::note(pid, memory);
        let ran = (turn.run)(turn.pid);
        drop(beneath);
        let after = with(|talk| {
            talk.seat(turn.sender).looks = false;
            let waker = if ran { None } else { talk.seat(turn.receiver).waker.take() };
            let answer = if ran { talk.kernel.wait(turn.sender, memory) } else { None };
            if ran && answer.is_none() && talk.goes_on(turn) {
                return None;
            }
            Some((answer, waker, talk.kernel.is_quiet()))
        })?;
        if let Some(after) = after {
            break after;
        }
    };
    let wakes = waker.is_some();
    if let Some(waker) = waker {
        waker.wake();
    }
    // Who has no program does its work within the wake.
    if !quiet || wakes {
        deliver();
    }
    answer
}
