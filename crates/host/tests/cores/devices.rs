//! Device processes: an origin's devices, sent to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::channel;

use peripatos_abi::device::{Devices, Reply, Request, decode_reply, encode_reply, encode_request};
use peripatos_abi::message::{MESSAGE_BYTES_MAX, Status};
use peripatos_abi::{ClockId, Errno, Fd, FdFlags, LookupFlags, OpenFlags, Pid, Rights};
use peripatos_engine::{CodeKind, Limits, LoadOptions, Process, ProcessOptions, Runtime, Settings};
use peripatos_host::cores::{ProcessEnd, Refusal};
use peripatos_host::origin::{Ask, Origin, Preopen, Streams};
use peripatos_host::talk::{Birth, DeviceProcess, DeviceServer, Family, Home, Line, Member, Rules};

use crate::support::{Node, PATIENCE};

const DEVICES: Pid = Pid::new(3, 0xdead_beef_0000_0003);
const ROOT: Pid = Pid::new(1, 1);

/// Sends these messages one after the other to whoever serves its devices, and writes what `send` answers (4 bytes), and
/// the reply, to its output.
fn talker(messages: &[Vec<u8>]) -> String {
    let escaped = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("\\{b:02x}")).collect() };
    let (mut data, mut body, mut at) = (String::new(), String::new(), 65_536 * 2);
    for message in messages {
        let len = message.len();
        data += &format!("(data (i32.const {at}) \"{}\")", escaped(message));
        body += &format!("(call $ask (i32.const {at}) (i32.const {len}))");
        at += len;
    }
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "peripatos_v1" "devices" (func $devices (param i32) (result i32)))
        (import "peripatos_v1" "send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
        (import "peripatos_v1" "wait" (func $wait (result i32)))
        (memory (export "memory") 16)
        (data (i32.const 32) "\00\01\00\00\04\00\00\00\00\00\01\00")
        {data}
        (func $ask (param $at i32) (param $len i32) (local $r i32)
            (local.set $r (call $send (i32.const 16) (local.get $at) (local.get $len) (i32.const 65536) (i32.const 65536)))
            (if (i32.eq (local.get $r) (i32.const -1)) (then (local.set $r (call $wait))))
            (i32.store (i32.const 256) (local.get $r))
            (i32.store (i32.const 44) (select (local.get $r) (i32.const 0) (i32.gt_s (local.get $r) (i32.const 0))))
            (if (call $write (i32.const 1) (i32.const 32) (i32.const 2) (i32.const 64)) (then unreachable)))
        (func (export "_start") (local $r i32)
            (local.set $r (call $devices (i32.const 16)))
            (if (local.get $r) (then (call $exit (i32.sub (i32.const 0) (local.get $r)))))
            {body}))"#
    )
}

