//! A process's line to the kernel of whichever thread it runs on.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use peripatos_abi::Pid;
use peripatos_abi::message::{ALL_REPLIES, FIRST_REPLY, PID_BYTES, Status};
use peripatos_engine::{Answer, Messages, Span, Watch, beneath};
use peripatos_kernel::{AccessKind, Kernel, Lender, Names, Sent, Slot};

use super::{DeviceServer, Member, Talk, deliver, handlers, lookout, turn, with};

/// See the module.
pub struct Line {
    pid: Pid,
    /// `None`: it cannot spawn.
    member: Option<Member>,
    /// Where it was found last. Another kernel has another process there, or none.
    slot: Option<Slot>,
}

impl Line {
    /// Of the process of this pid.
    #[must_use]
    pub fn new(pid: Pid) -> Line {
        Line { pid, member: None, slot: None }
    }

    /// The same, of a member of a family.
    #[must_use]
    pub fn of(pid: Pid, member: Member) -> Line {
        Line { pid, member: Some(member), slot: None }
    }

    fn permit(&self, name: &[u8]) -> Result<(), Status> {
        self.member.as_ref().map_or(Ok(()), |member| member.family().permit(name))
    }

    /// Its slot in this thread's kernel.
    #[inline]
    fn slot(&mut self, talk: &mut Talk) -> Result<Slot, Status> {
        match self.slot {
            Some(slot) if talk.kernel.is_at(self.pid, slot) => Ok(slot),
            _ => self.find(talk),
        }
    }

    /// It has come here.
    #[cold]
    fn find(&mut self, talk: &mut Talk) -> Result<Slot, Status> {
        self.slot = talk.kernel.find(self.pid);
        if let (Some(slot), Some(member)) = (self.slot, &self.member) {
            talk.kernel.set_budget(slot, member.family().messages());
        }
        self.slot.ok_or(Status::NoProcess)
    }

    /// Makes a call of the kernel, and does what follows from it.
    fn call(&mut self, act: impl FnOnce(&mut Talk, Slot) -> Answer) -> Answer {
        let done = with(|talk| {
            let answer = self.slot(talk).and_then(|slot| act(talk, slot));
            (answer, talk.kernel.is_quiet())
        });
        let (answer, quiet) = done.unwrap_or((Err(Status::NoProcess), true));
        if !quiet {
            deliver_of(answer);
        }
        answer
    }

    /// Gives or takes a name.
    fn change_names(
        &mut self,
        memory: &[u8],
        name: Span,
        change: fn(&mut Names, &[u8], Pid) -> Result<(), Status>,
    ) -> Answer {
        let name = part(memory, name)?;
        self.permit(name)?;
        let pid = self.pid;
        self.call(|talk, _| {
            change(&mut talk.names(), name, pid)?;
            (talk.surroundings.named)();
            Ok(0)
        })
    }

    /// Who is in a group.
    fn group(&self, memory: &[u8], name: Span) -> Result<Vec<Pid>, Status> {
        let name = part(memory, name)?;
        self.permit(name)?;
        with(|talk| talk.names().members(name)).ok_or(Status::NoProcess)
    }

    /// Does something to what is lent, if that is who waits beneath.
    fn access(
        &mut self,
        memory: &mut [u8],
        envelope: u32,
        what: (AccessKind, u32),
        buffer: Span,
    ) -> Option<Answer> {
        beneath::with(|pid, lent| {
            let lender = Lender { pid, memory: lent };
            let done = with(|talk| {
                let me = self.slot(talk).ok()?;
                talk.kernel.access_beneath(me, memory, envelope, what, buffer, lender)
            });
            done.flatten()
        })
    }

    /// Replies and does what is to follow, if the reply is to who waits beneath and looks for it when this process has had its
    /// turn. `None`: nothing has happened.
    #[inline]
    fn reply_beneath<T>(
        &mut self,
        memory: &mut [u8],
        envelope: u32,
        message: Span,
        then: impl FnOnce(&mut Talk, Slot, &mut [u8]) -> T,
    ) -> Option<T> {
        beneath::with(|pid, memory_beneath| {
            // An envelope begins with who has sent: mostly this is somebody else.
            if part(memory, (envelope, PID_BYTES as u32)).ok()? != pid.bits().to_le_bytes() {
                return None;
            }
            let done = with(|talk| {
                let me = self.slot(talk).ok()?;
                let client = talk.seat(me).caller.filter(|client| talk.seat(*client).looks)?;
                let lender = (client, Lender { pid, memory: memory_beneath });
                talk.kernel.reply_beneath(me, memory, envelope, message, lender)?;
                Some(then(talk, me, memory))
            });
            done.flatten()
        })
    }

