//! Processes with names, found and listed by others. `peri run --local names.wasm`

use peripatos::{Error, Pid, Received, lookup, names, parent, register, spawn_fn, unregister};

/// Takes a name, says so, and keeps it until it is told to give it up.
fn named(name: String) {
    register(&name).expect("a free name");
    let mut buffer = [0; 16];
    let parent = parent().expect("whoever made me");
    peripatos::send(parent, b"registered", &mut []).expect("a reply");
    if let Ok(Received::Message(message)) = peripatos::receive(&mut buffer) {
        unregister(&name).expect("my own name");
        message.reply(b"").expect("somebody who waits");
    }
}

fn start(name: &str) -> Result<Pid, Error> {
    let pid = spawn_fn(named, &name.to_owned())?;
    let mut buffer = [0; 16];
    if let Some(message) = peripatos::receive_from(pid, &mut buffer)?.message() {
        message.reply(b"")?;
    }
    Ok(pid)
}

#[peripatos::main]
fn main() -> Result<(), Error> {
    let plato = start("greek/plato")?;
    start("greek/aristotle")?;
    start("roman/seneca")?;
    assert_eq!(lookup("greek/plato")?, plato);
    assert_eq!(register("greek/plato"), Err(Error::NameTaken));
    let greeks = || names("greek/").map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    println!("greeks: {}", greeks());
    peripatos::send(plato, b"leave", &mut [])?;
    println!("greeks: {}", greeks());
    assert_eq!(lookup("greek/plato"), Err(Error::NoName));
    Ok(())
}
