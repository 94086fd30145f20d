//! The show: all programs start on the first node, walk to the second because it is idle, walk back because it is
//! emptied, and walk again.

use super::nodes::{NAMES, Nodes};
use super::programs::{Alone, Program};
use super::screen::{Row, Screen, State};
use super::visit::{self, Ended};
use crate::cluster::failure;
use crate::exit::{Code, Failure, Result};
use peripatos_abi::Pid;
use peripatos_cluster::message::{End, ProcessRow, RowState};
use peripatos_host::node::NodeClient;
use peripatos_host::node::protocol::Start;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Between two looks at the nodes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// When this part of all the work is done, the second node is emptied.
const DRAIN_AT: f64 = 0.4;
/// So long it stays empty.
const EMPTY_FOR: Duration = Duration::from_secs(1);
/// It is not waited for longer than this to become empty.
const EMPTYING_MAX: Duration = Duration::from_secs(5);
/// A show that takes longer hangs.
const SHOW_MAX: Duration = Duration::from_secs(600);

/// What came of it.
pub(super) struct Outcome {
    /// From the first start to the last end.
    pub(super) time: Duration,
    /// How long the second node was closed.
    pub(super) drained: Duration,
    /// How long each freeze was that the nodes told of, microseconds.
    pub(super) freezes_us: Vec<u64>,
}

/// Whether the second node takes processes.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Open,
    Emptying { since: Instant },
    Empty { since: Instant, until: Instant },
    OpenAgain,
}

struct Show<'a> {
    nodes: &'a Nodes,
    client: NodeClient,
    alone: &'a [Alone],
    pids: Vec<Pid>,
    rows: &'a mut [Row],
    screen: &'a mut Screen,
    started: Instant,
    last_end: Instant,
    phase: Phase,
    drained: Duration,
    freezes_us: Vec<u64>,
}

/// Runs the programs on the nodes until all have ended. The rows get to know what becomes of them.
pub(super) fn run(
    nodes: &Nodes,
    programs: &[Program],
    alone: &[Alone],
    rows: &mut [Row],
    screen: &mut Screen,
) -> Result<Outcome> {
    let client = nodes.client()?;
    let (tell, hear) = mpsc::channel();
    let started = Instant::now();
    let mut pids = Vec::new();
    for (index, program) in programs.iter().enumerate() {
        pids.push(visit::start(nodes, program.name(), index, tell.clone(), |pid| {
            Start::of(pid, program.guest.wasm, program.arguments())
        })?);
        rows[index].state = State::Starting;
    }
    drop(tell);
    let mut show = Show {
        nodes,
        client,
        alone,
        pids,
        rows,
        screen,
        started,
        last_end: started,
        phase: Phase::Open,
        drained: Duration::ZERO,
        freezes_us: Vec::new(),
    };
    let text =
        format!("all start on the {} node; the {} is idle and takes some", NAMES[0], NAMES[1]);
    show.note(&text);
    show.watch(&hear)?;
    Ok(Outcome {
        time: show.last_end - started,
        drained: show.drained,
        freezes_us: show.freezes_us,
    })
}

