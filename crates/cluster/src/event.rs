//! What a node is told, and what it wants done. Plain data: a host carries it out, or a simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peripatos_abi::Pid;

use crate::journal::{Standing, Told};
use crate::membership::Member;
use crate::message::{
    Answer, CodeHash, Command, Description, Doing, End, Entry, Luggage, Message, MigrationId,
    ProcessRow, RowOfNode,
};
use crate::placement::Labels;
use crate::precopy::PreCopied;
use crate::promises::{Heard, Word};
use crate::removed::{Proof, Removal};
use crate::traffic::Talks;
use crate::{Incarnation, NodeId};

/// What a node is from its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Itself.
    pub node: NodeId,
    /// This OS process of it.
    pub incarnation: Incarnation,
    /// Its name.
    pub name: String,
    /// Where others reach it; empty: nowhere.
    pub address: String,
    /// Kernel threads that run processes.
    pub cores: u32,
    /// Bytes of processes and programs that may leave it each second. `None`: as many as can be.
    pub move_bytes_per_s: Option<u64>,
    /// What it is labelled with.
    pub labels: Labels,
    /// Whether it gives and takes processes for the sake of the balance, until somebody says otherwise.
    pub balancing: bool,
    /// In a cluster of at most so many nodes each tells all others how loaded it is; in a larger one a few hear of it at a time:
    /// [`KNOWS_ALL_MAX`](crate::limits::KNOWS_ALL_MAX), unless somebody wants to try the other way with few nodes.
    pub knows_all_max: usize,
    /// In a cluster of at most so many members each keeps a link with each other one; in a larger one links are made on need:
    /// [`LINKS_KEPT`](crate::limits::LINKS_KEPT), unless somebody wants to try the other way with few nodes, or this one hears no gossip,
    /// without which it has to keep all.
    pub links_kept: usize,
    /// Then one that nobody needs is closed after so long: [`LINK_IDLE`](crate::limits::LINK_IDLE).
    pub link_idle: Duration,
    /// A node to which there has been no link for so long counts as silent, unless gossip says that it lives.
    pub silent_after: Duration,
    /// Nodes that were removed from the cluster, as far as it knew when it ended: at most
    /// [`REMOVED_MAX`](crate::limits::REMOVED_MAX).
    pub removed: BTreeMap<NodeId, Proof>,
}

/// Another node, as its link shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub node: NodeId,
    /// Which OS process of it.
    pub incarnation: Incarnation,
    /// Its name.
    pub name: String,
    /// Where it listens; empty: nowhere.
    pub address: String,
    /// What it is labelled with.
    pub labels: Labels,
    /// Whether its release knows that links are closed when nobody needs them.
    pub parts: bool,
}

/// A local client's question, numbered by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a local client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The processes of all nodes.
    Processes,
    /// The nodes.
    Nodes,
    /// What has become of moves, of this process or of all.
    Events(Option<Pid>),
    /// A node is to be let in no more: this one, which has the token, has signed for that. Answered as a command is.
    Remove(Removal),
    /// Something of one node.
    Command {
        /// Which.
        node: NodeId,
        /// What.
        command: Command,
    },
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To [`Request::Processes`].
    Processes {
        /// What the nodes said.
        processes: Vec<ProcessRow>,
        /// Names of the nodes that did not answer.
        silent: Vec<String>,
    },
    /// To [`Request::Nodes`].
    Nodes(Vec<RowOfNode>),
    /// To [`Request::Events`].
    Events {
        /// What the nodes said, oldest first.
        told: Vec<Told>,
        /// If it was of one process: what would become of it now.
        standing: Option<Box<Standing>>,
        /// Names of the nodes that did not answer.
        silent: Vec<String>,
    },
    /// To [`Request::Command`].
    Command(Answer),
}

/// How a local process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which.
    pub pid: Pid,
    /// The core that last ran it.
    pub core: u32,
    /// Processor time it has used here.
    pub cpu: Duration,
    /// Whether it runs or waits for a core.
    pub runnable: bool,
    /// Whether it was put aside until something comes for it.
    pub asleep: bool,
    /// Memory it has.
    pub memory_bytes: u64,
    /// With whom it talks.
    pub talks: Talks,
}

