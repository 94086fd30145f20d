//! What a node and this user's commands say to each other on the node's control socket.
//!
//! Frames as on a link ([`crate::link`]); these messages in postcard; a program travels as bulk. The socket is in a
//! private directory: whoever can open it is the user. Both ends are of one build, or the version says no.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use peripatos_abi::Pid;
use peripatos_abi::device::Ahead;
use peripatos_cluster::journal::{Standing, Told};
use peripatos_cluster::message::{Answer, Command, End, ProcessRow};
use peripatos_cluster::{NodeId, Placement, RowOfNode, Secret};
use peripatos_engine::Limits;
use serde::{Deserialize, Serialize};

use crate::talk::{FAMILY_MESSAGES_BYTES_MAX, FAMILY_PROCESSES_MAX};

/// Version of this protocol.
pub const VERSION: u16 = 9;

/// From a command to the node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToNode {
    /// The first message.
    Hello {
        /// The version that is spoken.
        version: u16,
    },
    /// The nodes.
    Nodes,
    /// The processes of all nodes.
    Processes,
    /// What has become of moves: of the process of these bits, or of all.
    Events(Option<u128>),
    /// Something of one node.
    Command {
        /// Which.
        node: NodeId,
        /// What.
        command: Command,
    },
    /// Send a message to the process of a name.
    Call {
        /// The name.
        name: String,
        /// The message.
        message: Vec<u8>,
        /// How long to wait for the reply, milliseconds.
        wait_ms: u64,
    },
    /// End the node.
    Down {
        /// With all that runs there; otherwise what runs there moves away first.
        now: bool,
    },
    /// The cluster's token.
    Token,
    /// A new token for the cluster, of a node that has the one in force.
    RotateToken {
        /// For so long the one in force is accepted, too, milliseconds.
        grace_ms: u64,
        /// Or for longer, until all members that live can have heard, those without a link included.
        until_heard: bool,
    },
    /// The token that was drawn while this node was away.
    UseToken(Secret),
    /// Start a process. The connection is its origin's from then on.
    Start(Box<Start>),
    /// The origin's reply to a request.
    Reply {
        /// Of which process, as bits.
        pid: u128,
        /// To which.
        sequence: u64,
        /// What, in the form of the device protocol.
        reply: Vec<u8>,
    },
    /// The origin's reply to a request of a client of its device process.
    ClientReply {
        /// Which client, by the name that its request had.
        client: u128,
        /// To which request.
        sequence: u64,
        /// What, in the form of the device protocol.
        reply: Vec<u8>,
    },
    /// The user wants the process to end.
    Kill,
}

/// A process to be started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Its name, as bits.
    pub pid: u128,
    /// Its program's content hash (blake3).
    pub code: [u8; 32],
    /// Its arguments, the program's name first.
    pub args: Vec<Vec<u8>>,
    /// Its environment, `NAME=VALUE`.
    pub env: Vec<Vec<u8>>,
    /// Bytes of memory it may use.
    pub memory_bytes_max: u64,
    /// Bytes of memory it will need; 0: nothing is said.
    pub memory_bytes_needed: u64,
    /// Whether its NaNs are made canonical.
    pub canonical_nan: bool,
    /// When, seconds since 1970.
    pub started_unix_seconds: u64,
    /// What it may spawn besides its own program: names, and content hashes.
    pub programs: Vec<(String, [u8; 32])>,
    /// Processes that it and all that it spawns may be on a node.
    pub processes_max: u32,
    /// Bytes of messages of theirs that may wait on a node.
    pub messages_bytes_max: u64,
    /// How much of a node's CPUs they may use, in thousandths of one. `None`: all there is.
    pub cpu_permille_max: Option<u32>,
    /// What the names begin with that they may register and look up.
    pub name_prefix: String,
    /// Which nodes may run them.
    pub placement: Placement,
    /// The process stays on the node where it is started until somebody releases it.
    pub pin: bool,
    /// Who answers what they ask of their devices: whoever has this name. `None`: this command.
    pub devices: Option<String>,
}