impl Show<'_> {
    fn watch(&mut self, ended: &Receiver<Ended>) -> Result<()> {
        loop {
            match ended.recv_timeout(LOOK_EVERY) {
                Ok(ended) => self.ended(ended)?,
                Err(RecvTimeoutError::Timeout) => self.look()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.turn()?;
            self.screen.draw(self.rows);
            if self.started.elapsed() > SHOW_MAX {
                let cause = format!("not done within {} s", SHOW_MAX.as_secs());
                return Err(Failure::new(Code::Internal, "demo", cause));
            }
        }
        if let Phase::Emptying { since } | Phase::Empty { since, .. } = self.phase {
            self.drained = self.last_end - since;
        }
        Ok(())
    }

    /// A program has ended, somewhere.
    fn ended(&mut self, ended: Ended) -> Result<()> {
        let Ended { index, end, at } = ended;
        let (end, output) = end?;
        let same = end == End::Exited(0) && output == self.alone[index].output;
        let row = &mut self.rows[index];
        row.state = if same { State::Identical } else { State::Differs };
        self.last_end = at;
        let text = format!("{} has ended, its output {}", row.name, row.state.text());
        self.tell(&text);
        Ok(())
    }

    /// Asks the nodes how their processes do.
    fn look(&mut self) -> Result<()> {
        let listing = self.client.processes().map_err(|error| failure("ps", &error))?;
        for index in 0..self.rows.len() {
            let pid = self.pids[index];
            let known = listing.processes.iter().filter(|one| one.process.pid == pid);
            // For a moment both ends of a move may tell of it.
            let Some(told) = known.max_by_key(|one| one.moves) else { continue };
            if !self.rows[index].state.is_over() {
                self.update(index, told);
            }
        }
        Ok(())
    }

    fn update(&mut self, index: usize, told: &ProcessRow) {
        let row = &mut self.rows[index];
        let place = self.nodes.ids.iter().position(|id| *id == told.node);
        let walked = (place != row.place).then_some(row.place).flatten();
        row.place = place;
        row.state = match told.state {
            RowState::Running => State::Running,
            RowState::Waiting | RowState::Asleep => State::Waiting,
            RowState::Moving | RowState::InDoubt => State::Moving,
        };
        row.cpu = Duration::from_millis(told.cpu_ms);
        row.progress = row.cpu.as_secs_f64() / self.alone[index].time.as_secs_f64();
        row.moves = told.moves;
        row.carried_bytes = told.costs.carried_bytes;
        if told.costs.moves > row.freezes {
            row.freezes = told.costs.moves;
            row.freeze_us_max = told.costs.freeze_us_max;
            self.freezes_us.push(told.costs.freeze_us_last);
        }
        if let (Some(_), Some(place)) = (walked, place) {
            let text = format!("{} has walked to the {} node", row.name, NAMES[place]);
            self.tell(&text);
        }
    }

    /// Empties the second node when it is time, and opens it again.
    fn turn(&mut self) -> Result<()> {
        let now = Instant::now();
        self.phase = match self.phase {
            Phase::Open if self.progress() >= DRAIN_AT => {
                self.nodes.drain_second(&mut self.client, true)?;
                self.note("the second node is being emptied (peri drain second): all walk back");
                Phase::Emptying { since: now }
            }
            Phase::Emptying { since } => {
                let nodes = self.client.nodes().map_err(|error| failure("nodes", &error))?;
                let second = nodes.iter().find(|one| one.node == self.nodes.ids[1]);
                let empty = second.is_none_or(|one| one.processes == 0);
                if empty || now - since > EMPTYING_MAX {
                    Phase::Empty { since, until: now + EMPTY_FOR }
                } else {
                    self.phase
                }
            }
            Phase::Empty { since, until } if now >= until => {
                self.nodes.drain_second(&mut self.client, false)?;
                self.drained = now - since;
                self.note("the second node takes processes again (peri drain --off second)");
                Phase::OpenAgain
            }
            phase => phase,
        };
        Ok(())
    }

    /// Which part of all the work is done.
    fn progress(&self) -> f64 {
        let all: f64 = self.alone.iter().map(|alone| alone.time.as_secs_f64()).sum();
        let done = |(row, alone): (&Row, &Alone)| {
            let part = if row.state.is_over() { 1.0 } else { row.progress.min(1.0) };
            part * alone.time.as_secs_f64()
        };
        self.rows.iter().zip(self.alone).map(done).sum::<f64>() / all
    }

    /// Something that the onlooker is to know.
    fn note(&mut self, text: &str) {
        self.screen.note(self.started.elapsed(), text);
    }

    /// Something that a table shows by itself.
    fn tell(&mut self, text: &str) {
        self.screen.tell(self.started.elapsed(), text);
    }
}
