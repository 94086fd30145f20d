//! Nodes in directories of their own, and what their commands say.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// How often, and how long apart, something is looked for that another OS process does: 60 seconds in all.
const TRIES_MAX: usize = 3_000;
const PAUSE: Duration = Duration::from_millis(20);

/// A user's nodes. Dropped, they end at once.
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    nodes: Vec<Node>,
    /// What the first one printed for others.
    pub(crate) join: Vec<String>,
    balances: bool,
}

/// One OS process of a node.
pub(crate) struct Node {
    name: String,
    child: Child,
    log: Collected,
}

/// What an OS process has written so far.
#[derive(Clone, Default)]
pub(crate) struct Collected(Arc<Mutex<Vec<u8>>>);

/// What a node holds of its machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holdings {
    pub(crate) files: usize,
    threads: usize,
    memory_bytes: usize,
}

impl Holdings {
    /// Compiled programs map files, threads that are idle come and go, and allocators keep memory.
    pub(crate) fn are_hardly_more_than(self, before: Holdings) -> bool {
        self.files <= before.files + 4
            && self.threads <= before.threads + 4
            && self.memory_bytes <= before.memory_bytes + (64 << 20)
    }
}

/// A line of `peri ps`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Row {
    pub(crate) pid: String,
    pub(crate) program: String,
    pub(crate) node: Option<String>,
    pub(crate) core: Option<u32>,
    pub(crate) state: String,
    pub(crate) waits_for: Option<String>,
    pub(crate) cpu_ms: u64,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) moves: u32,
    pub(crate) pinned: bool,
}

/// A line of `peri nodes`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct NodeRow {
    pub(crate) node: String,
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) state: String,
    pub(crate) asked: bool,
    pub(crate) cores: u32,
    pub(crate) processes: u32,
}

impl Cluster {
    /// No node yet.
    pub(crate) fn new() -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        for name in ["run", "work"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Cluster { directory, nodes: Vec::new(), join: Vec::new(), balances: false }
    }

    /// The same, whose nodes will balance their load. Of others it is for the tests to say where processes are.
    pub(crate) fn that_balances() -> Cluster {
        Cluster { balances: true, ..Cluster::new() }
    }

    /// Nodes of these names with a core each, linked.
    pub(crate) fn of(names: &[&str]) -> Cluster {
        Cluster::new().with(names)
    }

    /// The same, with these nodes.
    pub(crate) fn with(mut self, names: &[&str]) -> Cluster {
        names.iter().for_each(|name| self.up(name));
        self.until_linked();
        self
    }

    /// A directory for programs' files.
    pub(crate) fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// Where this user's nodes have their directories.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.directory.path().join("run/peripatos")
    }

    /// `peri` with these arguments; standard input is at its end.
    pub(crate) fn peri<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peri"));
        command.args(args);
        self.here(command)
    }

    /// Gives a command this user's directories.
    pub(crate) fn here(&self, mut command: Command) -> Command {
        command
            .stdin(Stdio::null())
            .env("XDG_RUNTIME_DIR", self.directory.path().join("run"))
            .env("XDG_STATE_HOME", self.directory.path().join("state"))
            .env("PERI_CACHE_DIR", cache())
            .env_remove("PERI_AT")
            .env_remove("PERI_ETCD")
            .env_remove("PERI_TOKEN");
        command
    }

    pub(crate) fn output<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.peri(args).output().unwrap()
    }

    /// The same; it must succeed. Returns its standard output.
    #[track_caller]
    pub(crate) fn done<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "{}{}", text(&output.stderr), self.logs());
        text(&output.stdout)
    }

    /// Starts a node of one core; all but the first one join by what the first one printed.
    pub(crate) fn up(&mut self, name: &str) {
        let join = self.join.clone();
        let words = if join.is_empty() { vec!["up".to_owned()] } else { join };
        self.up_with(name, &words);
    }

    /// Starts a node with this command line, and a name and one core.
    pub(crate) fn up_with(&mut self, name: &str, words: &[String]) {
        let mut command = self.peri(words);
        command.args(["--name", name, "--cores", "1"]);
        if !self.balances {
            command.arg("--no-balance");
        }
        if !words.iter().any(|word| word == "--unreachable-after") {
            // Fake nodes say something only when they are told to.
            command.args(["--unreachable-after", "30s"]);
        }
        self.start_node(name, command);
    }

    /// Starts what becomes a node, and waits until it says how others join it.
    pub(crate) fn start_node(&mut self, name: &str, mut command: Command) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Collected::of(child.stderr.take().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said: Vec<String> = lines.by_ref().take(2).map(|line| line.unwrap()).collect();
        assert!(said.len() == 2, "node {name}: {}", log.text());
        assert!(said[0].starts_with("node ") && said[0].contains(" is up at "), "{said:?}");
        if self.join.is_empty() {
            self.join = said[1].split(' ').skip(1).map(str::to_owned).collect();
        }
        self.nodes.retain(|node| node.name != name);
        self.nodes.push(Node { name: name.to_owned(), child, log });
    }

    /// Starts a node again that was killed: it joins one that is there.
    pub(crate) fn up_again(&mut self, name: &str, by: &str) {
        let words =
            ["up", "--join", &self.address(by), "--token", &self.join[4]].map(str::to_owned);
        self.up_with(name, &words);
    }

    /// Where a node listens.
    pub(crate) fn address(&self, name: &str) -> String {
        self.nodes_at(name).into_iter().find(|node| node.node == name).unwrap().address
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        let known = self.nodes.iter_mut().find(|node| node.name == name);
        known.unwrap_or_else(|| panic!("no node {name}"))
    }

    /// Waits until every node says of every other that it is up.
    pub(crate) fn until_linked(&self) {
        let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        until(&|| self.logs(), |_| {
            names.iter().all(|at| {
                let there = self.nodes_at(at);
                names
                    .iter()
                    .all(|name| there.iter().any(|row| row.node == *name && row.state == "up"))
            })
        });
    }

    /// Waits until a node has noticed that its link to another one is gone.
    pub(crate) fn until_cut(&self, at: &str, name: &str) {
        until(&|| self.logs(), |_| {
            let rows = self.nodes_at(at);
            rows.iter().any(|row| row.node == name && row.state == "unreachable")
        });
    }

    pub(crate) fn nodes_at(&self, at: &str) -> Vec<NodeRow> {
        serde_json::from_str(&self.done(["nodes", "--at", at, "--output", "json"])).unwrap()
    }

    pub(crate) fn ps_at(&self, at: &str) -> Vec<Row> {
        serde_json::from_str(&self.done(["ps", "--at", at, "--output", "json"])).unwrap()
    }

    /// The row of a process at this node's list, if it is there.
    pub(crate) fn row(&self, at: &str, pid: &str) -> Option<Row> {
        let rows = self.ps_at(at).into_iter();
        let mut found = rows.filter(|row| row.pid.starts_with(&format!("{pid}-")));
        let row = found.next();
        assert!(found.next().is_none(), "{pid} is there twice{}", self.logs());
        row
    }

    /// Waits until a process is as it should be.
    #[track_caller]
    pub(crate) fn until_row(&self, at: &str, pid: &str, mut good: impl FnMut(&Row) -> bool) -> Row {
        let mut last = None;
        for _ in 0..TRIES_MAX {
            last = self.row(at, pid);
            if let Some(row) = last.as_ref().filter(|row| good(row)) {
                return row.clone();
            }
            thread::sleep(PAUSE);
        }
        panic!("{pid} is {last:?}{}", self.logs());
    }

    /// Waits until a process runs on this node.
    #[track_caller]
    pub(crate) fn until_at(&self, asked: &str, pid: &str, node: &str) -> Row {
        let rests = |row: &Row| !matches!(row.state.as_str(), "moving" | "in-doubt");
        self.until_row(asked, pid, |row| row.node.as_deref() == Some(node) && rests(row))
    }

    /// `peri migrate`; it must succeed.
    #[track_caller]
    pub(crate) fn migrate(&self, asked: &str, pid: &str, to: &str) {
        self.done(["migrate", "--at", asked, pid, to]);
    }

    /// The same, while the test does something else.
    pub(crate) fn begin_move(&self, asked: &str, pid: &str, to: &str) -> Child {
        let mut command = self.peri(["migrate", "--at", asked, pid, to]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What all nodes have said, for a test that fails.
    pub(crate) fn logs(&self) -> String {
        let log = |node: &Node| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", node.child.id()));
            let stat = stat.unwrap_or_default().chars().take(40).collect::<String>();
            format!("\n--- node {} ({stat}):\n{}", node.name, node.log.text())
        };
        self.nodes.iter().map(log).collect()
    }
}

