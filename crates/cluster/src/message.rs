//! What nodes say to each other. These types are the wire form (postcard); the version is agreed on when a link is made.
//!
//! A link keeps the order of messages and loses none while it stands; what was under way when it broke may have arrived
//! or not.

use peripatos_abi::Pid;
use peripatos_abi::device::Ahead;
use serde::{Deserialize, Serialize};

pub use crate::command::{Answer, Command};
use crate::farewell::Departure;
use crate::journal::{Standing, Told};
pub use crate::lane::{Lane, LaneCipher, Wire};
pub use crate::luggage::Luggage;
use crate::placement::{Labels, Placement};
use crate::promises::{Promise, Redemption};
use crate::removed::Removal;
pub use crate::rows::{Doing, ProcessRow, RowOfNode, RowState};
use crate::{Identity, Incarnation, NodeId};

/// One migration, from its offer to its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MigrationId {
    /// The node that the process leaves.
    pub source: NodeId,
    /// Which OS process of it.
    pub incarnation: Incarnation,
    /// Counted by the source.
    pub number: u64,
}

/// Content hash of a program (blake3).
pub type CodeHash = [u8; 32];

/// What stays the same of a process wherever it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its name.
    #[serde(with = "pid_bits")]
    pub pid: Pid,
    /// The program's name as it was given, and its arguments, lossily as text: for people.
    pub command: Vec<String>,
    /// Its program.
    pub code: CodeHash,
    /// The node at which its origin is attached.
    pub origin: NodeId,
    /// When it was started, seconds since 1970 by the origin node's clock.
    pub started_unix_seconds: u64,
    /// Bytes of memory it may use.
    pub memory_bytes_max: u64,
    /// Memory that it will need, bytes, as whoever started it says; 0: nothing is said. It is kept free for it.
    pub memory_bytes_needed: u64,
    /// Whether its NaNs are made canonical.
    pub canonical_nan: bool,
    /// Whom it belongs to, if it talks to others.
    pub kin: Option<Kin>,
}

/// A process's place among those that talk to each other. All that one has spawned, and what they have, are a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kin {
    /// The process of the family that somebody has started: the others end with it. It may be this one.
    #[serde(with = "pid_bits")]
    pub root: Pid,
    /// Who has spawned it. Nobody: 0.
    #[serde(with = "pid_bits")]
    pub parent: Pid,
    /// What the family's processes may spawn, by name.
    pub programs: Vec<(String, CodeHash)>,
    /// Processes that the family may have on a node.
    pub processes_max: u32,
    /// Bytes of messages that may wait for their receivers on a node.
    pub messages_bytes_max: u64,
    /// How much of a node's CPUs the family may use, in thousandths of one. `None`: all there is.
    pub cpu_permille_max: Option<u32>,
    /// What the names begin with that they may register and look up.
    pub name_prefix: String,
    /// Which nodes may run the family.
    pub placement: Placement,
    /// Who answers what it asks of its devices: whoever has this name. `None`: its origin.
    pub devices: Option<String>,
    /// The process of its origin that can be sent what it asks of its devices. Nobody: 0.
    #[serde(with = "pid_bits")]
    pub device_process: Pid,
    /// It is called for each message, and has no stack of its own.
    pub handler: bool,
}

impl Description {
    /// The programs that a node needs to run it: its own first.
    pub(crate) fn codes(&self) -> Vec<CodeHash> {
        let others = self.kin.iter().flat_map(|kin| kin.programs.iter().map(|(_, code)| *code));
        std::iter::once(self.code).chain(others).collect()
    }

    /// Which nodes may run it. `None`: all.
    pub(crate) fn placement(&self) -> Option<&Placement> {
        self.kin.as_ref().map(|kin| &kin.placement).filter(|placement| placement.is_some())
    }

    /// Whether a node of these labels may run it.
    pub(crate) fn suits(&self, labels: &Labels) -> bool {
        self.placement().is_none_or(|placement| placement.suits(labels))
    }

    /// Whether it belongs to the family of this root, and is not the root.
    pub(crate) fn belongs_to(&self, root: Pid) -> bool {
        self.pid != root && self.kin.as_ref().is_some_and(|kin| kin.root == root)
    }
}

