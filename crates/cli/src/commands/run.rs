//! `peri run`: runs a program as it would run natively: its streams, its exit code, its signals.

use crate::cluster::At;
use crate::cpu_max::CpuMax;
use crate::detached::{self, Log};
use crate::exit::{Code, End, Failure, Result, say};
use crate::family::With;
use crate::restart::{RESTARTS_MAX, RESTARTS_WITHIN, Restart, Restarts};
use crate::session::{Disturbance, Session};
use crate::size::Size;
use crate::{attached, directories, family, pids, place, program};
use peripatos_abi::Pid;
use peripatos_cluster::message::End as ProcessEnd;
use peripatos_cluster::{Label, Placement};
use peripatos_engine::{Backend, CodeKind, Limits, LoadOptions, Process, ProcessOptions};
use peripatos_host::node::NodeClient;
use peripatos_host::node::protocol::{Start, Wasms};
use peripatos_host::origin::{Origin, Preopen};
use peripatos_host::talk::{FAMILY_MESSAGES_BYTES_MAX, FAMILY_PROCESSES_MAX, Rules};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::time::Instant;

/// Runs a program.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// A directory that the program may use, and what it calls it; may be given several times
    #[arg(long, value_name = "HOST::GUEST")]
    dir: Vec<OsString>,
    /// A variable of the program's environment; NAME alone passes this shell's on
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<OsString>,
    /// Run the program as it came: cannot be frozen; for comparison
    #[arg(long, conflicts_with_all = ["freeze_every", "freeze_random"])]
    plain: bool,
    /// Another program that this one may spawn, and what it calls it; NAME= may be left out
    #[arg(long, value_name = "NAME=FILE")]
    with: Vec<With>,
    /// Processes that the program may have at a time, itself and all that it spawns
    #[arg(long, value_name = "N", default_value_t = FAMILY_PROCESSES_MAX)]
    processes_max: u32,
    /// Messages over 1 KiB that wait for their receivers, all of the program's on a node together; beyond, sending fails
    #[arg(long, value_name = "SIZE")]
    messages_max: Option<Size>,
    /// CPU time that the program, with all that it spawns, may use on each node: 50% of a core, or 1.5 cores
    #[arg(long, value_name = "PERCENT%|CORES")]
    cpu_max: Option<CpuMax>,
    /// The program may register and look up only names that begin so
    #[arg(long, value_name = "PREFIX", default_value = "")]
    name_prefix: String,
    /// Files, streams, clocks and random numbers come from the process of this name, on any node, in place of this command
    #[arg(long, value_name = "NAME", conflicts_with = "local")]
    devices: Option<String>,
    /// Runs only on nodes with this label (`peri up --label`); may be given several times
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "local")]
    on: Vec<Label>,
    /// It stays on the node where it is started, until `peri unpin`; what it spawns does not
    #[arg(long, conflicts_with = "local")]
    pin: bool,
    /// Runs on no node with this label; may be given several times
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "local")]
    not_on: Vec<Label>,
    /// Rather on nodes with this label; may be given several times: on those that have more of them, if it need not share a core there
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "local")]
    prefer: Vec<Label>,
    /// Memory that the program will need: it runs only on nodes that have it left, and keep it free for it (--memory-max is a limit)
    #[arg(long, value_name = "SIZE", conflicts_with = "local")]
    memory: Option<Size>,
    /// Start it again, as another process, when the node that runs its first process is lost
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, conflicts_with = "local")]
    restart: Restart,
    #[command(flatten)]
    at: At,
    /// Run it in this command, not on a node
    #[arg(long, conflicts_with_all = ["at", "detach"])]
    local: bool,
    /// Leave it running: its output goes to a log of the node, its input is empty
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    common: Common,
    /// Make the bits of NaNs the same on every machine (floating-point loops get slower)
    #[arg(long)]
    canonical_nan: bool,
    /// The program, and its arguments: all that follows the program is for it
    #[arg(value_name = "PROG.wasm [ARGS", required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// Options of `run` and `thaw` alike.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// Freeze at every N-th check and thaw into a fresh store each time, for testing
    #[arg(long, value_name = "N", conflicts_with = "freeze_random")]
    freeze_every: Option<NonZeroU32>,
    /// Freeze at random times and thaw into a fresh store each time, for testing
    #[arg(long, value_name = "SEED")]
    freeze_random: Option<u64>,
    /// Use the portable interpreter in place of machine code
    #[arg(long)]
    interpreter: bool,
    /// Memory that the program may use, 512 (MiB), 512M or 2G; beyond, its allocations fail
    #[arg(long, value_name = "SIZE")]
    memory_max: Option<Size>,
    /// Say at the end how often the program was frozen
    #[arg(long)]
    stats: bool,
}

impl Run {
    fn messages_bytes_max(&self) -> u64 {
        self.messages_max.map_or(FAMILY_MESSAGES_BYTES_MAX, Size::bytes)
    }

    fn placement(&self) -> Placement {
        let (on, not_on) = (self.on.clone(), self.not_on.clone());
        Placement { on, not_on, prefer: self.prefer.clone() }
    }

