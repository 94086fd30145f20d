//! A megabyte that a server reads and writes where its client has it. `peri run --local lease.wasm`

use peripatos::{Error, Received, receive, send_lending_mut, spawn_fn};

/// Turns what it is lent back to front, a part at a time, and replies with the sum of all bytes.
fn turn(_: ()) {
    let (mut message, mut part) = ([0; 8], [0; 4096]);
    while let Ok(Received::Message(request)) = receive(&mut message) {
        let sum = turn_all(&request.caller, &mut part).expect("a lease");
        request.reply(&sum.to_le_bytes()).expect("somebody who waits");
    }
}

fn turn_all(of: &peripatos::Caller, part: &mut [u8]) -> Result<u64, Error> {
    let (length, mut sum) = (of.lent()?, 0);
    let mut all = Vec::with_capacity(length);
    while all.len() < length {
        let read = of.read_lease(all.len(), part)?;
        sum += part[..read].iter().map(|byte| u64::from(*byte)).sum::<u64>();
        all.extend_from_slice(&part[..read]);
    }
    all.reverse();
    of.write_lease(0, &all)?;
    Ok(sum)
}

#[peripatos::main]
fn main() -> Result<(), Error> {
    let server = spawn_fn(turn, &())?;
    let mut data: Vec<u8> = (0..1_u32 << 20).map(|index| (index / 4096) as u8).collect();
    let mut reply = [0; 8];
    send_lending_mut(server, b"turn", &mut data, &mut reply)?;
    println!("sum {}, first {}, last {}", u64::from_le_bytes(reply), data[0], data[data.len() - 1]);
    Ok(())
}