/// What one move has taken, as its source knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveCost {
    /// From the request to freeze until the target said that the process runs there.
    pub freeze_us: u64,
    /// From the offer to the target until then.
    pub total_us: u64,
    /// Bytes that were carried while it stood still.
    pub image_bytes: u64,
    /// Bytes that were carried before, while it ran.
    pub copied_bytes: u64,
    /// In so many rounds.
    pub rounds: u32,
}

/// What the moves of a process have taken. The source's word on a move comes a moment after the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveCosts {
    /// Moves that are counted in here.
    pub moves: u32,
    /// How long it stood still for the last of them.
    pub freeze_us_last: u64,
    /// For the longest.
    pub freeze_us_max: u64,
    /// Rounds in which it was copied before the last of them, while it ran.
    pub rounds_last: u32,
    /// Bytes that were carried, all together.
    pub carried_bytes: u64,
}

impl MoveCosts {
    /// Counts one more in.
    pub(crate) fn add(&mut self, cost: MoveCost) {
        self.moves = self.moves.saturating_add(1);
        self.freeze_us_last = cost.freeze_us;
        self.freeze_us_max = self.freeze_us_max.max(cost.freeze_us);
        let carried = cost.image_bytes.saturating_add(cost.copied_bytes);
        self.carried_bytes = self.carried_bytes.saturating_add(carried);
        self.rounds_last = cost.rounds;
    }
}

/// How long a process stays where somebody has put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// Until it is released.
    UntilReleased,
    /// For so many milliseconds.
    For(u64),
}

/// How loaded a node is, for its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadSample {
    /// Kernel threads that run processes.
    pub cores: u32,
    /// What one of them does in a second, in thousandths of what a core of the reference does.
    pub speed_permille: u32,
    /// Processes that run or wait for a core.
    pub runnable: u32,
    /// The same in thousandths, over the last moments.
    pub demand_permille: u32,
    /// Memory that there is for more, bytes.
    pub memory_free_bytes: u64,
    /// All its processes.
    pub processes: u32,
    /// It is being emptied.
    pub draining: bool,
    /// It takes nothing, and keeps what it has.
    pub cordoned: bool,
    /// Bytes of processes that may leave it each second. `None`: as many as can be.
    pub move_bytes_per_s: Option<u64>,
    /// If it is being emptied: for so many of its processes no node that takes any has the labels and the memory, as it was about
    /// a second ago; or they have more than it carries in the time that a move may take.
    pub stuck: u32,
}

/// How a process came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// With this exit code.
    Exited(u32),
    /// By a signal that it raised itself, as the operating system counts them.
    Raised(i32),
    /// It trapped, or could not go on.
    Failed {
        /// What kind of failure it is.
        kind: FailureKind,
        /// In words.
        message: String,
    },
    /// Somebody ended it.
    Killed,
    /// The node that ran it is gone.
    Lost {
        /// That node's name.
        node: String,
    },
    /// It was frozen into an image and has left.
    Frozen,
}

