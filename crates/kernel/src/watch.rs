//! Monitors and links: who is told, or ended, when a process ends. And to end one's children.

use peripatos_abi::message::{Envelope, Kind, Status};
use peripatos_abi::{EndReason, Pid};

use crate::budget::Toll;
use crate::claim::Claim;
use crate::kernel::{Kernel, Woken};
use crate::limits::WATCHERS_MAX;
use crate::packet::{Body, Place};
use crate::process::{Call, Form, Process};
use crate::table::Slot;
use crate::ties::{Ties, Watch, Watcher, Watching};

/// Which watch its watcher has undone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Undone {
    /// The last one of its own.
    pub(crate) number: u64,
    /// Of a link: the last one of the other's that it had heard of.
    pub(crate) theirs: u64,
}

impl Undone {
    /// A link that whoever says so does not have, as it has heard of this watch of the other's.
    pub(crate) fn all(theirs: u64) -> Undone {
        Undone { number: u64::MAX, theirs }
    }
}

impl Kernel {
    /// A process will receive an envelope of [`Kind::Ended`] when the other one has ended: now, if nobody has its pid.
    /// Once, however often it asked for it before it has received that.
    ///
    /// # Errors
    /// [`Status::TooMany`]. [`Status::Full`]: too much of this kind is on its way.
    pub fn monitor(&mut self, me: Slot, to: Pid) -> Result<(), Status> {
        self.watch(me, to, Watch::Monitor)
    }

    /// It will not. A word that it has not received it does not get.
    ///
    /// # Errors
    /// [`Status::NoProcess`]: it is not here itself. [`Status::Full`]: too much of this kind is on its way.
    pub fn unmonitor(&mut self, me: Slot, to: Pid) -> Result<(), Status> {
        self.unwatch(me, to, Watch::Monitor)
    }

    /// Two processes end together, unless one ends normally.
    ///
    /// # Errors
    /// [`Status::TooMany`], of either. [`Status::Full`]: too much of this kind is on its way.
    pub fn link(&mut self, me: Slot, to: Pid) -> Result<(), Status> {
        self.watch(me, to, Watch::Link)
    }

    /// They do not.
    ///
    /// # Errors
    /// [`Status::NoProcess`]: it is not here itself. [`Status::Full`]: too much of this kind is on its way.
    pub fn unlink(&mut self, me: Slot, to: Pid) -> Result<(), Status> {
        self.unwatch(me, to, Watch::Link)
    }

    /// A process ends one that it has spawned: the kernel that has it will say [`Woken::Kill`].
    ///
    /// # Errors
    /// [`Status::NotPermitted`]. Of one that is elsewhere it is not told whether it was, or is any more.
    /// [`Status::Full`]: too much of this kind is on its way.
    pub fn end(&mut self, me: Slot, to: Pid) -> Result<(), Status> {
        let by = self.pid(me).ok_or(Status::NoProcess)?;
        match self.table.find(to) {
            Some(slot) => self.kill_child(slot, by),
            None => {
                let toll = self.toll(me)?;
                self.send_errand(by, to, Body::Kill { errand: 0 }, toll)
            }
        }
    }

    /// Takes in a process that `parent` has spawned, and may end. `None`: one of this pid is here already.
    pub fn add_child(&mut self, pid: Pid, form: Form, parent: Pid) -> Option<Slot> {
        let mut process = Process::new(pid, form);
        self.ends.remove(pid);
        process.ties().parent = Some(parent);
        self.table.insert(process)
    }

    pub(crate) fn kill_child(&mut self, slot: Slot, by: Pid) -> Result<(), Status> {
        let process = self.table.get(slot).ok_or(Status::NoProcess)?;
        if process.ties.as_ref().and_then(|ties| ties.parent) != Some(by) {
            return Err(Status::NotPermitted);
        }
        self.woken.push_back(Woken::Kill(slot, by));
        Ok(())
    }

