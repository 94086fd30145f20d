//! Processes that end, and those who are told. `peri run --local monitor.wasm`

use std::process::exit;

use peripatos::{End, Error, Pid, Received, end, link, monitor, notify, receive, spawn_fn};

/// Waits until it is notified, and exits.
fn exits(code: i32) {
    let _ = receive(&mut []);
    exit(code);
}

/// Spawns a child, links itself to that, and waits. Whoever ends, ends the other.
fn has_a_child(of: Pid) {
    let child = spawn_fn(exits, &1).expect("a child");
    link(child).expect("a child that is there");
    // The parent has to know both.
    peripatos::send(of, b"", &mut []).expect("a reply");
    let _ = notify(child, 1);
    let _ = receive(&mut []);
}

/// Waits until a process that is monitored ends.
fn await_end(of: Pid) -> Result<End, Error> {
    loop {
        match receive(&mut [])? {
            Received::Ended(ended) if ended.pid == of => return Ok(ended.end),
            Received::Message(message) => message.reply(b"")?,
            _ => {}
        }
    }
}

#[peripatos::main]
fn main() -> Result<(), Error> {
    for code in [0, 3] {
        let child = spawn_fn(exits, &code)?;
        monitor(child)?;
        notify(child, 1)?;
        println!("exits: {:?}", await_end(child)?);
    }
    let child = spawn_fn(exits, &0)?;
    monitor(child)?;
    end(child)?;
    println!("is ended: {:?}", await_end(child)?);
    monitor(child)?;
    println!("has ended long ago: {:?}", await_end(child)?);
    let child = spawn_fn(has_a_child, &Pid::own())?;
    monitor(child)?;
    println!("its child has ended: {:?}", await_end(child)?);
    Ok(())
}
