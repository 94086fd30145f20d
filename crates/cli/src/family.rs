//! A program that talks, with all that it spawns, on the cores of this command.

use crate::exit::{Code, End, Failure, Result, say};
use crate::{pids, program, signals};
use peripatos_abi::Pid;
use peripatos_abi::device::Devices;
use peripatos_cluster::deadlock_text;
use peripatos_engine::{
    Code as Program, Form, Handler, LoadOptions, Process, ProcessError, ProcessOptions, Runtime,
};
use peripatos_host::cores::{CoreEvent, Cores, ProcessEnd};
use peripatos_host::origin::{Heirs, Origin};
use peripatos_host::talk::{Birth, DeviceServer, Family, Home, Line, Member, Rules, no_program};
use peripatos_kernel::Circle;
use std::collections::BTreeMap;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// Failures of spawned processes that are told, each on a line.
const TOLD_MAX: usize = 20;
/// Ends of spawned processes come in crowds. To be woken for each would take a fifth of the time of whoever
/// spawns them.
const NAP: Duration = Duration::from_millis(1);

/// What is to be run.
pub(crate) struct Start {
    pub(crate) code: Program,
    /// The root's name, and what its origin knows it by.
    pub(crate) pid: Pid,
    pub(crate) origin: Origin,
    /// The program's name and arguments.
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) programs: BTreeMap<String, Program>,
    pub(crate) rules: Rules,
}