    fn watch(&mut self, me: Slot, to: Pid, watch: Watch) -> Result<(), Status> {
        let now = self.now;
        let process = self.table.get_mut(me).ok_or(Status::NoProcess)?;
        let (pid, budget) = (process.pid, process.budget.clone());
        let ties = process.ties();
        let word = watch == Watch::Monitor && ties.ended.iter().any(|(ended, _)| *ended == to);
        let watches = ties.watching.contains_key(&(to, watch));
        // The other end of a link elsewhere may have undone it, and the word of that be on its way: it is made anew.
        let anew = watch == Watch::Link && self.table.find(to).is_none();
        if pid == to || word || watches && !anew {
            return Ok(());
        }
        let is_here = self.table.find(to).is_some();
        let toll = if is_here { Toll::default() } else { self.toll(me)? };
        let Some(process) = self.table.get_mut(me) else { return Err(Status::NoProcess) };
        if !watches && !process.ties().make_room(budget.as_ref()) {
            return Err(Status::TooMany);
        }
        let number = process.ties().begun + 1;
        if let Some(slot) = self.table.find(to)
            && !self.watched(slot, pid, watch, Watcher { number, place: None, moved: 0 })
        {
            return Err(Status::TooMany);
        }
        let place = self.routes.get(to);
        let Some(process) = self.table.get_mut(me) else { return Err(Status::NoProcess) };
        let ties = process.ties();
        ties.begun = number;
        let claim = Claim::new(place, now);
        ties.watching.insert((to, watch), Watching { number, asked: true, claim });
        if watch == Watch::Link {
            ties.watchers.insert((to, watch), Watcher { number: 0, place, moved: 0 });
        }
        if !is_here {
            self.press_watch(me, to, watch);
            self.pay(toll);
        }
        Ok(())
    }

    /// A process is watched from now on. `false`: that is too much.
    pub(crate) fn watched(&mut self, slot: Slot, by: Pid, watch: Watch, watcher: Watcher) -> bool {
        let now = self.now;
        let Some(process) = self.table.get_mut(slot) else { return false };
        let budget = process.budget.clone();
        let ties = process.ties();
        let known = ties.watchers.get(&(by, watch)).copied();
        let newer = |known: Watcher| {
            known.number > watcher.number
                || known.number == watcher.number && known.moved > watcher.moved
        };
        let undone = ties.undone.get(&(by, watch)).is_some_and(|(last, _)| *last >= watcher.number);
        if undone || known.is_some_and(newer) {
            return true;
        }
        let back = watch == Watch::Link && !ties.watching.contains_key(&(by, watch));
        if ties.watchers.len() >= WATCHERS_MAX || back && !ties.make_room(budget.as_ref()) {
            return false;
        }
        ties.watchers.insert((by, watch), watcher);
        if back {
            ties.begun += 1;
            let claim = Claim { got: true, ..Claim::new(watcher.place, now) };
            ties.watching.insert((by, watch), Watching { number: ties.begun, asked: false, claim });
            self.rearm_watch(slot, by, watch);
        }
        true
    }

    fn unwatch(&mut self, me: Slot, to: Pid, watch: Watch) -> Result<(), Status> {
        let now = self.now;
        let toll = if self.table.find(to).is_some() { Toll::default() } else { self.toll(me)? };
        let process = self.table.get_mut(me).ok_or(Status::NoProcess)?;
        let pid = process.pid;
        let Some(ties) = &mut process.ties else { return Ok(()) };
        let mut theirs = 0;
        match watch {
            Watch::Monitor => ties.ended.retain(|(ended, _)| *ended != to),
            Watch::Link => {
                if let Some(watcher) = ties.watchers.remove(&(to, watch)) {
                    theirs = watcher.number;
                    ties.undo(to, watch, watcher.number, now);
                }
            }
        }
        if let Some(Watching { number, .. }) = ties.watching.remove(&(to, watch)) {
            self.no_watch(pid, to, watch, Undone { number, theirs }, toll);
        }
        Ok(())
    }

