//! `peri call`: a message to a process, and its reply.

use crate::cluster::{At, failure};
use crate::exit::{Code, End, Failure, Result};
use std::ffi::OsString;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

/// Sends a message to the process of a name, on any node, and prints the reply.
#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    #[command(flatten)]
    at: At,
    /// How long to wait for the reply, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// The name that the process has given itself
    name: String,
    /// The message; else what is on standard input
    message: Option<OsString>,
}

pub(crate) fn run(options: &Call) -> Result<End> {
    let message = match &options.message {
        Some(message) => message.as_bytes().to_vec(),
        None => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes);
            read.map_err(|error| Failure::new(Code::Unreadable, "standard input", error))?;
            bytes
        }
    };
    let mut client = options.at.connect()?;
    let timeout = Duration::from_secs(options.timeout);
    let mut reply = client
        .call(&options.name, message, timeout)
        .map_err(|error| failure(&options.name, &error))?;
    // A line for people; the very bytes for programs.
    if std::io::stdout().is_terminal() && !reply.ends_with(b"\n") {
        reply.push(b'\n');
    }
    let written = std::io::stdout().write_all(&reply);
    written.map_err(|error| Failure::new(Code::Storage, "standard output", error))?;
    Ok(End::SUCCESS)
}