/// Kinds of failure that have an exit code of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// It trapped.
    Trap,
    /// Its stack overflowed.
    StackOverflow,
    /// Memory ran out.
    OutOfMemory,
    /// The runtime failed.
    Internal,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// How loaded the sender is.
    Load(LoadSample),
    /// Nodes that the sender knows: name and address.
    Members(Vec<Member>),
    /// Nodes that were removed for good: after a link was made, all that the sender knows. At most
    /// [`REMOVED_MAX`](crate::limits::REMOVED_MAX).
    Removed(Vec<Removal>),
    /// About who belongs to the cluster.
    Identity(Identity),

    /// What has become of moves, of this process or of all?
    Events {
        /// The question's number.
        request: u64,
        /// The process, as bits.
        of: Option<u128>,
    },
    /// The answer to that.
    Happened {
        /// To which question.
        request: u64,
        /// What.
        told: Vec<Told>,
        /// If the process runs there: what would become of it now.
        standing: Option<Box<Standing>>,
    },

    /// "I have room: give me a process."
    Ask(LoadSample),
    /// "I have none for you."
    Nothing,
    /// To who has promised: this is still to come here.
    Redeem {
        /// How loaded the sender is, without what is to come.
        sample: LoadSample,
        /// How much.
        redemption: Redemption,
    },
    /// To who redeems: these promises of others instead of as much of the sender's own, at most
    /// [`PROMISES_PASSED_MAX`](crate::limits::PROMISES_PASSED_MAX).
    Instead {
        /// Of which nothing was redeemed yet.
        promises: Vec<Promise>,
    },
    /// To who redeems: so much of it does not come.
    Kept {
        /// In thousandths of a process.
        permille: u32,
    },

    /// Source: will you take this process?
    Offer {
        /// The migration that begins.
        migration: MigrationId,
        /// What comes.
        luggage: Luggage,
    },
    /// Target: no.
    Refused {
        /// Which migration.
        migration: MigrationId,
        /// Why.
        reason: String,
    },
    /// Target: send me this program first.
    WantCode {
        /// Which.
        code: CodeHash,
    },
    /// Target: the program is there and compiled; send the image.
    Ready {
        /// Which migration.
        migration: MigrationId,
    },
    /// Source: no more of it; the process goes on at the source.
    Abort {
        /// Which migration.
        migration: MigrationId,
    },
    /// Target: the process stands here, whole; nothing of it has run.
    Prepared {
        /// Which migration.
        migration: MigrationId,
    },
    /// Source: it is yours. Run it.
    Commit {
        /// Which migration.
        migration: MigrationId,
    },
    /// Source, after a break: what has become of it?
    Query {
        /// Which migration.
        migration: MigrationId,
    },
    /// Target: it is mine and runs (`true`), or I do not have it and never shall.
    Outcome {
        /// Which migration.
        migration: MigrationId,
        /// Which of the two.
        committed: bool,
    },
    /// Source: I have heard the outcome.
    Closed {
        /// Which migration.
        migration: MigrationId,
        /// What it has taken, if the process has moved.
        cost: Option<MoveCost>,
    },

    /// What the sender is about to send as bulk under this number.
    Bulk {
        /// The number, counted by the sender.
        stream: u64,
        /// What it is.
        content: Content,
        /// It comes over a connection of its own, not in pieces over the link.
        lane: Option<Lane>,
    },

    /// The speaker is about to open this wire.
    Wire(Wire),

    /// A process's request, to its origin.
    Request {
        /// Whose.
        #[serde(with = "pid_bits")]
        pid: Pid,
        /// Its number.
        sequence: u64,
        /// What goes with it.
        ahead: Ahead,
        /// What, in the form of the device protocol.
        request: Vec<u8>,
    },
    /// The origin's reply.
    Reply {
        /// To whom.
        #[serde(with = "pid_bits")]
        pid: Pid,
        /// To which request.
        sequence: u64,
        /// What, in the form of the device protocol.
        reply: Vec<u8>,
    },
    /// To the origin's node: the process runs here now.
    Arrived {
        /// Which.
        #[serde(with = "pid_bits")]
        pid: Pid,
        /// How often it has moved: links are not equally fast, and the latest word counts.
        moves: u32,
    },
    /// To the origin's node: a process of one of its families was spawned here.
    Born(Description),
    /// A word of a message kernel, in that crate's wire form: hosts bring it to the process
    /// that it is for.
    Talk(Vec<u8>),
    /// Processes of the sender have these names, or (`None`) nobody there has them any more. After a link was made: all
    /// that it has.
    Names(Vec<(Vec<u8>, Option<u128>)>),
    /// A name that a process of the receiver has is one's of the sender, too, which keeps it: its pid is the lower one. Said
    /// behind the [`Names`](Message::Names) that tell of that one.
    NameLost {
        /// Which.
        name: Vec<u8>,
        /// Who keeps it.
        #[serde(with = "pid_bits")]
        owner: Pid,
        /// Who has it no more, and is to be told.
        #[serde(with = "pid_bits")]
        loser: Pid,
    },
    /// To their keeper: these processes are here, or have ended here. At most
    /// [`ENTRIES_MAX`](crate::limits::ENTRIES_MAX).
    Entries(Vec<Entry>),
    /// Where is this process?
    Seek {
        /// Which.
        #[serde(with = "pid_bits")]
        pid: Pid,
        /// Which of the asker's questions this is.
        question: u64,
    },
    /// The answer.
    Sought(Sought),
    /// From the origin's node: do you have this process, as you said? Who has it says nothing.
    HaveYou {
        /// Which.
        #[serde(with = "pid_bits")]
        pid: Pid,
    },
    /// To the origin's node: it is not here.
    HaveNot {
        /// Which.
        #[serde(with = "pid_bits")]
        pid: Pid,
    },
    /// To the origin's node: the process has ended.
    Ended {
        /// Which.
        #[serde(with = "pid_bits")]
        pid: Pid,
        /// How.
        end: End,
    },
    /// From the origin's node: the end is known to who waited.
    EndHeard {
        /// Of which process.
        #[serde(with = "pid_bits")]
        pid: Pid,
    },
    /// From the origin's node: nobody serves this process any more.
    OriginGone {
        /// Which process.
        #[serde(with = "pid_bits")]
        pid: Pid,
    },

    /// To the origin's node: processes were waiting for each other in a circle.
    Deadlock {
        /// The first of them.
        circle: Vec<Pid>,
        /// How many there are.
        len: u32,
    },
    /// What runs at your place?
    List {
        /// The asker's number.
        request: u64,
    },
    /// This runs here.
    Listed {
        /// The asker's number.
        request: u64,
        /// A line each.
        processes: Vec<ProcessRow>,
    },
    /// Do this.
    Command {
        /// The asker's number.
        request: u64,
        /// What.
        command: Command,
    },
    /// What came of it.
    Answer {
        /// The asker's number.
        request: u64,
        /// What.
        answer: Answer,
    },

    /// Nodes that have left in order, and which OS process of each: the sender itself, as its last word; or others, which have signed it. After a
    /// link was made: all that the sender knows. At most [`LEFT_MAX`](crate::limits::LEFT_MAX).
    Left(Vec<Departure>),
    /// To the origin's node, when it can be reached again: so many requests of a process have failed because it could not.
    Unserved {
        /// Which.
        #[serde(with = "pid_bits")]
        pid: Pid,
        /// How many.
        requests: u64,
    },

    /// The speaker does not need this link: may it be closed? From link version 9 on, as the two that follow.
    Part,
    /// To that: yes. Nothing comes any more.
    Parted,
    /// To that: no.
    Stay,
}

