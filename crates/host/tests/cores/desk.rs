//! A program that asks much, and devices that answer now, later, or from another thread: for what may
//! happen in any order.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};

use peripatos_abi::Pid;
use peripatos_abi::device::{Devices, Reply, Request};
use peripatos_engine::{
    Code, CodeKind, Limits, LoadOptions, Process, ProcessOptions, Runtime, Settings,
};

/// Requests of a process, and its exit code.
pub(crate) const ROUNDS: u32 = 24;

/// In each round it computes, asks, and in every second one gives way.
const ASKING: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_sync" (func $ask (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (local $round i32) (local $count i32)
        (loop $again
            (local.set $count (i32.const 500))
            (loop $compute
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br_if $compute (local.get $count)))
            (if (call $ask (i32.const 3)) (then unreachable))
            (if (i32.and (local.get $round) (i32.const 1)) (then (drop (call $yield))))
            (local.set $round (i32.add (local.get $round) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $round) (i32.const 24))))
        (call $exit (local.get $round))))"#;

/// The program, compiled.
pub(crate) fn asking() -> Code {
    let runtime = Runtime::new(Settings { stack_bytes: 1 << 20, ..Settings::default() }).unwrap();
    let wasm = wat::parse_str(ASKING).unwrap();
    runtime.load(wasm.into(), LoadOptions { kind: CodeKind::Hot }).unwrap()
}

/// What all desks share: the requests that wait for an answer.
pub(crate) struct Office {
    waiting: Mutex<Waiting>,
    more: Condvar,
    /// Requests that were answered, by the processes' numbers.
    answered: Vec<AtomicU64>,
    desks: AtomicUsize,
}

#[derive(Default)]
struct Waiting {
    requests: Vec<Arc<Pending>>,
    closed: bool,
}

/// A request that waits. As a device would, one first writes what is to be seen, then wakes.
#[derive(Default)]
struct Pending {
    granted: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Pending {
    fn grant(&self) {
        self.granted.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Office {
    /// For processes of numbers below `processes`.
    pub(crate) fn new(processes: u64) -> Arc<Office> {
        Arc::new(Office {
            waiting: Mutex::default(),
            more: Condvar::new(),
            answered: (0..processes).map(|_| AtomicU64::new(0)).collect(),
            desks: AtomicUsize::new(0),
        })
    }

    /// How many requests of this process were answered.
    pub(crate) fn answered(&self, pid: Pid) -> u64 {
        self.answered[pid.number() as usize].load(Ordering::SeqCst)
    }

    /// How many processes have not been dropped.
    pub(crate) fn desks(&self) -> usize {
        self.desks.load(Ordering::SeqCst)
    }

    /// Answers requests until the office closes. Also wakes those who have long been answered.
    pub(crate) fn serve(&self, seed: u64) {
        let mut dice = Dice(seed);
        let mut last: Option<Arc<Pending>> = None;
        while let Some(pending) = self.next(&mut dice) {
            pending.grant();
            if let Some(last) = last.filter(|_| dice.roll(4) == 0) {
                last.grant();
            }
            last = Some(pending);
        }
    }

    /// Answers one request, if there is one.
    pub(crate) fn grant_one(&self) -> bool {
        let pending = self.waiting.lock().unwrap().requests.pop();
        pending.as_ref().inspect(|pending| pending.grant()).is_some()
    }

    pub(crate) fn close(&self) {
        self.waiting.lock().unwrap().closed = true;
        self.more.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.waiting.lock().unwrap().closed
    }

    fn next(&self, dice: &mut Dice) -> Option<Arc<Pending>> {
        let mut waiting = self.waiting.lock().unwrap();
        while waiting.requests.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self.more.wait(waiting).unwrap();
        }
        let at = dice.roll(waiting.requests.len() as u64) as usize;
        Some(waiting.requests.swap_remove(at))
    }
}

/// One process's devices.
pub(crate) struct Desk {
    office: Arc<Office>,
    /// Whether to answer some requests at once, or none.
    at_once: bool,
    /// The process is in here.
    inside: AtomicBool,
    current: Option<(u64, Arc<Pending>)>,
}

impl Desk {
    /// A process that has one.
    pub(crate) fn spawn(code: &Code, number: u64, office: &Arc<Office>, at_once: bool) -> Process {
        office.desks.fetch_add(1, Ordering::SeqCst);
        let office = Arc::clone(office);
        let desk = Desk { office, at_once, inside: AtomicBool::new(false), current: None };
        let options = ProcessOptions {
            pid: Pid::new(number, 7),
            args: Vec::new(),
            env: Vec::new(),
            devices: Box::new(desk),
            limits: Limits::default(),
            freeze_every: None,
        };
        Process::spawn(code, options).unwrap()
    }

    fn answer(&mut self, pid: Pid, sequence: u64) -> Poll<Reply> {
        self.current = None;
        let answered = &self.office.answered[pid.number() as usize];
        // It is asked again only if it was not answered.
        assert_eq!(answered.fetch_add(1, Ordering::SeqCst), sequence);
        Poll::Ready(Reply::Done)
    }
}

impl Devices for Desk {
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        pid: Pid,
        sequence: u64,
        request: &Request,
    ) -> Poll<Reply> {
        assert!(matches!(request, Request::Sync(_)));
        assert!(!self.inside.swap(true, Ordering::SeqCst));
        let mut dice = Dice::new(pid, sequence);
        // Another one may be answered from here.
        if self.at_once && dice.roll(4) == 0 {
            self.office.grant_one();
        }
        let reply = match &self.current {
            None if self.at_once && dice.roll(2) == 0 => self.answer(pid, sequence),
            None => {
                let pending = Arc::new(Pending::default());
                *pending.waker.lock().unwrap() = Some(cx.waker().clone());
                self.current = Some((sequence, Arc::clone(&pending)));
                self.office.waiting.lock().unwrap().requests.push(pending);
                self.office.more.notify_one();
                Poll::Pending
            }
            Some((asked, pending)) => {
                assert_eq!(*asked, sequence);
                *pending.waker.lock().unwrap() = Some(cx.waker().clone());
                if pending.granted.load(Ordering::Acquire) {
                    self.answer(pid, sequence)
                } else {
                    Poll::Pending
                }
            }
        };
        self.inside.store(false, Ordering::SeqCst);
        reply
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.office.desks.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Numbers that are as good as random, the same in each run (splitmix64, Vigna 2015).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn new(pid: Pid, sequence: u64) -> Dice {
        let mut dice = Dice(sequence);
        for byte in pid.to_string().bytes() {
            dice.0 = dice.next() ^ u64::from(byte);
        }
        dice
    }

    /// Less than `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
