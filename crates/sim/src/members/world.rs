//! A run, datagram by datagram.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use peripatos_cluster::limits::SEAL_BYTES;
use peripatos_cluster::membership::{Member, Membership, Output};
use peripatos_cluster::{Incarnation, NodeId, Time};

use super::Config;
use crate::random::Random;

/// Headers of IPv4 and UDP.
const HEADER_BYTES: u64 = 20 + 8;
/// How long a datagram is on its way, in nanoseconds.
const LATENCY: std::ops::Range<u64> = 100_000..500_000;
/// Datagrams that wait for a member that stands still; as many as the socket buffers of Linux have room for, about.
const WAITING_MAX: usize = 200;
const PORT: u16 = 7_000;

/// All members, and what is on its way between them.
pub struct World {
    config: Config,
    random: Random,
    now: Duration,
    places: Vec<Place>,
    queue: BinaryHeap<Reverse<Due>>,
    queued: u64,
    /// Sent so far, with all headers.
    bytes: u64,
    /// Deaths that members were told of and that had not happened: who, under which number of rejoins.
    false_deaths: BTreeSet<(usize, u32)>,
    /// How often one that was thought dead has said that it lives.
    rejoins: usize,
    /// What is being waited for, and who has not been told.
    watched: Option<Watched>,
}

struct Place {
    membership: Membership,
    state: State,
    /// Which side of a partition it is on.
    side: u8,
    /// When it wants to be told the time.
    wakes_at: Duration,
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    StandsStill,
    Dead,
}

/// A piece of news: that somebody is up, or down.
struct Watched {
    about: usize,
    up: bool,
    untold: BTreeSet<usize>,
    first: Option<Duration>,
}

/// Ordered by time, and then by its number.
struct Due {
    at: Duration,
    number: u64,
    what: What,
}

enum What {
    Wake(usize),
    Datagram { from: usize, to: usize, bytes: Vec<u8> },
}

impl World {
    /// Members that know each other, at any moment of their periods.
    #[must_use]
    pub fn new(config: Config) -> World {
        let mut world = World {
            config,
            random: Random::new(config.seed),
            now: Duration::ZERO,
            places: Vec::new(),
            queue: BinaryHeap::new(),
            queued: 0,
            bytes: 0,
            false_deaths: BTreeSet::new(),
            rejoins: 0,
            watched: None,
        };
        let all: Vec<Member> = (0..config.members).map(|index| world.add(index)).collect();
        let period = config.timing.probe_every.as_nanos() as u64;
        for index in 0..config.members {
            let others = all.iter().enumerate().filter(|(other, _)| *other != index);
            let others = others.map(|(_, member)| member.clone());
            let mut out = Vec::new();
            // As if it had begun a part of a period ago.
            let begun = Time(Duration::from_nanos(world.random.within(0..period)));
            world.places[index].membership.learn(begun, others, &mut out);
            world.act(index, out);
        }
        world
    }

    fn add(&mut self, index: usize) -> Member {
        let own = member(index, self.random.next());
        let (timing, seed) = (self.config.timing, self.random.next());
        let membership = Membership::new(own.clone(), timing, Time(self.now), seed);
        self.places.push(Place {
            membership,
            state: State::Runs,
            side: 0,
            wakes_at: Duration::MAX,
            waiting: VecDeque::new(),
        });
        own
    }

    /// How many there have ever been.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there has never been any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes that all have sent, with all headers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Deaths of which some were told and that had not happened.
    #[must_use]
    pub fn false_deaths(&self) -> usize {
        self.false_deaths.len()
    }

    /// How often members were thought dead and came back.
    #[must_use]
    pub fn rejoins(&self) -> usize {
        self.rejoins
    }

    /// Whether each that runs counts exactly those as alive that run and are on its side.
    #[must_use]
    pub fn agrees(&self) -> bool {
        let running: Vec<usize> =
            (0..self.len()).filter(|index| self.places[*index].state == State::Runs).collect();
        running.iter().all(|index| {
            let place = &self.places[*index];
            let known: BTreeSet<usize> = place.membership.alive().map(index_of).collect();
            let there = running.iter().copied();
            let there =
                there.filter(|other| other != index && self.places[*other].side == place.side);
            known == there.collect::<BTreeSet<_>>()
        })
    }