    /// Makes a call of the kernel that is waited for.
    fn begin(&mut self, act: impl FnOnce(&mut Kernel, Slot) -> Result<(), Status>) -> Answer {
        self.call(|talk, me| act(&mut talk.kernel, me).and(Err(Status::Wait)))
    }
}

/// What is to be received, and where it is to lie.
#[derive(Clone, Copy)]
struct Wanted {
    from: u32,
    buffer: Span,
    envelope: u32,
    timeout_ns: i64,
}

impl Talk {
    fn receive(&mut self, me: Slot, memory: &mut [u8], wanted: Wanted) -> Answer {
        let Wanted { from, buffer, envelope, timeout_ns } = wanted;
        let timeout = u64::try_from(timeout_ns).ok().map(Duration::from_nanos);
        let answer = self.kernel.receive(me, memory, from, buffer, envelope);
        match timeout {
            Some(Duration::ZERO) if answer == Err(Status::Wait) => {
                self.kernel.time_out(me);
                self.kernel.wait(me, memory).unwrap_or(answer)
            }
            Some(timeout) if answer == Err(Status::Wait) => {
                // Beyond what the clock can count is for ever.
                let at = Instant::now().checked_add(timeout);
                at.into_iter().for_each(|at| self.deadlines.set(me, at));
                answer
            }
            _ => answer,
        }
    }
}

impl Messages for Line {
    fn send(&mut self, memory: &mut [u8], to: u32, message: Span, reply: Span) -> Answer {
        let (mut begun, mut turn) = (None, None);
        let sent = with(|talk| {
            let slot = self.slot(talk)?;
            match talk.kernel.send_or_pass(slot, memory, to, message, reply)? {
                Sent::Waits => {}
                Sent::Pass(to) => {
                    turn = talk.turn(slot, to);
                    if turn.is_none() {
                        // Nobody has run, so nobody has replied.
                        let _ = talk.kernel.end_pass(slot, to, memory);
                    }
                }
                Sent::Call(to) => {
                    talk.note_call(slot, to);
                    // It is there: the kernel has looked.
                    begun = Some(talk.begin(to, part(memory, message).unwrap_or_default()));
                }
            }
            Ok(slot)
        });
        let me = match sent.unwrap_or(Err(Status::NoProcess)) {
            Ok(me) => me,
            Err(status) => {
                if status == Status::Deadlock {
                    // It is told of.
                    deliver();
                }
                return Err(status);
            }
        };
        if let Some(begun) = begun {
            return handlers::call((self.pid, me), begun, memory, message);
        }
        if let Some(turn) = turn {
            return turn::take(self.pid, turn, memory).unwrap_or(Err(Status::Wait));
        }
        deliver_of(Err(Status::Wait));
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
        let wanted = Wanted { from, buffer, envelope, timeout_ns };
        self.call(|talk, me| talk.receive(me, memory, wanted))
    }

    fn reply(&mut self, memory: &mut [u8], envelope: u32, message: Span) -> Answer {
        if self.reply_beneath(memory, envelope, message, |_, _, _| ()).is_some() {
            return Ok(0);
        }
        self.call(|talk, me| talk.kernel.reply(me, memory, envelope, message).map(|()| 0))
    }

    fn reply_receive(
        &mut self,
        memory: &mut [u8],
        envelope: u32,
        message: Span,
        from: u32,
        buffer: Span,
        timeout_ns: i64,
    ) -> Answer {
        let wanted = Wanted { from, buffer, envelope, timeout_ns };
        let done = self.reply_beneath(memory, envelope, message, |talk, me, memory| {
            (talk.receive(me, memory, wanted), talk.kernel.is_quiet())
        });
        if let Some((answer, quiet)) = done {
            if !quiet {
                deliver_of(answer);
            }
            return answer;
        }
        self.call(|talk, me| {
            talk.kernel.reply(me, memory, envelope, message)?;
            talk.receive(me, memory, wanted)
        })
    }

    fn forward(&mut self, memory: &mut [u8], envelope: u32, to: u32, message: Span) -> Answer {
        self.call(|talk, me| {
            let next = talk.kernel.forward(me, memory, envelope, to, message)?;
            // Whoever hands on here what came from here talks within this core as who sends does.
            next.into_iter().for_each(|next| talk.note_call(me, next));
            Ok(0)
        })
    }