impl Message {
    /// The version of the link protocol with which it began: on links of those before it is not said.
    #[must_use]
    pub fn since_version(&self) -> u16 {
        match self {
            Message::Left(_)
            | Message::Unserved { .. }
            | Message::Part
            | Message::Parted
            | Message::Stay => 9,
            _ => 8,
        }
    }
}

/// What the directory is told of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which.
    #[serde(with = "pid_bits")]
    pub pid: Pid,
    /// How often it has moved: words of different nodes overtake each other.
    pub moves: u32,
    /// It is at the speaker's; or it has ended there.
    pub here: bool,
}

/// The answer to who looks for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    /// Which.
    #[serde(with = "pid_bits")]
    pub pid: Pid,
    /// To which question.
    pub question: u64,
    /// What is known of it.
    pub sighting: Sighting,
}

/// What a node knows of a process that another one looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sighting {
    /// It is here: its packets are to be sent here.
    Here,
    /// It is not here.
    NotHere,
    /// It is not here. That node has said that it has it; it may have left there since.
    Perhaps(NodeId),
}

/// Another node, as far as a newcomer needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// Where it listens; empty: nowhere, or it cannot be reached.
    pub address: String,
}

/// What travels in bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Content {
    /// A program.
    Code(CodeHash),
    /// The image of a migrating process.
    Image(MigrationId),
}

/// Pids as numbers on the wire.
pub(crate) mod pid_bits {
    use peripatos_abi::Pid;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(crate) fn serialize<S: Serializer>(pid: &Pid, to: S) -> Result<S::Ok, S::Error> {
        pid.bits().serialize(to)
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Pid, D::Error> {
        u128::deserialize(from).map(Pid::from_bits)
    }
}
