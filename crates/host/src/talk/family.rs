//! The processes of one run, and how one of them makes another.
//!
//! A *family* is a program that somebody has started, and whatever it spawns: they have programs, limits and an origin
//! in common. Each process that talks is a [`Member`] of one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use peripatos_abi::Pid;
use peripatos_abi::device::Devices;
use peripatos_abi::message::{ARGUMENT_BYTES_MAX, Status};
use peripatos_engine::{Code, Form, Handler, Limits, Process, ProcessOptions, SpawnError};
use peripatos_kernel::Budget;
use rustix::rand::{GetRandomFlags, getrandom};

use super::{Line, Share};

/// Processes of a family on one node, unless its starter says otherwise.
pub const FAMILY_PROCESSES_MAX: u32 = 1_000_000;
/// Bytes of messages of a family that wait on one node, unless its starter says otherwise.
pub const FAMILY_MESSAGES_BYTES_MAX: u64 = 256 << 20;
/// Between the numbers of two families' members, so that people see who belongs to whom.
const NUMBERS: u64 = 1_000_000;

/// Programs that a family lacks and of which its home is told; and bytes of each one's name.
const LACKING_MAX: usize = 16;
const LACKING_BYTES_MAX: usize = 64;

/// What its user is told if a family lacks a program.
#[must_use]
pub fn no_program(name: &str) -> String {
    format!("no program `{name}` to spawn: give it with --with {name}=FILE.wasm")
}

/// See the module.
pub struct Family {
    /// The process that was started first.
    root: Pid,
    rules: Rules,
    programs: BTreeMap<String, Code>,
    home: Arc<dyn Home>,
    alive: AtomicU32,
    last_number: AtomicU64,
    messages: Arc<Budget>,
    share: Option<Arc<Share>>,
    /// Programs that were wanted and are not there, as they are called.
    lacking: Mutex<BTreeSet<String>>,
}

/// What the starter of a family allows it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How much each process may use.
    pub limits: Limits,
    /// Processes that may be there at a time.
    pub processes_max: u32,
    /// Bytes of messages that may wait for their receivers on a node, short ones not counted ([`Budget`]).
    pub messages_bytes_max: u64,
    /// How much of a node's CPUs they may use, in thousandths of one. `None`: all there is.
    pub cpu_permille_max: Option<u32>,
    /// Names that its processes register, look up or list begin so.
    pub name_prefix: Vec<u8>,
    /// Environment of each, `NAME=VALUE`.
    pub env: Vec<Vec<u8>>,
    /// As [`ProcessOptions::freeze_every`], for all that are spawned.
    pub freeze_every: Option<u32>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            limits: Limits::default(),
            processes_max: FAMILY_PROCESSES_MAX,
            messages_bytes_max: FAMILY_MESSAGES_BYTES_MAX,
            cpu_permille_max: None,
            name_prefix: Vec::new(),
            env: Vec::new(),
            freeze_every: None,
        }
    }
}

/// Whoever has started a family.
pub trait Home: Send + Sync {
    /// The devices of a new process, which has those of the family's root.
    fn devices(&self, pid: Pid) -> Box<dyn Devices>;
    /// Who can be sent what the family asks of its devices. `None`: nobody.
    fn device_server(&self) -> Option<DeviceServer> {
        None
    }
    /// One of the family wants to spawn a program of this name, which the family does not have. Told once of each name, and
    /// not of many.
    fn lacks(&self, program: &str) {
        let _ = program;
    }
    /// A process is there, and has not run. Called on its core, which does nothing meanwhile.
    fn born(&self, birth: Birth<'_>);
}

/// A process that serves devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceServer {
    /// The device process of the family's origin.
    Process(Pid),
    /// Whoever has this name.
    Named(Vec<u8>),
}

/// A new process.
#[derive(Clone, Copy)]
pub struct Birth<'a> {
    /// Its name.
    pub pid: Pid,
    /// Who has spawned it.
    pub parent: Pid,
    /// Its program.
    pub code: &'a Code,
    /// What its program is called.
    pub program: &'a str,
    /// What it was given.
    pub argument: &'a Arc<[u8]>,
}

