//! A program on the demo's nodes, with the demo as its origin: started on the first, served from here wherever it goes.

use super::nodes::Nodes;
use crate::exit::{Code, Failure, Result};
use crate::{cluster, console, directories, pids};
use peripatos_abi::Pid;
use peripatos_cluster::message::End;
use peripatos_host::node::client;
use peripatos_host::node::protocol::{Start, Wasms};
use peripatos_host::origin::Services;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Instant;

/// How it ended.
pub(super) struct Ended {
    /// Which program, counted.
    pub(super) index: usize,
    /// How, and what it wrote.
    pub(super) end: Result<(End, Vec<u8>)>,
    pub(super) at: Instant,
}

/// Starts a program on the first node: what `start` says, for a process of that pid. Its end is told to `ended`.
pub(super) fn start(
    nodes: &Nodes,
    name: &'static str,
    index: usize,
    ended: Sender<Ended>,
    start: impl FnOnce(Pid) -> (Start, Wasms),
) -> Result<Pid> {
    let resources = |error| Failure::new(Code::Resources, name, error);
    let pid = pids::draw().map_err(resources)?;
    let (origin, mut console) = console::captured().map_err(resources)?;
    origin.open(pid, &[]).map_err(|error| directories::failure(&error))?;
    let (start, wasms) = start(pid);
    let client = nodes.client()?;
    let ready = client::notify();
    let notified = Arc::clone(&ready);
    let mut services = Services::new(origin, pid, move || notified.notify_one(), |_, _, _| {});
    let serving = move || {
        let served = client
            .start(start, &wasms)
            .and_then(|attached| attached.serve(&mut services, &ready, &client::notify()));
        let at = Instant::now();
        let end = served.map_err(|error| cluster::failure(name, &error)).and_then(|end| {
            let output = console.contents();
            Ok((end, output.map_err(|error| Failure::new(Code::Internal, name, error))?))
        });
        let _ = ended.send(Ended { index, end, at });
    };
    thread::Builder::new().name(name.into()).spawn(serving).map_err(resources)?;
    Ok(pid)
}
