//! A network that loses, repeats and delays, and a process that moves: every request has its effect
//! once, and at most once if the process was told that its origin is silent.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use peripatos_abi::device::{
    Ahead, Devices, Reply, Request, decode_reply, decode_request, encode_reply, encode_request,
};
use peripatos_abi::{ClockId, Errno, Fd, FdFlags, LookupFlags, OpenFlags, Rights, Whence};
use peripatos_host::node::exchange::{Exchange, RemoteDevices};

use super::support::{Home, PID, ROOT, create, data, read};

const SEEDS: u64 = 60;
/// Requests of each kind that a process makes.
const ROUNDS: usize = 20;

#[test]
fn every_request_has_its_effect_once() {
    let mut seen = Faults::default();
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        run(&mut world);
        seen.lost += world.faults.lost;
        seen.repeated += world.faults.repeated;
        seen.moves += world.faults.moves;
        seen.waits += world.faults.waits;
        seen.silences += world.faults.silences;
    }
    // The network did what it is here for.
    assert!(seen.lost > 100 && seen.repeated > 100, "{seen:?}");
    assert!(seen.moves > 100 && seen.waits > 100, "{seen:?}");
    assert!(seen.silences > 100, "{seen:?}");
}

fn run(world: &mut World) {
    let seed = world.seed;
    // A second try would find the file there.
    let reply = world.ask(&create("log"));
    let Reply::Descriptor(fd) = reply else { panic!("seed {seed}: {reply:?}") };
    let mut written = Vec::new();
    let mut last_ns = 0;
    for round in 0..ROUNDS {
        let line = format!("line{round:03}\n").into_bytes();
        world.line = Some(line.clone());
        assert_eq!(world.ask(&read(line.len() as u32)), data(&line), "seed {seed}");
        let wrote = Reply::Number(line.len() as u64);
        let write = Request::Write { fd, data: line.clone(), offset: None };
        let (reply, tries) = world.ask_through_silence(&write);
        assert_eq!(reply, wrote, "seed {seed}");
        written.push((line, tries));
        let (reply, _) = world.ask_through_silence(&Request::ClockTime(ClockId::Monotonic));
        let Reply::Number(now_ns) = reply else { panic!("seed {seed}: {reply:?}") };
        assert!(now_ns >= last_ns, "seed {seed}");
        last_ns = now_ns;
    }
    assert_eq!(world.ask(&Request::Tell(fd)), Reply::Failed(Errno::NotCapable), "seed {seed}");
    assert_eq!(world.ask(&Request::Close(fd)), Reply::Done, "seed {seed}");
    assert_eq!(world.ask(&Request::Close(fd)), Reply::Failed(Errno::BadF), "seed {seed}");
    let file = std::fs::read(world.home.directory.path().join("log")).unwrap();
    let mut rest = file.as_slice();
    for (line, tries) in written {
        let mut effects = 0;
        while let Some(after) = rest.strip_prefix(line.as_slice()) {
            (rest, effects) = (after, effects + 1);
        }
        assert!((1..=tries).contains(&effects), "seed {seed}: {effects} of {tries}");
    }
    assert_eq!(rest, b"", "seed {seed}");
}

/// Whoever reads on in a file reads what is in it, from where its descriptor stands, though more is sent than it asks for, and
/// moves and silences come in between; and what anybody has written it sees when it has asked anything else.
#[test]
fn who_reads_on_reads_the_file() {
    let (mut asked, mut reads) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        reads += read_on(&mut world);
        asked += world.asked;
    }
    assert!(asked < reads, "{asked} requests for {reads} reads: nothing is read ahead");
}

