//! Messages of commands to processes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use peripatos_abi::Pid;
use peripatos_abi::message::Status;
use peripatos_kernel::Names;
use rustix::rand::{GetRandomFlags, getrandom};

use super::super::protocol::FromNode;
use super::{Host, Input};
use crate::talk::Visit;

/// Calls that are under way at once.
const CALLS_MAX: usize = 1_024;

/// The calls under way: who has made them, and until when they wait.
pub(super) type Calls = HashMap<Pid, (u64, Instant)>;

impl Host {
    /// A command sends a message to whoever has this name.
    pub(super) fn call(&mut self, number: u64, name: String, message: Vec<u8>, wait: Duration) {
        let mut random = [0; 8];
        let drawn = getrandom(&mut random, GetRandomFlags::empty()).is_ok();
        if !drawn || self.calls.len() >= CALLS_MAX {
            return self.clients.say(number, FromNode::Called(Err("too many calls".to_owned())));
        }
        let pid = Pid::new(0, u64::from_le_bytes(random));
        // Beyond what the clock can count is for ever.
        let until = Instant::now().checked_add(wait);
        let until = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 30));
        self.calls.insert(pid, (number, until));
        let inputs = self.inputs.clone();
        let done = Box::new(move |answer| inputs.send(Input::Called(pid, answer)));
        self.letterbox.visit(Visit { pid, name: name.into_bytes(), message, done });
    }

    /// There is a reply, or none will come.
    pub(super) fn called(&mut self, pid: Pid, answer: Result<Vec<u8>, Status>) {
        let Some((number, _)) = self.calls.remove(&pid) else { return };
        let said = answer.map_err(|status| match status {
            Status::NoName => no_such_name(&self.letterbox.names()),
            status => status.to_string(),
        });
        self.clients.say(number, FromNode::Called(said));
    }

    /// Those who have waited long enough, and those whose commands have gone, wait no more.
    pub(super) fn hang_up(&mut self) {
        let now = Instant::now();
        let connected = &self.clients.connected;
        let over = |_: &Pid, (number, until): &mut (u64, Instant)| {
            *until <= now || !connected.contains_key(number)
        };
        let over: Vec<(Pid, (u64, Instant))> = self.calls.extract_if(over).collect();
        for (pid, (number, _)) in over {
            self.letterbox.leave(pid);
            let error = Status::TimedOut.to_string();
            self.clients.say(number, FromNode::Called(Err(error)));
        }
    }
}

/// Names that are shown to who has asked for another one.
const SHOWN_MAX: usize = 10;

/// Why a name is not found, for people.
pub(super) fn no_such_name(names: &Names) -> String {
    let mut known: Vec<String> = Vec::new();
    let mut after = Vec::new();
    while let Ok((name, _)) = names.next(b"", &after)
        && known.len() < SHOWN_MAX
    {
        known.push(String::from_utf8_lossy(name).into_owned());
        after = name.to_vec();
    }
    match known.as_slice() {
        [] => "no process has this name, nor any other".to_owned(),
        known => format!("no process has this name; those that are known: {}", known.join(", ")),
    }
}
