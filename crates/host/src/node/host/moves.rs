//! Processes that leave and come: what the state machine decides about them is done here.

use std::sync::Arc;
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::message::{Content, End, FailureKind, Luggage, MigrationId};
use peripatos_cluster::{Event, NodeId};
use peripatos_engine::{Outline, Process};

use super::super::convert;
use super::super::lanes::Way;
use super::super::stills::{self, Arrived, Frozen, Still};
use super::{Host, Input};
use crate::cores::CoreEvent;

impl Host {
    pub(super) fn core(&mut self, report: CoreEvent) {
        match report {
            CoreEvent::Stopped { process, cpu } => {
                let Some(migration) = self.leaving.remove(&process.pid()) else {
                    *self.cpu_before.entry(process.pid()).or_default() += cpu;
                    self.run_again(process);
                    return;
                };
                let readings = self
                    .exchanges
                    .get(&process.pid())
                    .map(|one| one.readings())
                    .unwrap_or_default();
                let inputs = self.inputs.clone();
                let name = stills::name(process.pid());
                let captured = stills::aside(move || {
                    let (process, outline) = stills::outline(process, readings);
                    let process = Box::new(process);
                    inputs.send(Input::Captured { migration, process, outline, cpu });
                });
                if let Err(error) = captured {
                    self.log_once(&format!("{name} is lost: no thread to move it: {error}"));
                }
            }
            CoreEvent::Ended { pid, end, .. } => {
                self.leaving.remove(&pid);
                self.exchanges.remove(&pid);
                self.cpu_before.remove(&pid);
                self.tell(Event::Ended { pid, end: convert::end(end) });
            }
        }
    }

    pub(super) fn captured(
        &mut self,
        migration: MigrationId,
        process: Process,
        outline: Result<Arc<Outline>, String>,
        cpu: Duration,
    ) {
        match outline {
            Ok(outline) => {
                let image_bytes = outline.memory_bytes();
                let pid = process.pid();
                self.frozen.insert(pid, Frozen { still: Still::new(process), outline, cpu });
                self.tell(Event::Frozen { migration, image_bytes });
            }
            Err(reason) => {
                *self.cpu_before.entry(process.pid()).or_default() += cpu;
                self.run_again(process);
                self.tell(Event::NotFrozen { migration, reason });
            }
        }
    }

    pub(super) fn send_image(&mut self, to: NodeId, pid: Pid, migration: MigrationId) {
        let (Some(frozen), Some(standing)) = (self.frozen.get(&pid), self.links.get(&to)) else {
            return;
        };
        let (still, outline) = (frozen.still.clone(), Arc::clone(&frozen.outline));
        let sender = standing.sender.clone();
        let way = Way::new(standing.dialled.as_deref(), &self.us.lanes);
        let inputs = self.inputs.clone();
        self.streams += 1;
        let stream = self.streams;
        let sent = stills::aside(move || {
            let sent = stills::send_image(&still, &outline, migration, &sender, &way, stream);
            if let Err(error) = sent {
                inputs.send(Input::Log(format!("an image could not be sent: {error}")));
            }
        });
        if let Err(error) = sent {
            self.log_once(&format!("{} cannot be sent: {error}", stills::name(pid)));
        }
    }

    pub(super) fn run_again(&mut self, process: Process) {
        let pid = process.pid();
        if let Err(error) = self.cores.run(process) {
            (self.log)(&format!("{pid:#} is lost: {error}"));
            let message = error.to_string();
            let kind = FailureKind::Internal;
            self.tell(Event::Ended { pid, end: End::Failed { kind, message } });
        }
    }

    /// An image may come as soon as there is room. It becomes a process while it comes.
    pub(super) fn expect(&mut self, migration: MigrationId, luggage: Luggage) {
        let reason = match self.programs.get(luggage.process.code) {
            None => "its program is not here any more".to_owned(),
            Some(code) => {
                let bytes_max = stills::image_bytes_max(&luggage);
                let arriving =
                    self.expected.expect(migration.source, Content::Image(migration), bytes_max);
                let exchange = self.exchange(luggage.process.pid);
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
        let Arrived { process, exchange, luggage } = *arrived;
        assert_eq!(pid, luggage.process.pid, "checked when it was thawed");
        self.exchanges.insert(pid, exchange);
        self.run_again(process);
    }
}
