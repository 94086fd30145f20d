//! Processes that sleep whenever they wait, and that talk, move, are frozen and killed all the same.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use peripatos_abi::Pid;
use peripatos_engine::{
    Code, CodeKind, Form, Handler, Limits, LoadOptions, Process, ProcessOptions, Runtime, Settings,
};
use peripatos_host::cores::{CoreEvent, Cores, Outside, ProcessEnd, Sample};
use peripatos_host::origin::Origin;
use peripatos_host::talk::Line;
use peripatos_kernel::{Names, Packet};

use crate::desk::Dice;
use crate::programs::{ADD, PASS_ON, SERVE, handler, program};
use crate::support::PATIENCE;

pub(crate) const NOBODY: Pid = Pid::new(9, 9);
/// Questions of a client.
const QUESTIONS: u32 = 60;

/// Asks so many times for the same counter's next number, computing between, and exits with 42 if none was left out and
/// none came twice.
pub(crate) const COUNT_ON: &str = "
  (local.set $count (i32.const 0))
  (loop $again
    (i32.store (i32.const 64) (local.get $count))
    (local.set $r (call $send (i32.const 16) (i32.const 64) (i32.const 4) (i32.const 80) (i32.const 4)))
    (if (i32.ne (local.get $r) (i32.const 4)) (then (call $exit (i32.sub (i32.const 0) (local.get $r)))))
    (if (i32.ne (i32.load (i32.const 80)) (i32.add (local.get $count) (i32.const 7))) (then unreachable))
    (local.set $r (i32.const 2000))
    (loop $compute
      (br_if $compute (local.tee $r (i32.sub (local.get $r) (i32.const 1)))))
    (br_if $again (i32.lt_u (local.tee $count (i32.add (local.get $count) (i32.const 1))) (i32.const QUESTIONS))))
  (call $exit (i32.const 42))";

/// As [`SERVE`], and traps if one client's questions do not come in order, each once. Keeps what each asks next by its pid.
const COUNT: &str = "
  (loop $next
    (local.set $r (call $receive (i64.const -1)))
    (if (i32.ne (local.get $r) (i32.const 4)) (then unreachable))
    ;; Its pid's number is in the upper half.
    (local.set $count (i32.add (i32.const 8192) (i32.shl (i32.and (i32.load (i32.const 1032)) (i32.const 1023)) (i32.const 2))))
    (if (i32.ne (i32.load (local.get $count)) (i32.load (i32.const 2048))) (then unreachable))
    (i32.store (local.get $count) (i32.add (i32.load (local.get $count)) (i32.const 1)))
    (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 7)))
    (drop (call $reply (i32.const 1024) (i32.const 2048) (local.get $r)))
    (br $next))";

/// Keeps what is for those who stand still.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<Packet>>>);

impl Outside for Shelf {
    fn packet(&self, packet: Packet) -> Option<Packet> {
        self.0.lock().unwrap().push(packet);
        None
    }

    fn named(&self, _: &Mutex<Names>) {}
}

/// Cores on which so many may be awake.
pub(crate) struct Dormitory {
    pub(crate) cores: Cores,
    runtime: Runtime,
    shelf: Shelf,
    events: Receiver<CoreEvent>,
    pub(crate) ended: BTreeMap<Pid, ProcessEnd>,
    last: u64,
}

impl Dormitory {
    pub(crate) fn new(cores: usize, awake_max: usize) -> Dormitory {
        let (to, events) = channel();
        let shelf = Shelf::default();
        let outside = Box::new(shelf.clone());
        let tell = move |event| drop(to.send(event));
        let cores = Cores::start_with(cores, 0, outside, awake_max, tell).unwrap();
        let settings = Settings { stack_bytes: 1 << 20, ..Settings::default() };
        let runtime = Runtime::new(settings).unwrap();
        Dormitory { cores, runtime, shelf, events, ended: BTreeMap::new(), last: 0 }
    }

    fn load(&self, text: &str) -> Code {
        let text = text
            .replace("(local $r i32)", "(local $r i32) (local $count i32)")
            .replace("QUESTIONS", &QUESTIONS.to_string());
        let wasm = wat::parse_str(text).unwrap();
        self.runtime.load(wasm.into(), LoadOptions { kind: CodeKind::Hot }).unwrap()
    }

    fn spawn(&mut self, code: &Code) -> Pid {
        self.last += 1;
        let pid = Pid::new(self.last, 0x1234_5678_9abc * self.last);
        let options = ProcessOptions {
            pid,
            args: vec![b"program".to_vec()],
            env: Vec::new(),
            // It asks nothing.
            devices: Box::new(Origin::new()),
            limits: Limits::default(),
            freeze_every: None,
        };
        let line = Box::new(Line::new(pid));
        match code.form() {
            Form::Program => {
                let mut process = Process::spawn(code, options).unwrap();
                process.set_messages(line);
                self.cores.run(process).unwrap();
            }
            Form::Handler => {
                let mut handler = Handler::spawn(code, options).unwrap();
                handler.set_messages(line);
                self.cores.serve(handler).unwrap();
            }
        }
        pid
    }

