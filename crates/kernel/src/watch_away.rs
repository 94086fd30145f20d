//! Watching a process of another kernel: the watcher's kernel stands up for the watch until it hears of the end.

use peripatos_abi::{EndReason, Pid};

use crate::arrive::Heard;
use crate::budget::Toll;
use crate::claim::{Concern, Timer};
use crate::kernel::Kernel;
use crate::mutation::Mutation;
use crate::packet::{Body, Place};
use crate::table::Slot;
use crate::ties::{Watch, Watcher, Watching};
use crate::watch::Undone;

impl Kernel {
    fn watching(&mut self, slot: Slot, to: Pid, watch: Watch) -> Option<&mut Watching> {
        let ties = self.table.get_mut(slot)?.ties.as_mut()?;
        ties.watching.get_mut(&(to, watch))
    }

    /// Says that a process watches another one, and says it again later.
    pub(crate) fn press_watch(&mut self, slot: Slot, to: Pid, watch: Watch) {
        let (here, now) = (self.place, self.now);
        let Some(pid) = self.pid(slot) else { return };
        let met = self.table.find(to);
        let ties = self.table.get_mut(slot).and_then(|process| process.ties.as_mut());
        let watching = ties.and_then(|ties| ties.watching.get_mut(&(to, watch)));
        let Some(Watching { number, claim, .. }) = watching else { return };
        let (number, again) = (*number, claim.got);
        if let Some(met) = met {
            return self.watch_home(slot, pid, met, to, watch, number, again);
        }
        let place = claim.aim(here, &mut self.routes, to);
        let due = claim.arm(here, now);
        claim.tries += 1;
        if let Some(due) = due {
            self.timers
                .push(now, Timer { due, pid, to, concern: Concern::Watch { watch, number } });
        }
        self.post(place, pid, to, Body::Watch { watch, number, again });
    }

