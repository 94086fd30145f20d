//! The demo's two nodes, each on a CPU of its own where there are two.
//!
//! However the demo ends, they end: when [`Nodes`] is dropped, before a signal ends the demo, or by the operating
//! system's word that it is gone.

use crate::cluster;
use crate::cpus;
use crate::exit::{Code, Failure, Result};
use crate::leftovers::Leftover;
use crate::private_nodes::{self, Join};
use crate::signals;
use peripatos_cluster::NodeId;
use peripatos_cluster::message::Command as NodeCommand;
use peripatos_host::node::NodeClient;
use std::fmt::Display;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What they are called: programs start on the first.
pub(super) const NAMES: [&str; 2] = ["first", "second"];

/// Two nodes that do not find each other within this time never will.
const LINK_WAIT_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The nodes, which live as long as this.
pub(super) struct Nodes {
    children: Arc<Mutex<Vec<Child>>>,
    /// A signal is ending the demo.
    ending: Arc<AtomicBool>,
    /// As the cluster calls them, in the order of [`NAMES`].
    pub(super) ids: [NodeId; 2],
    /// As the operating system calls them.
    pub(super) os_processes: [u32; 2],
    directory: Leftover,
}

impl Nodes {
    /// Starts both, and waits until they are linked.
    pub(super) fn start() -> Result<Nodes> {
        let mut nodes = Nodes {
            children: Arc::default(),
            ending: Arc::default(),
            directory: private_directory()?,
            ids: [NodeId(0); 2],
            os_processes: [0; 2],
        };
        let (children, ending) = (Arc::clone(&nodes.children), Arc::clone(&nodes.ending));
        signals::before_end(move |_| {
            ending.store(true, Ordering::SeqCst);
            end_all(&children);
        });
        let join = nodes.start_one(0, None)?;
        nodes.start_one(1, Some(&join))?;
        nodes.wait_for_link()?;
        Ok(nodes)
    }

    /// Starts one, and says how another joins it.
    fn start_one(&mut self, index: usize, join: Option<&Join>) -> Result<Join> {
        let directory = self.directory.path();
        let log = directory.join(format!("{}.log", NAMES[index]));
        let command = private_nodes::command(NAMES[index], directory, join);
        let mut command = command.map_err(|error| failed(&error))?;
        // Ctrl-C is for the demo, which ends them.
        command.process_group(0).stderr(File::create(&log).map_err(|error| failed(&error))?);
        let cpus = cpus::two();
        let cpu = (cpus.len() == 2).then(|| cpus[index]);
        let mut child = cpus::on(cpu, || command.spawn()).map_err(|error| failed(&error))?;
        self.os_processes[index] = child.id();
        let said = child.stdout.take();
        lock(&self.children).push(child);
        private_nodes::until_up(said).ok_or_else(|| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            let reason =
                log.lines().last().unwrap_or("it said nothing").trim_start_matches("peri: ");
            failed(&format!("the {} one did not come up: {reason}", NAMES[index]))
        })
    }

    fn wait_for_link(&mut self) -> Result<()> {
        let mut client = self.client()?;
        let until = Instant::now() + LINK_WAIT_MAX;
        loop {
            let nodes = client.nodes().map_err(|error| cluster::failure("nodes", &error))?;
            let id = |name| nodes.iter().find(|one| one.reachable && one.name == name);
            if let [Some(first), Some(second)] = NAMES.map(id) {
                self.ids = [first.node, second.node];
                return Ok(());
            }
            if Instant::now() > until {
                return Err(failed(&"they do not find each other"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// A connection to the first one.
    pub(super) fn client(&self) -> Result<NodeClient> {
        private_nodes::client(NAMES[0], self.directory.path())
    }

    /// Has the second one emptied, or lets it take processes again.
    pub(super) fn drain_second(&self, client: &mut NodeClient, on: bool) -> Result<()> {
        let done = client.command(self.ids[1], NodeCommand::Drain { on });
        done.map(drop).map_err(|error| cluster::failure(NAMES[1], &error))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // That the nodes are gone is no failure then, and the signal has the last word.
        while self.ending.load(Ordering::SeqCst) {
            thread::park();
        }
        end_all(&self.children);
    }
}

fn end_all(children: &Mutex<Vec<Child>>) {
    for mut child in lock(children).drain(..) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A list of children is whole after any panic.
fn lock(children: &Mutex<Vec<Child>>) -> std::sync::MutexGuard<'_, Vec<Child>> {
    children.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory of this user alone, which is gone at the end.
fn private_directory() -> Result<Leftover> {
    let path = std::env::temp_dir().join(format!("peri-demo-{}", std::process::id()));
    // One that is there already is somebody else's, and is not used.
    DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(|error| Failure::new(Code::Storage, path.display(), error))?;
    Ok(Leftover::new(path))
}

fn failed(cause: &dyn Display) -> Failure {
    Failure::new(Code::NoNode, "the demo's nodes", cause)
}
