//! Ping sends a number to pong, a receive loop, which replies with the next one. An item is a round trip.

use std::time::Instant;

use peripatos::{Error, Pid, end, receive, send, spawn_fn};

use crate::Done;

fn pong(_: ()) {
    let mut buffer = [0; 8];
    loop {
        let Some(message) = receive(&mut buffer).expect("a message").message() else { continue };
        let number = message.bytes.try_into().map(u64::from_le_bytes).expect("a number");
        message.reply(&(number + 1).to_le_bytes()).expect("one who waits");
    }
}

fn ping(pong: Pid, number: u64) -> Result<u64, Error> {
    let mut reply = [0; 8];
    send(pong, &number.to_le_bytes(), &mut reply)?;
    Ok(u64::from_le_bytes(reply))
}

pub(crate) fn run(round_trips: u32) -> Result<Done, Error> {
    let pong = spawn_fn(pong, &())?;
    ping(pong, 0)?;
    let begun = Instant::now();
    let mut number = 0;
    for _ in 0..round_trips {
        number = ping(pong, number)?;
    }
    let done = Done::since(begun, number);
    assert_eq!(number, u64::from(round_trips), "a number was lost");
    end(pong)?;
    Ok(done)
}
