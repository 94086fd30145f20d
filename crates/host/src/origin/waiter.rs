//! The one thread of an origin that waits: for streams to become ready and for times to pass.
//!
//! It only wakes; it reads nothing and answers nothing. Whoever is woken tries its request again,
//! on its own thread, so that input is consumed together with the reply that carries it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use peripatos_abi::Pid;
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;

use super::step::Wait;

/// Handle to the thread; it ends when the handle is dropped.
#[derive(Debug)]
pub(super) struct Waiter {
    waits: Arc<Mutex<Waits>>,
    /// Writing a byte makes the thread look at `waits` again; closing it ends the thread.
    interrupt: UnixStream,
}

type Waits = BTreeMap<Pid, Entry>;

/// A file that a process waits for.
type Watched = (Pid, Arc<File>, PollFlags);

#[derive(Debug)]
struct Entry {
    wait: Wait,
    deadline: Option<Instant>,
    waker: Waker,
}

impl Waiter {
    pub(super) fn start() -> std::io::Result<Self> {
        let (interrupt, interrupted) = UnixStream::pair()?;
        interrupt.set_nonblocking(true)?;
        interrupted.set_nonblocking(true)?;
        let waits = Arc::new(Mutex::new(Waits::new()));
        let shared = Arc::clone(&waits);
        std::thread::Builder::new()
            .name("origin".into())
            .spawn(move || run(&shared, interrupted))?;
        Ok(Self { waits, interrupt })
    }

    /// Wakes once when the wait is over. Replaces an earlier wait of the process.
    pub(super) fn wait(&self, pid: Pid, wait: Wait, waker: Waker) {
        // A time too far to be told is never reached.
        let deadline = wait.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        lock(&self.waits).insert(pid, Entry { wait, deadline, waker });
        // A full socket has an interrupt in it already.
        let _ = (&self.interrupt).write(&[0]);
    }

    /// Forgets the process's wait.
    pub(super) fn cancel(&self, pid: Pid) {
        lock(&self.waits).remove(&pid);
    }
}

fn lock(waits: &Mutex<Waits>) -> MutexGuard<'_, Waits> {
    waits.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(waits: &Mutex<Waits>, interrupted: UnixStream) {
    let mut ready = Vec::new();
    loop {
        let (files, deadline) = wake(waits, &ready);
        let timeout = deadline.map(|deadline| timespec(deadline, Instant::now()));
        let mut fds = vec![PollFd::new(&interrupted, PollFlags::IN)];
        fds.extend(files.iter().map(|(_, file, interest)| PollFd::new(file, *interest)));
        if rustix::event::poll(&mut fds, timeout.as_ref()).is_err() {
            // Interrupted by a signal, or short of memory for a moment: look again.
            std::thread::yield_now();
            continue;
        }
        let happened = |fd: &PollFd<'_>| !fd.revents().is_empty();
        if happened(&fds[0]) && is_over(&interrupted) {
            return;
        }
        let states = fds[1..].iter().map(happened);
        ready = files.iter().zip(states).filter(|(_, yes)| *yes).map(|(one, _)| one.0).collect();
    }
}

/// Wakes the processes that are ready and those whose time is over, and says what remains to wait
/// for.
fn wake(waits: &Mutex<Waits>, ready: &[Pid]) -> (Vec<Watched>, Option<Instant>) {
    let now = Instant::now();
    let mut waits = lock(waits);
    let over = |pid: &Pid, entry: &mut Entry| {
        ready.contains(pid) || entry.deadline.is_some_and(|deadline| deadline <= now)
    };
    for (_, entry) in waits.extract_if(.., over) {
        entry.waker.wake();
    }
    let files = waits.iter().flat_map(|(pid, entry)| {
        entry.wait.files.iter().map(|(file, interest)| (*pid, Arc::clone(file), *interest))
    });
    (files.collect(), waits.values().filter_map(|entry| entry.deadline).min())
}

/// Empties the interrupt; true when the handle is gone.
fn is_over(mut interrupted: &UnixStream) -> bool {
    let mut bytes = [0; 64];
    loop {
        match interrupted.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

fn timespec(deadline: Instant, now: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(now);
    let tv_sec = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: left.subsec_nanos().into() }
}
