//! Processes that talk while cores hand them to each other.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_engine::{
    CodeKind, Handler, Limits, LoadOptions, Process, ProcessOptions, Runtime, Settings,
};
use peripatos_host::cores::{CoreEvent, Cores, ProcessEnd, Sample};
use peripatos_host::origin::Origin;
use peripatos_host::talk::Line;

use crate::programs::{
    ADD, ASK, ASK_ALL, JOIN, LEND, PASS_ON, SERVE, SERVE_ON, handle_lent, handler, program,
    serve_lent,
};

/// Longer than anything here takes on the slowest machine: then something is lost.
const PATIENCE: Duration = Duration::from_secs(120);
const NOBODY: Pid = Pid::new(9, 9);

/// Asks so many times, computing between, and exits with 42.
const ASK_ON: &str = "
  (local.set $count (i32.const 300))
  (loop $again
    (i32.store (i32.const 64) (local.get $count))
    (local.set $r (call $send (i32.const 16) (i32.const 64) (i32.const 4) (i32.const 80) (i32.const 4)))
    (if (i32.ne (local.get $r) (i32.const 4)) (then (call $exit (i32.sub (i32.const 0) (local.get $r)))))
    (if (i32.ne (i32.load (i32.const 80)) (i32.add (local.get $count) (i32.const 7))) (then unreachable))
    (local.set $r (i32.const 2000))
    (loop $compute
      (br_if $compute (local.tee $r (i32.sub (local.get $r) (i32.const 1)))))
    (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
  (call $exit (i32.const 42))";

struct Town {
    cores: Cores,
    runtime: Runtime,
    events: Receiver<(Pid, ProcessEnd)>,
    stopped: Receiver<Process>,
    ended: BTreeMap<Pid, ProcessEnd>,
    last: u64,
}

impl Town {
    fn new(cores: usize) -> Town {
        let (to, events) = channel();
        let (to_stopped, stopped) = channel();
        let cores = Cores::start(cores, move |event| match event {
            CoreEvent::Ended { pid, end, .. } => drop(to.send((pid, end))),
            CoreEvent::Stopped { process, .. } => drop(to_stopped.send(process)),
            CoreEvent::Deadlock(_) => {}
        });
        let settings = Settings { stack_bytes: 1 << 20, ..Settings::default() };
        let runtime = Runtime::new(settings).unwrap();
        let ended = BTreeMap::new();
        Town { cores: cores.unwrap(), runtime, events, stopped, ended, last: 0 }
    }

    fn options(&mut self) -> ProcessOptions {
        self.last += 1;
        let pid = Pid::new(self.last, 0x1234_5678_9abc * self.last);
        let origin = Origin::new();
        origin.open(pid, &[]).unwrap();
        ProcessOptions {
            pid,
            args: vec![b"program".to_vec()],
            env: Vec::new(),
            devices: Box::new(origin),
            limits: Limits::default(),
            freeze_every: None,
        }
    }

    fn program(&mut self, text: &str) -> Pid {
        let (options, code) = (self.options(), self.load(text));
        let pid = options.pid;
        let mut process = Process::spawn(&code, options).unwrap();
        process.set_messages(Box::new(Line::new(pid)));
        self.cores.run(process).unwrap();
        pid
    }

    fn handler(&mut self, text: &str) -> Pid {
        let (options, code) = (self.options(), self.load(text));
        let pid = options.pid;
        let mut handler = Handler::spawn(&code, options).unwrap();
        handler.set_messages(Box::new(Line::new(pid)));
        self.cores.serve(handler).unwrap();
        pid
    }

    fn load(&self, text: &str) -> peripatos_engine::Code {
        let wasm =
            wat::parse_str(text.replace("(local $r i32)", "(local $r i32) (local $count i32)"));
        self.runtime.load(wasm.unwrap().into(), LoadOptions { kind: CodeKind::Hot }).unwrap()
    }

    fn sample(&self, pid: Pid) -> Sample {
        let found = self.cores.sample().into_iter().find(|sample| sample.pid == pid);
        found.expect("it is here")
    }

    fn end_of(&mut self, pid: Pid) -> &ProcessEnd {
        while !self.ended.contains_key(&pid) {
            let (pid, end) = self.events.recv_timeout(PATIENCE).expect("an end that does not come");
            self.ended.insert(pid, end);
        }
        &self.ended[&pid]
    }

    fn exit_code(&mut self, pid: Pid) -> u32 {
        match self.end_of(pid) {
            ProcessEnd::Exited(code) => *code,
            end => panic!("{pid} ended otherwise: {end:?}"),
        }
    }
}

#[test]
fn every_question_is_answered_once_on_any_number_of_cores() {
    for cores in [1, 2, 4] {
        let mut town = Town::new(cores);
        let back = town.program(&program(NOBODY, SERVE));
        let fibers = [SERVE, SERVE_ON].map(|serve| town.program(&program(NOBODY, serve)));
        let front = town.handler(&handler(back, PASS_ON));
        let adder = town.handler(&handler(NOBODY, ADD));
        let servers = [fibers[0], fibers[1], front, adder];
        let clients: Vec<Pid> =
            (0..12).map(|at| town.program(&program(servers[at % 4], ASK_ON))).collect();
        for client in clients {
            assert_eq!(town.exit_code(client), 42, "{cores} cores");
        }
    }
}

#[test]
fn what_is_lent_is_read_and_written_on_any_number_of_cores() {
    for cores in [1, 2, 4] {
        let mut town = Town::new(cores);
        let fiber = town.program(&program(NOBODY, &serve_lent()));
        let called = town.handler(&handler(NOBODY, &handle_lent()));
        let clients: Vec<Pid> =
            (0..40).map(|at| town.program(&program([fiber, called][at % 2], LEND))).collect();
        for client in clients {
            assert_eq!(town.exit_code(client), 42, "{cores} cores");
        }
    }
}

#[test]
fn all_of_a_group_answer_on_any_number_of_cores() {
    for cores in [1, 2, 4] {
        let mut town = Town::new(cores);
        let servers = [(); 7].map(|()| town.program(&program(NOBODY, &format!("{JOIN} {SERVE}"))));
        // Who answers has joined.
        for server in servers {
            let client = town.program(&program(server, ASK));
            assert_eq!(town.exit_code(client), 42);
        }
        // They compute, too, and are handed to other cores.
        let ask_on = ASK_ON.replace("(call $exit (i32.const 42))", ASK_ALL);
        let clients: Vec<Pid> =
            (0..20).map(|at| town.program(&program(servers[at % 7], &ask_on))).collect();
        for client in clients {
            assert_eq!(town.exit_code(client), 7, "{cores} cores");
        }
    }
}

#[test]
fn whoever_waits_for_one_that_is_killed_is_told() {
    for cores in [1, 2] {
        let mut town = Town::new(cores);
        // They never reply.
        let silent = "(loop $next (drop (call $receive (i64.const -1))) (br $next))";
        let endless = "(loop $on (br $on)) (i32.const 0)";
        let servers =
            [town.program(&program(NOBODY, silent)), town.handler(&handler(NOBODY, endless))];
        let clients: Vec<Pid> =
            (0..6).map(|at| town.program(&program(servers[at % 2], ASK_ON))).collect();
        // Others have their turn, whoever hangs.
        let adder = town.handler(&handler(NOBODY, ADD));
        let good = town.program(&program(adder, ASK_ON));
        assert_eq!(town.exit_code(good), 42);
        for server in servers {
            town.cores.kill(server).unwrap();
            assert!(matches!(town.end_of(server), ProcessEnd::Killed));
        }
        for client in clients {
            assert_eq!(town.exit_code(client), 2, "no process");
        }
    }
}

#[test]
fn one_that_runs_within_anothers_slice_can_be_stopped_and_so_can_the_other() {
    let mut town = Town::new(1);
    // It computes for ever over the first message, which it is given at once.
    let stuck = "(drop (call $receive (i64.const -1))) (loop $on (br $on))";
    for first in [0, 1] {
        let server = town.program(&program(NOBODY, stuck));
        let client = town.program(&program(server, ASK_ON));
        // Others have their turn.
        let adder = town.handler(&handler(NOBODY, ADD));
        let good = town.program(&program(adder, ASK_ON));
        assert_eq!(town.exit_code(good), 42);
        let both = [server, client];
        for pid in [both[first], both[1 - first]] {
            town.cores.freeze(pid).unwrap();
            let process = town.stopped.recv_timeout(PATIENCE).expect("it is frozen");
            assert_eq!(process.pid(), pid);
            town.cores.run(process).unwrap();
        }
        for pid in [client, server] {
            town.cores.kill(pid).unwrap();
            assert!(matches!(town.end_of(pid), ProcessEnd::Killed));
        }
        // And ended while a sender waits for it.
        let server = town.program(&program(NOBODY, stuck));
        let client = town.program(&program(server, ASK_ON));
        town.cores.kill(server).unwrap();
        assert!(matches!(town.end_of(server), ProcessEnd::Killed));
        assert_eq!(town.exit_code(client), 2, "no process");
    }
}

#[test]
fn time_runs_out_while_others_compute() {
    let mut town = Town::new(1);
    let busy = town.program(&program(NOBODY, "(loop $on (br $on))"));
    let waiting = "(call $exit (i32.sub (i32.const 0) (call $receive (i64.const 20000000))))";
    let waiting = town.program(&program(NOBODY, waiting));
    assert_eq!(town.exit_code(waiting), 6, "timed out");
    town.cores.kill(busy).unwrap();
    assert!(matches!(town.end_of(busy), ProcessEnd::Killed));
}

/// They hear each other's words in their places, and neither core has anything else to run.
#[test]
fn others_have_their_turn_and_both_can_be_stopped_while_two_talk_across() {
    let mut town = Town::new(2);
    let busy = town.program(&program(NOBODY, "(loop $on (br $on))"));
    while town.sample(busy).cpu == Duration::ZERO {
        std::thread::yield_now();
    }
    let server = town.program(&program(NOBODY, SERVE));
    town.cores.keep_in_place();
    town.cores.kill(busy).unwrap();
    assert!(matches!(town.end_of(busy), ProcessEnd::Killed));
    let ask = "
      (loop $again
        (local.set $r (call $send (i32.const 16) (i32.const 64) (i32.const 4) (i32.const 80) (i32.const 4)))
        (br_if $again (i32.eq (local.get $r) (i32.const 4))))
      (call $exit (i32.sub (i32.const 0) (local.get $r)))";
    let client = town.program(&program(server, ask));
    assert_ne!(town.sample(client).core, town.sample(server).core);
    let wait = "(call $exit (i32.sub (i32.const 0) (call $receive (i64.const 5000000))))";
    for _ in 0..8 {
        let others = [(); 2].map(|()| town.program(&program(NOBODY, wait)));
        for other in others {
            assert_eq!(town.exit_code(other), 6, "timed out");
        }
    }
    assert_ne!(town.sample(client).core, town.sample(server).core);
    for pid in [client, server] {
        town.cores.freeze(pid).unwrap();
        let process = town.stopped.recv_timeout(PATIENCE).expect("it is frozen");
        assert_eq!(process.pid(), pid);
    }
}