    /// A watcher and whom it watches have met in one table.
    #[expect(
        clippy::too_many_arguments,
        reason = "two processes, each with its two names, and a watch"
    )]
    fn watch_home(
        &mut self,
        slot: Slot,
        pid: Pid,
        met: Slot,
        to: Pid,
        watch: Watch,
        number: u64,
        again: bool,
    ) {
        if again && watch == Watch::Link && !self.is_watched(met, pid, watch) {
            // The other one has unlinked itself.
            return self.unwatched(slot, to, watch, Undone::all(number));
        }
        if !self.watched(met, pid, watch, Watcher { number, place: None, moved: 0 }) {
            self.end_came(slot, to, EndReason::Lost.to_bits());
        }
    }

    fn is_watched(&mut self, slot: Slot, by: Pid, watch: Watch) -> bool {
        let ties = self.table.get_mut(slot).and_then(|one| one.ties.as_mut());
        ties.is_some_and(|ties| ties.watchers.contains_key(&(by, watch)))
    }

    /// What is not looked at will be, if it has to.
    pub(crate) fn rearm_watch(&mut self, slot: Slot, to: Pid, watch: Watch) {
        let (here, now) = (self.place, self.now);
        let Some(pid) = self.pid(slot) else { return };
        let Some(Watching { number, claim, .. }) = self.watching(slot, to, watch) else { return };
        let number = *number;
        if claim.due == 0
            && let Some(due) = claim.arm(here, now)
        {
            self.timers
                .push(now, Timer { due, pid, to, concern: Concern::Watch { watch, number } });
        }
    }

    pub(crate) fn retry_watch(&mut self, slot: Slot, to: Pid, watch: Watch, due: u64) {
        let (now, once) = (self.now, self.does_wrong(Mutation::WatchOnce));
        let Some(Watching { claim, .. }) = self.watching(slot, to, watch) else { return };
        if claim.due != due {
            return;
        }
        if once {
            return;
        }
        claim.redirects = 0;
        // One that has come here meanwhile is not lost, however long nothing was heard of it.
        let hopeless = claim.is_hopeless(now);
        if hopeless && self.table.find(to).is_none() {
            return self.end_came(slot, to, EndReason::Lost.to_bits());
        }
        self.press_watch(slot, to, watch);
    }

    /// Another kernel's process watches one of this one's.
    pub(crate) fn watch_came(
        &mut self,
        (source, moved): (Place, u32),
        from: Pid,
        slot: Slot,
        watch: Watch,
        number: u64,
        again: bool,
    ) {
        let Some(to) = self.pid(slot) else { return };
        if let Some(watcher) = self.table.find(from) {
            // It has moved here meanwhile, and what it has said has followed it.
            return self.press_watch(watcher, to, watch);
        }
        if again && watch == Watch::Link && !self.is_watched(slot, from, watch) {
            // It has unlinked itself.
            let Undone { number, theirs } = Undone::all(number);
            let body = Body::Unwatch { errand: 0, watch, number, theirs };
            return self.post(Some(source), to, from, body);
        }
        if !self.watched(slot, from, watch, Watcher { number, place: Some(source), moved }) {
            let reason = EndReason::Lost.to_bits();
            return self.post(Some(source), to, from, Body::Ended { reason });
        }
        let got = Body::Got(Concern::Watch { watch, number });
        self.post(Some(source), to, from, got);
    }

    pub(crate) fn got_watch(
        &mut self,
        heard: Heard,
        from: Pid,
        slot: Slot,
        watch: Watch,
        number: u64,
    ) {
        let (here, now) = (self.place, self.now);
        let Some(pid) = self.pid(slot) else { return };
        match self.watching(slot, from, watch) {
            Some(watching) if watching.number == number => {
                watching.claim.acknowledged(heard.place, now);
                let due = watching.claim.arm(here, now);
                if let Some(due) = due {
                    let concern = Concern::Watch { watch, number };
                    self.timers.push(now, Timer { due, pid, to: from, concern });
                }
            }
            // It has said so anew since.
            Some(watching) if watching.number > number => {}
            // It does not watch it any more, and had said so before it was heard.
            _ => {
                let undone = Undone { number, theirs: 0 };
                self.no_watch(pid, from, watch, undone, Toll::default());
            }
        }
    }

    pub(crate) fn watch_not_there(
        &mut self,
        source: Place,
        from: Pid,
        slot: Slot,
        watch: Watch,
        number: u64,
        at: Option<Place>,
    ) {
        let (here, now) = (self.place, self.now);
        if self.table.find(from).is_some() {
            // They have met here since. A claim that is armed now would be as old as what was heard last from elsewhere.
            return;
        }
        let Some(watching) = self.watching(slot, from, watch) else { return };
        let claim = &mut watching.claim;
        let tried = claim.was_tried(here, source);
        if watching.number != number || !tried {
            return;
        }
        let at_once = claim.redirected(here, source, at, now);
        self.learn(source, from, at);
        if at_once {
            self.press_watch(slot, from, watch);
        } else if let (Some(pid), Some(Watching { claim, .. })) =
            (self.pid(slot), self.watching(slot, from, watch))
            && claim.due == 0
        {
            let (due, concern) = (claim.wait(now), Concern::Watch { watch, number });
            self.timers.push(now, Timer { due, pid, to: from, concern });
        }
    }

    /// One for which a process waits, or which it watches, has left the node: from now on it is asked after.
    pub(crate) fn moved_on(&mut self, other: Pid, slot: Slot, at: Place) {
        let (here, now) = (self.place, self.now);
        self.routes.heard(other, at);
        let Some(process) = self.table.get_mut(slot) else { return };
        let send = process.last_send();
        let waits = matches!(process.call, crate::process::Call::Send { to, .. } if to == other);
        if waits && process.is_away(send) && !process.out.claim.is_lossy(here) {
            process.out.claim.place = Some(at);
            process.out.claim.since = now;
            self.rearm_send(slot);
        }
        for watch in [Watch::Monitor, Watch::Link] {
            let Some(Watching { claim, .. }) = self.watching(slot, other, watch) else { continue };
            if !claim.is_lossy(here) {
                claim.place = Some(at);
                claim.since = now;
                self.rearm_watch(slot, other, watch);
            }
        }
    }

    /// It is on this node, perhaps without that a kernel elsewhere knows: it is said again.
    pub(crate) fn press_watches(&mut self, slot: Slot) {
        let ties = self.table.get_mut(slot).and_then(|process| process.ties.as_ref());
        let watching = ties.map(|ties| ties.watching.keys().copied().collect::<Vec<_>>());
        for (to, watch) in watching.unwrap_or_default() {
            self.press_watch(slot, to, watch);
        }
    }
}
