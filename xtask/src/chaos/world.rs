//! Machines and their nodes: started, disturbed, asked, and looked at.

use super::journal::Journal;
use super::network::Network;
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Machines of a run.
pub(super) const MACHINES: usize = 4;
/// So long anything may take that a node does in a moment, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);
/// So long one command may take: it may ask a node that stands still.
const COMMAND: Duration = Duration::from_secs(40);
/// How often something is looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// All there is.
pub(super) struct World {
    peri: PathBuf,
    pub(super) network: Network,
    pub(super) journal: Arc<Journal>,
    machines: Vec<Machine>,
    /// Sockets have to have short paths, so they are not beside the logs.
    runtime: tempfile::TempDir,
    /// What others join by.
    token: Mutex<Option<String>>,
}

struct Machine {
    number: usize,
    node: Mutex<Node>,
}

/// The node of a machine. A machine has another one when an operator has given up the one before.
struct Node {
    name: String,
    replaced: u32,
    running: Option<Running>,
}

struct Running {
    /// What was started: in a namespace the parent of the node's OS process.
    child: Child,
    os_process: Pid,
}

/// What a node holds of its machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    pub(super) files: usize,
    pub(super) threads: usize,
    pub(super) memory_bytes: usize,
}

/// A line of `peri ps`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) pid: String,
    pub(super) node: String,
    pub(super) state: String,
    pub(super) cpu_ms: u64,
    pub(super) moves: u64,
    pub(super) program: String,
}

/// What a command has said.
pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) errors: String,
}

impl World {
    /// Machines without nodes.
    pub(super) fn new(peri: PathBuf, network: Network, journal: Arc<Journal>) -> Result<World> {
        let runtime = tempfile::tempdir()?;
        let machines = (0..MACHINES).map(|number| {
            let node = Node { name: first_name(number), replaced: 0, running: None };
            Machine { number, node: Mutex::new(node) }
        });
        let machines = machines.collect();
        Ok(World { peri, network, journal, machines, runtime, token: Mutex::default() })
    }

    fn node(&self, machine: usize) -> MutexGuard<'_, Node> {
        self.machines[machine].node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn name(&self, machine: usize) -> String {
        self.node(machine).name.clone()
    }

    /// The machines whose node has not been killed or ended.
    pub(super) fn running(&self) -> Vec<usize> {
        (0..MACHINES).filter(|machine| self.node(*machine).running.is_some()).collect()
    }

    /// Gives a command the directories of a machine's user.
    fn at_home(&self, machine: usize, command: &mut Command) {
        let home = self.runtime.path().join(first_name(machine));
        command
            .stdin(Stdio::null())
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .env("XDG_STATE_HOME", home.join("state"))
            // What is compiled is the same everywhere, and there are few CPUs.
            .env("PERI_CACHE_DIR", self.runtime.path().join("cache"))
            .env_remove("PERI_AT")
            .env_remove("PERI_TOKEN");
    }

    /// `peri` as a user of this machine would call it.
    pub(super) fn command(&self, machine: usize, words: &[&str]) -> Command {
        let mut command = Command::new(&self.peri);
        command.args(words);
        self.at_home(machine, &mut command);
        command
    }

    /// The same, to its end, if it comes to that in time.
    pub(super) fn ask(&self, machine: usize, words: &[&str], limit: Duration) -> Result<Said> {
        let mut command = self.command(machine, words);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let said = finish(child, limit);
        said.with_context(|| format!("at node {}: peri {}", self.name(machine), words.join(" ")))
    }