    fn notify(&mut self, memory: &mut [u8], to: u32, bits: u64) -> Answer {
        self.call(|talk, me| talk.kernel.notify(me, memory, to, bits).map(|()| 0))
    }

    fn lend(&mut self, memory: &mut [u8], part: Span, rights: u32) -> Answer {
        self.call(|talk, me| talk.kernel.lend(me, memory, part, rights).map(|()| 0))
    }

    fn lease(&mut self, memory: &mut [u8], envelope: u32) -> Answer {
        let measure = (AccessKind::Measure, 0);
        if let Some(answer) = self.access(memory, envelope, measure, (0, 0)) {
            return answer;
        }
        self.begin(|kernel, me| kernel.measure_lease(me, memory, envelope))
    }

    fn read_lease(
        &mut self,
        memory: &mut [u8],
        envelope: u32,
        offset: u32,
        buffer: Span,
    ) -> Answer {
        let read = (AccessKind::Read, offset);
        if let Some(answer) = self.access(memory, envelope, read, buffer) {
            return answer;
        }
        self.begin(|kernel, me| kernel.read_lease(me, memory, envelope, offset, buffer))
    }

    fn write_lease(
        &mut self,
        memory: &mut [u8],
        envelope: u32,
        offset: u32,
        bytes: Span,
    ) -> Answer {
        let write = (AccessKind::Write, offset);
        if let Some(answer) = self.access(memory, envelope, write, bytes) {
            return answer;
        }
        self.begin(|kernel, me| kernel.write_lease(me, memory, envelope, offset, bytes))
    }

    fn own_pid(&mut self, memory: &mut [u8], pid: u32) -> Answer {
        put_pid(memory, pid, self.pid)
    }

    fn parent(&mut self, memory: &mut [u8], pid: u32) -> Answer {
        let nobody = Pid::from_bits(0);
        put_pid(memory, pid, self.member.as_ref().map_or(nobody, Member::parent))
    }

    fn devices(&mut self, memory: &mut [u8], pid: u32) -> Answer {
        let server = self.member.as_ref().and_then(|member| member.family().device_server());
        let found = match server.ok_or(Status::NoProcess)? {
            DeviceServer::Process(pid) => pid,
            // Whoever has started the family has named it: its own prefix does not matter.
            DeviceServer::Named(name) => {
                with(|talk| talk.names().lookup(&name)).unwrap_or(Err(Status::NoName))?
            }
        };
        put_pid(memory, pid, found)
    }

    fn argument(&mut self, memory: &mut [u8], buffer: Span) -> Answer {
        let argument = self.member.as_ref().map_or(&[][..], Member::argument);
        put(memory, buffer, argument)
    }

    fn spawn(
        &mut self,
        memory: &mut [u8],
        program: Span,
        args: Span,
        argument: Span,
        pid: u32,
    ) -> Answer {
        // Before anything has happened.
        part(memory, (pid, PID_BYTES as u32))?;
        let (program, args) = (part(memory, program)?, part(memory, args)?);
        let argument = part(memory, argument)?;
        let member = self.member.as_ref().ok_or(Status::NotPermitted)?;
        let settle = with(|talk| Rc::clone(&talk.surroundings.settle)).ok_or(Status::NoProcess)?;
        let child = member.spawn(self.pid, program, args, argument, |newcomer| settle(newcomer))?;
        put_pid(memory, pid, child)
    }

    fn watch(&mut self, memory: &mut [u8], pid: u32, watch: Watch) -> Answer {
        let to = part(memory, (pid, PID_BYTES as u32))?.try_into().map_or(0, u128::from_le_bytes);
        let to = Pid::from_bits(to);
        self.call(|talk, me| {
            let kernel = &mut talk.kernel;
            let done = match watch {
                Watch::Monitor => kernel.monitor(me, to),
                Watch::Unmonitor => kernel.unmonitor(me, to),
                Watch::Link => kernel.link(me, to),
                Watch::Unlink => kernel.unlink(me, to),
                Watch::End => kernel.end(me, to),
            };
            done.map(|()| 0)
        })
    }

    fn register(&mut self, memory: &mut [u8], name: Span) -> Answer {
        self.change_names(memory, name, Names::register)
    }

    fn unregister(&mut self, memory: &mut [u8], name: Span) -> Answer {
        self.change_names(memory, name, Names::unregister)
    }

