//! Servers that reply later: locks. Who wants one while somebody has it is kept, and gets the reply when it is free. One is
//! a receive loop, the other a handler.
//!
//! `peri run --local --with lock_handler.wasm later.wasm`

#[path = "interfaces/lock.rs"]
mod interface;

use std::collections::VecDeque;
use std::time::Duration;

use interface::{LockClient, LockRequest};
use peripatos::{Error, Pid, Received, Reply, spawn, spawn_fn};

const USERS: u32 = 20;

fn lock(_: ()) {
    let mut buffer = [0; 64];
    let (mut taken, mut times) = (false, 0);
    let mut waiting: VecDeque<Reply<()>> = VecDeque::new();
    while let Ok(received) = peripatos::receive(&mut buffer) {
        let Some(request) = received.message().and_then(LockRequest::of) else { continue };
        match request {
            LockRequest::Take { reply } if taken => waiting.push_back(reply),
            LockRequest::Take { reply } => {
                taken = true;
                let _ = reply.send(&());
            }
            LockRequest::Give { reply } => {
                times += 1;
                let _ = reply.send(&times);
                // One who waits no more is passed over.
                taken = std::iter::from_fn(|| waiting.pop_front())
                    .map(|reply| reply.send(&()))
                    .any(|sent| sent.is_ok());
            }
        }
    }
}

fn user(lock: LockClient) {
    lock.take().expect("the lock");
    std::thread::sleep(Duration::from_millis(1));
    let times = lock.give().expect("the lock");
    if times == USERS {
        let parent = peripatos::parent().expect("whoever made me");
        peripatos::send(parent, b"all have had it", &mut []).expect("a reply");
    }
}

fn try_out(lock: Pid) -> Result<(), Error> {
    for _ in 0..USERS {
        spawn_fn(user, &LockClient::new(lock))?;
    }
    let mut buffer = [0; 64];
    if let Received::Message(message) = peripatos::receive(&mut buffer)? {
        println!("{}", String::from_utf8_lossy(message.bytes));
        message.reply(b"")?;
    }
    Ok(())
}

#[peripatos::main]
fn main() -> Result<(), Error> {
    try_out(spawn_fn(lock, &())?)?;
    try_out(spawn("lock_handler").start()?)
}
