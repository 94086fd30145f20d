//! The compile thread: makes continuations for processes that run.
//!
//! One thread a runtime; it ends when the runtime and all its programs are gone.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::Code;

/// Asks for the continuation of one site of a program.
pub(crate) struct Job {
    pub(crate) code: Code,
    pub(crate) site: u32,
}

/// Starts the thread; it serves what is sent here.
pub(crate) fn start() -> io::Result<Sender<Job>> {
    let (sender, receiver) = channel();
    thread::Builder::new().name("compile".to_owned()).spawn(move || serve(&receiver))?;
    Ok(sender)
}

fn serve(jobs: &Receiver<Job>) {
    for Job { code, site } in jobs {
        if let Err(message) = code.make(&[site]) {
            code.continuations().fail(site, message);
        }
    }
}
