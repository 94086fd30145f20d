//! Circles of processes that were waiting for each other: told to whoever has started them.

use peripatos_abi::Pid;

use crate::NodeId;
use crate::event::Action;
use crate::limits::CIRCLE_PIDS_MAX;
use crate::message::Message;
use crate::node::Node;

impl Node {
    /// A core has found a circle of `len` processes; the first of them are named.
    pub(crate) fn deadlocked(&mut self, circle: Vec<Pid>, len: u32, out: &mut Vec<Action>) {
        out.push(Action::Log(self.circle(&circle, len)));
        let origin = circle.iter().find_map(|pid| self.origin_of(*pid));
        match origin {
            Some(origin) if origin == self.config.node => self.tell_deadlock(&circle, len, out),
            Some(to) => {
                out.push(Action::Send { to, message: Message::Deadlock { circle, len } });
            }
            None => {}
        }
    }

    /// A node has found one, in which a process of an origin here is, as it says.
    pub(crate) fn heard_of_deadlock(
        &mut self,
        from: NodeId,
        circle: &[Pid],
        len: u32,
        out: &mut Vec<Action>,
    ) {
        if circle.len() <= CIRCLE_PIDS_MAX && circle.len() <= len as usize {
            self.tell_deadlock(circle, len, out);
        } else {
            let name = self.name_of(from);
            out.push(Action::Log(format!("node {name} tells of a deadlock that cannot be")));
        }
    }

    fn tell_deadlock(&self, circle: &[Pid], len: u32, out: &mut Vec<Action>) {
        if let Some(pid) = circle.iter().copied().find(|pid| self.homes.knows(*pid)) {
            out.push(Action::TellDeadlock { pid, text: self.circle(circle, len) });
        }
    }

    fn circle(&self, circle: &[Pid], len: u32) -> String {
        deadlock_text(circle, len, |pid| {
            let here = self.processes.0.get(&pid).map(|process| &process.description);
            here.or_else(|| self.homes.description(pid))?.command.first().cloned()
        })
    }
}

/// A circle of `len` processes for people: `deadlock: a p1 sends to b p2 sends to a p1`. `circle`: the first of them.
#[must_use]
pub fn deadlock_text(
    circle: &[Pid],
    len: u32,
    program_of: impl Fn(Pid) -> Option<String>,
) -> String {
    let name = |pid: &Pid| {
        let program = program_of(*pid).unwrap_or_else(|| "process".to_owned());
        format!("{program} {pid:#}")
    };
    let mut steps: Vec<String> = circle.iter().map(name).collect();
    let first = steps.first().cloned().unwrap_or_default();
    let more = (len as usize).saturating_sub(circle.len());
    if more > 0 {
        steps.push(format!("{more} more"));
    }
    steps.push(first);
    format!("deadlock: {}", steps.join(" sends to "))
}
