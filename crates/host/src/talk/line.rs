//! A process's line to the kernel of whichever thread it runs on.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use peripatos_abi::Pid;
use peripatos_abi::message::{PID_BYTES, Status};
use peripatos_engine::{Answer, Messages, Span};
use peripatos_kernel::{Sent, Slot};

use super::{Talk, carry_out, deliver, handlers, turn, with};

/// See the module.
#[derive(Debug)]
pub struct Line {
    pid: Pid,
    /// Where it was found last. Another kernel has another process there, or none.
    slot: Option<Slot>,
}

impl Line {
    /// Of the process of this pid.
    #[must_use]
    pub fn new(pid: Pid) -> Line {
        Line { pid, slot: None }
    }

    /// Its slot in this thread's kernel.
    #[inline]
    fn slot(&mut self, talk: &Talk) -> Result<Slot, Status> {
        if let Some(slot) = self.slot.filter(|slot| talk.kernel.pid(*slot) == Some(self.pid)) {
            return Ok(slot);
        }
        self.slot = talk.kernel.find(self.pid);
        self.slot.ok_or(Status::NoProcess)
    }

    /// Makes a call of the kernel, and does what follows from it.
    fn call(&mut self, act: impl FnOnce(&mut Talk, Slot) -> Answer) -> Answer {
        let done = with(|talk| {
            let answer = self.slot(talk).and_then(|slot| act(talk, slot));
            (answer, talk.next_out())
        });
        let (answer, out) = done.unwrap_or((Err(Status::NoProcess), None));
        if let Some(out) = out {
            carry_out(out);
            deliver();
        }
        answer
    }
}

impl Messages for Line {
    fn send(&mut self, memory: &mut [u8], to: u32, message: Span, reply: Span) -> Answer {
        let (mut begun, mut turn) = (None, None);
        let sent = with(|talk| {
            let slot = self.slot(talk)?;
            match talk.kernel.send(slot, memory, to, message, reply)? {
                Sent::Waits => turn = talk.turn(slot),
                Sent::Call(to) => {
                    // It is there: the kernel has looked.
                    begun = Some(talk.begin(to, part(memory, message).unwrap_or_default()));
                }
            }
            Ok(slot)
        });
        let me = sent.unwrap_or(Err(Status::NoProcess))?;
        if let Some(begun) = begun {
            return handlers::call(me, begun, memory, message.1);
        }
        if let Some(turn) = turn {
            return turn::take(&turn, memory).unwrap_or(Err(Status::Wait));
        }
        deliver();
        Err(Status::Wait)
    }

    fn receive(
        &mut self,
        memory: &mut [u8],
        from: u32,
        buffer: Span,
        envelope: u32,
        timeout_ns: i64,
    ) -> Answer {
        let timeout = u64::try_from(timeout_ns).ok().map(Duration::from_nanos);
        self.call(|talk, me| {
            let answer = talk.kernel.receive(me, memory, from, buffer, envelope);
            match timeout {
                Some(Duration::ZERO) if answer == Err(Status::Wait) => {
                    talk.kernel.time_out(me);
                    talk.kernel.wait(me, memory).unwrap_or(answer)
                }
                Some(timeout) if answer == Err(Status::Wait) => {
                    // Beyond what the clock can count is for ever.
                    let at = Instant::now().checked_add(timeout);
                    at.into_iter().for_each(|at| talk.deadlines.set(me, at));
                    answer
                }
                _ => answer,
            }
        })
    }

    fn reply(&mut self, memory: &mut [u8], envelope: u32, message: Span) -> Answer {
        self.call(|talk, me| talk.kernel.reply(me, memory, envelope, message).map(|()| 0))
    }

    fn forward(&mut self, memory: &mut [u8], envelope: u32, to: u32, message: Span) -> Answer {
        self.call(|talk, me| talk.kernel.forward(me, memory, envelope, to, message).map(|()| 0))
    }

    fn notify(&mut self, memory: &mut [u8], to: u32, bits: u64) -> Answer {
        self.call(|talk, me| talk.kernel.notify(me, memory, to, bits).map(|()| 0))
    }

    fn own_pid(&mut self, memory: &mut [u8], pid: u32) -> Answer {
        let place = memory.get_mut(pid as usize..).and_then(|rest| rest.get_mut(..PID_BYTES));
        place.ok_or(Status::BadAddress)?.copy_from_slice(&self.pid.bits().to_le_bytes());
        Ok(0)
    }

    fn register(&mut self, memory: &mut [u8], name: Span) -> Answer {
        let name = part(memory, name)?;
        let pid = self.pid;
        self.call(|talk, _| talk.names().register(name, pid).map(|()| 0))
    }

    fn lookup(&mut self, memory: &mut [u8], name: Span, pid: u32) -> Answer {
        let name = part(memory, name)?;
        let found = with(|talk| talk.names().lookup(name)).unwrap_or(Err(Status::NoName))?;
        let place = memory.get_mut(pid as usize..).and_then(|rest| rest.get_mut(..PID_BYTES));
        place.ok_or(Status::BadAddress)?.copy_from_slice(&found.bits().to_le_bytes());
        Ok(0)
    }

    fn wait(&mut self, cx: &mut Context<'_>, memory: &mut [u8]) -> Poll<Answer> {
        let answer = with(|talk| {
            let slot = match self.slot(talk) {
                Ok(slot) => slot,
                Err(status) => return Some(Err(status)),
            };
            let answer = talk.kernel.wait(slot, memory);
            if answer.is_some() {
                talk.deadlines.clear(slot);
            } else {
                let seat = talk.seat(slot);
                if !seat.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    seat.waker = Some(cx.waker().clone());
                }
            }
            answer
        });
        match answer {
            None => Poll::Ready(Err(Status::NoProcess)),
            Some(None) => Poll::Pending,
            Some(Some(answer)) => Poll::Ready(answer),
        }
    }
}

/// A part of a guest's memory.
fn part(memory: &[u8], (start, len): Span) -> Result<&[u8], Status> {
    let end = start as usize + len as usize;
    memory.get(start as usize..end).ok_or(Status::BadAddress)
}
