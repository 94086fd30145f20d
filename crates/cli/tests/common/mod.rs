//! Running the binary as a user does, in directories of its own: nothing of the user's is read or changed.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// How often, and how long apart, something is looked for that another OS process does: 60 seconds in all.
const TRIES_MAX: usize = 6_000;
const PAUSE: Duration = Duration::from_millis(10);

/// A user of `peri`: runtime directory, state and cache.
pub(crate) struct User {
    directory: tempfile::TempDir,
}

impl User {
    pub(crate) fn new() -> User {
        let user = User { directory: tempfile::tempdir().unwrap() };
        for name in ["run", "state", "work"] {
            std::fs::create_dir(user.directory.path().join(name)).unwrap();
        }
        user
    }

    /// A directory to work in.
    pub(crate) fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// `peri` with these arguments; standard input is at its end.
    pub(crate) fn peri<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peri"));
        command
            .args(args)
            .stdin(Stdio::null())
            .env("XDG_RUNTIME_DIR", self.directory.path().join("run"))
            .env("XDG_STATE_HOME", self.directory.path().join("state"))
            .env("PERI_CACHE_DIR", self.directory.path().join("cache"));
        command
    }

    pub(crate) fn output<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.peri(args).output().unwrap()
    }

    /// Starts `peri run` and waits until it can be found.
    pub(crate) fn start(&self, mut command: Command) -> Running {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let number = child.id().to_string();
        let listed = |_| {
            let list = self.output(["ps", "--output", "json"]);
            String::from_utf8(list.stdout).unwrap().contains(&format!("\"os_process\": {number},"))
        };
        until(listed);
        Running { child }
    }

    /// Names of what is in the runtime directory.
    pub(crate) fn sockets(&self) -> Vec<String> {
        let found = std::fs::read_dir(self.directory.path().join("run/peripatos"));
        found
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

/// A `peri run` that was seen to run.
pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    pub(crate) fn number(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Closes its input and waits for its end.
    pub(crate) fn end(self) -> Output {
        self.child.wait_with_output().unwrap()
    }
}

/// Waits for something that another OS process does.
pub(crate) fn until(mut done: impl FnMut(usize) -> bool) {
    let found = (0..TRIES_MAX).any(|attempt| {
        let found = done(attempt);
        if !found {
            thread::sleep(PAUSE);
        }
        found
    });
    assert!(found, "waited in vain");
}

/// A committed guest.
pub(crate) fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests").join(format!("{name}.wasm"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code and the one line on standard error of a command that fails by `peri`'s doing.
#[track_caller]
pub(crate) fn fails(output: &Output, code: i32, says: &str) {
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert!(line.starts_with("peri: ") && line.contains(says), "{line:?} does not say {says:?}");
    assert_eq!(line.lines().count(), 1, "one line: {line}");
}