    pub(crate) fn program(&mut self, text: &str) -> Pid {
        let code = self.load(text);
        self.spawn(&code)
    }

    /// Lets time pass; processes that stop go on.
    pub(crate) fn pass(&mut self, time: Duration) {
        match self.events.recv_timeout(time) {
            Ok(CoreEvent::Stopped { process, talking, .. }) => {
                self.cores.run_on(process, talking).unwrap();
            }
            Ok(CoreEvent::Ended { pid, end, .. }) => {
                assert!(self.ended.insert(pid, end).is_none(), "{pid} ended twice");
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => panic!("{error}"),
        }
        let kept = std::mem::take(&mut *self.shelf.0.lock().unwrap());
        kept.into_iter().for_each(|packet| self.cores.letterbox().bring(packet));
    }

    pub(crate) fn exit_code(&mut self, pid: Pid) -> u32 {
        let begun = Instant::now();
        while !self.ended.contains_key(&pid) {
            self.pass(Duration::from_millis(5));
            assert!(begun.elapsed() < PATIENCE, "an end that does not come");
        }
        match &self.ended[&pid] {
            ProcessEnd::Exited(code) => *code,
            end => panic!("{pid} ended otherwise: {end:?}"),
        }
    }

    /// Waits until all processes are as wanted.
    pub(crate) fn wait_until(&mut self, wanted: impl Fn(&[Sample]) -> bool) {
        let begun = Instant::now();
        while !wanted(&self.cores.sample()) {
            self.pass(Duration::from_millis(5));
            assert!(begun.elapsed() < PATIENCE, "something that does not come about");
        }
    }
}

fn asleep(samples: &[Sample]) -> usize {
    samples.iter().filter(|sample| sample.asleep).count()
}

/// Servers on fibers, handlers, and handlers that ask others; they and who asks them sleep whenever they wait, go from core
/// to core, and are frozen at random. Each question is answered once.
#[test]
fn who_sleeps_misses_nothing_and_hears_nothing_twice() {
    for cores in [1, 2, 4] {
        let mut house = Dormitory::new(cores, 0);
        let back = house.program(&program(NOBODY, SERVE));
        let fiber = house.program(&program(NOBODY, COUNT));
        let front = house.program(&handler(back, PASS_ON));
        let adder = house.program(&handler(NOBODY, ADD));
        let silent = house.program(&program(NOBODY, "(drop (call $receive (i64.const -1)))"));
        let servers = [fiber, front, adder];
        let clients: Vec<Pid> =
            (0..9).map(|at| house.program(&program(servers[at % 3], COUNT_ON))).collect();
        let all = [&clients[..], &[fiber, back, silent]].concat();
        let mut dice = Dice(cores as u64);
        while clients.iter().any(|client| !house.ended.contains_key(client)) {
            // Who has gone, or stands still, is not here.
            let _ = house.cores.freeze(all[dice.roll(all.len() as u64) as usize]);
            house.pass(Duration::from_millis(1));
            if house.ended.len() == clients.len() / 2 {
                let _ = house.cores.kill(silent);
            }
        }
        for client in clients {
            assert_eq!(house.exit_code(client), 42, "{cores} cores");
        }
        let _ = house.cores.kill(silent);
        while !house.ended.contains_key(&silent) {
            house.pass(Duration::from_millis(5));
        }
        assert!(matches!(house.ended[&silent], ProcessEnd::Killed), "{cores} cores");
        house.wait_until(|samples| samples.len() == 4 && asleep(samples) == 4);
        for server in [back, fiber, front, adder] {
            house.cores.kill(server).unwrap();
        }
        house.wait_until(<[Sample]>::is_empty);
    }
}

#[test]
fn time_runs_out_for_who_sleeps() {
    let mut house = Dormitory::new(1, 0);
    let waiting = "(call $exit (i32.sub (i32.const 0) (call $receive (i64.const 300000000))))";
    let waiting = house.program(&program(NOBODY, waiting));
    house.wait_until(|samples| asleep(samples) == 1 || samples.is_empty());
    assert_eq!(house.exit_code(waiting), 6, "timed out");
}

/// Twenty thousand are there at a time, of which few are awake; each answers.
#[test]
fn a_crowd_sleeps() {
    const CROWD: usize = 20_000;
    const AWAKE: usize = 500;
    let mut house = Dormitory::new(2, AWAKE);
    let cells = [program(NOBODY, SERVE), handler(NOBODY, ADD)].map(|text| house.load(&text));
    let mut crowd = Vec::new();
    for at in 0..CROWD {
        crowd.push(house.spawn(&cells[at % 2]));
        if at % 500 == 499 {
            // Not faster than they fall asleep. Other tests' processes are awake, too.
            house.wait_until(|samples| samples.len() - asleep(samples) <= 2 * AWAKE);
        }
    }
    house.wait_until(|samples| samples.len() == CROWD && samples.len() - asleep(samples) <= AWAKE);
    let mut dice = Dice(5);
    for _ in 0..10 {
        let server = crowd[dice.roll(CROWD as u64) as usize];
        let client = house.program(&program(server, COUNT_ON));
        assert_eq!(house.exit_code(client), 42);
    }
}
