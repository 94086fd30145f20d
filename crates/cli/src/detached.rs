//! `peri run --detach`: the origin of a program stays behind in an OS process of its own, without a terminal.
//!
//! The command starts itself once more, in a session of its own. That second one does all the work; when the program
//! has started it says the pid on its standard output, which is a pipe to the first, and lets go of both. What the
//! program writes, and what goes wrong from then on, is in a log of the node. The program's directories are served as
//! ever, with the user's rights: it is this OS process that holds them, not the node.

use crate::exit::{Code, End, Failure, Result, say};
use crate::output;
use peripatos_abi::Pid;
use peripatos_host::origin::Streams;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set for the one that stays behind.
const MARK: &str = "PERI_DETACHED";

/// Whether this is the one that stays behind.
pub(crate) fn stays_behind() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts the one that stays behind, with the same arguments, and waits until the program runs.
pub(crate) fn launch() -> Result<End> {
    let failed = |error: io::Error| Failure::new(Code::Resources, "--detach", error);
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut line = String::new();
    if let Some(said) = child.stdout.take() {
        BufReader::new(said).read_line(&mut line).map_err(failed)?;
    }
    if line.ends_with('\n') {
        output::print(&line)
            .map_err(|error| Failure::new(Code::Storage, "standard output", error))?;
        return Ok(End::SUCCESS);
    }
    // It has said itself what went wrong.
    let status = child.wait().map_err(failed)?;
    Ok(End::Exit(status.code().map_or(Code::Internal.number(), |code| code as u8)))
}

/// The log of a program that is left behind.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Makes it.
    pub(crate) fn create(logs: &Path, pid: Pid) -> Result<Log> {
        let path = logs.join(format!("{pid:#}.log"));
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(&path);
        let failed = |error| Failure::new(Code::Storage, path.display(), error);
        Ok(Log { file: file.map_err(failed)?, path })
    }

    /// Streams for the program: no input, and the log.
    pub(crate) fn streams(&self) -> Result<Streams> {
        let open = || {
            let input = File::open("/dev/null")?;
            Ok(Streams::Files([input, self.file.try_clone()?, self.file.try_clone()?]))
        };
        open().map_err(|error: io::Error| Failure::new(Code::Resources, "--detach", error))
    }

    /// The program runs: says so, and lets go of the terminal.
    pub(crate) fn let_go(&self, pid: Pid) {
        let _ = output::print(&format!("{pid:#} {}\n", self.path.display()));
        let gone = rustix::process::setsid().map(drop);
        let gone = gone.and_then(|()| rustix::stdio::dup2_stdout(&self.file));
        if let Err(error) = gone.and_then(|()| rustix::stdio::dup2_stderr(&self.file)) {
            say(format_args!("cannot let go of the terminal: {error}"));
        }
    }
}