/// What a node is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A link stands. The node had none to this peer before.
    LinkUp(Peer),
    /// The link is gone: it broke.
    LinkDown(NodeId),
    /// The link was closed, as [`Action::HangUp`] wants.
    LinkParted(NodeId),
    /// Links with these have carried something else than this node's own messages.
    Used(Vec<NodeId>),
    /// The host has something to say to everybody, and has said it to those that are linked: what it says on each link that is made.
    News {
        /// Newcomers are to hear it, too.
        tells: bool,
    },
    /// The host needs links with these.
    Keep(BTreeSet<NodeId>),
    /// Gossip says that a member lives.
    MemberUp(Member),
    /// Gossip says that it does not, or has left. It is not known to have ended.
    MemberDown(Member),
    /// Something is for a node, and there is no link to it.
    Wanted(NodeId),
    /// That OS process is known to have ended: nothing of it runs any more.
    Gone {
        /// Which node.
        node: NodeId,
        /// Which OS process of it.
        incarnation: Incarnation,
    },
    /// The lease in etcd of that OS process has expired, so that it has ended; there is no link to it.
    LeaseExpired {
        /// Which node.
        node: NodeId,
        /// Which OS process of it.
        incarnation: Incarnation,
    },
    /// The token was rotated, and this node, which has it, has signed by it for all that were removed.
    SignedAnew(Vec<Removal>),
    /// Samples of loads came along with a datagram of that member.
    Loads {
        /// Whose datagram it was.
        from: NodeId,
        /// What it has told.
        heard: Vec<Heard>,
    },
    /// A word about promises came in a datagram.
    Word {
        /// Whose.
        from: NodeId,
        /// What.
        word: Word,
    },
    /// A message came over a link. Of what it says of removed nodes ([`Message::Removed`]) the host has looked at the proofs.
    Message {
        /// From whom.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// A new process runs here. Its origin is attached here, or the thaw of an image began it.
    Started(Description),
    /// A process here has spawned another one.
    Born(Description),
    /// How the local processes do.
    Samples(Vec<Sample>),
    /// What a core does here in a second, in thousandths of what one of the reference does: less while others use the CPUs.
    Speed(u32),
    /// Memory that there is here for more processes, bytes.
    MemoryFree(u64),
    /// A local process has ended.
    Ended {
        /// Which.
        pid: Pid,
        /// How.
        end: End,
    },
    /// The attached origin of a process wants it to end, wherever it runs.
    OriginKills(Pid),
    /// The attached origin of a process has gone away. (If the process is elsewhere, its node is told.)
    OriginGone(Pid),
    /// A program that was asked for is there and compiled.
    CodeReady(CodeHash),
    /// A program that was asked for is not here.
    CodeMissing(CodeHash),
    /// A program that was asked for cannot be used: why.
    CodeFailed(CodeHash, String),
    /// A process that was to be copied while it runs has been, as far as it could be.
    PreCopied {
        /// For which migration.
        migration: MigrationId,
        /// How far.
        copied: PreCopied,
    },
    /// A process that was to be frozen stands still, and its image is ready to be sent.
    Frozen {
        /// For which migration.
        migration: MigrationId,
        /// How long its image is.
        image_bytes: u64,
    },
    /// A process that was to be frozen cannot be, or one that was to be copied before: why. It goes on.
    NotFrozen {
        /// For which migration.
        migration: MigrationId,
        /// Why.
        reason: String,
    },
    /// An image that was to be expected may come.
    RoomMade(MigrationId),
    /// An image has come whole, and its process stands here.
    Prepared(MigrationId),
    /// An image has not come whole, or no process can be made of it: why.
    NotPrepared {
        /// Of which migration.
        migration: MigrationId,
        /// Why.
        reason: String,
    },
    /// What the cores know, of what [`Action::Survey`] has asked for.
    Surveyed {
        /// Its number.
        survey: u64,
        /// Those that are there, each once.
        doings: Vec<(Pid, Doing)>,
    },
    /// Processes were waiting for each other in a circle; one of them has been told.
    Deadlock {
        /// The first of them, in order; one runs here.
        circle: Vec<Pid>,
        /// How many there are.
        len: u32,
    },
    /// A local client asks.
    Request {
        /// Its number.
        id: RequestId,
        /// What.
        request: Request,
    },
}