/// How many reads there were.
fn read_on(world: &mut World) -> usize {
    let seed = world.seed;
    let path = world.home.directory.path().join("log");
    let mut content: Vec<u8> = (0..150_000).map(|_| world.random.below(256) as u8).collect();
    std::fs::write(&path, &content).unwrap();
    let open = |rights| Request::Open {
        fd: ROOT,
        lookup: LookupFlags::NONE,
        path: "log".into(),
        flags: OpenFlags::NONE,
        rights,
        rights_inheriting: Rights::NONE,
        fd_flags: FdFlags::NONE,
    };
    let seeks = Rights::FD_READ.union(Rights::FD_SEEK).union(Rights::FD_TELL);
    let Reply::Descriptor(fd) = world.ask(&open(seeks)) else { panic!("seed {seed}") };
    let writes = Rights::FD_WRITE.union(Rights::FD_SEEK);
    let Reply::Descriptor(other) = world.ask(&open(writes)) else { panic!("seed {seed}") };
    let (mut at, mut reads) = (0, 0);
    for _ in 0..150 {
        match world.random.below(30) {
            0 => {
                let tell = world.ask(&Request::Tell(fd));
                assert_eq!(tell, Reply::Number(at as u64), "seed {seed}");
            }
            1 => {
                at = world.random.below(content.len() as u64 + 10) as usize;
                assert_eq!(world.ask(&seek_to(fd, at)), Reply::Number(at as u64), "seed {seed}");
            }
            2 => {
                // By itself; or by somebody else, and then it asks how it is.
                let to = world.random.below(content.len() as u64) as usize;
                let byte = world.random.below(256) as u8;
                content[to] = byte;
                if world.random.one_in(2) {
                    let offset = Some(to as u64);
                    let write = Request::Write { fd: other, data: vec![byte], offset };
                    assert_eq!(world.ask(&write), Reply::Number(1), "seed {seed}");
                } else {
                    std::fs::write(&path, &content).unwrap();
                    let tell = world.ask(&Request::Tell(fd));
                    assert_eq!(tell, Reply::Number(at as u64), "seed {seed}");
                }
            }
            3 => {
                // It does not know whether the read has had its effect, and says where it goes on.
                let reply = world.ask_once_through_silence(&read_of(fd, 100));
                if reply == Reply::Failed(Errno::Io) {
                    assert_eq!(
                        world.ask(&seek_to(fd, at)),
                        Reply::Number(at as u64),
                        "seed {seed}"
                    );
                } else {
                    at = (at + 100).min(content.len().max(at));
                }
            }
            _ => {
                let len = 1 + world.random.below(3_000) as usize;
                let end = (at + len).min(content.len().max(at));
                let expected = content.get(at..end).unwrap_or_default();
                reads += 1;
                assert_eq!(world.ask(&read_of(fd, len as u32)), data(expected), "seed {seed}");
                at = end;
            }
        }
    }
    reads
}

fn read_of(fd: Fd, len: u32) -> Request {
    Request::Read { fd, len, offset: None }
}

fn seek_to(fd: Fd, at: usize) -> Request {
    Request::Seek { fd, delta: at as i64, whence: Whence::Start }
}

#[derive(Debug, Default)]
struct Faults {
    lost: usize,
    repeated: usize,
    moves: usize,
    waits: usize,
    silences: usize,
}

/// On its way: to the origin or to the process, and the bytes.
type Packet = (bool, u64, Ahead, Vec<u8>);

struct World {
    seed: u64,
    random: Random,
    home: Home,
    exchange: Arc<Exchange>,
    network: Arc<Mutex<Vec<Packet>>>,
    sequence: u64,
    /// Requests for which it had to wait.
    asked: usize,
    /// What the user will type when the program waits for it.
    line: Option<Vec<u8>>,
    /// The service said that a request waits, and has not answered since.
    waits: bool,
    /// Whether the origin may fall silent, and whether it is.
    may_be_silent: bool,
    silent: bool,
    faults: Faults,
}

impl World {
    fn new(seed: u64) -> Self {
        let network = Arc::default();
        Self {
            seed,
            random: Random(seed),
            home: Home::new(),
            exchange: connect(&network),
            network,
            sequence: 0,
            asked: 0,
            line: None,
            waits: false,
            may_be_silent: false,
            silent: false,
            faults: Faults::default(),
        }
    }

