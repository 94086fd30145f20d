//! The benchmarks. Each takes the number of items, and answers how many there were.

use peripatos::{Error, Pid, Received, link, parent, receive, send, spawn, spawn_fn};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::services::{Colour, ServerClient};

/// Processes of the ring, and chameneos.
const MANY: u32 = 100;
/// Processes of `big`.
const BIG: u32 = 120;
const PHILOSOPHERS: u32 = 20;
/// Processes of `fork-join` that are there at a time.
const WINDOW: u64 = 500;

/// What a process of a benchmark is told.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Task {
    number: u32,
    of: u32,
    rounds: u64,
    server: Option<Pid>,
}

fn server() -> Result<ServerClient, Error> {
    Ok(ServerClient::new(spawn("savina_servers").start()?))
}

/// A process of the benchmark. If it fails, all do.
fn start(function: fn(Task), task: Task) -> Result<Pid, Error> {
    let pid = spawn_fn(function, &task)?;
    link(pid)?;
    Ok(pid)
}

/// What a process of a benchmark says in the end.
fn done(items: u64) {
    let parent = parent().expect("the benchmark");
    send(parent, &items.to_le_bytes(), &mut []).expect("the benchmark");
}

/// Waits until so many processes are done: the sum of what they say.
fn gather(processes: u64) -> Result<u64, Error> {
    let (mut sum, mut buffer) = (0, [0; 8]);
    for _ in 0..processes {
        let Received::Message(message) = receive(&mut buffer)? else { continue };
        sum += message.bytes.try_into().map_or(0, u64::from_le_bytes);
        message.reply(b"")?;
    }
    Ok(sum)
}

pub(crate) fn ping_pong(items: u64) -> Result<u64, Error> {
    let task = Task { number: 0, of: 1, rounds: items, server: None };
    let pong = start(echo, task)?;
    let mut reply = [0; 8];
    for number in 0..items {
        send(pong, &number.to_le_bytes(), &mut reply)?;
    }
    Ok(items)
}

fn echo(task: Task) {
    let mut buffer = [0; 8];
    for _ in 0..task.rounds {
        let Ok(Received::Message(message)) = receive(&mut buffer) else { return };
        let bytes = message.bytes.to_vec();
        message.caller.reply(&bytes).expect("somebody who waits");
    }
}

/// The token is the number of hops that are left. Whoever gets it lets its sender go, and hands it on.
pub(crate) fn thread_ring(items: u64) -> Result<u64, Error> {
    let task = |number, next| Task { number, of: MANY, rounds: items, server: next };
    let last = start(hand_on, task(MANY - 1, None))?;
    let mut first = last;
    for number in (0..MANY - 1).rev() {
        first = start(hand_on, task(number, Some(first)))?;
    }
    // The last one is told who the first is, which closes the ring.
    call(last, &first)?;
    call(first, &items)?;
    gather(1)
}

fn hand_on(task: Task) {
    let next: Pid = task.server.unwrap_or_else(take_in);
    loop {
        let hops_left: u64 = take_in();
        if hops_left == 0 {
            return done(task.rounds);
        }
        call(next, &(hops_left - 1)).expect("the next one");
    }
}

/// Sends a value.
fn call<T: Serialize>(to: Pid, value: &T) -> Result<(), Error> {
    peripatos::send_value(to, value, &mut []).map(drop)
}

/// Receives a value, and lets its sender go.
fn take_in<T: DeserializeOwned>() -> T {
    let mut buffer = [0; 32];
    let received = receive(&mut buffer).expect("a value");
    let message = received.message().expect("a value");
    let value = message.decode().expect("a value");
    message.reply(b"").expect("its sender");
    value
}

pub(crate) fn counting(items: u64) -> Result<u64, Error> {
    let server = server()?;
    for _ in 0..items {
        server.increment()?;
    }
    server.total()
}

/// Each process computes a little and says so; as many as fit into the window are there at a time.
pub(crate) fn fork_join(items: u64) -> Result<u64, Error> {
    let (mut begun, mut ended) = (0, 0);
    while ended < items {
        while begun < items && begun - ended < WINDOW {
            spawn_fn(compute, &Task { number: 0, of: 1, rounds: 1, server: None })?;
            begun += 1;
        }
        ended += gather(1)?;
    }
    Ok(ended)
}

fn compute(_: Task) {
    let sine = std::hint::black_box(37.2_f64).sin();
    let square = sine * sine;
    done(u64::from(square.is_finite()));
}

pub(crate) fn chameneos(items: u64) -> Result<u64, Error> {
    let mall = server()?;
    mall.open(items)?;
    for number in 0..MANY {
        let server = Some(mall.pid);
        start(walk_about, Task { number, of: MANY, rounds: 0, server })?;
    }
    // Two have counted each.
    Ok(gather(u64::from(MANY))? / 2)
}

fn walk_about(task: Task) {
    let mall = ServerClient::new(task.server.expect("the mall"));
    let mut colour = [Colour::Blue, Colour::Red, Colour::Yellow][task.number as usize % 3];
    let mut meetings = 0;
    while let Some(other) = mall.meet(colour).expect("the mall") {
        colour = colour.mixed(other);
        meetings += 1;
    }
    done(meetings);
}

/// Each process has a server that answers pings, for it waits for the replies to its own.
pub(crate) fn big(items: u64) -> Result<u64, Error> {
    let servers: Vec<Pid> =
        (0..BIG).map(|_| server().map(|server| server.pid)).collect::<Result<_, _>>()?;
    let rounds = items / u64::from(BIG);
    for number in 0..BIG {
        spawn_fn(ping_around, &(number, rounds, servers.clone()))?;
    }
    gather(u64::from(BIG))
}

fn ping_around((number, rounds, servers): (u32, u64, Vec<Pid>)) {
    // Knuth's linear congruential generator.
    let mut random = u64::from(number) + 1;
    for _ in 0..rounds {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let server = ServerClient::new(servers[(random >> 33) as usize % servers.len()]);
        assert_eq!(server.ping(number), Ok(number));
    }
    done(rounds);
}

pub(crate) fn philosophers(items: u64) -> Result<u64, Error> {
    let arbiter = server()?;
    let rounds = items / u64::from(PHILOSOPHERS);
    for number in 0..PHILOSOPHERS {
        let server = Some(arbiter.pid);
        start(dine, Task { number, of: PHILOSOPHERS, rounds, server })?;
    }
    gather(u64::from(PHILOSOPHERS))
}

fn dine(task: Task) {
    let arbiter = ServerClient::new(task.server.expect("the arbiter"));
    for _ in 0..task.rounds {
        arbiter.take(task.number, task.of).expect("the arbiter");
        arbiter.give(task.number, task.of).expect("the arbiter");
    }
    done(task.rounds);
}