    /// Tells the watched one that it is not watched any more.
    pub(crate) fn no_watch(&mut self, by: Pid, to: Pid, watch: Watch, undone: Undone, toll: Toll) {
        match self.table.find(to) {
            Some(slot) => self.unwatched(slot, by, watch, undone),
            None => {
                let Undone { number, theirs } = undone;
                // If there are too many such words, it will be told of an end in vain.
                let body = Body::Unwatch { errand: 0, watch, number, theirs };
                let _ = self.send_errand(by, to, body, toll);
            }
        }
    }

    /// A watcher does not watch it any more; of a link, neither does it. A link that it has asked for itself stays, if the other
    /// one has undone an earlier one: it had not heard of this.
    pub(crate) fn unwatched(&mut self, slot: Slot, by: Pid, watch: Watch, undone: Undone) {
        let now = self.now;
        let Some(ties) = self.table.get_mut(slot).and_then(|one| one.ties.as_mut()) else { return };
        let own = ties.watching.get(&(by, watch)).filter(|_| watch == Watch::Link);
        let known = ties.watchers.get(&(by, watch)).map(|known| known.number);
        let is_meant = match (own, known) {
            (Some(own), _) if own.asked => own.number <= undone.theirs,
            (_, Some(known)) => known <= undone.number,
            (_, None) => false,
        };
        if is_meant {
            ties.watchers.remove(&(by, watch));
            ties.undo(by, watch, known.unwrap_or(0), now);
            if watch == Watch::Link {
                ties.watching.remove(&(by, watch));
            }
        }
    }

    /// A process has ended; its ties are at their end.
    pub(crate) fn untie(&mut self, pid: Pid, ties: Ties, reason: u64) {
        let mut told: Option<Pid> = None;
        for ((watcher, _), Watcher { place, .. }) in ties.watchers {
            // One word does for a monitor and a link.
            if told != Some(watcher) {
                self.tell_end(pid, watcher, place, reason);
                told = Some(watcher);
            }
        }
        for ((to, watch), Watching { number, .. }) in ties.watching {
            // The other end of a link has been told.
            if watch == Watch::Monitor {
                self.no_watch(pid, to, watch, Undone { number, theirs: 0 }, Toll::default());
            }
        }
    }

    fn tell_end(&mut self, of: Pid, watcher: Pid, place: Option<Place>, reason: u64) {
        match self.table.find(watcher) {
            Some(slot) => self.end_came(slot, of, reason),
            None => {
                // If that is lost, the watcher's kernel asks.
                let place = place.or(self.routes.get(watcher));
                self.post(place, of, watcher, Body::Ended { reason });
            }
        }
    }

    /// One that a process has watched has ended. Nothing, if it does not watch it any more.
    pub(crate) fn end_came(&mut self, slot: Slot, of: Pid, reason: u64) {
        let Some(process) = self.table.get_mut(slot) else { return };
        let Some(ties) = &mut process.ties else { return };
        if ties.watching.remove(&(of, Watch::Link)).is_some() {
            ties.watchers.remove(&(of, Watch::Link));
            if reason != EndReason::NORMAL {
                self.woken.push_back(Woken::Kill(slot, of));
            }
        }
        if ties.watching.remove(&(of, Watch::Monitor)).is_some() {
            ties.ended.push_back((of, reason));
            self.wake_ended(slot);
        }
    }

    /// If the process waits for the word that has come, or can be called with it, it goes on.
    fn wake_ended(&mut self, slot: Slot) {
        let Some(process) = self.table.get_mut(slot) else { return };
        let Some(ties) = &mut process.ties else { return };
        match process.call {
            Call::Receive(receive) => {
                if let Some((of, reason)) = ties.take_ended(receive.from) {
                    process.answer.set(&[]);
                    process.call = Call::Message(receive, end_envelope(of, reason));
                    self.woken.push_back(Woken::Process(slot));
                }
            }
            Call::None if process.form == Form::Handler && process.serves.is_none() => {
                self.woken.push_back(Woken::Handler(slot));
            }
            _ => {}
        }
    }
}

/// What goes for a message that tells of an end.
pub(crate) fn end_envelope(of: Pid, reason: u64) -> Envelope {
    Envelope { from: of, transaction: reason, len: 0, kind: Kind::Ended }
}
