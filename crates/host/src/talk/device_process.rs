//! A *device process*: an origin's devices, as a process of a core's kernel that everybody can send to who has its pid.
//!
//! It has no program. Messages have the form of [`super::devices`]; who has sent one, or has sent what was forwarded, is its
//! client, and has descriptors of its own at the origin, which begin as a spawned process's do. What a client has there is
//! released when it ends.
//!
//! Invariants:
//! * Each message has one reply, whatever it says; nothing that a client sends ends the process, or keeps another client
//!   waiting.
//! * Nothing of the thread is borrowed while the origin is asked.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use peripatos_abi::device::{self, Reply};
use peripatos_abi::message::{Envelope, Kind, MESSAGE_BYTES_MAX};
use peripatos_abi::{EndReason, Errno, Pid};
use peripatos_kernel::{Form, Slot};

use super::device_clients::{Clients, Taken};
use super::family::random;
use super::{Talk, deliver, ended, with};
use crate::origin::{Answered, Ask};

/// Messages that are heard before others of the core have their turn.
const HEARD_MAX: usize = 64;

/// Asks the origin: what it answers at once. Other replies come by [`DeviceWord::Replied`].
pub type Serve = Box<dyn FnMut(Ask) -> Vec<Answered> + Send>;

/// A device process before it is there.
pub struct DeviceProcess {
    /// Its name.
    pub pid: Pid,
    /// Its origin.
    pub serve: Serve,
}

/// A word to the thread that has a device process.
pub enum DeviceWord {
    /// It begins.
    Begin(DeviceProcess),
    /// The origin has answered.
    Replied(Pid, Answered),
    /// What waits can be tried again, and there may be messages.
    Retry(Pid),
    /// It ends: who waits for it is told.
    End(Pid),
}

/// Does what the word says, on this thread.
pub fn tell_devices(word: DeviceWord) {
    match word {
        DeviceWord::Begin(process) => begin(process),
        DeviceWord::Replied(pid, answered) => {
            if let Some(receiver) = receiver(pid) {
                let mut state = receiver.lock();
                state.answer(receiver.pid, vec![answered]);
            }
        }
        DeviceWord::Retry(pid) => {
            if let Some(receiver) = receiver(pid) {
                receiver.lock().ask(pid, Ask::Retry);
                receiver.hear();
            }
        }
        DeviceWord::End(pid) => {
            let receiver = with(|talk| talk.devices.remove(&pid)).flatten();
            ended(pid, EndReason::Exited(0));
            if let Some(receiver) = receiver {
                receiver.lock().release_all();
            }
        }
    }
    deliver();
}

fn begin(process: DeviceProcess) {
    let DeviceProcess { pid, serve } = process;
    let state = Mutex::new(State { serve, clients: Clients::default() });
    let receiver = Arc::new(Receiver { pid, state });
    let begun = with(|talk| {
        talk.add(pid, Form::Fiber, None)?;
        talk.devices.insert(pid, Arc::clone(&receiver));
        Some(())
    });
    if begun.flatten().is_some() {
        receiver.hear();
    }
}

fn receiver(pid: Pid) -> Option<Arc<Receiver>> {
    with(|talk| talk.devices.get(&pid).cloned()).flatten()
}

/// A device process, on the thread whose kernel has it.
pub(super) struct Receiver {
    pid: Pid,
    /// Used by that thread only.
    state: Mutex<State>,
}

struct State {
    serve: Serve,
    clients: Clients,
}

impl Receiver {
    /// Hears what has come, and waits for more.
    fn hear(self: &Arc<Self>) {
        let mut state = self.lock();
        for _ in 0..HEARD_MAX {
            let heard = with(|talk| {
                let slot = talk.kernel.find(self.pid)?;
                let heard = talk.kernel.hear(slot);
                if heard.is_none() {
                    talk.seat(slot).waker = Some(Waker::from(Arc::clone(self)));
                }
                heard
            });
            let Some((envelope, message)) = heard.flatten() else { return };
            match envelope.kind {
                Kind::Message => state.take(self.pid, envelope, &message),
                Kind::Ended => state.release(self.pid, envelope.from),
                // It has no name to lose.
                Kind::Notification | Kind::NameLost => {}
            }
        }
        drop(state);
        if let Some(again) = with(|talk| Rc::clone(&talk.surroundings.again)) {
            again(self.pid);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Called by the kernel's thread, outside of its borrow.
impl Wake for Receiver {
    fn wake(self: Arc<Self>) {
        // Whoever wakes delivers what comes of it: from here it would wake the next one, and that one the next.
        self.hear();
    }
}

impl State {
    fn take(&mut self, pid: Pid, envelope: Envelope, message: &[u8]) {
        let draw = || Some(Pid::new(0, random().ok()?));
        let Taken { name, sequence, request, is_new, before } =
            match self.clients.take(envelope, message, draw) {
                Ok(taken) => taken,
                Err(errno) => return reply(pid, &envelope, &Reply::Failed(errno)),
            };
        if let Some(before) = before {
            // A process that has sent to a group has several messages under way.
            reply(pid, &before, &Reply::Failed(Errno::Canceled));
        }
        let client = envelope.from;
        if is_new && at(pid, |talk, me| talk.kernel.monitor(me, client).is_err()) != Some(false) {
            // It would never be released.
            self.release(pid, client);
            return reply(pid, &envelope, &Reply::Failed(Errno::NFile));
        }
        self.ask(pid, Ask::Request { client: name, sequence, request });
    }

    fn ask(&mut self, pid: Pid, ask: Ask) {
        let answers = (self.serve)(ask);
        self.answer(pid, answers);
    }

    fn answer(&mut self, pid: Pid, answers: Vec<Answered>) {
        for (client, sequence, answer) in answers {
            if let Some(envelope) = self.clients.answered(client, sequence) {
                reply(pid, &envelope, &answer);
            }
        }
    }

    fn release(&mut self, pid: Pid, client: Pid) {
        let Some((name, waits)) = self.clients.remove(client) else { return };
        self.ask(pid, Ask::Release(name));
        if let Some(envelope) = waits {
            // It may only have been out of reach for long.
            reply(pid, &envelope, &Reply::Failed(Errno::Canceled));
        }
    }

    fn release_all(&mut self) {
        for name in self.clients.names() {
            (self.serve)(Ask::Release(name));
        }
    }
}

fn reply(pid: Pid, envelope: &Envelope, reply: &Reply) {
    // What can be too long has changed nothing: reads and writes were made short enough.
    let bytes = device::encode_reply(reply).ok().filter(|bytes| bytes.len() <= MESSAGE_BYTES_MAX);
    let bytes = bytes.or_else(|| device::encode_reply(&Reply::Failed(Errno::Overflow)).ok());
    // Whoever does not wait any more does not miss it.
    let _ = at(pid, |talk, me| talk.kernel.answer(me, envelope, &bytes.unwrap_or_default()));
}

fn at<T>(pid: Pid, act: impl FnOnce(&mut Talk, Slot) -> T) -> Option<T> {
    with(|talk| talk.kernel.find(pid).map(|me| act(talk, me))).flatten()
}