    fn lookup(&mut self, memory: &mut [u8], name: Span, pid: u32) -> Answer {
        let name = part(memory, name)?;
        self.permit(name)?;
        let found = with(|talk| talk.names().lookup(name)).unwrap_or(Err(Status::NoName))?;
        put_pid(memory, pid, found)
    }

    fn next_name(
        &mut self,
        memory: &mut [u8],
        prefix: Span,
        after: Span,
        name: Span,
        pid: u32,
    ) -> Answer {
        part(memory, (pid, PID_BYTES as u32))?;
        let (prefix, after) = (part(memory, prefix)?, part(memory, after)?);
        let narrowed = match &self.member {
            Some(member) => member.family().narrow(prefix).ok_or(Status::NoName)?,
            None => prefix,
        };
        let next = |talk: &mut Talk| {
            let names = talk.names();
            names.next(narrowed, after).map(|(name, pid)| (name.to_vec(), pid))
        };
        let (next, owner) = with(next).unwrap_or(Err(Status::NoName))?;
        let answer = put(memory, name, &next)?;
        put_pid(memory, pid, owner).map(|_| answer)
    }

    fn join(&mut self, memory: &mut [u8], name: Span) -> Answer {
        self.change_names(memory, name, Names::join)
    }

    fn leave(&mut self, memory: &mut [u8], name: Span) -> Answer {
        self.change_names(memory, name, Names::leave)
    }

    fn members(&mut self, memory: &mut [u8], name: Span, pids: Span) -> Answer {
        let members = self.group(memory, name)?;
        let bytes: Vec<u8> = members.iter().flat_map(|pid| pid.bits().to_le_bytes()).collect();
        put(memory, pids, &bytes).map(|_| members.len() as u32)
    }

    fn send_all(
        &mut self,
        memory: &mut [u8],
        name: Span,
        message: Span,
        reply: Span,
        mode: u32,
    ) -> Answer {
        let members = self.group(memory, name)?;
        let all = match mode {
            FIRST_REPLY => false,
            ALL_REPLIES => true,
            _ => return Err(Status::NotPermitted),
        };
        self.begin(|kernel, me| kernel.send_all(me, memory, &members, message, reply, all))
    }

    fn wait(&mut self, cx: &mut Context<'_>, memory: &mut [u8]) -> Poll<Answer> {
        let found = with(|talk| {
            let slot = self.slot(talk).ok()?;
            let answer = if talk.kernel.is_passed(slot) {
                beneath::with(|pid, memory_beneath| {
                    let sender = Lender { pid, memory: memory_beneath };
                    talk.kernel.take_passed(slot, memory, &sender)
                })
            } else {
                talk.kernel.wait(slot, memory)
            };
            let looks = answer.is_none() && talk.looks_out;
            if answer.is_some() {
                talk.deadlines.clear(slot);
            } else if looks {
                talk.seat(slot).looks = true;
            } else {
                talk.seat(slot).wake_by(cx.waker());
            }
            Some((answer, talk.kernel.is_quiet(), looks.then_some(slot)))
        });
        let Some((answer, quiet, looks)) = found.flatten() else {
            return Poll::Ready(Err(Status::NoProcess));
        };
        // What it lends was read or written: whoever wanted that goes on.
        if !quiet {
            deliver();
        }
        let answer = looks.map_or(answer, |me| lookout::wait(me, cx.waker(), memory));
        answer.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Does what follows from a call with this answer.
fn deliver_of(answer: Answer) {
    // What is sent now may be answered before it waits.
    if answer == Err(Status::Wait) {
        lookout::begin();
    }
    deliver();
}

/// A part of a guest's memory.
fn part(memory: &[u8], (start, len): Span) -> Result<&[u8], Status> {
    let end = start as usize + len as usize;
    memory.get(start as usize..end).ok_or(Status::BadAddress)
}

/// Gives a guest these bytes: how many they are.
fn put(memory: &mut [u8], (start, room): Span, bytes: &[u8]) -> Answer {
    let end = start as usize + room as usize;
    let buffer = memory.get_mut(start as usize..end).ok_or(Status::BadAddress)?;
    buffer.get_mut(..bytes.len()).ok_or(Status::TooLong)?.copy_from_slice(bytes);
    Ok(bytes.len() as u32)
}

fn put_pid(memory: &mut [u8], at: u32, pid: Pid) -> Answer {
    put(memory, (at, PID_BYTES as u32), &pid.bits().to_le_bytes()).map(|_| 0)
}
