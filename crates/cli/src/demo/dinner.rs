//! The dinner: philosophers, forks and tables, each a process, talk while they are carried from node to node; and no
//! message is lost or comes twice, for in the end all three must have counted the same meals.

use super::nodes::{NAMES, Nodes};
use super::visit::{self, Ended};
use crate::cluster::failure;
use crate::exit::{Code, Failure, Result};
use peripatos_abi::Pid;
use peripatos_cluster::message::{Command, End, Hold, ProcessRow};
use peripatos_host::node::NodeClient;
use peripatos_host::node::protocol::Start;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

const PHILOSOPHERS: &[u8] = include_bytes!("../../../../examples/philosophers/philosophers.wasm");
const FORK: &[u8] = include_bytes!("../../../../examples/philosophers/fork.wasm");

/// What the program is called.
const NAME: &str = "philosophers";
/// Between two processes that are carried to the other node.
const CARRY_EVERY: Duration = Duration::from_millis(20);
/// A dinner that takes longer hangs.
const DINNER_MAX: Duration = Duration::from_secs(120);

/// What came of it.
pub(super) struct Dinner {
    /// What the program says of it.
    pub(super) said: String,
    /// Processes that took part.
    pub(super) processes: usize,
    /// Moves by hand.
    pub(super) moves: u32,
    /// Everybody was fed, and the counts agree.
    pub(super) is_good: bool,
}

/// Serves a dinner on the nodes.
pub(super) fn serve(nodes: &Nodes, quick: bool) -> Result<Dinner> {
    let (guests, seconds) = if quick { ("8", "1") } else { ("20", "5") };
    let begun = Instant::now();
    let args = [NAME, guests, "--seconds", seconds].map(|arg| arg.as_bytes().to_vec());
    let (tell, hear) = mpsc::channel();
    let pid = visit::start(nodes, NAME, 0, tell, |pid| {
        let (mut start, mut wasms) = Start::of(pid, PHILOSOPHERS, args.to_vec());
        let fork = *blake3::hash(FORK).as_bytes();
        start.programs.push(("fork".to_owned(), fork));
        wasms.insert(fork, FORK.into());
        (start, wasms)
    })?;
    let mut carrier =
        Carrier { nodes, client: nodes.client()?, root: pid, turn: 0, moves: 0, seen: 0 };
    let ended = loop {
        match hear.recv_timeout(CARRY_EVERY) {
            Ok(ended) => break ended,
            Err(RecvTimeoutError::Timeout) => carrier.carry()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new(Code::Internal, NAME, "it has ended without a word"));
            }
        }
        if begun.elapsed() > DINNER_MAX {
            let cause = format!("not done within {} s", DINNER_MAX.as_secs());
            return Err(Failure::new(Code::Internal, NAME, cause));
        }
    };
    let Ended { end, .. } = ended;
    let (end, said) = end?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let is_good = end == End::Exited(0);
    Ok(Dinner { said, processes: carrier.seen, moves: carrier.moves, is_good })
}

/// Carries one process after the other to the other node.
struct Carrier<'a> {
    nodes: &'a Nodes,
    client: NodeClient,
    root: Pid,
    turn: usize,
    moves: u32,
    /// Most processes that were there at a time.
    seen: usize,
}

impl Carrier<'_> {
    fn carry(&mut self) -> Result<()> {
        let listing = self.client.processes().map_err(|error| failure("ps", &error))?;
        let of_family =
            |row: &&ProcessRow| row.process.kin.as_ref().is_some_and(|kin| kin.root == self.root);
        let family: Vec<&ProcessRow> = listing.processes.iter().filter(of_family).collect();
        self.seen = self.seen.max(family.len());
        let Some(row) = family.get(self.turn % family.len().max(1)) else { return Ok(()) };
        self.turn += 1;
        let place = self.nodes.ids.iter().position(|id| *id == row.node).unwrap_or(0);
        let to = self.nodes.ids[(place + 1) % NAMES.len()];
        let command = Command::Migrate { pid: row.process.pid, to, hold: Hold::For(0) };
        // It may just have ended, or be on its way already.
        self.moves += u32::from(self.client.command(row.node, command).is_ok());
        Ok(())
    }
}