/// A new process, before it has run.
pub struct Newcomer {
    /// What it is.
    pub body: Body,
    /// Who has spawned it.
    pub parent: Pid,
    /// What its family may use of the CPUs.
    pub share: Option<Arc<Share>>,
}

/// What a new process is.
pub enum Body {
    /// One on a stack of its own.
    Process(Box<Process>),
    /// One to be called.
    Handler(Box<Handler>),
}

impl Family {
    /// A family of a root that is there, or will be. `programs`: what else its processes may spawn, by name.
    #[must_use]
    pub fn new(
        root: Pid,
        rules: Rules,
        programs: BTreeMap<String, Code>,
        home: Arc<dyn Home>,
    ) -> Arc<Family> {
        let last_number = AtomicU64::new(root.number().wrapping_mul(NUMBERS));
        let messages = Budget::new(rules.messages_bytes_max);
        let share = rules.cpu_permille_max.map(Share::new);
        let (alive, lacking) = (AtomicU32::new(0), Mutex::default());
        Arc::new(Family {
            root,
            rules,
            programs,
            home,
            alive,
            last_number,
            messages,
            share,
            lacking,
        })
    }

    /// What its messages are charged to while they wait.
    pub(super) fn messages(&self) -> &Arc<Budget> {
        &self.messages
    }

    /// What its processes may use of this node's CPUs.
    #[must_use]
    pub fn share(&self) -> Option<Arc<Share>> {
        self.share.clone()
    }

    /// Who serves its devices.
    pub(super) fn device_server(&self) -> Option<DeviceServer> {
        self.home.device_server()
    }

    /// The process that was started first.
    #[must_use]
    pub fn root(&self) -> Pid {
        self.root
    }

    /// What its starter allows it.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The name that a process asks for, if it may have to do with it.
    ///
    /// # Errors
    /// [`Status::NotPermitted`].
    pub(super) fn permit(&self, name: &[u8]) -> Result<(), Status> {
        if name.starts_with(&self.rules.name_prefix) { Ok(()) } else { Err(Status::NotPermitted) }
    }

    /// Everything that begins so may be listed; what begins otherwise is as if it were not there.
    pub(super) fn narrow<'a>(&'a self, prefix: &'a [u8]) -> Option<&'a [u8]> {
        let own = self.rules.name_prefix.as_slice();
        if prefix.starts_with(own) { Some(prefix) } else { own.starts_with(prefix).then_some(own) }
    }

    /// The program of this name or content hash.
    fn program(&self, name: &[u8]) -> Option<(&str, &Code)> {
        let mut programs = self.programs.iter();
        let found = programs.find(|(known, code)| known.as_bytes() == name || code.hash() == name);
        found.map(|(name, code)| (name.as_str(), code))
    }

    /// A program that is not there was wanted.
    fn lacks(&self, name: &[u8]) -> Status {
        let shown = String::from_utf8_lossy(&name[..name.len().min(LACKING_BYTES_MAX)]);
        let shown = shown.chars().map(|c| if c.is_control() { '?' } else { c });
        let shown: String = shown.collect();
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        if lacking.len() < LACKING_MAX && lacking.insert(shown.clone()) {
            drop(lacking);
            self.home.lacks(&shown);
        }
        Status::NoProgram
    }

    fn draw(&self) -> io::Result<Pid> {
        let number = self.last_number.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Ok(Pid::new(number, random()?))
    }
}

/// A random number. They are drawn from the system some at a time.
pub(super) fn random() -> io::Result<u64> {
    thread_local! {
        static DRAWN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    DRAWN.with_borrow_mut(|drawn| {
        if let Some(number) = drawn.pop() {
            return Ok(number);
        }
        let mut bytes = [0; 256];
        // So many come as a whole, says getrandom(2).
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        drawn.extend(bytes.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number)));
        drawn.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    })
}

/// A process's place in its family.
pub struct Member {
    family: Arc<Family>,
    /// Its program and what that is called.
    code: Code,
    program: Arc<str>,
    parent: Pid,
    argument: Arc<[u8]>,
    _seat: Seat,
}

/// Counts.
struct Seat(Arc<Family>);

