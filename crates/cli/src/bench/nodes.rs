//! Nodes of this machine, and programs on them.

use super::scratch::Scratch;
use crate::cluster::failure;
use crate::console::{self, Console};
use crate::exit::{Code, Failure, Result};
use crate::guests::Guest;
use crate::private_nodes::{self, Join};
use crate::{directories, pids};
use peripatos_cluster::NodeId;
use peripatos_cluster::message::{End, ProcessRow, RowOfNode};
use peripatos_host::node::protocol::Start;
use peripatos_host::node::{ClientError, NodeClient, client};
use peripatos_host::origin::{Preopen, Services};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Display;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two looks at something that is waited for.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What takes longer does not come.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The nodes. Dropped, they are ended and what they left on disk is removed.
pub(super) struct Nodes {
    living: Vec<(String, Child)>,
    /// How all but the first one join.
    join: Option<Join>,
    /// Nothing moves by itself.
    still: bool,
    scratch: Scratch,
}

impl Nodes {
    /// None yet.
    pub(super) fn new() -> Result<Nodes> {
        Nodes::with(false)
    }

    /// None yet, of which nothing moves by itself to another: where moves are made by hand, or places are measured.
    pub(super) fn still() -> Result<Nodes> {
        Nodes::with(true)
    }

    fn with(still: bool) -> Result<Nodes> {
        Ok(Nodes { living: Vec::new(), join: None, still, scratch: Scratch::new()? })
    }

    /// Starts a node. It is up when this returns.
    pub(super) fn start(&mut self, name: &str) -> Result<()> {
        let failed = |error: &dyn Display| Failure::new(Code::NoNode, name, error);
        let command = private_nodes::command(name, &self.scratch.path, self.join.as_ref());
        let mut command = command.map_err(|error| failed(&error))?;
        command.env("PERI_CACHE_DIR", self.scratch.path.join("cache")).stderr(Stdio::null());
        if self.still {
            command.arg("--no-balance");
        }
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let said = child.stdout.take();
        self.living.push((name.to_owned(), child));
        let join = private_nodes::until_up(said);
        let join = join.ok_or_else(|| failed(&"it did not come up"))?;
        // A node may end and come again: the first one stays.
        self.join.get_or_insert(join);
        Ok(())
    }

    /// Ends a node; what runs there moves away first.
    pub(super) fn end(&mut self, name: &str) -> Result<()> {
        self.client(name)?.down(false).map_err(|error| failure(name, &error))?;
        let ended = self.living.iter().position(|(living, _)| living == name);
        if let Some(at) = ended {
            let (_, mut child) = self.living.remove(at);
            child.wait().map_err(|error| Failure::new(Code::NoNode, name, error))?;
        }
        Ok(())
    }

    /// Where the nodes keep what they keep; it is removed with them.
    pub(super) fn directory(&self) -> &Path {
        &self.scratch.path
    }

    /// The number of a node's OS process.
    pub(super) fn os_process(&self, name: &str) -> Result<u32> {
        let living = self.living.iter().find(|(living, _)| living == name);
        let living = living.map(|(_, child)| child.id());
        living.ok_or_else(|| Failure::new(Code::NoNode, name, "it does not run"))
    }

    /// Stops a node's OS process: it is silent from now on, and its connections stand.
    pub(super) fn stop(&mut self, name: &str) -> Result<()> {
        let living = self.living.iter().find(|(living, _)| living == name);
        let id = living.and_then(|(_, child)| Pid::from_raw(child.id().cast_signed()));
        let id = id.ok_or_else(|| Failure::new(Code::NoNode, name, "it does not run"))?;
        kill_process(id, Signal::STOP).map_err(|error| Failure::new(Code::NoNode, name, error))
    }

    /// Kills a node.
    pub(super) fn kill(&mut self, name: &str) -> Result<()> {
        let Some(at) = self.living.iter().position(|(living, _)| living == name) else {
            return Ok(());
        };
        let (_, mut child) = self.living.remove(at);
        let killed = child.kill().and_then(|()| child.wait());
        killed.map(drop).map_err(|error| Failure::new(Code::NoNode, name, error))
    }

    /// A connection to a node.
    pub(super) fn client(&self, name: &str) -> Result<NodeClient> {
        private_nodes::client(name, &self.scratch.path)
    }

