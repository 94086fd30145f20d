//! Origins that are attached here, and their processes, which may be anywhere.

use peripatos_abi::Pid;

use crate::NodeId;
use crate::event::Action;
use crate::homes::{Home, Lost};
use crate::message::{End, Message};
use crate::node::Node;

impl Node {
    /// It has ended: its origin is told, if that is here.
    pub(crate) fn tell_origin(&mut self, pid: Pid, end: End, out: &mut Vec<Action>) {
        if let Some(home) = self.homes.remove(pid, self.now) {
            self.is_over_for_origin(pid, &home, end, out);
        }
    }

    pub(crate) fn is_over_for_origin(
        &mut self,
        pid: Pid,
        home: &Home,
        end: End,
        out: &mut Vec<Action>,
    ) {
        // Who has gone hears nothing, and of one that was taken for lost it was told before.
        if !home.orphaned {
            out.push(Action::TellOrigin { pid, end });
        }
        self.end_family_of(pid, home, out);
    }

    /// A process of an origin here runs there. Where the origin is gone, its node is told.
    pub(crate) fn origin_hears_of(
        &mut self,
        pid: Pid,
        at: NodeId,
        moves: u32,
        out: &mut Vec<Action>,
    ) {
        if let Some(home) = self.homes.runs_at(pid, at, moves) {
            let (now_at, orphaned) = (home.at, home.orphaned);
            if home.killed {
                self.kill_at(pid, now_at, out);
            }
            if !orphaned {
                return;
            }
        } else if self.homes.lost(pid) == Some(Lost { killed: true }) {
            self.kill_at(pid, at, out);
        }
        out.push(if at == self.config.node {
            Action::OriginGone(pid)
        } else {
            Action::Send { to: at, message: Message::OriginGone { pid } }
        });
    }

    /// An origin here wants its process ended.
    pub(crate) fn origin_kills(&mut self, pid: Pid, out: &mut Vec<Action>) {
        if let Some(at) = self.homes.kill(pid) {
            self.kill_at(pid, at, out);
            if at != self.config.node && !self.is_reached(at) {
                // Who knows when it ends: what belongs to it does not wait for that.
                self.end_family(pid, out);
            }
        }
    }

    /// An origin here is gone for good.
    pub(crate) fn origin_left(&mut self, pid: Pid, out: &mut Vec<Action>) {
        let Some(at) = self.homes.orphan(pid) else { return };
        if self.processes.0.contains_key(&pid) {
            self.orphan(pid, out);
        } else {
            out.push(Action::Send { to: at, message: Message::OriginGone { pid } });
        }
    }

    /// The origin of a process that runs here is gone for good.
    pub(crate) fn orphan(&mut self, pid: Pid, out: &mut Vec<Action>) {
        if let Some(process) = self.processes.0.get_mut(&pid) {
            process.orphaned = true;
        }
        out.push(Action::OriginGone(pid));
    }
}