    /// Whether it asks for what only a node can do.
    fn is_for_a_node(&self) -> bool {
        self.detach
            || self.pin
            || self.devices.is_some()
            || self.placement().is_some()
            || self.memory.is_some()
            || self.restart != Restart::Never
    }

    /// What a program that talks, and all that it spawns, may do.
    fn rules(&self, env: Vec<Vec<u8>>) -> Rules {
        Rules {
            limits: self.common.limits(),
            processes_max: self.processes_max,
            messages_bytes_max: self.messages_bytes_max(),
            cpu_permille_max: self.cpu_max.map(CpuMax::permille),
            name_prefix: self.name_prefix.as_bytes().to_vec(),
            env,
            freeze_every: self.common.freeze_every(),
        }
    }
}

impl Common {
    pub(crate) fn disturbance(&self) -> Disturbance {
        match (self.freeze_every, self.freeze_random) {
            (Some(count), _) => Disturbance::Every(count.get()),
            (None, Some(seed)) => Disturbance::Random(seed),
            (None, None) => Disturbance::None,
        }
    }

    pub(crate) fn freeze_every(&self) -> Option<u32> {
        self.freeze_every.map(NonZeroU32::get)
    }

    /// Hot, or with every check counting.
    pub(crate) fn code_kind(&self) -> CodeKind {
        if self.freeze_every.is_some() { CodeKind::CountDown } else { CodeKind::Hot }
    }

    pub(crate) fn backend(&self) -> Backend {
        if self.interpreter { Backend::Pulley } else { Backend::Native }
    }

    pub(crate) fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            memory_bytes: self.memory_max.map_or(default.memory_bytes, Size::bytes),
            ..default
        }
    }

    /// Whether it asks for what only this command itself can do.
    pub(crate) fn is_for_here(&self) -> bool {
        self.freeze_every.is_some()
            || self.freeze_random.is_some()
            || self.interpreter
            || self.stats
    }

    /// Runs a session to its end, and says how often it was frozen if that was asked for.
    pub(crate) fn finish(&self, session: Session) -> Result<End> {
        let name = session.command.first().cloned().unwrap_or_default();
        let (ended, freezes) = session.run();
        if self.stats {
            say(format_args!("{name}: frozen and thawed {freezes} times"));
        }
        ended
    }
}

pub(crate) fn run(options: &Run) -> Result<End> {
    let Some((path, _)) = options.command.split_first() else {
        return Err(Failure::new(Code::Usage, "run", "no program given"));
    };
    let most = options.common.limits().memory_bytes;
    if options.memory.is_some_and(|memory| memory.bytes() > most) {
        let cause = format!("is more than it may use: {} MiB (--memory-max)", most >> 20);
        return Err(Failure::new(Code::Usage, "--memory", cause));
    }
    let env = environment(&options.env)?;
    let preopens = directories::parse(&options.dir)?;
    let wasm = program::read(Path::new(path))?;
    if let Some(client) = node(options)? {
        if options.detach && !detached::stays_behind() {
            return detached::launch();
        }
        let reached = client.name().to_owned();
        let (at, client) = options.at.that_starts(client, !options.detach)?;
        if client.name() != reached {
            let (name, other) = (path.to_string_lossy(), client.name());
            say(format_args!("{name}: node {reached} is being emptied: it starts at node {other}"));
        }
        return on_node(options, at, client, &wasm, env, &preopens);
    }
    let runtime = place::runtime(options.common.backend(), options.canonical_nan)?;
    let name = path.to_string_lossy().into_owned();
    let kind = if options.plain { CodeKind::Plain } else { options.common.code_kind() };
    let code = runtime
        .load(wasm, LoadOptions { kind })
        .map_err(|error| program::load_failure(&name, &error))?;

    let pid = draw()?;
    let origin = Origin::new();
    origin.open(pid, &preopens).map_err(|error| directories::failure(&error))?;
    let limits = options.common.limits();
    if code.talks() || options.cpu_max.is_some() {
        let with = family::load(&runtime, &options.with, LoadOptions { kind })?;
        return run_family(
            options,
            family::Start {
                code,
                pid,
                origin,
                args: options.command.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
                programs: with,
                rules: options.rules(env),
            },
        );
    }
    let process_options = ProcessOptions {
        pid,
        args: options.command.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
        env,
        devices: Box::new(origin.clone()),
        limits,
        freeze_every: options.common.freeze_every(),
    };
    let process = Process::spawn(&code, process_options)
        .map_err(|error| program::spawn_failure(&name, &error))?;
    let command = options.command.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let disturbance = options.common.disturbance();
    options.common.finish(Session { code, process, origin, command, limits, disturbance })
}

/// A program that talks: with all that it spawns, on all cores of this machine.
fn run_family(options: &Run, start: family::Start) -> Result<End> {
    let name = &options.command[0].to_string_lossy();
    if options.plain || options.common.freeze_random.is_some() || options.common.stats {
        let cause = "a program that talks to others, or has --cpu-max, runs without --plain, --freeze-random and --stats";
        return Err(Failure::new(Code::Usage, name, cause));
    }
    family::run(start)
}