    /// Starts a program on a node.
    pub(super) fn run(&self, name: &str, guest: &Guest, args: &[&str]) -> Result<Running> {
        self.run_with(name, guest, args, &[])
    }

    /// The same, with directories.
    pub(super) fn run_with(
        &self,
        name: &str,
        guest: &Guest,
        args: &[&str],
        preopens: &[Preopen],
    ) -> Result<Running> {
        let client = self.client(name)?;
        let pid =
            pids::draw().map_err(|error| Failure::new(Code::Resources, "random numbers", error))?;
        let (origin, console) =
            console::captured().map_err(|error| Failure::new(Code::Resources, "console", error))?;
        origin.open(pid, preopens).map_err(|error| directories::failure(&error))?;
        let args = [guest.name].iter().chain(args).map(|arg| arg.as_bytes().to_vec()).collect();
        let (start, wasms) = Start::of(pid, guest.wasm, args);
        let (ready, kill) = (client::notify(), client::notify());
        let (notified, killed) = (Arc::clone(&ready), Arc::clone(&kill));
        let mut services = Services::new(origin, pid, move || notified.notify_one(), |_, _, _| {});
        let (tell, started) = mpsc::channel();
        let serving = thread::spawn(move || {
            let attached = client.start(start, &wasms)?;
            let _ = tell.send(());
            let end = attached.serve(&mut services, &ready, &killed)?;
            Ok((end, Instant::now()))
        });
        let kill = Box::new(move || kill.notify_one());
        let running = Running { pid, kill, serving, console };
        // The sender is dropped if it could not be started.
        if started.recv().is_err() {
            end(running.serving)?;
            return Err(Failure::new(Code::Internal, guest.name, "it was not started"));
        }
        Ok(running)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for (_, child) in &mut self.living {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A program on a node, with this command as its origin.
pub(super) struct Running {
    pub(super) pid: peripatos_abi::Pid,
    kill: Box<dyn Fn() + Send>,
    serving: Serving,
    console: Console,
}

type Serving = JoinHandle<std::result::Result<(End, Instant), ClientError>>;

impl Running {
    /// Bytes that it has written to its standard output and error.
    pub(super) fn written(&mut self) -> Result<u64> {
        let failed = |error| Failure::new(Code::Internal, "bench", error);
        self.console.written().map_err(failed)
    }

    /// Ends it.
    pub(super) fn kill(self) -> Result<()> {
        (self.kill)();
        end(self.serving).map(drop)
    }

    /// Waits for its end: when that was, and what it wrote. Errors: it ended in any other way than by exiting with 0.
    pub(super) fn finish(self) -> Result<(Instant, Vec<u8>)> {
        let failed = |error: &dyn Display| Failure::new(Code::Internal, "bench", error);
        let Running { serving, mut console, .. } = self;
        match end(serving)? {
            (End::Exited(0), at) => Ok((at, console.contents().map_err(|error| failed(&error))?)),
            (other, _) => Err(failed(&format!("a program ended unexpectedly: {other:?}"))),
        }
    }
}

fn end(serving: Serving) -> Result<(End, Instant)> {
    let ended = serving.join();
    let ended = ended.map_err(|_| Failure::new(Code::Internal, "bench", "a thread panicked"))?;
    ended.map_err(|error| failure("bench", &error))
}

/// Waits for something that is looked at again and again.
pub(super) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > WAIT_MAX {
            let cause = format!("{what} did not happen within {} s", WAIT_MAX.as_secs());
            return Err(Failure::new(Code::Internal, "bench", cause));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// The processes of all nodes.
pub(super) fn processes(client: &mut NodeClient) -> Result<Vec<ProcessRow>> {
    let listing = client.processes().map_err(|error| failure("ps", &error))?;
    Ok(listing.processes)
}

/// The node of this name.
pub(super) fn id(client: &mut NodeClient, name: &str) -> Result<NodeId> {
    wait_for("a link between the nodes", || {
        let nodes = client.nodes().map_err(|error| failure("nodes", &error))?;
        let found = nodes.into_iter().find(|one: &RowOfNode| one.name == name && one.reachable);
        Ok(found.map(|one| one.node))
    })
}
