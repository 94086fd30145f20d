//! Processes that leave and come: what the state machine decides about them is done here.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::message::{
    Content, Description, End, FailureKind, Kin, Luggage, MigrationId,
};
use peripatos_cluster::{Event, NodeId, PreCopied};
use peripatos_engine::{Outline, Process};

use super::super::baggage::{Baggage, Talk};
use super::super::convert;
use super::super::lanes::Way;
use super::super::precopy::{self, Copied, Copying, Target};
use super::super::stills::{self, Arrived, Frozen, Still};
use super::{Host, Input};
use crate::cores::CoreEvent;
use crate::link::WRITES_BEHIND_VERSION;
use crate::talk::{Leaving, Line, Member};

impl Host {
    /// A process has left, and runs there.
    pub(super) fn discard(&mut self, pid: Pid, to: NodeId) {
        self.exchanges.remove(&pid);
        self.cpu_before.remove(&pid);
        self.arguments.remove(&pid);
        if self.letterbox.names().forget(pid) {
            self.named();
        }
        let now = self.now();
        for packet in self.strays.went(now, pid, to) {
            self.stray(packet);
        }
        if let Some(frozen) = self.frozen.remove(&pid) {
            frozen.still.take().into_iter().for_each(stills::drop_aside);
        }
    }

    pub(super) fn core(&mut self, report: CoreEvent) {
        match report {
            CoreEvent::Stopped { process, talking, cpu } => {
                let pid = process.pid();
                let Some(migration) = self.leaving.remove(&pid) else {
                    *self.cpu_before.entry(pid).or_default() += cpu;
                    self.run_again(process, talking);
                    return;
                };
                if let Some(reason) = self.cannot_be_taken(pid, migration) {
                    self.copied.remove(&migration).into_iter().for_each(stills::drop_aside);
                    *self.cpu_before.entry(pid).or_default() += cpu;
                    self.run_again(process, talking);
                    return self.tell(Event::NotFrozen { migration, reason });
                }
                self.note_unserved(pid);
                let baggage = self.baggage(pid, talking.as_deref());
                let inputs = self.inputs.clone();
                let name = stills::name(pid);
                let copied = self.copied.remove(&migration);
                let captured = stills::aside(move || {
                    let copy = copied.as_ref().map(|copied| &copied.copy);
                    let (process, outline) = stills::outline(process, &baggage, copy);
                    let process = Box::new(process);
                    let captured = Captured { process, outline, talking, cpu, copied };
                    inputs.send(Input::Captured(migration, captured));
                });
                if let Err(error) = captured {
                    self.log_once(&format!("{name} is lost: no thread to move it: {error}"));
                }
            }
            CoreEvent::Deadlock(circle) => {
                self.tell(Event::Deadlock { circle: circle.pids, len: circle.len });
            }
            CoreEvent::Ended { pid, end, .. } => {
                if let Some(migration) = self.leaving.remove(&pid) {
                    self.copied.remove(&migration).into_iter().for_each(stills::drop_aside);
                }
                self.cpu_before.remove(&pid);
                self.arguments.remove(&pid);
                for packet in self.strays.ended(self.now(), pid) {
                    self.stray(packet);
                }
                self.ended.insert(pid, convert::end(end));
                self.end_if_heard(pid);
            }
        }
    }

    /// Copies a process's memory while it runs. Where that cannot be, or is not worth it, all is carried while it stands still.
    pub(super) fn pre_copy(&mut self, to: NodeId, pid: Pid, migration: MigrationId) {
        // Without a link the node hears of that.
        let Some(standing) = self.links.get(&to) else { return };
        let copy = match self.cores.pre_copy(pid) {
            Ok(copy) => copy,
            Err(reason) => {
                self.log_once(&format!("a process stands still while it is carried: {reason}"));
                return self.tell(Event::PreCopied { migration, copied: PreCopied::default() });
            }
        };
        self.streams += 1;
        let target = Target {
            migration,
            sender: standing.sender.clone(),
            way: Way::new(standing.dialled.as_deref(), &self.us.lanes),
            stream: self.streams,
        };
        let (copying, wanted) = Copying::new();
        let (inputs, pace) = (self.inputs.clone(), self.pace.clone());
        let started = stills::aside(move || {
            let copied = precopy::copy(copy, &target, &pace, &wanted);
            let copied = copied.map(|copied| copied.map(Box::new));
            inputs.send(Input::PreCopied(migration, copied));
        });
        match started {
            Ok(()) => drop(self.copying.insert(migration, copying)),
            Err(error) => self.not_copied(migration, &error),
        }
    }

