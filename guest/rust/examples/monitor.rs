//! Processes that end, and those who are told. `peri run --local monitor.wasm`

use std::process::exit;

use peripatos::{Error, Pid, Received, end, link, monitor, receive, spawn_fn};

fn exits(code: i32) {
    exit(code);
}

fn waits_for_ever(_: ()) {
    let _ = receive(&mut []);
}

/// Spawns a child that it is linked with, tells who that is, and exits: the child ends with it.
fn exits_and_is_linked(parent: Pid) {
    let child = spawn_fn(waits_for_ever, &()).expect("a child");
    link(child).expect("a child that is there");
    peripatos::send(parent, &[], &mut []).expect("a reply");
    exit(1);
}

/// Waits until this process has ended: how.
fn await_end(of: Pid) -> Result<String, Error> {
    monitor(of)?;
    loop {
        match peripatos::receive(&mut [])? {
            Received::Ended(ended) if ended.pid == of => return Ok(format!("{:?}", ended.end)),
            Received::Message(message) => message.reply(b"")?,
            _ => {}
        }
    }
}

#[peripatos::main]
fn main() -> Result<(), Error> {
    println!("exits well: {}", await_end(spawn_fn(exits, &0)?)?);
    println!("exits: {}", await_end(spawn_fn(exits, &3)?)?);
    let waiting = spawn_fn(waits_for_ever, &())?;
    end(waiting)?;
    println!("is ended: {}", await_end(waiting)?);
    println!("has ended long ago: {}", await_end(waiting)?);
    println!("linked: {}", await_end(spawn_fn(exits_and_is_linked, &Pid::own())?)?);
    Ok(())
}