impl Seat {
    fn take(family: &Arc<Family>) -> Result<Seat, Status> {
        let full = family.alive.fetch_add(1, Ordering::Relaxed) >= family.rules.processes_max;
        let seat = Seat(Arc::clone(family));
        if full { Err(Status::TooMany) } else { Ok(seat) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Member {
    /// The root of a family, of this program.
    ///
    /// # Errors
    /// [`Status::TooMany`]: the family may have nobody.
    pub fn root(family: &Arc<Family>, code: Code, program: &str) -> Result<Member, Status> {
        let nobody = Pid::from_bits(0);
        Member::child(family, code, program.into(), nobody, Arc::default())
    }

    /// One that `parent` has spawned, here or before it came here.
    ///
    /// # Errors
    /// [`Status::TooMany`].
    pub fn child(
        family: &Arc<Family>,
        code: Code,
        program: Arc<str>,
        parent: Pid,
        argument: Arc<[u8]>,
    ) -> Result<Member, Status> {
        let seat = Seat::take(family)?;
        Ok(Member { family: Arc::clone(family), code, program, parent, argument, _seat: seat })
    }

    /// The family.
    #[must_use]
    pub fn family(&self) -> &Arc<Family> {
        &self.family
    }

    /// Who has spawned it. Nobody: all bits are 0.
    #[must_use]
    pub fn parent(&self) -> Pid {
        self.parent
    }

    /// What it was given.
    #[must_use]
    pub fn argument(&self) -> &[u8] {
        &self.argument
    }

    /// Makes a process: `program` is empty for the parent's own, `args` are what follows its name. `settle` puts it where
    /// it can run.
    ///
    /// # Errors
    /// [`Status::NoProgram`], [`Status::TooMany`], [`Status::TooLong`], or what `settle` says.
    pub(super) fn spawn(
        &self,
        parent: Pid,
        program: &[u8],
        args: &[u8],
        argument: &[u8],
        settle: impl FnOnce(Newcomer) -> Result<(), Status>,
    ) -> Result<Pid, Status> {
        if args.len().max(argument.len()) > ARGUMENT_BYTES_MAX {
            return Err(Status::TooLong);
        }
        let (family, own) = (&self.family, (&*self.program, &self.code));
        let (name, code) = match program {
            b"" => own,
            hash if *hash == self.code.hash() => own,
            name => family.program(name).ok_or_else(|| family.lacks(name))?,
        };
        let argument: Arc<[u8]> = argument.into();
        let given = Arc::clone(&argument);
        let member = Member::child(family, code.clone(), name.into(), parent, given)?;
        let pid = family.draw().map_err(|_| Status::TooMany)?;
        let words = args.strip_suffix(b"\0").unwrap_or(args).split(|byte| *byte == 0);
        let words = words.filter(|_| !args.is_empty()).map(<[u8]>::to_vec);
        let options = ProcessOptions {
            pid,
            args: std::iter::once(name.as_bytes().to_vec()).chain(words).collect(),
            env: family.rules.env.clone(),
            devices: family.home.devices(pid),
            limits: family.rules.limits,
            freeze_every: family.rules.freeze_every,
        };
        let body = make(code, options).map_err(|error| match error {
            SpawnError::Instantiate(_) => Status::TooMany,
            _ => Status::NoProgram,
        })?;
        let body = body.with_line(Line::of(pid, member));
        settle(Newcomer { body, parent, share: family.share() })?;
        family.home.born(Birth { pid, parent, code, program: name, argument: &argument });
        Ok(pid)
    }
}

fn make(code: &Code, options: ProcessOptions) -> Result<Body, SpawnError> {
    Ok(match code.form() {
        Form::Handler => Body::Handler(Box::new(Handler::spawn(code, options)?)),
        Form::Program => {
            let mut process = Process::spawn(code, options)?;
            process.begin_as_spawned();
            Body::Process(Box::new(process))
        }
    })
}

impl Body {
    fn with_line(mut self, line: Line) -> Body {
        match &mut self {
            Body::Process(process) => process.set_messages(Box::new(line)),
            Body::Handler(handler) => handler.set_messages(Box::new(line)),
        }
        self
    }
}