    pub(super) fn pre_copied(
        &mut self,
        migration: MigrationId,
        copied: io::Result<Option<Box<Copied>>>,
    ) {
        let wanted = self.copying.remove(&migration).is_some();
        match copied {
            Ok(copied) if wanted => {
                let so_far = copied.as_ref().map(|copied| copied.so_far).unwrap_or_default();
                self.copied.extend(copied.map(|copied| (migration, copied)));
                self.tell(Event::PreCopied { migration, copied: so_far });
            }
            Ok(copied) => copied.into_iter().for_each(stills::drop_aside),
            Err(error) if wanted => self.not_copied(migration, &error),
            Err(_) => {}
        }
    }

    fn not_copied(&mut self, migration: MigrationId, error: &io::Error) {
        let reason = format!("its memory cannot be copied: {error}");
        self.tell(Event::NotFrozen { migration, reason });
    }

    /// What the image of a process carries of this node.
    fn baggage(&self, pid: Pid, talking: Option<&Leaving>) -> Baggage {
        let exchange = self.exchanges.get(&pid);
        let readings = exchange.map(|one| one.readings()).unwrap_or_default();
        let used = exchange.and_then(|one| one.used());
        let written = exchange.map(|one| one.outstanding()).unwrap_or_default();
        let root = self.node.root_of(pid).filter(|_| talking.is_some());
        let family = root.and_then(|root| self.families.get(&root));
        let talk = talking.zip(family).map(|(leaving, (family, _))| {
            // It stands still, and is one of the family.
            let env = family.upgrade().map_or(Vec::new(), |family| family.rules().env.clone());
            let argument = self.arguments.get(&pid).map_or(Vec::new(), |one| one.to_vec());
            Talk::new(env, argument, self.letterbox.names().of(pid), leaving)
        });
        Baggage::new(readings, used, talk, written)
    }

    /// Why a process that stands still has to go on here.
    fn cannot_be_taken(&self, pid: Pid, migration: MigrationId) -> Option<String> {
        let exchange = self.exchanges.get(&pid)?;
        exchange.stand_still();
        if exchange.outstanding().is_empty() {
            return None;
        }
        let standing = self.node.target_of(migration).and_then(|to| self.links.get(&to));
        let knows = standing.is_none_or(|one| one.version >= WRITES_BEHIND_VERSION);
        let reason = "its origin has not heard all that it has written, and the other node is of a release that cannot take that along";
        (!knows).then(|| reason.to_owned())
    }

    pub(super) fn captured(&mut self, migration: MigrationId, captured: Captured) {
        let Captured { process, outline, talking, cpu, copied } = captured;
        let pid = process.pid();
        match outline {
            Ok(outline) => {
                let image_bytes = outline.memory_bytes();
                let still = Still::new(*process);
                self.frozen.insert(pid, Frozen { still, outline, talking, cpu, copied });
                self.tell(Event::Frozen { migration, image_bytes });
            }
            Err(reason) => {
                copied.into_iter().for_each(stills::drop_aside);
                *self.cpu_before.entry(pid).or_default() += cpu;
                self.run_again(*process, talking);
                self.tell(Event::NotFrozen { migration, reason });
            }
        }
    }

    pub(super) fn send_image(&mut self, to: NodeId, pid: Pid, migration: MigrationId) {
        let (Some(frozen), Some(standing)) = (self.frozen.get_mut(&pid), self.links.get(&to))
        else {
            return;
        };
        let copied = frozen.copied.take();
        let (still, outline) = (frozen.still.clone(), Arc::clone(&frozen.outline));
        let sender = standing.sender.clone();
        let way = Way::new(standing.dialled.as_deref(), &self.us.lanes);
        let (inputs, pace) = (self.inputs.clone(), self.pace.clone());
        self.streams += 1;
        let stream = self.streams;
        let sent = stills::aside(move || {
            let sent = match copied {
                Some(copied) => stills::send_rest(&still, &outline, *copied, &pace),
                None => {
                    stills::send_image(&still, &outline, migration, &sender, &way, stream, &pace)
                }
            };
            if let Err(error) = sent {
                inputs.send(Input::Log(format!("an image could not be sent: {error}")));
            }
        });
        if let Err(error) = sent {
            self.log_once(&format!("{} cannot be sent: {error}", stills::name(pid)));
        }
    }