impl Node {
    /// Its number as an OS process.
    pub(crate) fn number(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`. Returns when it is dead.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it has come to its end.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until(&|| "it goes on".into(), |_| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// What it has said on standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// How many lines of that have this in them.
    pub(crate) fn said(&self, what: &str) -> usize {
        self.log().lines().filter(|line| line.contains(what)).count()
    }

    /// Waits until it has said this.
    #[track_caller]
    pub(crate) fn until_said(&self, what: &str) {
        until(&|| format!("{what:?} is not in\n{}", self.log()), |_| self.said(what) > 0);
    }

    /// What it holds of this machine.
    pub(crate) fn holds(&self) -> Holdings {
        let count = |what| fs::read_dir(format!("/proc/{}/{what}", self.number())).unwrap().count();
        let status = fs::read_to_string(format!("/proc/{}/status", self.number())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident = resident.trim().trim_end_matches(" kB").parse::<usize>().unwrap();
        Holdings { files: count("fd"), threads: count("task"), memory_bytes: resident << 10 }
    }

    /// Waits until it holds hardly more than before.
    #[track_caller]
    pub(crate) fn until_holds_no_more_than(&self, before: Holdings) {
        let seen = || format!("{:?} after {before:?}\n{}", self.holds(), self.log());
        until(&seen, |_| self.holds().are_hardly_more_than(before));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Collected {
    /// Collects all that comes, on a thread that ends with it.
    pub(crate) fn of(mut from: impl Read + Send + 'static) -> Collected {
        let collected = Collected::default();
        let into = collected.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                into.0.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        collected
    }

    pub(crate) fn text(&self) -> String {
        text(&self.0.lock().unwrap())
    }
}

/// Waits for something that another OS process does; `seen` says what was there instead.
#[track_caller]
pub(crate) fn until(seen: &dyn Fn() -> String, mut done: impl FnMut(usize) -> bool) {
    for attempt in 0..TRIES_MAX {
        if done(attempt) {
            return;
        }
        thread::sleep(PAUSE);
    }
    panic!("waited in vain: {}", seen());
}

/// Compiled code, shared by all tests of one run.
fn cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nodes-cache");
        let _ = fs::remove_dir_all(&path);
        path
    })
}

/// A committed guest.
pub(crate) fn guest(name: &str) -> String {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests");
    guests.join(format!("{name}.wasm")).display().to_string()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A small generator of moments (xorshift), so that a run can be told by its seed.
pub(crate) struct Moments(pub(crate) u64);

impl Moments {
    /// A time below this, milliseconds.
    pub(crate) fn next(&mut self, milliseconds: u64) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_micros(self.0 % (milliseconds * 1000))
    }
}