/// What a node wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a message. Where there is no link (any more), it is dropped; a member that lives is called, and what is owed to it is said anew.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// What a node has told of its processes' names does not count any more: there is no link to it, and gossip does not say that it
    /// lives. (What it tells when there is a link again takes the place of all that it has told.)
    ForgetNames(NodeId),
    /// Send a word in a datagram. It may be lost.
    Say {
        /// To whom.
        to: NodeId,
        /// What.
        word: Word,
    },
    /// Tell a keeper in a datagram: at most [`ENTRIES_SAID_MAX`](crate::limits::ENTRIES_SAID_MAX). It may be lost.
    Hint {
        /// Whom.
        to: NodeId,
        /// What.
        entries: Vec<Entry>,
    },
    /// Close the link when what is to be sent has been; neither end needs it. Answered by `LinkParted`.
    HangUp(NodeId),
    /// Make links to these, unless they are there.
    Connect(Vec<String>),
    /// Have a program ready: answered by `CodeReady`, `CodeMissing` or `CodeFailed`.
    WantCode(CodeHash),
    /// A program that a peer was asked for need not come any more.
    ForgetCode(CodeHash),
    /// Send a program in bulk.
    SendCode {
        /// To whom.
        to: NodeId,
        /// Which.
        code: CodeHash,
    },
    /// Copy the memory of a process while it runs: answered by `PreCopied`, `NotFrozen` or `Ended`.
    PreCopy {
        /// To whom.
        to: NodeId,
        /// Which.
        pid: Pid,
        /// What for.
        migration: MigrationId,
    },
    /// Copy no more of it.
    StopCopying(MigrationId),
    /// Freeze a process and make its image: answered by `Frozen`, `NotFrozen` or `Ended`.
    Freeze {
        /// Which.
        pid: Pid,
        /// What for.
        migration: MigrationId,
    },
    /// Send the image in bulk; of a process that has been copied, what has been written since.
    SendImage {
        /// To whom.
        to: NodeId,
        /// Whose.
        pid: Pid,
        /// In which migration.
        migration: MigrationId,
    },
    /// A frozen process goes on here. Its image is not needed any more.
    Resume(Pid),
    /// A frozen process has left: end it here, it is not to run again.
    Discard {
        /// Which.
        pid: Pid,
        /// Where it runs now.
        to: NodeId,
    },
    /// Make room for an image: answered by `RoomMade` or `NotPrepared`, and when it has come by `Prepared` or
    /// `NotPrepared`.
    Expect {
        /// From whom.
        from: NodeId,
        /// In which migration.
        migration: MigrationId,
        /// What comes.
        luggage: Luggage,
    },
    /// The process that came runs from now on.
    Activate {
        /// In which migration it came.
        migration: MigrationId,
        /// Which.
        pid: Pid,
    },
    /// Drop what has come of a migration: the process goes on at its source.
    Drop(MigrationId),
    /// End a local process.
    Kill(Pid),
    /// An OS process of that node is gone, with all that it ran: who waits for that is told.
    NodeGone(NodeId),
    /// That node cannot be reached, and may be gone or go on: who waits for what it runs is told that nobody knows.
    NodeSilent(NodeId),
    /// These were removed from the cluster for good: keep all of [`Node::removed`](crate::Node::removed), make no link with them
    /// any more, and cut those that stand, when what is to be sent has been. None: only proofs are others.
    Remove(Vec<NodeId>),
    /// This node was removed from the cluster, says that one: it is to end.
    WasRemoved {
        /// Who.
        by: NodeId,
    },
    /// Nobody serves this local process any more.
    OriginGone(Pid),
    /// The attached origin of `root` is also that of a process that belongs to it.
    Adopt {
        /// Which.
        pid: Pid,
        /// Whose.
        root: Pid,
        /// What its program is called.
        program: String,
    },
    /// Tell the attached origin of a process that it has ended.
    TellOrigin {
        /// Which.
        pid: Pid,
        /// How.
        end: End,
    },
    /// Ask the cores what these do: answered by `Surveyed`.
    Survey {
        /// Its number.
        survey: u64,
        /// Which.
        pids: Vec<Pid>,
    },
    /// Tell the attached origin of a process that it was in a circle.
    TellDeadlock {
        /// Which.
        pid: Pid,
        /// In words.
        text: String,
    },
    /// Answer a local client.
    Respond {
        /// Its number.
        id: RequestId,
        /// What.
        response: Response,
    },
    /// Something for the log, once.
    Log(String),
}
