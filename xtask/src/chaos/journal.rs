//! What has happened, with its time: faults as they begin and end, and each line that a node has said. Nodes' lines are read
//! for what the accounts need: who was suspected, and by whom.

use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So long after a disturbance somebody may still be suspected because of it: silence takes three seconds to be told, and on a
/// machine with few CPUs everything takes its time.
const AFTERMATH: Duration = Duration::from_secs(15);
/// So much later than it was said a line may be read.
const LATE: Duration = Duration::from_secs(2);

/// The whole run's.
pub(super) struct Journal {
    begun: Mutex<Instant>,
    told: Mutex<Told>,
}

struct Told {
    file: File,
    disturbances: Vec<Disturbance>,
    silences: Vec<Silence>,
    oddities: Vec<String>,
}

/// Something that was done to a node.
#[derive(Clone, Debug)]
pub(super) struct Disturbance {
    pub(super) node: String,
    pub(super) from: Duration,
    /// `None`: still.
    pub(super) until: Option<Duration>,
    /// Its OS process ends, and with it what ran there.
    pub(super) deadly: bool,
    pub(super) what: String,
}

/// A node has called another one silent.
#[derive(Clone, Debug)]
pub(super) struct Silence {
    pub(super) at: Duration,
    pub(super) by: String,
    pub(super) of: String,
    /// Whoever waited was told. Else gossip has said so, and nobody was told yet.
    pub(super) was_told: bool,
}

impl Journal {
    /// Errors: the file cannot be made.
    pub(super) fn new(path: &Path) -> Result<Journal> {
        let file = File::create(path).with_context(|| format!("{}", path.display()))?;
        let told =
            Told { file, disturbances: Vec::new(), silences: Vec::new(), oddities: Vec::new() };
        Ok(Journal { begun: Mutex::new(Instant::now()), told: Mutex::new(told) })
    }

    /// The run begins now: what was before is forgotten.
    pub(super) fn restart(&self) {
        self.note("the run begins");
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let mut told = self.told();
        told.silences.clear();
        told.disturbances.clear();
    }

    /// Since the beginning of the run.
    pub(super) fn now(&self) -> Duration {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For people who watch, and for the file.
    pub(super) fn say(&self, what: &str) {
        let line = format!("{:8.3} {what}", self.now().as_secs_f64());
        println!("{line}");
        self.write(&line);
    }

    /// For the file alone.
    pub(super) fn note(&self, what: &str) {
        self.write(&format!("{:8.3} {what}", self.now().as_secs_f64()));
    }

    fn write(&self, line: &str) {
        // A full disk is no reason to stop: what counts is kept here.
        let _ = writeln!(self.told().file, "{line}");
    }

    /// A node has said a line.
    pub(super) fn heard(&self, by: &str, line: &str) {
        self.note(&format!("[{by}] {line}"));
        let (at, mut told) = (self.now(), self.told());
        for (words, was_told) in [
            (" is silent: who waits for it is told", true),
            (" answers nobody, or has left", false),
        ] {
            if let Some((_, of)) = line.split_once("node ").filter(|_| line.contains(words)) {
                let of = of.split(' ').next().unwrap_or_default().to_owned();
                told.silences.push(Silence { at, by: by.to_owned(), of, was_told });
            }
        }
        if line.contains("panicked") || line.contains("assertion") {
            told.oddities.push(format!("node {by}: {line}"));
        }
    }

    /// Something that must not be.
    pub(super) fn odd(&self, what: String) {
        self.say(&format!("NOT AS IT SHOULD BE: {what}"));
        self.told().oddities.push(what);
    }

    /// Something begins to happen to a node.
    pub(super) fn begins(&self, node: &str, what: &str, deadly: bool) {
        self.say(&format!("{what}: node {node}"));
        let (node, what) = (node.to_owned(), what.to_owned());
        let from = self.now();
        self.told().disturbances.push(Disturbance { node, from, until: None, deadly, what });
    }

    /// What had begun last is over.
    pub(super) fn ends(&self, node: &str, what: &str) {
        self.say(&format!("{what}: node {node}"));
        let now = self.now();
        let mut told = self.told();
        let mut begun = told.disturbances.iter_mut().rev();
        if let Some(last) = begun.find(|one| one.node == node && one.until.is_none()) {
            last.until = Some(now);
        }
    }

    pub(super) fn oddities(&self) -> Vec<String> {
        self.told().oddities.clone()
    }

    /// How often what has happened.
    pub(super) fn disturbances(&self) -> Vec<Disturbance> {
        self.told().disturbances.clone()
    }

    /// What has ended an OS process of a node (of any, for `None`) that was there within this time.
    pub(super) fn death(
        &self,
        node: Option<&str>,
        from: Duration,
        until: Duration,
    ) -> Option<String> {
        let told = self.told();
        let of = |one: &&Disturbance| node.is_none_or(|node| one.node == node);
        let mut deaths = told.disturbances.iter().filter(|one| one.deadly).filter(of);
        let within = |one: &&Disturbance| {
            one.from <= until && one.until.is_none_or(|over| over + LATE >= from)
        };
        deaths.find(within).map(|one| one.what.clone())
    }

    /// Who was called silent within this time, to those who waited for him, and whether something had been done to him or to who said so.
    pub(super) fn silences(&self, from: Duration, until: Duration) -> Vec<(Silence, bool)> {
        let told = self.told();
        let within = |silence: &&Silence| from <= silence.at && silence.at <= until + LATE;
        let silences = told.silences.iter().filter(within);
        silences.map(|one| (one.clone(), told.explains(one))).collect()
    }
}

impl Told {
    fn explains(&self, silence: &Silence) -> bool {
        self.disturbances.iter().any(|one| {
            (one.node == silence.of || one.node == silence.by)
                && one.from <= silence.at
                && one.until.is_none_or(|until| silence.at <= until + AFTERMATH)
        })
    }
}