    pub(super) fn run_again(&mut self, process: Process, talking: Option<Box<Leaving>>) {
        let pid = process.pid();
        let share = self.share_of(pid);
        let run = self.cores.run_within(process, talking, share);
        for packet in self.strays.comes(self.now(), pid) {
            self.letterbox.bring(packet);
        }
        if let Err(error) = run {
            return self.lost(pid, &error.to_string());
        }
        if let Some(exchange) = self.exchanges.get(&pid) {
            exchange.go_on();
        }
        self.letterbox.names().runs(pid);
        self.named();
    }

    /// A process cannot go on.
    pub(super) fn lost(&mut self, pid: Pid, why: &str) {
        (self.log)(&format!("{pid:#} is lost: {why}"));
        let (kind, message) = (FailureKind::Internal, why.to_owned());
        self.tell(Event::Ended { pid, end: End::Failed { kind, message } });
    }

    /// An image may come as soon as there is room. It becomes a process while it comes.
    pub(super) fn expect(&mut self, migration: MigrationId, luggage: Luggage) {
        let reason = match self.programs.get(luggage.process.code) {
            None => "its program is not here any more".to_owned(),
            Some(code) => {
                let bytes_max = stills::bytes_max(&luggage);
                let arriving =
                    self.expected.expect(migration.source, Content::Image(migration), bytes_max);
                let exchange = self.exchange(luggage.process.pid, &code);
                let inputs = self.inputs.clone();
                let claim = self.rooms.claim(luggage.memory_bytes);
                let thawing = stills::aside(move || {
                    let room_made = || inputs.send(Input::RoomMade(migration));
                    let thawed = stills::thaw(arriving, &code, luggage, exchange, claim, room_made);
                    let thawed = thawed.map(Box::new);
                    inputs.send(Input::Thawed { migration, thawed });
                });
                match thawing {
                    Ok(()) => return,
                    Err(error) => error.to_string(),
                }
            }
        };
        self.tell(Event::NotPrepared { migration, reason });
    }

    pub(super) fn thawed(&mut self, migration: MigrationId, thawed: Result<Box<Arrived>, String>) {
        match thawed {
            Ok(arrived) => {
                self.arrived.insert(migration, arrived);
                self.tell(Event::Prepared(migration));
            }
            Err(reason) => self.tell(Event::NotPrepared { migration, reason }),
        }
    }

    pub(super) fn activate(&mut self, migration: MigrationId, pid: Pid) {
        let Some(arrived) = self.arrived.remove(&migration) else { return };
        let Arrived { mut process, exchange, luggage, baggage, talking } = *arrived;
        assert_eq!(pid, luggage.process.pid, "checked when it was thawed");
        self.exchanges.insert(pid, exchange);
        if let (Some(talk), Some(kin)) = (baggage.talk, &luggage.process.kin) {
            match self.line(&luggage.process, kin, talk.env, talk.argument) {
                Ok(line) => process.set_messages(Box::new(line)),
                // It goes on, and is told that it has no kernel.
                Err(reason) => self.log_once(&format!("{pid:#} cannot talk: {reason}")),
            }
            self.letterbox.names().arrived(pid, &talk.names);
        }
        self.run_again(process, talking);
    }

    /// What a process talks through on this node.
    ///
    /// # Errors
    /// There is no family for it: why.
    pub(super) fn line(
        &mut self,
        process: &Description,
        kin: &Kin,
        env: Vec<Vec<u8>>,
        argument: Vec<u8>,
    ) -> Result<Line, String> {
        let family = self.family(process, kin, &env)?;
        let code = self.programs.get(process.code).ok_or("its program is not here any more")?;
        let argument: Arc<[u8]> = argument.into();
        if !argument.is_empty() {
            self.arguments.insert(process.pid, Arc::clone(&argument));
        }
        let program = process.command.first().map_or("", String::as_str).into();
        let member = Member::child(&family, code, program, kin.parent, argument);
        Ok(Line::of(process.pid, member.map_err(|status| status.to_string())?))
    }
}

/// A process that was frozen to leave, and what has come of looking at it.
pub(in crate::node) struct Captured {
    pub(super) process: Box<Process>,
    pub(super) outline: Result<Arc<Outline>, String>,
    pub(super) talking: Option<Box<Leaving>>,
    pub(super) cpu: Duration,
    pub(super) copied: Option<Box<Copied>>,
}
