//! A server that replies later: a lock. Who wants it while somebody has it is kept, and gets the reply when it is free.
//!
//! `peri run --local later.wasm`

use std::collections::VecDeque;
use std::time::Duration;

use peripatos::{Error, Received, Reply, spawn_fn};

/// Only one has it at a time.
#[peripatos::service]
trait Lock {
    fn take(&mut self);
    /// Gives it back: how many have had it.
    fn give(&mut self) -> u32;
}

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
                taken =
                    std::iter::from_fn(|| waiting.pop_front()).any(|reply| reply.send(&()).is_ok());
            }
        }
    }
}

fn user(lock: LockClient) {
    lock.take().expect("the lock");
    std::thread::sleep(Duration::from_millis(1));
    let times = lock.give().expect("the lock");
    if times == 20 {
        let parent = peripatos::parent().expect("whoever made me");
        peripatos::send(parent, b"all have had it", &mut []).expect("a reply");
    }
}

#[peripatos::main]
fn main() -> Result<(), Error> {
    let lock = LockClient::new(spawn_fn(lock, &())?);
    for _ in 0..20 {
        spawn_fn(user, &lock)?;
    }
    let mut buffer = [0; 64];
    if let Received::Message(message) = peripatos::receive(&mut buffer)? {
        println!("{}", String::from_utf8_lossy(message.bytes));
        message.reply(b"")?;
    }
    Ok(())
}