    /// Time passes.
    pub fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        while self.step(until) {}
        self.now = until;
    }

    /// Time passes until this is so, looked at each millisecond. How long it took; `None`: longer than that.
    pub fn run_until(&mut self, span: Duration, so: impl Fn(&World) -> bool) -> Option<Duration> {
        let begun = self.now;
        while !so(self) {
            if self.now - begun > span {
                return None;
            }
            self.run_for(Duration::from_millis(1));
        }
        Some(self.now - begun)
    }

    /// A new member announces itself to one that runs, and is told by it who is there. Which one it is.
    pub fn join(&mut self) -> usize {
        let via = self.any_running();
        let roster: Vec<Member> = self.places[via].membership.alive().cloned().collect();
        let host = self.places[via].membership.own().clone();
        let index = self.places.len();
        self.add(index);
        let (now, mut out) = (Time(self.now), Vec::new());
        let membership = &mut self.places[index].membership;
        membership.learn(now, roster.into_iter(), &mut out);
        membership.linked(now, host, &mut out);
        self.act(index, out);
        index
    }

    /// One of those that run.
    pub fn any_running(&mut self) -> usize {
        loop {
            let index = self.random.below(self.places.len());
            if self.places[index].state == State::Runs {
                return index;
            }
        }
    }

    /// It stops, without a word.
    pub fn kill(&mut self, index: usize) {
        self.places[index].state = State::Dead;
    }

    /// It ends, and says so.
    pub fn leave(&mut self, index: usize) {
        let mut out = Vec::new();
        self.places[index].membership.leave(Time(self.now), &mut out);
        self.act(index, out);
        self.kill(index);
    }

    /// It stands still; what comes for it waits, as far as there is room.
    pub fn pause(&mut self, index: usize) {
        self.places[index].state = State::StandsStill;
    }

    /// It goes on.
    pub fn resume(&mut self, index: usize) {
        self.places[index].state = State::Runs;
        // Timers first: a host may look at either first, and this is the harder way.
        self.wake(index);
        for (from, bytes) in std::mem::take(&mut self.places[index].waiting) {
            self.deliver(index, from, &bytes);
        }
    }

    /// From now on nothing comes from one side to the other one. All on the same side: it is over.
    pub fn part(&mut self, side: impl Fn(usize) -> u8) {
        for (index, place) in self.places.iter_mut().enumerate() {
            place.side = side(index);
        }
    }

    /// From now on it is noted who is told that this one is up, or down.
    pub fn watch(&mut self, about: usize, up: bool) {
        let others = (0..self.len()).filter(|other| *other != about);
        let untold = others.filter(|other| self.places[*other].state == State::Runs);
        self.watched = Some(Watched { about, up, untold: untold.collect(), first: None });
    }

    /// When the first was told.
    #[must_use]
    pub fn first_told(&self) -> Option<Duration> {
        self.watched.as_ref()?.first
    }

    /// How many have not been.
    #[must_use]
    pub fn untold(&self) -> usize {
        self.watched.as_ref().map_or(0, |watched| watched.untold.len())
    }

    /// How much time has passed.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    fn step(&mut self, until: Duration) -> bool {
        if self.queue.peek().is_none_or(|Reverse(due)| due.at > until) {
            return false;
        }
        let Some(Reverse(due)) = self.queue.pop() else { return false };
        self.now = due.at;
        match due.what {
            What::Wake(index) => {
                let place = &mut self.places[index];
                if place.wakes_at == due.at && place.state == State::Runs {
                    self.wake(index);
                }
            }
            What::Datagram { from, to, bytes } => {
                let from = address(from);
                match self.places[to].state {
                    State::Runs => self.deliver(to, from, &bytes),
                    State::StandsStill if self.places[to].waiting.len() < WAITING_MAX => {
                        self.places[to].waiting.push_back((from, bytes));
                    }
                    State::StandsStill | State::Dead => {}
                }
            }
        }
        true
    }

    fn wake(&mut self, index: usize) {
        let mut out = Vec::new();
        self.places[index].membership.handle(Time(self.now), &mut out);
        self.act(index, out);
    }

    fn deliver(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        let mut out = Vec::new();
        let taken = self.places[to].membership.datagram(Time(self.now), from, bytes, &mut out);
        assert!(taken.is_ok(), "what a member sends another one understands: {taken:?}");
        self.act(to, out);
    }

    /// Does what a member wants done, and sees to its next deadline.
    fn act(&mut self, index: usize, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send { to, bytes } => self.send(index, to, bytes),
                Output::Up { member, .. } => self.told(index, index_of(&member), true),
                Output::Down(member) => {
                    let about = index_of(&member);
                    let (own, other) = (&self.places[index], &self.places[about]);
                    if other.state == State::Runs && own.side == other.side {
                        self.false_deaths.insert((about, member.rejoins()));
                    }
                    self.told(index, about, false);
                }
                Output::Rejoined => self.rejoins += 1,
            }
        }
        let place = &mut self.places[index];
        let next = place.membership.next_deadline().0.max(self.now);
        // While it sleeps until then nothing else needs be queued; what was queued for another moment is passed over.
        if next != place.wakes_at || next == self.now {
            place.wakes_at = next;
            self.queue(next, What::Wake(index));
        }
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        self.bytes += (bytes.len() + SEAL_BYTES) as u64 + HEADER_BYTES;
        let to = index_at(to);
        let cut = self.places[from].side != self.places[to].side;
        let latency = Duration::from_nanos(self.random.within(LATENCY));
        if !self.random.permille(self.config.loss) && !cut {
            self.queue(self.now + latency, What::Datagram { from, to, bytes });
        }
    }

    fn queue(&mut self, at: Duration, what: What) {
        self.queued += 1;
        self.queue.push(Reverse(Due { at, number: self.queued, what }));
    }

    fn told(&mut self, who: usize, about: usize, up: bool) {
        let now = self.now;
        let watched = self.watched.as_mut();
        if let Some(watched) = watched.filter(|one| (one.about, one.up) == (about, up)) {
            watched.untold.remove(&who);
            watched.first.get_or_insert(now);
        }
    }
}

fn member(index: usize, incarnation: u64) -> Member {
    let (node, name) = (NodeId(index as u128), format!("node-{index}"));
    let member = Member::new(node, Incarnation(incarnation), address(index), &name);
    member.expect("a good name, and an address of one node")
}

fn index_of(member: &Member) -> usize {
    member.node().0 as usize
}

/// 10.0.0.0/8 has room for all.
fn address(index: usize) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(10 << 24 | (index as u32 + 1));
    SocketAddr::new(IpAddr::V4(ip), PORT)
}

fn index_at(address: SocketAddr) -> usize {
    match address.ip() {
        IpAddr::V4(ip) => (ip.to_bits() & 0xff_ffff) as usize - 1,
        IpAddr::V6(_) => panic!("only addresses of version 4 are given out"),
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}
