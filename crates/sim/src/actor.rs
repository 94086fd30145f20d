//! A process of the simulation: a memory, a part to play, and what it is doing.

use peripatos_abi::Pid;
use peripatos_cluster::Incarnation;
use peripatos_kernel::{AccessKind, Form, Slot};

/// Which process.
pub type Id = usize;

/// Where things lie in a memory.
pub const TO: u32 = 16;
/// See [`TO`].
pub const ENVELOPE: u32 = 32;
/// See [`TO`].
pub const MESSAGE: u32 = 64;
/// See [`TO`].
pub const REPLY: u32 = 1_088;
/// The longest message, and reply.
pub const ROOM: u32 = 1_024;
/// See [`TO`]: what it lends.
pub const LENT: u32 = 2_112;
/// See [`TO`]: what it reads of what others lend, and writes there.
pub const BORROWED: u32 = 2_176;
/// The most that is lent.
pub const LENT_MAX: u32 = 64;
/// Bytes of a memory.
pub const MEMORY_BYTES: usize = 2_240;
/// What lies where a process lends from, while it lends nothing.
pub const UNLENT: u8 = 0xee;

/// What a process mostly does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends.
    Client,
    /// It receives and replies, on a stack of its own.
    Server,
    /// It is called.
    Handler,
    /// It hands on what it receives.
    Forwarder,
    /// It sends and serves, as it comes.
    Peer,
    /// It watches others.
    Watcher,
}

impl Role {
    /// How it takes messages.
    #[must_use]
    pub fn form(self) -> Form {
        if self == Role::Handler { Form::Handler } else { Form::Fiber }
    }

    /// Whether it answers who sends to it.
    #[must_use]
    pub fn serves(self) -> bool {
        !matches!(self, Role::Client | Role::Watcher)
    }
}

/// What it has under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Nothing that blocks.
    Running,
    /// This send.
    Sent(usize),
    /// It waits for a message.
    Receiving,
    /// It reads or writes what was lent to it: [`Actor::access`].
    Borrowing,
    /// It has sent this to a group.
    Gathering(usize),
}

/// A message that it has taken and not replied to.
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// Which send.
    pub number: usize,
    /// How often it was forwarded before.
    pub hop: u32,
    /// What the kernel gave with it.
    pub envelope: [u8; 32],
}

/// What it does with what was lent to it.
#[derive(Clone, Debug)]
pub struct Access {
    /// With which send.
    pub number: usize,
    /// How often that had been forwarded.
    pub hop: u32,
    /// What it is.
    pub kind: AccessKind,
    /// Where.
    pub offset: u32,
    /// What is written; of the length of what is read.
    pub bytes: Vec<u8>,
    /// It has replied already, or handed the message on.
    pub stale: bool,
    /// Whoever has lent it waited when this began.
    pub open: bool,
}

/// A process that sleeps.
#[derive(Debug)]
pub struct Sleep {
    /// Its memory, as it was.
    pub image: Vec<u8>,
    /// Of its memory, as it was.
    pub sum: u64,
    /// Which one of its sleeps.
    pub number: u64,
    /// It is about to wake.
    pub waking: bool,
}

/// How it has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: u64,
    /// With what reason; `None`: its node has crashed.
    pub reason: Option<u64>,
    /// At which kernel.
    pub kernel: Option<usize>,
}

/// See the module.
#[derive(Debug)]
pub struct Actor {
    /// What it is called.
    pub pid: Pid,
    /// Its part.
    pub role: Role,
    /// Who has spawned it.
    pub parent: Option<Id>,
    /// What that one is called.
    pub parent_pid: Option<Pid>,
    /// The first of its family; it may be this one.
    pub root: Id,
    /// The node where its family's origin is attached.
    pub origin: usize,
    /// Which OS process of it.
    pub origin_incarnation: Option<Incarnation>,
    /// Where it is; `None`: it has ended, or is between two kernels.
    pub place: Option<(usize, Slot)>,
    /// The kernel of the same node that it is on its way to.
    pub heading: Option<usize>,
    /// Its memory.
    pub memory: Vec<u8>,
    /// What it has under way.
    pub doing: Doing,
    /// What it has taken.
    pub serving: Vec<Serving>,
    /// What a handler has taken, and will reply to by itself: it is free for others meanwhile.
    pub owed: Vec<Serving>,
    /// What it has replied to, or handed on, last.
    pub served: Option<Serving>,
    /// What it does with what was lent to it.
    pub access: Option<Access>,
    /// It sleeps.
    pub asleep: Option<Sleep>,
    /// How often it has slept.
    pub sleeps: u64,
    /// A handler: it was parked.
    pub parked: bool,
    /// How often it has done something: what was planned for an earlier turn does not happen.
    pub turns: u64,
    /// A turn is planned.
    pub planned: bool,
    /// It has ended.
    pub end: Option<End>,
}

impl Actor {
    /// One that is nowhere yet.
    #[must_use]
    pub fn new(id: Id, role: Role, random: u64, parent: Option<Id>) -> Actor {
        Actor {
            pid: Pid::new(id as u64 + 1, random),
            role,
            parent,
            parent_pid: None,
            root: id,
            origin: 0,
            origin_incarnation: None,
            place: None,
            heading: None,
            memory: vec![UNLENT; MEMORY_BYTES],
            doing: Doing::Running,
            serving: Vec::new(),
            owed: Vec::new(),
            served: None,
            access: None,
            asleep: None,
            sleeps: 0,
            parked: false,
            turns: 0,
            planned: false,
            end: None,
        }
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.end.is_none()
    }

    /// What lies there.
    #[must_use]
    pub fn part(&self, at: u32, len: u32) -> &[u8] {
        &self.memory[at as usize..][..len as usize]
    }

    /// Puts something there.
    pub fn put(&mut self, at: u32, bytes: &[u8]) {
        self.memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }
}