/// From the node to a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromNode {
    /// The answer to [`ToNode::Hello`].
    Hello {
        /// The version that is spoken.
        version: u16,
        /// Who it is.
        node: NodeId,
        /// Its name.
        name: String,
        /// Where detached programs' output goes.
        logs: PathBuf,
    },
    /// To [`ToNode::Nodes`].
    Nodes(Vec<RowOfNode>),
    /// To [`ToNode::Processes`].
    Processes {
        /// What the nodes said.
        processes: Vec<ProcessRow>,
        /// Names of those that did not answer.
        silent: Vec<String>,
    },
    /// To [`ToNode::Events`].
    Events {
        /// What the nodes said, oldest first.
        told: Vec<Told>,
        /// If it was of one process: what would become of it now.
        standing: Option<Box<Standing>>,
        /// Names of those that did not answer.
        silent: Vec<String>,
    },
    /// To [`ToNode::Token`]: the token in force.
    Token(Secret),
    /// To [`ToNode::RotateToken`]: the token in force, and for how many seconds the one before is accepted.
    Rotated(Secret, u64),
    /// To [`ToNode::Command`], [`ToNode::Down`], [`ToNode::UseToken`], to the others about tokens if there
    /// is none to be told, or, if nothing was started, [`ToNode::Start`].
    Answer(Answer),
    /// To [`ToNode::Call`]: the reply, or why there is none.
    Called(Result<Vec<u8>, String>),
    /// The node does not have the program of this content hash: send it as bulk.
    WantProgram {
        /// Which.
        code: [u8; 32],
    },
    /// The program cannot be used.
    BadProgram {
        /// What is wrong.
        kind: BadProgram,
        /// In words.
        message: String,
    },
    /// The process runs.
    Started,
    /// A request of the process, or of one that it has spawned, for its origin.
    Request {
        /// Whose, as bits.
        pid: u128,
        /// Its number.
        sequence: u64,
        /// What goes with it.
        ahead: Ahead,
        /// What, in the form of the device protocol.
        request: Vec<u8>,
    },
    /// A request of somebody who has sent it to the origin's device process.
    ClientRequest {
        /// By what name the origin is to know him: a pid that no process has.
        client: u128,
        /// Its number, as the device process counts.
        sequence: u64,
        /// What, in the form of the device protocol.
        request: Vec<u8>,
    },
    /// A client of the device process has ended: what it has is to be closed.
    ReleaseClient(u128),
    /// A process that it has spawned has ended.
    ChildEnded {
        /// Which, as bits.
        pid: u128,
        /// What its program was called.
        program: String,
        /// How.
        end: End,
    },
    /// Something about the process, or those that it has spawned, that its user should know: in words.
    Notice(String),
    /// The node that runs the process is silent. It may be dead, or behind a partition; nothing else has happened.
    Silent {
        /// Its name.
        node: String,
    },
    /// The process has ended.
    Ended(End),
}

/// Why a program cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BadProgram {
    /// It is no program, or cannot be made freezable.
    NotProgram,
    /// It imports what nobody offers.
    UnknownImport,
    /// The machine lacks something.
    Resources,
}

/// Programs as they are, by content hash.
pub type Wasms = BTreeMap<[u8; 32], Arc<[u8]>>;

impl Start {
    /// A program that spawns nothing but itself, without an environment; and it, to be sent if it is wanted.
    #[must_use]
    pub fn of(pid: Pid, wasm: &[u8], args: Vec<Vec<u8>>) -> (Start, Wasms) {
        let code = *blake3::hash(wasm).as_bytes();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let start = Start {
            pid: pid.bits(),
            code,
            args,
            env: Vec::new(),
            memory_bytes_max: Limits::default().memory_bytes,
            memory_bytes_needed: 0,
            canonical_nan: false,
            started_unix_seconds: since_1970.map_or(0, |since| since.as_secs()),
            programs: Vec::new(),
            processes_max: FAMILY_PROCESSES_MAX,
            messages_bytes_max: FAMILY_MESSAGES_BYTES_MAX,
            cpu_permille_max: None,
            name_prefix: String::new(),
            placement: Placement::default(),
            pin: false,
            devices: None,
        };
        (start, BTreeMap::from([(code, wasm.into())]))
    }

    /// Its name.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_bits(self.pid)
    }
}
