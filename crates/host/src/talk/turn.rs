//! A receiver that was waiting for a message gets it at once: it runs within its sender's slice, on the sender's stack,
//! until it waits again. Mostly the reply is there then, and the sender has never waited.
//!
//! Or it wants to read or write what the sender lends: that is done here, and it runs on.
//!
//! So a round trip between two fibers of a core is one change of stacks there and back, without a turn of the core's loop,
//! and message and reply are copied once each, from memory to memory. The receiver's time is charged to the sender, as a
//! handler's is.

use peripatos_abi::Pid;
use peripatos_engine::{Answer, beneath};
use peripatos_kernel::{Slot, Woken};

use super::{Talk, deliver, with};

/// Who can go on at once.
pub(super) struct Turn {
    sender: Slot,
    receiver: Slot,
    run: fn(Pid, &mut usize) -> bool,
    pid: Pid,
    /// Where the core found the receiver last.
    seat: usize,
}

impl Talk {
    /// A message was passed to the receiver: its turn, if nothing else is to be done before.
    #[inline]
    pub(super) fn turn(&mut self, sender: Slot, receiver: Slot) -> Option<Turn> {
        let pid = self.kernel.pid(receiver)?;
        let quiet = self.kernel.is_quiet();
        let seat = self.seat(receiver);
        // If it has not come to wait for what it was to receive, it runs, or will.
        if !quiet || seat.waker.is_none() {
            return None;
        }
        let core_seat = seat.core_seat;
        seat.caller = Some(sender);
        self.seat(sender).looks = true;
        self.note_call(sender, receiver);
        Some(Turn { sender, receiver, run: self.surroundings.turn, pid, seat: core_seat })
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
pub(super) fn take(pid: Pid, mut turn: Turn, memory: &mut [u8]) -> Option<Answer> {
    let (answer, waker, quiet) = loop {
        let beneath = beneath::note(pid, memory);
        let ran = (turn.run)(turn.pid, &mut turn.seat);
        drop(beneath);
        let after = with(|talk| {
            let replied = talk.kernel.end_pass(turn.sender, turn.receiver, memory);
            talk.seat(turn.sender).looks = false;
            if !ran {
                talk.kernel.next_woken();
                return Some((None, talk.seat(turn.receiver).waker.take(), true));
            }
            talk.seat(turn.receiver).core_seat = turn.seat;
            let answer = replied.map(Ok).or_else(|| talk.kernel.wait(turn.sender, memory));
            if answer.is_none() && talk.goes_on(&turn) {
                return None;
            }
            Some((answer, None, talk.kernel.is_quiet()))
        })?;
        if let Some(after) = after {
            break after;
        }
    };
    if let Some(waker) = waker {
        waker.wake();
    }
    if !quiet {
        deliver();
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::task::{Context, Poll, Waker};

    use peripatos_abi::message::Status;
    use peripatos_engine::Messages as _;

    use super::*;
    use crate::talk::{Line, Surroundings, adopt, close, open};

    const CLIENT: Pid = Pid::new(1, 2);
    const SERVER: Pid = Pid::new(3, 4);
    /// In both memories.
    const ENVELOPE: u32 = 32;
    const MESSAGE: (u32, u32) = (100, 5);
    const REPLY: (u32, u32) = (200, 50);

    thread_local! {
        static RECEIVER: RefCell<(Line, Vec<u8>)> = RefCell::new((Line::new(SERVER), vec![0; 300]));
    }

    fn receive(line: &mut Line, memory: &mut [u8]) -> Poll<Answer> {
        let waits = line.receive(memory, 0, (MESSAGE.0, 50), ENVELOPE, -1);
        assert_eq!(waits, Err(Status::Wait));
        line.wait(&mut Context::from_waker(Waker::noop()), memory)
    }

    /// The receiver has its turn: it takes the message, replies with it reversed, and waits again.
    fn serve(pid: Pid, _: &mut usize) -> bool {
        assert_eq!(pid, SERVER);
        RECEIVER.with_borrow_mut(|(line, memory)| {
            let taken = line.wait(&mut Context::from_waker(Waker::noop()), memory);
            assert_eq!(taken, Poll::Ready(Ok(MESSAGE.1)));
            memory[100..105].reverse();
            assert_eq!(line.reply(memory, ENVELOPE, MESSAGE), Ok(0));
            assert!(receive(line, memory).is_pending());
        });
        true
    }

    #[test]
    fn who_waits_for_a_message_has_its_turn_within_the_send() {
        open(Surroundings::of_test(serve));
        adopt(CLIENT, None);
        adopt(SERVER, None);
        RECEIVER.with_borrow_mut(|(line, memory)| assert!(receive(line, memory).is_pending()));
        let (mut client, mut memory) = (Line::new(CLIENT), vec![0; 300]);
        memory[..16].copy_from_slice(&SERVER.bits().to_le_bytes());
        memory[100..105].copy_from_slice(b"hello");
        for _ in 0..2 {
            assert_eq!(client.send(&mut memory, 0, MESSAGE, REPLY), Ok(5));
            assert_eq!(&memory[200..205], b"olleh");
        }
        close();
    }
}