/// The node to run on: the one that was named, or any there is, if the program can run there.
fn node(options: &Run) -> Result<Option<NodeClient>> {
    let only_here = options.plain || options.common.is_for_here();
    let elsewhere = options.at.at.is_some() || options.is_for_a_node();
    if only_here && elsewhere {
        let cause = "a node runs a program as it is: without --plain, --freeze-every, --freeze-random, \
                     --interpreter and --stats";
        return Err(Failure::new(Code::Usage, "run", cause));
    }
    if only_here || options.local {
        return Ok(None);
    }
    if options.is_for_a_node() { options.at.connect().map(Some) } else { options.at.find() }
}

/// Runs the program on a node, which is named so, with this command as its origin; and again, if it is to be started again when it is lost.
fn on_node(
    options: &Run,
    at: At,
    mut client: NodeClient,
    wasm: &[u8],
    env: Vec<Vec<u8>>,
    preopens: &[Preopen],
) -> Result<End> {
    let name = options.command[0].to_string_lossy().into_owned();
    let (mut start, programs) = start(options, draw()?, wasm, env)?;
    let log = detached::stays_behind().then(|| Log::create(client.logs(), start.pid()));
    let log = log.transpose()?;
    let (mut lost, mut restarts) = (None, Restarts::default());
    loop {
        let pid = start.pid();
        let origin = match &log {
            Some(log) => Origin::with_streams(log.streams()?),
            None => Origin::new(),
        };
        origin.open(pid, preopens).map_err(|error| directories::failure(&error))?;
        let started = || match (&lost, &log) {
            (Some(node), _) => {
                say(format_args!("{name}: node {node} is lost: started again as {pid}"));
            }
            (None, Some(log)) => log.let_go(pid),
            (None, None) => {}
        };
        let unfenced = options.restart == Restart::Unfenced;
        let end = attached::run(client, start.clone(), &programs, origin, unfenced, started)?;
        let ProcessEnd::Lost { node } = &end else { return attached::of_process(&name, end) };
        if options.restart == Restart::Never {
            return attached::of_process(&name, end);
        }
        if !restarts.may_begin(Instant::now()) {
            let minutes = RESTARTS_WITHIN.as_secs() / 60;
            say(format_args!(
                "{name}: started again {RESTARTS_MAX} times in {minutes} minutes: no more"
            ));
            return attached::of_process(&name, end);
        }
        lost = Some(node.clone());
        client = at.connect()?;
        start.pid = draw()?.bits();
    }
}

fn draw() -> Result<Pid> {
    pids::draw().map_err(|error| Failure::new(Code::Resources, "random numbers", error))
}

/// What a node is asked to start, and the programs that it may want.
fn start(options: &Run, pid: Pid, wasm: &[u8], env: Vec<Vec<u8>>) -> Result<(Start, Wasms)> {
    let args = options.command.iter().map(|arg| arg.as_bytes().to_vec()).collect();
    let (start, mut programs) = Start::of(pid, wasm, args);
    let mut names = BTreeMap::new();
    for With { name, file } in &options.with {
        let other = program::read(file)?;
        let hash = *blake3::hash(&other).as_bytes();
        programs.insert(hash, other);
        if names.insert(name.clone(), hash).is_some() {
            return Err(family::twice(name));
        }
    }
    let start = Start {
        programs: names.into_iter().collect(),
        processes_max: options.processes_max,
        messages_bytes_max: options.messages_bytes_max(),
        cpu_permille_max: options.cpu_max.map(CpuMax::permille),
        name_prefix: options.name_prefix.clone(),
        placement: options.placement(),
        pin: options.pin,
        devices: options.devices.clone(),
        env,
        memory_bytes_max: options.common.limits().memory_bytes,
        memory_bytes_needed: options.memory.map_or(0, Size::bytes),
        canonical_nan: options.canonical_nan,
        ..start
    };
    Ok((start, programs))
}

/// `NAME=VALUE`, or `NAME` for this command's own value; one that is not set is left out.
fn environment(values: &[OsString]) -> Result<Vec<Vec<u8>>> {
    let mut environment = Vec::new();
    for value in values {
        let name = value.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        if name.is_empty() {
            let what = format!("--env {}", value.display());
            return Err(Failure::new(Code::Usage, what, "write it as NAME=VALUE, or NAME alone"));
        }
        if value.as_bytes().contains(&b'=') {
            environment.push(value.as_bytes().to_vec());
        } else if let Some(own) = std::env::var_os(value) {
            environment.push([value.as_bytes(), b"=", &own.into_vec()].concat());
        }
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let check = |value: &str, expected: Option<&str>| {
            let found = environment(&[value.into()]).unwrap();
            assert_eq!(found.first().map(Vec::as_slice), expected.map(str::as_bytes));
        };
        check("A=1", Some("A=1"));
        check("A=", Some("A="));
        check("A=b=c", Some("A=b=c"));
        check("PERI_SURELY_NOT_SET", None);
        assert!(environment(&["=1".into()]).is_err());
    }
}