    /// Starts the node of a machine; all but the first one join those that run. Tries again while they cannot be reached.
    pub(super) fn start(&self, machine: usize) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.try_start(machine) {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(error) => self.journal.note(&format!("tries again: {error:#}")),
            }
            thread::sleep(Duration::from_secs(1));
        }
    }

    fn try_start(&self, machine: usize) -> Result<()> {
        let address = self.network.address(machine);
        let (others, name) = (self.running(), self.name(machine));
        let home = self.runtime.path().join(first_name(machine));
        for directory in ["run", "state"] {
            fs::create_dir_all(home.join(directory))?;
        }
        let mut command = self.network.command(machine, &self.peri.to_string_lossy());
        command.args(["up", "--name", &name, "--listen", &address, "--cores", "1"]);
        self.at_home(machine, &mut command);
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = token {
            for other in others {
                command.args(["--join", &self.network.address(other)]);
            }
            command.args(["--token", &token]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (out, errors) = (child.stdout.take(), child.stderr.take());
        let (said, hear) = mpsc::channel();
        lines(out, move |line| drop(said.send(line)));
        let (journal, by) = (self.journal.clone(), name.clone());
        lines(errors, move |line| journal.heard(&by, &line));
        let join = std::iter::from_fn(|| hear.recv_timeout(COMMAND).ok())
            .find(|line| line.starts_with("peri up --join"));
        let Some(join) = join else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("node {name} does not start");
        };
        let os_process = match self.network {
            Network::Cables(_) => child_of(child.id())?,
            Network::Loopback { .. } => Pid::from_child(&child),
        };
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if token.is_none() {
            *token = join.split(' ').next_back().map(str::to_owned);
        }
        self.node(machine).running = Some(Running { child, os_process });
        Ok(())
    }

    /// Sends its node a signal. `false`: there is none.
    pub(super) fn signal(&self, machine: usize, signal: Signal) -> bool {
        let node = self.node(machine);
        let Some(running) = &node.running else { return false };
        kill_process(running.os_process, signal).is_ok()
    }

    /// `kill -9`. Returns when it is dead.
    pub(super) fn kill(&self, machine: usize) {
        self.signal(machine, Signal::KILL);
        if let Some(mut running) = self.node(machine).running.take() {
            let _ = running.child.wait();
        }
    }

    /// Waits for the end of a node that was told to end. Errors: it goes on; it is killed then.
    pub(super) fn ended(&self, machine: usize) -> Result<()> {
        let begun = Instant::now();
        loop {
            let mut node = self.node(machine);
            let Some(running) = &mut node.running else { return Ok(()) };
            if let Some(status) = running.child.try_wait()? {
                node.running = None;
                // As the first process of a namespace it cannot be ended by a signal.
                let good = status.success() || status.signal() == Some(15);
                if !good && status.code() != Some(128 + 15) {
                    self.journal.odd(format!("node {} has ended: {status}", node.name));
                }
                return Ok(());
            }
            drop(node);
            if begun.elapsed() > PATIENCE {
                self.kill(machine);
                bail!("node {} does not end", self.name(machine));
            }
            thread::sleep(PAUSE);
        }
    }

    /// From now on this machine has another node, under another name. Returns the name of the one before.
    pub(super) fn replace(&self, machine: usize) -> String {
        let mut node = self.node(machine);
        node.replaced += 1;
        let name = format!("{}{}", first_name(machine), node.replaced + 1);
        std::mem::replace(&mut node.name, name)
    }

    /// A node that has ended though nobody has told it to.
    pub(super) fn unasked_ends(&self) {
        for machine in &self.machines {
            let mut node = self.node(machine.number);
            let Some(running) = &mut node.running else { continue };
            if let Ok(Some(status)) = running.child.try_wait() {
                node.running = None;
                self.journal.odd(format!("node {} has ended by itself: {status}", node.name));
            }
        }
    }

    /// Waits until all nodes call all nodes up. Errors: they do not.
    pub(super) fn until_linked(&self) -> Result<()> {
        let names: Vec<String> = (0..MACHINES).map(|machine| self.name(machine)).collect();
        let seen = |machine: usize| -> Result<Vec<String>> {
            let said = self.ask(machine, &["nodes", "--output", "json"], COMMAND)?;
            let rows: Vec<Value> = serde_json::from_str(&said.out).with_context(|| said.errors)?;
            let up = rows.iter().filter(|row| row["state"] == "up");
            Ok(up.filter_map(|row| row["node"].as_str()).map(str::to_owned).collect())
        };
        let good = until(|| {
            let sees_all = |up: Vec<String>| names.iter().all(|name| up.contains(name));
            (0..MACHINES).all(|machine| seen(machine).is_ok_and(sees_all))
        });
        if !good {
            let all = (0..MACHINES).map(|machine| format!("{:?}", seen(machine)));
            bail!("each node should see {names:?}: {}", all.collect::<Vec<_>>().join(", "));
        }
        Ok(())
    }

    /// What a node says that it runs itself. Errors: it does not answer.
    pub(super) fn processes_of(&self, machine: usize) -> Result<Vec<Row>> {
        let name = self.name(machine);
        let said = self.ask(machine, &["ps", "--at", &name, "--output", "json"], COMMAND)?;
        let rows: Vec<Value> =
            serde_json::from_str(&said.out).with_context(|| said.errors.clone())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let rows = rows.iter().map(|row| Row {
            pid: text(&row["pid"]),
            node: text(&row["node"]),
            state: text(&row["state"]),
            cpu_ms: row["cpu_ms"].as_u64().unwrap_or_default(),
            moves: row["moves"].as_u64().unwrap_or_default(),
            program: text(&row["program"]),
        });
        Ok(rows.filter(|row| row.node == name).collect())
    }

    /// Waits until no node runs anything. Returns what is left.
    pub(super) fn until_empty(&self) -> Vec<Row> {
        let mut left = Vec::new();
        until(|| {
            left = (0..MACHINES)
                .filter_map(|machine| self.processes_of(machine).ok())
                .flatten()
                .collect();
            left.is_empty()
        });
        left
    }

    /// What the node of a machine holds. Errors: there is none.
    pub(super) fn holdings(&self, machine: usize) -> Result<Holdings> {
        let node = self.node(machine);
        let running = node.running.as_ref().context("no node")?;
        let own = PathBuf::from(format!("/proc/{}", running.os_process.as_raw_nonzero()));
        let count = |what| Ok::<_, std::io::Error>(fs::read_dir(own.join(what))?.count());
        let status = fs::read_to_string(own.join("status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        let memory_bytes = kib.unwrap_or(0_usize) << 10;
        Ok(Holdings { files: count("fd")?, threads: count("task")?, memory_bytes })
    }
}

/// Ctrl-C, or SIGTERM, leaves no node and no namespace behind. Errors: no handler can be installed.
pub(super) fn watch_signals(world: &Arc<World>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let world = Arc::downgrade(world);
    thread::spawn(move || {
        let signal = signals.forever().next().unwrap_or(SIGTERM);
        if let Some(world) = world.upgrade() {
            (0..MACHINES).for_each(|machine| world.kill(machine));
            if let Some(cables) = world.network.cables() {
                cables.remove();
            }
        }
        std::process::exit(128 + signal);
    });
    Ok(())
}

impl Drop for World {
    fn drop(&mut self) {
        (0..MACHINES).for_each(|machine| self.kill(machine));
    }
}

/// What the node of a machine is called at first.
fn first_name(machine: usize) -> String {
    ["a", "b", "c", "d"].get(machine).map_or_else(|| format!("n{machine}"), |name| (*name).into())
}

/// Waits for something.
pub(super) fn until(mut done: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if done() {
            return true;
        }
        if begun.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

/// A command's end and all that it has said. Errors: it takes longer than `limit`; it is killed then.
fn finish(mut child: Child, limit: Duration) -> Result<Said> {
    let out = collect(child.stdout.take());
    let errors = collect(child.stderr.take());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if begun.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let text = |collected: mpsc::Receiver<String>| collected.recv().unwrap_or_default();
    let (out, errors) = (text(out), text(errors));
    let status = status.with_context(|| format!("no end within {limit:?}: {errors}"))?;
    Ok(Said { code: status.code(), out, errors })
}

fn collect(from: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (to, collected) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.map(|mut from| from.read_to_end(&mut bytes));
        let _ = to.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    collected
}

/// Calls for each line that comes, on a thread that ends with it.
fn lines(from: Option<impl Read + Send + 'static>, mut each: impl FnMut(String) + Send + 'static) {
    thread::spawn(move || {
        let lines = from.into_iter().flat_map(|from| BufReader::new(from).lines());
        lines.map_while(Result::ok).for_each(&mut each);
    });
}

/// The one child of an OS process.
fn child_of(parent: u32) -> Result<Pid> {
    let parent = parent.to_string();
    for entry in fs::read_dir("/proc")?.flatten() {
        // After the program's name, which is in brackets: the state, and the parent.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        if rest.split(' ').nth(1) == Some(&parent) {
            let number = entry.file_name().to_string_lossy().parse().ok();
            return number.and_then(Pid::from_raw).context("a process number");
        }
    }
    bail!("the node has no OS process")
}