/// A program that the first one may spawn: its name and its file, written `NAME=FILE`, or `FILE` for its file name without
/// the ending.
#[derive(Clone, Debug)]
pub(crate) struct With {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

impl std::str::FromStr for With {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<With, String> {
        let (name, file) = match text.split_once('=') {
            Some((name, file)) => (name.to_owned(), Path::new(file)),
            None => {
                let file = Path::new(text);
                let stem = file.file_stem().unwrap_or_default();
                (stem.to_string_lossy().into_owned(), file)
            }
        };
        if name.is_empty() || file.as_os_str().is_empty() {
            return Err("write it as NAME=FILE, or FILE alone".to_owned());
        }
        Ok(With { name, file: file.to_owned() })
    }
}

/// Loads the programs that a run is to have besides its own.
pub(crate) fn load(
    runtime: &Runtime,
    with: &[With],
    options: LoadOptions,
) -> Result<BTreeMap<String, Program>> {
    let mut programs = BTreeMap::new();
    for With { name, file } in with {
        let wasm = program::read(file)?;
        let code = runtime
            .load(wasm, options)
            .map_err(|error| program::load_failure(file.display(), &error))?;
        if programs.insert(name.clone(), code).is_some() {
            return Err(twice(name));
        }
    }
    Ok(programs)
}

pub(crate) fn twice(name: &str) -> Failure {
    let cause = "two programs of one name; write NAME=FILE";
    Failure::new(Code::Usage, format!("--with {name}"), cause)
}

/// Runs the program until its first process ends. All others end with it.
pub(crate) fn run(start: Start) -> Result<End> {
    let Start { code, pid, origin, args, programs, rules } = start;
    let name = args.first().map(|name| String::from_utf8_lossy(name).into_owned());
    let name = name.unwrap_or_default();
    let (to, events) = mpsc::channel();
    let count = thread::available_parallelism().map_or(1, usize::from);
    let cores = Cores::start(count, move |event| {
        // When the root has ended nobody listens.
        let _ = to.send(event);
    });
    let cores = cores.map_err(|error| Failure::new(Code::Resources, "cores", error))?;
    let device_process =
        pids::draw().map_err(|error| Failure::new(Code::Resources, "random numbers", error))?;
    cores
        .letterbox()
        .begin_devices_of(device_process, origin.clone(), pid)
        .map_err(|refusal| Failure::new(Code::Internal, &name, refusal))?;
    let heirs = Heirs::new(origin, pid);
    let household = Arc::new(Household { heirs, device_process, names: Mutex::default() });
    let family = Family::new(pid, rules.clone(), programs, household.clone());
    let options = ProcessOptions {
        pid,
        args,
        env: rules.env,
        devices: household.devices(pid),
        limits: rules.limits,
        freeze_every: rules.freeze_every,
    };
    let form = code.form();
    begin(&cores, &family, code, &name, options)?;
    if form == Form::Handler {
        say(format_args!("{name}: {pid} serves until it is ended"));
    }
    let (mut failures, mut notices) = (Failures::default(), Notices::default());
    loop {
        // The cores are there, and hold the other end.
        let Ok(first) = events.recv() else { return Ok(End::Exit(Code::Internal.number())) };
        for event in iter::once(first).chain(events.try_iter()) {
            let (of, end) = match event {
                CoreEvent::Ended { pid, end, .. } => (pid, end),
                CoreEvent::Deadlock(circle) => {
                    notices.tell(&household.circle(&circle, pid, &name));
                    continue;
                }
                CoreEvent::Stopped { .. } => continue,
            };
            if of == pid {
                return of_root(&name, end);
            }
            household.heirs.origin().close(of);
            let of_child = household.forget(of);
            if let ProcessEnd::Failed(error) = end {
                failures.tell(of, &of_child, &error);
            }
        }
        thread::sleep(NAP);
    }
}

/// Tells of spawned processes that have failed: not for ever.
#[derive(Debug, Default)]
pub(crate) struct Failures(usize);

impl Failures {
    pub(crate) fn tell(&mut self, pid: Pid, program: &str, error: &dyn std::fmt::Display) {
        self.0 += 1;
        if self.0 <= TOLD_MAX {
            say(format_args!("{program} {pid:#}: {error}"));
        } else if self.0 == TOLD_MAX + 1 {
            say("more processes have failed; their ends are not told");
        }
    }
}

/// Tells of what the user should know, as of processes that were waiting for each other: not for ever.
#[derive(Debug, Default)]
pub(crate) struct Notices(usize);

impl Notices {
    pub(crate) fn tell(&mut self, text: &str) {
        self.0 += 1;
        match self.0 {
            ..=TOLD_MAX => say(text),
            _ if self.0 == TOLD_MAX + 1 => say("there is more of this kind, which is not told"),
            _ => {}
        }
    }
}

fn begin(
    cores: &Cores,
    family: &Arc<Family>,
    code: Program,
    name: &str,
    options: ProcessOptions,
) -> Result<()> {
    let pid = options.pid;
    let member = Member::root(family, code.clone(), name)
        .map_err(|status| Failure::new(Code::Usage, "--processes-max", status))?;
    let line = Box::new(Line::of(pid, member));
    let failed = |error| program::spawn_failure(name, &error);
    let refused = |refusal| Failure::new(Code::Resources, name, refusal);
    match code.form() {
        Form::Program => {
            let mut process = Process::spawn(&code, options).map_err(failed)?;
            process.set_messages(line);
            let run = cores.run_within(process, None, family.share());
            run.map_err(|error| refused(error.refusal))
        }
        Form::Handler => {
            let mut handler = Handler::spawn(&code, options).map_err(failed)?;
            handler.set_messages(line);
            cores.serve(handler).map_err(|error| refused(error.refusal))
        }
    }
}

fn of_root(name: &str, end: ProcessEnd) -> Result<End> {
    match end {
        ProcessEnd::Exited(code) => Ok(End::Exit(code as u8)),
        ProcessEnd::Raised(signal) => Ok(End::Signal(signals::number(signal))),
        ProcessEnd::Failed(error) => Err(failure(name, &error)),
        ProcessEnd::Killed => {
            let cause = "the process was ended by somebody, or with one that it was linked to";
            Err(Failure::new(Code::Killed, name, cause))
        }
    }
}

fn failure(name: &str, error: &ProcessError) -> Failure {
    Failure::new(program::end_code(error), name, error)
}

/// What the members of a family get from this command.
struct Household {
    heirs: Heirs,
    /// Serves what is sent to it.
    device_process: Pid,
    /// What the programs of spawned processes are called.
    names: Mutex<BTreeMap<Pid, String>>,
}

impl Household {
    /// For people. `root`: the first of them, and what its program is called.
    fn circle(&self, circle: &Circle, root: Pid, name: &str) -> String {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        deadlock_text(&circle.pids, circle.len, |pid| {
            if pid == root { Some(name.to_owned()) } else { names.get(&pid).cloned() }
        })
    }

    fn forget(&self, pid: Pid) -> String {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(&pid).unwrap_or_default()
    }
}

impl Home for Household {
    fn devices(&self, _: Pid) -> Box<dyn Devices> {
        Box::new(self.heirs.clone())
    }

    fn device_server(&self) -> Option<DeviceServer> {
        Some(DeviceServer::Process(self.device_process))
    }

    fn lacks(&self, program: &str) {
        say(no_program(program));
    }

    fn born(&self, birth: Birth<'_>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(birth.pid, birth.program.to_owned());
    }
}
