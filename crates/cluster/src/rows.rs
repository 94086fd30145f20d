//! What processes and nodes look like in a list. As [`crate::message`], a wire form.

use peripatos_abi::Pid;
use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::message::{Description, MoveCosts};
use crate::placement::Labels;

/// A line of `peri ps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// Who it is.
    pub process: Description,
    /// The node that runs it.
    pub node: NodeId,
    /// How it is.
    pub state: RowState,
    /// What it does, if its core has said.
    pub doing: Option<Doing>,
    /// The core that last ran it.
    pub core: Option<u32>,
    /// Processor time so far, here and elsewhere.
    pub cpu_ms: u64,
    /// Memory it has.
    pub memory_bytes: u64,
    /// How often it has moved.
    pub moves: u32,
    /// What that has taken.
    pub costs: MoveCosts,
    /// Whether it stays where it is until it is released.
    pub pinned: bool,
}

/// How a process is, for `peri ps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowState {
    /// It runs or waits for a core.
    Running,
    /// It waits for a device.
    Waiting,
    /// It is on its way to another node.
    Moving,
    /// It has left, or not: its target cannot be asked. It stands still here until that is known.
    InDoubt,
    /// It waits, and was put aside until something comes for it.
    Asleep,
}

/// What a process does, in QNX's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doing {
    /// It has a core.
    Running,
    /// It could run.
    Ready,
    /// It has sent, and this one has not taken the message.
    Send(#[serde(with = "crate::message::pid_bits")] Pid),
    /// It waits for this one's reply. If that is on another node it may not have taken the message.
    Reply(#[serde(with = "crate::message::pid_bits")] Pid),
    /// It waits for a message of anybody. A handler: it can be called.
    Receive,
    /// It waits for a message of this one.
    ReceiveFrom(#[serde(with = "crate::message::pid_bits")] Pid),
    /// It waits for its devices.
    Device,
}

/// A line of `peri nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowOfNode {
    /// Who.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Whether it is the one that was asked.
    pub own: bool,
    /// Whether there is a link to it.
    pub reachable: bool,
    /// Whether it is being emptied.
    pub draining: bool,
    /// Whether it takes nothing, and keeps what it has.
    pub cordoned: bool,
    /// What it is labelled with.
    pub labels: Labels,
    /// Its kernel threads.
    pub cores: u32,
    /// What one of them does in a second, in thousandths of what a core of the reference does.
    pub speed_permille: u32,
    /// Processes that run or wait for a core.
    pub runnable: u32,
    /// All its processes.
    pub processes: u32,
    /// Bytes of processes that may leave it each second. `None`: as many as can be, or it has not said.
    pub move_bytes_per_s: Option<u64>,
    /// If it is being emptied: those of them for which no node that takes any has the labels and the memory, or that have more than the
    /// node carries.
    pub stuck: u32,
    /// Nodes that it has known and that have left in order: they may be back. Known of the node that was asked alone.
    pub left: u32,
}
