//! Which operating system process a node is, so that a node on the same machine can tell that it has died.
//!
//! A migration whose target vanished may only be taken back when the target is surely gone; a wrong "gone" would run
//! one process twice. Invariants:
//! * "Gone" is said only of an OS process whose number means the same here: same boot, same pid namespace, and a
//!   `/proc` of that namespace. In every doubt the answer is "cannot tell".
//! * A number that was given again is noticed by the start time.
//!
//! What this cannot see: virtual machines that go on from copies of one snapshot have the same boot id. Such copies
//! must not be nodes of one cluster anyway, for they share their keys too.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

/// One OS process, by what tells it from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIdentity {
    /// Drawn by the kernel when it started.
    pub boot_id: String,
    /// The inode of the pid namespace.
    pub pid_namespace: u64,
    /// The process's number in it.
    pub os_process: u32,
    /// When it started, in clock ticks since boot.
    pub started_ticks: u64,
}

/// The fields of `/proc/PID/stat` that matter here: proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    os_process: u32,
    state: u8,
    threads: u64,
    started_ticks: u64,
}

impl HostIdentity {
    /// This OS process. Errors: `/proc` is missing, or is another pid namespace's.
    pub fn own() -> io::Result<HostIdentity> {
        let stat = Stat::parse(&fs::read("/proc/self/stat")?);
        let stat = stat.filter(|stat| stat.os_process == std::process::id());
        let stat = stat.ok_or_else(|| io::Error::other("/proc is not of this pid namespace"))?;
        Ok(HostIdentity {
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
            pid_namespace: fs::metadata("/proc/self/ns/pid")?.ino(),
            os_process: stat.os_process,
            started_ticks: stat.started_ticks,
        })
    }

    /// Whether this OS process has ended. `None`: it cannot be told from here.
    pub fn is_gone(&self) -> Option<bool> {
        let own = HostIdentity::own().ok()?;
        if self.boot_id != own.boot_id || self.pid_namespace != own.pid_namespace {
            return None;
        }
        let number = Pid::from_raw(i32::try_from(self.os_process).ok()?)?;
        // Asked before /proc, where other users' processes may be hidden: this call sees them.
        if test_kill_process(number) == Err(Errno::SRCH) {
            return Some(true);
        }
        let stat = Stat::parse(&fs::read(format!("/proc/{}/stat", self.os_process)).ok()?)?;
        Some(stat.started_ticks != self.started_ticks || stat.has_ended())
    }
}

impl Stat {
    fn parse(text: &[u8]) -> Option<Stat> {
        let text = str::from_utf8(text.trim_ascii_end()).unwrap_or_default();
        let (before, after) = (text.split_once(" (")?.0, text.rsplit_once(") ")?.1);
        // The name in parentheses may hold anything; behind it, fields count from the third.
        let fields: Vec<&str> = after.split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.parse().ok();
        Some(Stat {
            os_process: before.parse().ok()?,
            state: *fields.first()?.as_bytes().first()?,
            threads: number(20)?,
            started_ticks: number(22)?,
        })
    }

    /// Dead and only waiting for its parent to notice. With other threads left it is just its first thread that ended.
    fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::process::{Command, Stdio};

    #[test]
    fn alive_dead_and_buried() {
        let own = HostIdentity::own().unwrap();
        assert_eq!(own.is_gone(), Some(false));
        assert_eq!(own, HostIdentity::own().unwrap());

        // It lives until its input ends.
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let stat = Stat::parse(&fs::read(format!("/proc/{}/stat", child.id())).unwrap()).unwrap();
        let identity = HostIdentity {
            os_process: child.id(),
            started_ticks: stat.started_ticks,
            ..own.clone()
        };
        assert_eq!(identity.is_gone(), Some(false));
        let earlier = HostIdentity { started_ticks: 1, ..identity.clone() };
        assert_eq!(earlier.is_gone(), Some(true), "the number was given again");

        drop(child.stdin.take());
        let number = Pid::from_child(&child);
        let dead = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(number), dead).unwrap().unwrap();
        assert_eq!(identity.is_gone(), Some(true), "not waited for yet");
        child.wait().unwrap();
        assert_eq!(identity.is_gone(), Some(true));
    }

    #[test]
    fn elsewhere_cannot_be_told() {
        let own = HostIdentity::own().unwrap();
        let check = |identity: HostIdentity| assert_eq!(identity.is_gone(), None);
        check(HostIdentity { boot_id: "another".into(), ..own.clone() });
        check(HostIdentity { pid_namespace: own.pid_namespace ^ 1, ..own.clone() });
        check(HostIdentity { os_process: 0, ..own.clone() });
        check(HostIdentity { os_process: u32::MAX, ..own });
    }

    #[test]
    fn a_process_may_have_any_name() {
        let line = |state: &str, threads: u64| {
            let zeros = "0 ".repeat(16);
            format!("12 (a) R (b)) {state} {zeros}{threads} 0 345 0 0\n")
        };
        let check = |state: &str, threads: u64, ended: bool| {
            let stat = Stat::parse(line(state, threads).as_bytes()).unwrap();
            assert_eq!((stat.os_process, stat.started_ticks), (12, 345));
            assert_eq!(stat.has_ended(), ended);
        };
        check("S", 1, false);
        check("Z", 1, true);
        check("Z", 2, false);
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(Stat::parse(b"12 (a) R 0"), None);
    }
}
