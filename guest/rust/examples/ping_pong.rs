//! Two processes and bytes between them. `peri run --local ping_pong.wasm [ROUNDS]`

use std::time::Instant;

use peripatos::{Error, Pid, Received, spawn_fn};

/// Replies with the next number, to whoever sends one.
fn pong(_: ()) {
    let mut buffer = [0; 8];
    while let Ok(Received::Message(message)) = peripatos::receive(&mut buffer) {
        let Ok(bytes) = message.bytes.try_into() else { return };
        let next = u64::from_le_bytes(bytes) + 1;
        if message.reply(&next.to_le_bytes()).is_err() {
            return;
        }
    }
}

fn ping(pong: Pid, number: u64) -> Result<u64, Error> {
    let mut reply = [0; 8];
    peripatos::send(pong, &number.to_le_bytes(), &mut reply)?;
    Ok(u64::from_le_bytes(reply))
}

#[peripatos::main]
fn main() -> Result<(), Error> {
    let rounds: u32 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    let pong = spawn_fn(pong, &())?;
    let begun = Instant::now();
    let mut number = 0;
    for _ in 0..rounds {
        number = ping(pong, number)?;
    }
    println!("{number} round trips");
    eprintln!("{} ns each", begun.elapsed().as_nanos() / u128::from(rounds));
    Ok(())
}
