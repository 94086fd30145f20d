//! The example of the README. `peri run --local hello.wasm`

use peripatos::{Error, Pid, parent, receive_from, send, spawn_fn};

fn child(name: String) {
    let parent = parent().expect("whoever made me");
    send(parent, format!("{name} is here").as_bytes(), &mut []).expect("a reply");
}

#[peripatos::main] // for spawn_fn
fn main() -> Result<(), Error> {
    let pid: Pid = spawn_fn(child, &"Theophrastus".to_owned())?;
    let mut buffer = [0; 64];
    if let Some(message) = receive_from(pid, &mut buffer)?.message() {
        println!("{}", String::from_utf8_lossy(message.bytes));
        message.reply(b"")?; // its sender goes on
    }
    Ok(())
}
