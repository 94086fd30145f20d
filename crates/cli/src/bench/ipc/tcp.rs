//! Plain TCP: what two OS processes need to say 32 bytes to each other and hear as many, without anything in between.
//!
//! They are pinned to two CPUs as two nodes of one core are, and wait in the system, as a program in C would.

use super::SHORT;
use crate::cpus;
use crate::exit::{Code, Failure, Result};
use std::fmt::Display;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Nanoseconds a round trip, of each batch.
pub(super) fn round_trips(batches: usize, calls: usize) -> Result<Vec<f64>> {
    let failed = |error: &dyn Display| Failure::new(Code::Internal, "tcp", error);
    let mut command = Command::new(std::env::current_exe().map_err(|error| failed(&error))?);
    command.args(["bench", "tcp-echo"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let mut address = String::new();
    let said = child.stdout.take().map(|said| BufReader::new(said).read_line(&mut address));
    let cpu = cpus::two().first().copied();
    let times = match said {
        Some(Ok(_)) => cpus::on(cpu, || ask(address.trim(), batches, calls)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    };
    // It ends with the connection; if there was none, it is ended.
    let _ = child.kill();
    let _ = child.wait();
    times.map_err(|error| failed(&error))
}

fn ask(address: &str, batches: usize, calls: usize) -> io::Result<Vec<f64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut message = [7; SHORT];
    let mut batch = || {
        let started = Instant::now();
        for _ in 0..calls {
            stream.write_all(&message)?;
            stream.read_exact(&mut message)?;
        }
        Ok(started.elapsed().as_nanos() as f64 / calls as f64)
    };
    (0..batches).map(|_| batch()).collect()
}

/// The other one: answers one connection until it is closed.
pub(crate) fn echo() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    cpus::on(cpus::two().get(1).copied(), || {
        let mut message = [0; SHORT];
        while stream.read_exact(&mut message).is_ok() {
            stream.write_all(&message)?;
        }
        Ok(())
    })
}
