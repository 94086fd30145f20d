//! Processes that make others.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_abi::device::Devices;
use peripatos_engine::{
    Code, CodeKind, Limits, LoadOptions, Process, ProcessOptions, Runtime, Settings,
};
use peripatos_host::cores::{CoreEvent, Cores, ProcessEnd};
use peripatos_host::origin::Origin;
use peripatos_host::talk::{Birth, Family, Home, Line, Member, Rules};

/// Longer than anything here takes on the slowest machine: then something is lost.
const PATIENCE: Duration = Duration::from_secs(120);

/// The root spawns children of its own program with the numbers from 1 on, and handlers named "adder". Each child asks
/// an adder of its own to add 1000 to its number, and sends the sum to its parent, which adds them all up and exits with
/// the sum of the sums.
const ROOT: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "peripatos_v1" "spawn" (func $spawn (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "peripatos_v1" "argument" (func $argument (param i32 i32) (result i32)))
    (import "peripatos_v1" "parent" (func $parent (param i32) (result i32)))
    (import "peripatos_v1" "send" (func $send_now (param i32 i32 i32 i32 i32) (result i32)))
    (import "peripatos_v1" "receive" (func $receive_now (param i32 i32 i32 i32 i64) (result i32)))
    (import "peripatos_v1" "reply" (func $reply (param i32 i32 i32) (result i32)))
    (import "peripatos_v1" "wait" (func $wait (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "adder")
    (func $or_exit (param i32)
        (if (i32.lt_s (local.get 0) (i32.const 0)) (then (call $exit (i32.sub (i32.const 0) (local.get 0))))))
    (func $ask (param $to i32) (param $at i32)
        (local $r i32)
        (local.set $r (call $send_now (local.get $to) (local.get $at) (i32.const 4) (local.get $at) (i32.const 4)))
        (if (i32.eq (local.get $r) (i32.const -1)) (then (local.set $r (call $wait))))
        (call $or_exit (local.get $r)))
    (func (export "_start")
        (local $left i32) (local $sum i32) (local $r i32)
        (local.set $left (i32.const CHILDREN))
        (loop $next
            (i32.store (i32.const 64) (local.get $left))
            (call $or_exit (call $spawn (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 64) (i32.const 4) (i32.const 16)))
            (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (local.set $left (i32.const CHILDREN))
        (loop $next
            (local.set $r (call $receive_now (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 96) (i64.const -1)))
            (if (i32.eq (local.get $r) (i32.const -1)) (then (local.set $r (call $wait))))
            (call $or_exit (local.get $r))
            (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 64))))
            (call $or_exit (call $reply (i32.const 96) (i32.const 64) (i32.const 0)))
            (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $exit (local.get $sum)))
    (func (export "peripatos_spawned")
        (if (i32.ne (call $argument (i32.const 64) (i32.const 4)) (i32.const 4)) (then unreachable))
        (call $or_exit (call $spawn (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 16)))
        (call $ask (i32.const 16) (i32.const 64))
        (call $or_exit (call $parent (i32.const 16)))
        (call $ask (i32.const 16) (i32.const 64))))"#;

const ADDER: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "peripatos_buffer") (result i64) (i64.const 0x100_0000_0400))
    (func (export "peripatos_handle") (param i32) (result i32)
        (i32.store (i32.const 1056) (i32.add (i32.load (i32.const 1056)) (i32.const 1000)))
        (i32.const 4)))"#;

/// Gives everybody an origin of its own, and notes who was born.
struct Registrar(Mutex<Vec<(Pid, Pid)>>);

impl Home for Registrar {
    fn devices(&self, pid: Pid) -> Box<dyn Devices> {
        let origin = Origin::new();
        origin.open(pid, &[]).unwrap();
        Box::new(origin)
    }

    fn born(&self, birth: Birth<'_>) {
        self.0.lock().unwrap().push((birth.pid, birth.parent));
    }
}

struct Village {
    cores: Cores,
    events: Receiver<(Pid, ProcessEnd)>,
    born: Arc<Registrar>,
    root: Pid,
}

impl Village {
    /// A family whose root has so many children, and may have so many members.
    fn new(cores: usize, children: u32, processes_max: u32) -> Village {
        let (to, events) = channel();
        let cores = Cores::start(cores, move |event| {
            if let CoreEvent::Ended { pid, end, .. } = event {
                drop(to.send((pid, end)));
            }
        });
        let settings = Settings { stack_bytes: 1 << 20, ..Settings::default() };
        let runtime = Runtime::new(settings).unwrap();
        let load = |text: &str| -> Code {
            let wasm = wat::parse_str(text).unwrap();
            runtime.load(wasm.into(), LoadOptions { kind: CodeKind::Hot }).unwrap()
        };
        let code = load(&ROOT.replace("CHILDREN", &children.to_string()));
        let programs = BTreeMap::from([("adder".to_owned(), load(ADDER))]);
        let born = Arc::new(Registrar(Mutex::default()));
        let root = Pid::new(7, 0x7777_1234);
        let rules = Rules { processes_max, ..Rules::default() };
        let family = Family::new(root, rules, programs, born.clone());
        let options = ProcessOptions {
            pid: root,
            args: vec![b"root".to_vec()],
            env: Vec::new(),
            devices: born.devices(root),
            limits: Limits::default(),
            freeze_every: None,
        };
        let mut process = Process::spawn(&code, options).unwrap();
        let member = Member::root(&family, code, "root").unwrap();
        process.set_messages(Box::new(Line::of(root, member)));
        let cores = cores.unwrap();
        cores.run(process).unwrap();
        Village { cores, events, born, root }
    }

    fn next_end(&self) -> (Pid, ProcessEnd) {
        self.events.recv_timeout(PATIENCE).expect("an end that does not come")
    }
}

#[test]
fn children_compute_for_their_parent_with_servers_of_their_own() {
    for cores in [1, 2, 4] {
        let village = Village::new(cores, 100, 1000);
        let mut exited = BTreeMap::new();
        while exited.len() < 101 {
            match village.next_end() {
                (pid, ProcessEnd::Exited(code)) => drop(exited.insert(pid, code)),
                (pid, end) => panic!("{pid} ended otherwise: {end:?}"),
            }
        }
        let sum = 100 * 1000 + (1..=100).sum::<u32>();
        assert_eq!(exited.remove(&village.root), Some(sum));
        assert!(exited.values().all(|code| *code == 0));
        let born = village.born.0.lock().unwrap();
        let children = born.iter().filter(|(_, parent)| *parent == village.root).count();
        let servers = born.iter().filter(|(_, parent)| exited.contains_key(parent)).count();
        assert_eq!((children, servers), (100, 100));
        // The servers are there until somebody ends them.
        assert_eq!(village.cores.sample().len(), 100);
    }
}

#[test]
fn a_family_is_not_larger_than_it_may_be() {
    let village = Village::new(1, 100, 10);
    // Its children may have ended before it is told that it has too many.
    let mut ends = std::iter::repeat_with(|| village.next_end());
    let end = ends.find(|(pid, _)| *pid == village.root).map(|(_, end)| end);
    assert!(matches!(end, Some(ProcessEnd::Exited(15))), "too many: {end:?}");
}
