//! A network that loses, repeats and delays, and a process that moves: every request has its effect
//! once, and at most once if the process was told that its origin is silent.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use peripatos_abi::device::{
    Ahead, Devices, Reply, Request, decode_reply, decode_request, encode_reply, encode_request,
};
use peripatos_abi::{ClockId, Errno, Fd, FdFlags, LookupFlags, OpenFlags, Rights, Whence};
use peripatos_host::node::exchange::{Allowance, AtEnd, Exchange, RemoteDevices};

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

/// Whoever writes reads what it has written, and the files are in the end as if each write had waited, though it is told at once, and
/// moves come in between.
#[test]
fn what_is_written_behind_is_written_once_and_in_order() {
    let (mut asked, mut writes) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        writes += write_on(&mut world);
        asked += world.asked;
    }
    assert!(3 * asked < writes, "{asked} waits for {writes} writes: nothing is written behind");
}

/// How many writes there were.
fn write_on(world: &mut World) -> usize {
    let seed = world.seed;
    let rights = Rights::FD_READ.union(Rights::FD_WRITE).union(Rights::FD_SEEK);
    let rights = rights.union(Rights::FD_TELL);
    let names = ["one", "two"];
    let files = names.map(|name| {
        let Reply::Descriptor(fd) = world.ask(&create_with(name, rights, FdFlags::NONE)) else {
            panic!("seed {seed}")
        };
        fd
    });
    let mut contents = [Vec::<u8>::new(), Vec::new()];
    let (mut at, mut writes) = ([0; 2], 0);
    for _ in 0..400 {
        // A program works in between.
        for _ in 0..world.random.below(3) {
            world.step();
        }
        let which = usize::from(world.random.one_in(8));
        let (fd, content, at) = (files[which], &mut contents[which], &mut at[which]);
        match world.random.below(60) {
            0 => {
                let tell = world.ask(&Request::Tell(fd));
                assert_eq!(tell, Reply::Number(*at as u64), "seed {seed}");
            }
            1 => {
                *at = world.random.below(content.len() as u64 + 1) as usize;
                assert_eq!(world.ask(&seek_to(fd, *at)), Reply::Number(*at as u64), "seed {seed}");
            }
            2 => {
                let expected = &content[*at..content.len().min(*at + 100)];
                assert_eq!(world.ask(&read_of(fd, 100)), data(expected), "seed {seed}");
                *at += expected.len();
            }
            kind => {
                let len = 1 + world.random.below(if kind == 3 { 300_000 } else { 2_000 }) as usize;
                let data = vec![world.random.below(256) as u8; len];
                let offset = world.random.one_in(4).then(|| world.random.below(5_000) as usize);
                let begin = offset.unwrap_or(*at);
                content.resize(content.len().max(begin + len), 0);
                content[begin..begin + len].copy_from_slice(&data);
                if offset.is_none() {
                    *at += len;
                }
                let offset = offset.map(|offset| offset as u64);
                let reply = world.ask(&Request::Write { fd, data, offset });
                assert_eq!(reply, Reply::Number(len as u64), "seed {seed}");
                writes += 1;
            }
        }
    }
    world.ends();
    for (name, content) in names.iter().zip(&contents) {
        let file = std::fs::read(world.home.directory.path().join(name)).unwrap();
        assert!(file == *content, "seed {seed}: {name}");
    }
    writes
}

/// When the origin falls silent meanwhile, each write is done once or not at all, in order, and if one is missing that was told.
#[test]
fn what_is_written_behind_is_not_lost_in_silence() {
    let (mut missing, mut all) = (0, 0);
    for seed in 0..4 * SEEDS {
        let mut world = World::new(seed);
        match lines_through_silence(&mut world) {
            true => missing += 1,
            false => all += 1,
        }
    }
    assert!(missing > 20 && all > 20, "{missing} {all}");
}

/// Whether something is missing that it was told is written.
fn lines_through_silence(world: &mut World) -> bool {
    let seed = world.seed;
    let open = create_with("log", write_rights(), FdFlags::APPEND);
    let Reply::Descriptor(fd) = world.ask(&open) else { panic!("seed {seed}") };
    // What it wrote, what it was told of that, and before which line it was last told that something has failed.
    let (mut lines, mut told_before) = (Vec::new(), 0);
    for number in 0..200 {
        world.may_be_silent = number % 100 == 50;
        for _ in 0..world.random.below(3) {
            world.step();
        }
        if world.silent && world.random.one_in(3) {
            world.back();
        }
        let line = format!("line{number:03}\n").into_bytes();
        let write = Request::Write { fd, data: line.clone(), offset: None };
        let failed = matches!(world.ask(&write), Reply::Failed(_));
        lines.push((line, failed));
        let synced = world.random.one_in(30).then(|| world.ask(&Request::DataSync(fd)));
        if failed || synced == Some(Reply::Failed(Errno::Io)) {
            told_before = number + 1;
        }
    }
    world.may_be_silent = false;
    world.back();
    world.ends();
    let unwritten = world.home.origin.unwritten(PID).0;
    let file = std::fs::read(world.home.directory.path().join("log")).unwrap();
    let mut rest = file.as_slice();
    let mut missing = 0;
    for (number, (line, failed)) in lines.into_iter().enumerate() {
        match rest.strip_prefix(line.as_slice()) {
            Some(after) => rest = after,
            None if failed => {}
            None => missing = number + 1,
        }
    }
    assert_eq!(rest, b"", "seed {seed}: twice, or out of order");
    let told = missing <= told_before || !unwritten.is_empty();
    assert!(told, "seed {seed}: line {missing} is lost, and nobody is told");
    missing > 0
}

/// To write in a file, and to say where.
pub(crate) fn write_rights() -> Rights {
    Rights::FD_WRITE.union(Rights::FD_SEEK).union(Rights::FD_TELL)
}

pub(crate) fn create_with(path: &str, rights: Rights, fd_flags: FdFlags) -> Request {
    match create(path) {
        Request::Open { fd, lookup, path, flags, rights_inheriting, .. } => {
            Request::Open { fd, lookup, path, flags, rights, rights_inheriting, fd_flags }
        }
        other => other,
    }
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

    /// The process has ended, and its end waits for what it has written.
    fn ends(&mut self) {
        while self.exchange.at_end() == AtEnd::OnItsWay {
            self.step();
        }
        assert_eq!(self.exchange.at_end(), AtEnd::Nothing);
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
            self.exchange.stand_still();
            let (readings, used) = (self.exchange.readings(), self.exchange.used());
            let written = self.exchange.outstanding();
            self.exchange = connect(&self.network);
            self.exchange.continue_from(readings, used);
            self.exchange.continue_writing(written);
            if self.silent {
                self.exchange.origin_silent();
            }
            return self.exchange.go_on();
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
    exchange.write_behind(Allowance::default());
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