    fn ask(&mut self, request: &Request) -> Reply {
        self.sequence += 1;
        self.asked += 1;
        let mut here = true;
        loop {
            let mut devices = RemoteDevices::new(Arc::clone(&self.exchange));
            let mut cx = Context::from_waker(Waker::noop());
            match devices.poll_request(&mut cx, PID, self.sequence, request) {
                Poll::Ready(reply) => {
                    self.asked -= usize::from(here);
                    return reply;
                }
                Poll::Pending => {
                    here = false;
                    self.step();
                }
            }
        }
    }

    /// The same of what can be asked again, while the origin may fall silent and be back. The reply, and how often it was asked.
    fn ask_through_silence(&mut self, request: &Request) -> (Reply, usize) {
        self.may_be_silent = true;
        let mut tries = 0;
        let reply = loop {
            tries += 1;
            match self.ask(request) {
                Reply::Failed(Errno::Io) => {
                    self.faults.silences += 1;
                    if self.random.one_in(2) {
                        self.back();
                    }
                }
                reply => break reply,
            }
        };
        self.may_be_silent = false;
        self.back();
        (reply, tries)
    }

    /// The same, once.
    fn ask_once_through_silence(&mut self, request: &Request) -> Reply {
        self.may_be_silent = true;
        let reply = self.ask(request);
        self.may_be_silent = false;
        self.back();
        reply
    }

    fn back(&mut self) {
        self.silent = false;
        self.exchange.origin_back();
        self.exchange.resend();
    }

    /// One thing happens.
    fn step(&mut self) {
        if self.random.one_in(20) {
            self.faults.moves += 1;
            let (readings, used) = (self.exchange.readings(), self.exchange.used());
            self.exchange = connect(&self.network);
            self.exchange.continue_from(readings, used);
            if self.silent {
                self.exchange.origin_silent();
            }
            return;
        }
        if self.may_be_silent && self.random.one_in(8) {
            self.silent = true;
            // What is on its way comes late.
            return self.exchange.origin_silent();
        }
        if self.random.one_in(10) {
            self.exchange.resend();
        }
        let Some((to_origin, sequence, ahead, bytes)) = self.pick() else { return self.quiet() };
        if to_origin {
            let request = decode_request(&bytes).unwrap();
            let reply = self.home.service.request_ahead(sequence, ahead, request);
            self.answer(reply);
            if self.waits
                && let Some(line) = self.line.take()
            {
                self.faults.waits += 1;
                self.home.input.write_all(&line).unwrap();
            }
        } else {
            self.exchange.deliver(sequence, decode_reply(&bytes).unwrap());
        }
    }

    /// Any packet that arrives now; most do, and some stay to arrive again.
    fn pick(&mut self) -> Option<Packet> {
        let mut network = self.network.lock().unwrap();
        while !network.is_empty() {
            let at = self.random.below(network.len() as u64) as usize;
            if self.random.one_in(4) {
                self.faults.lost += 1;
                network.swap_remove(at);
            } else if self.random.one_in(4) {
                self.faults.repeated += 1;
                return Some(network[at].clone());
            } else {
                return Some(network.swap_remove(at));
            }
        }
        None
    }

    /// Nothing is on its way.
    fn quiet(&mut self) {
        if !self.waits {
            return self.exchange.resend();
        }
        self.home.wait_ready();
        let reply = self.home.service.retry();
        self.answer(reply);
    }

    fn answer(&mut self, reply: Option<(u64, Reply)>) {
        let Some((sequence, reply)) = reply else {
            self.waits = true;
            return;
        };
        self.waits &= sequence != self.sequence;
        let bytes = encode_reply(&reply).unwrap();
        self.network.lock().unwrap().push((false, sequence, Ahead::default(), bytes));
    }
}

fn connect(network: &Arc<Mutex<Vec<Packet>>>) -> Arc<Exchange> {
    let network = Arc::clone(network);
    let exchange = Exchange::new(PID, move |_, sequence, ahead, request| {
        let bytes = encode_request(request).unwrap();
        network.lock().unwrap().push((true, sequence, ahead, bytes));
    });
    exchange.read_ahead();
    exchange
}

/// SplitMix64 (Steele, Lea, Flood 2014): any seed will do.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}
