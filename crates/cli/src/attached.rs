//! A process on a node, with this command as its origin: what `peri run` does where a node runs.

use crate::cluster;
use crate::exit::{Code, End, Failure, Result, say};
use crate::family::{Failures, Notices};
use crate::signals;
use peripatos_cluster::message::{End as ProcessEnd, FailureKind};
use peripatos_host::node::protocol::{Start, Wasms};
use peripatos_host::node::{NodeClient, client};
use peripatos_host::origin::{Origin, Services, Unwritten};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// How long a command that is interrupted waits for its process to end.
const KILL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Starts the process and serves it to its end. `unfenced`: it counts as lost when its node is silent. `started` is called in
/// between.
pub(crate) fn run(
    client: NodeClient,
    start: Start,
    programs: &Wasms,
    origin: Origin,
    unfenced: bool,
    started: impl FnOnce(),
) -> Result<ProcessEnd> {
    signals::broken_pipes_are_errors();
    let pid = start.pid();
    let name = start.args.first().map(|arg| String::from_utf8_lossy(arg).into_owned());
    let name = name.unwrap_or_default();
    let ready = client::notify();
    let notified = ready.clone();
    let mut failures = Failures::default();
    let tell = move |pid, program: &str, end| {
        if let ProcessEnd::Failed { message, .. } = end {
            failures.tell(pid, program, &message);
        }
    };
    let mut services = Services::new(origin, pid, move || notified.notify_one(), tell);
    let mut notices = Notices::default();
    services.on_notice(move |text| notices.tell(text));
    let attached =
        client.start(start, programs).map_err(|error| cluster::failure(&name, &error))?;
    let attached = if unfenced { attached.unfenced() } else { attached };
    started();

    let kill = client::notify();
    let killing = kill.clone();
    let interrupted = Arc::new(AtomicBool::new(false));
    let interrupting = interrupted.clone();
    let (ended, wait_for_end) = mpsc::channel::<()>();
    signals::before_end(move |_| {
        interrupting.store(true, Ordering::Release);
        killing.notify_one();
        let _ = wait_for_end.recv_timeout(KILL_WAIT_MAX);
    });
    let end = attached.serve(&mut services, &ready, &kill);
    let was_interrupted = interrupted.load(Ordering::Acquire);
    drop(ended);
    if was_interrupted {
        // The signal ends this command, not what became of the process.
        loop {
            thread::park();
        }
    }
    let end = end.map_err(|error| {
        let cause = format!("{error}; what became of the process is not known");
        Failure::new(Code::Lost, &name, cause)
    });
    written(&name, end, &services)
}

/// The same end, if the process has written what it believes to have; else every file is named, and that is how it ends. A process that
/// was told when it closed the file, and did not end well, has looked at that.
fn written(
    name: &str,
    end: Result<ProcessEnd>,
    services: &Services<ProcessEnd>,
) -> Result<ProcessEnd> {
    let (files, more) = services.unwritten();
    let ended_well = matches!(end, Ok(ProcessEnd::Exited(0)));
    let unheard = more > 0 || files.iter().any(|file| !file.told);
    let mut failures: Vec<Failure> = files
        .iter()
        .map(|Unwritten { file, cause, .. }| {
            let cause = format!("{file} was not written whole: {cause}");
            Failure::new(Code::Storage, name, cause)
        })
        .collect();
    if more > 0 {
        let cause = format!("{more} more files were not written whole");
        failures.push(Failure::new(Code::Storage, name, cause));
    }
    let counts = (ended_well || unheard) && end.is_ok();
    let last = if counts { failures.pop() } else { None };
    failures.iter().for_each(say);
    last.map_or(end, Err)
}

/// The end of this command, of a process that has ended so.
pub(crate) fn of_process(name: &str, end: ProcessEnd) -> Result<End> {
    match end {
        ProcessEnd::Exited(code) => Ok(End::Exit(code as u8)),
        ProcessEnd::Raised(signal) => Ok(End::Signal(signal)),
        ProcessEnd::Killed => {
            let cause = "the process was ended by somebody, or with one that it was linked to";
            Err(Failure::new(Code::Killed, name, cause))
        }
        ProcessEnd::Frozen => Ok(End::Exit(Code::Frozen.number())),
        ProcessEnd::Lost { node } => {
            let cause =
                format!("node {node}, which ran the process, is gone, and the process with it");
            Err(Failure::new(Code::Lost, name, cause))
        }
        ProcessEnd::Failed { kind, message } => {
            let code = match kind {
                FailureKind::Trap => Code::Trap,
                FailureKind::StackOverflow => Code::StackOverflow,
                FailureKind::OutOfMemory => Code::Resources,
                FailureKind::Internal => Code::Internal,
            };
            Err(Failure::new(code, name, message))
        }
    }
}