/// Wants to end whoever serves its devices, notifies him, links itself with him, and traps.
const HARMER: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "peripatos_v1" "devices" (func $devices (param i32) (result i32)))
    (import "peripatos_v1" "end" (func $end (param i32) (result i32)))
    (import "peripatos_v1" "notify" (func $notify (param i32 i64) (result i32)))
    (import "peripatos_v1" "link" (func $link (param i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (if (call $devices (i32.const 16)) (then (call $exit (i32.const 1))))
        ;; From another core nobody says that it may not.
        (drop (call $end (i32.const 16)))
        (if (call $notify (i32.const 16) (i64.const -1)) (then (call $exit (i32.const 3))))
        (if (call $link (i32.const 16)) (then (call $exit (i32.const 4))))
        unreachable))"#;

fn message(request: &Request) -> Vec<u8> {
    [&7_u64.to_le_bytes()[..], &encode_request(request).unwrap()].concat()
}

fn open(path: &str) -> Request {
    Request::Open {
        fd: Fd(3),
        lookup: LookupFlags::NONE,
        path: path.to_owned(),
        flags: OpenFlags::NONE,
        rights: Rights::FD_READ,
        rights_inheriting: Rights::NONE,
        fd_flags: FdFlags::NONE,
    }
}

fn read(fd: u32, len: u32) -> Request {
    Request::Read { fd: Fd(fd), len, offset: None }
}

fn files([input, output]: [OwnedFd; 2]) -> Streams {
    let (input, output) = (File::from(input), File::from(output));
    Streams::Files([input, output.try_clone().unwrap(), output])
}

/// Says who serves the devices, and nothing else.
struct Said(DeviceServer);

impl Home for Said {
    fn devices(&self, _: Pid) -> Box<dyn Devices> {
        unreachable!("nobody is spawned")
    }

    fn device_server(&self) -> Option<DeviceServer> {
        Some(self.0.clone())
    }

    fn born(&self, _: Birth<'_>) {}
}

/// Cores, and the origin whose devices are served.
struct Office {
    node: Node,
    runtime: Runtime,
    input: PipeWriter,
    output: PipeReader,
    server: DeviceServer,
    last: u64,
}

/// Somebody who asks.
struct Client {
    pid: Pid,
    /// What it writes.
    output: PipeReader,
    /// Its own devices are there for as long as this is.
    _origin: Origin,
}

impl Office {
    /// With this directory given to the program whose devices these are.
    fn new(cores: usize, directory: Option<&std::path::Path>) -> Office {
        let (stdin, input) = std::io::pipe().unwrap();
        let (output, stdout) = std::io::pipe().unwrap();
        let origin = Origin::with_streams(files([stdin.into(), stdout.into()]));
        let preopens = directory
            .map(|path| Preopen { host_path: path.to_owned(), guest_path: "/".to_owned() });
        origin.open(ROOT, preopens.as_slice()).unwrap();
        let node = Node::new(cores);
        node.cores.letterbox().begin_devices_of(DEVICES, origin, ROOT).unwrap();
        let settings = Settings { stack_bytes: 1 << 20, ..Settings::default() };
        let runtime = Runtime::new(settings).unwrap();
        let server = DeviceServer::Process(DEVICES);
        Office { node, runtime, input, output, server, last: 10 }
    }

    /// Somebody who computes, on the core that has the devices.
    fn busy(&mut self) -> Pid {
        let wasm =
            r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#;
        let wasm = wat::parse_str(wasm).unwrap();
        let code = self.runtime.load(wasm.into(), LoadOptions { kind: CodeKind::Hot }).unwrap();
        for number in 100..200 {
            let pid = Pid::new(number, 2);
            let options = ProcessOptions {
                pid,
                args: Vec::new(),
                env: Vec::new(),
                devices: Box::new(Origin::new()),
                limits: Limits::default(),
                freeze_every: None,
            };
            self.node.cores.run(Process::spawn(&code, options).unwrap()).unwrap();
            self.node.wait_for_progress(pid);
            if self.node.sample(pid).core == 0 {
                return pid;
            }
            // That core was just looking at a packet.
            self.node.cores.kill(pid).unwrap();
            assert!(matches!(self.node.end(pid), ProcessEnd::Killed));
        }
        panic!("no core takes it");
    }

    fn client(&mut self, messages: &[Vec<u8>]) -> Client {
        self.start(&talker(messages))
    }

    fn start(&mut self, program: &str) -> Client {
        self.last += 1;
        let pid = Pid::new(self.last, 0x9999_8888 * self.last);
        let (stdin, _) = std::io::pipe().unwrap();
        let (output, stdout) = std::io::pipe().unwrap();
        let origin = Origin::with_streams(files([stdin.into(), stdout.into()]));
        origin.open(pid, &[]).unwrap();
        let wasm = wat::parse_str(program).unwrap();
        let code = self.runtime.load(wasm.into(), LoadOptions { kind: CodeKind::Hot }).unwrap();
        let options = ProcessOptions {
            pid,
            args: vec![b"client".to_vec()],
            env: Vec::new(),
            devices: Box::new(origin.clone()),
            limits: Limits::default(),
            freeze_every: None,
        };
        let home = Arc::new(Said(self.server.clone()));
        let family = Family::new(pid, Rules::default(), BTreeMap::new(), home);
        let mut process = Process::spawn(&code, options).unwrap();
        let member = Member::root(&family, code, "client").unwrap();
        process.set_messages(Box::new(Line::of(pid, member)));
        self.node.cores.run(process).unwrap();
        Client { pid, output, _origin: origin }
    }
}

impl Client {
    /// What its next send was answered.
    fn next(&mut self) -> Result<Reply, Status> {
        let mut word = [0; 4];
        self.output.read_exact(&mut word).unwrap();
        let answer = i32::from_le_bytes(word);
        if let Some(status) = Status::from_code(answer) {
            return Err(status);
        }
        let mut reply = vec![0; answer as usize];
        self.output.read_exact(&mut reply).unwrap();
        Ok(decode_reply(&reply).unwrap())
    }
}

#[test]
fn a_process_of_another_core_is_answered() {
    for cores in [1, 2, 3] {
        let mut office = Office::new(cores, None);
        let requests = [
            Request::ClockTime(ClockId::Realtime),
            Request::Random(16),
            Request::Write { fd: Fd(1), data: b"written".to_vec(), offset: None },
            read(0, 100),
        ];
        let messages: Vec<Vec<u8>> = requests.iter().map(message).collect();
        // The devices' core has something to do: who comes next begins on another one.
        let busy = office.busy();
        let mut clients = vec![office.client(&messages)];
        clients.extend((1..4).map(|_| office.client(&messages)));
        for client in &mut clients {
            assert!(matches!(client.next(), Ok(Reply::Number(time)) if time > 1_000_000_000));
            assert!(matches!(client.next(), Ok(Reply::Data(random)) if random.len() == 16));
            assert_eq!(client.next(), Ok(Reply::Number(7)));
            let mut written = [0; 7];
            office.output.read_exact(&mut written).unwrap();
            assert_eq!(&written, b"written");
        }
        // All wait for one input.
        for client in &clients {
            office.node.wait_until(client.pid, |sample| !sample.runnable);
        }
        for _ in &clients {
            office.input.write_all(b"x").unwrap();
        }
        let mut got = 0;
        drop(office.input);
        for client in &mut clients {
            match client.next() {
                Ok(Reply::Data(data)) => got += data.len(),
                other => panic!("{other:?}"),
            }
            office.node.exits(client.pid);
        }
        assert_eq!(got, 4);
        office.node.cores.kill(busy).unwrap();
        assert!(matches!(office.node.end(busy), ProcessEnd::Killed));
    }
}

#[test]
fn what_is_no_request_is_answered_and_does_no_harm() {
    let mut office = Office::new(2, None);
    let clock = message(&Request::ClockTime(ClockId::Monotonic));
    let mut behind = clock.clone();
    behind.push(0);
    let mut path = message(&open("p"));
    path.truncate(path.len() - 1);
    let bad = [Vec::new(), vec![0; 8], vec![0xff; 200], behind, path, vec![0; MESSAGE_BYTES_MAX]];
    let mut messages = bad.to_vec();
    messages.push(message(&read(77, 1)));
    // What would not fit into a message is read short, or refused.
    messages.push(message(&Request::Random(1 << 20)));
    messages.push(clock);
    let mut client = office.client(&messages);
    for _ in &bad {
        assert_eq!(client.next(), Ok(Reply::Failed(Errno::Inval)));
    }
    assert_eq!(client.next(), Ok(Reply::Failed(Errno::BadF)));
    assert_eq!(client.next(), Ok(Reply::Failed(Errno::Overflow)));
    assert!(matches!(client.next(), Ok(Reply::Number(_))));
    office.node.exits(client.pid);
}

#[test]
fn clients_have_descriptors_of_their_own_and_do_not_wait_for_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let long = vec![5; 100_000];
    std::fs::write(directory.path().join("one"), &long).unwrap();
    let mut office = Office::new(2, Some(directory.path()));
    let asks = [message(&open("one")), message(&read(0, 10)), message(&read(4, 1 << 20))];
    let mut first = office.client(&asks);
    assert_eq!(first.next(), Ok(Reply::Descriptor(Fd(4))));
    office.node.wait_until(first.pid, |sample| !sample.runnable);
    let asks = [message(&read(4, 3)), message(&open("one")), message(&read(4, 3))];
    let mut second = office.client(&asks);
    assert_eq!(second.next(), Ok(Reply::Failed(Errno::BadF)));
    assert_eq!(second.next(), Ok(Reply::Descriptor(Fd(4))));
    assert_eq!(second.next(), Ok(Reply::Data(Arc::new(vec![5; 3]))));
    office.node.exits(second.pid);
    office.input.write_all(b"typed").unwrap();
    assert_eq!(first.next(), Ok(Reply::Data(Arc::new(b"typed".to_vec()))));
    // A long read is short, so that it fits into a message.
    assert_eq!(first.next(), Ok(Reply::Data(Arc::new(long[..32 << 10].to_vec()))));
    office.node.exits(first.pid);
}

/// Origins that hold back what they are asked: what they hear of clients' ends, and clients of the origin's.
#[test]
fn an_end_is_told_on_either_side() {
    let mut office = Office::new(2, None);
    let (to, asked) = channel();
    let slow = Pid::new(4, 0x5105_5105);
    let serve = Box::new(move |ask| {
        to.send(ask).unwrap();
        Vec::new()
    });
    let letterbox = office.node.cores.letterbox();
    letterbox.begin_devices(DeviceProcess { pid: slow, serve }).unwrap();
    office.server = DeviceServer::Process(slow);
    let clock = message(&Request::ClockTime(ClockId::Realtime));
    let ends = office.client(std::slice::from_ref(&clock));
    let Ok(Ask::Request { client: name, sequence: 1, .. }) = asked.recv_timeout(PATIENCE) else {
        panic!("it was not asked");
    };
    // The origin knows it by another name.
    assert_ne!(name, ends.pid);
    office.node.cores.kill(ends.pid).unwrap();
    assert!(matches!(office.node.end(ends.pid), ProcessEnd::Killed));
    assert!(matches!(asked.recv_timeout(PATIENCE), Ok(Ask::Release(released)) if released == name));
    // Nobody waits for this any more.
    letterbox.devices_replied(slow, (name, 1, Reply::Done));

    let mut waits = office.client(&[clock.clone(), clock]);
    let Ok(Ask::Request { client: name, .. }) = asked.recv_timeout(PATIENCE) else {
        panic!("it was not asked");
    };
    letterbox.devices_replied(slow, (name, 2, Reply::Done));
    letterbox.devices_replied(slow, (name, 1, Reply::Number(9)));
    assert_eq!(waits.next(), Ok(Reply::Number(9)));
    assert!(matches!(asked.recv_timeout(PATIENCE), Ok(Ask::Request { sequence: 2, .. })));
    letterbox.end_devices(slow);
    assert_eq!(waits.next(), Err(Status::NoProcess));
    office.node.exits(waits.pid);
    assert!(matches!(asked.recv_timeout(PATIENCE), Ok(Ask::Release(_))));
    // Who comes too late is told the same.
    let mut late = office.client(&[encode_reply(&Reply::Done).unwrap()]);
    assert_eq!(late.next(), Err(Status::NoProcess));
    office.node.exits(late.pid);
}

#[test]
fn nobody_else_ends_it() {
    let mut office = Office::new(2, None);
    for _ in 0..3 {
        let harmer = office.start(HARMER);
        let end = office.node.end(harmer.pid);
        assert!(matches!(end, ProcessEnd::Failed(_)), "{end:?}");
        let mut client = office.client(&[message(&Request::ClockTime(ClockId::Realtime))]);
        assert!(matches!(client.next(), Ok(Reply::Number(_))));
        office.node.exits(client.pid);
    }
    let letterbox = office.node.cores.letterbox();
    assert!(letterbox.has(DEVICES));
    assert!(office.node.cores.freeze(DEVICES).is_err() && office.node.cores.kill(DEVICES).is_err());
    letterbox.end_devices(DEVICES);
    assert!(!letterbox.has(DEVICES));
}

#[test]
fn nobody_takes_its_pid() {
    let office = Office::new(1, None);
    let wasm = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    let options = LoadOptions { kind: CodeKind::Hot };
    let code = office.runtime.load(wasm.unwrap().into(), options).unwrap();
    let options = ProcessOptions {
        pid: DEVICES,
        args: Vec::new(),
        env: Vec::new(),
        devices: Box::new(Origin::new()),
        limits: Limits::default(),
        freeze_every: None,
    };
    let taker = Process::spawn(&code, options).unwrap();
    let refused = office.node.cores.run(taker).expect_err("it is taken");
    assert!(matches!(refused.refusal, Refusal::Duplicate), "{refused:?}");
    assert!(office.node.cores.letterbox().has(DEVICES));
}

#[test]
fn devices_of_a_name_are_whoever_has_it() {
    let mut office = Office::new(1, None);
    office.server = DeviceServer::Named(b"nobody".to_vec());
    let client = office.client(&[]);
    let end = office.node.end(client.pid);
    assert!(matches!(end, ProcessEnd::Exited(12)), "no name: {end:?}");
    let names = office.node.cores.letterbox();
    names.names().register(b"nobody", DEVICES).unwrap();
    let mut client = office.client(&[message(&Request::ClockResolution(ClockId::Realtime))]);
    assert!(matches!(client.next(), Ok(Reply::Number(_))));
    office.node.exits(client.pid);
}

#[test]
fn more_messages_than_are_heard_at_once() {
    let mut office = Office::new(2, None);
    let clock = vec![message(&Request::ClockTime(ClockId::Realtime)); 40];
    let mut clients: Vec<Client> = (0..50).map(|_| office.client(&clock)).collect();
    for client in &mut clients {
        for _ in 0..40 {
            assert!(matches!(client.next(), Ok(Reply::Number(_))));
        }
        office.node.exits(client.pid);
    }
}
