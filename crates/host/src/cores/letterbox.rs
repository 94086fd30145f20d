//! Where others leave what is for cores: packets, and words for those of a core who are no process.

use std::sync::{Arc, MutexGuard, PoisonError};

use peripatos_abi::Pid;
use peripatos_kernel::{Names, Packet};

use super::board::Board;
use super::packet::Packet as ToCore;
use super::{Refusal, Wire};
use crate::origin::{Answered, Origin, Services};
use crate::talk::{DeviceProcess, DeviceWord, Survey, Visit};

/// The core whose kernel has the visitors, and the device processes.
pub(super) const VISITED: usize = 0;

/// Where packets for cores are left. The cores may end before it.
#[derive(Clone)]
pub struct Letterbox(Arc<Board>);

impl Letterbox {
    pub(super) fn of(board: &Arc<Board>) -> Letterbox {
        Letterbox(Arc::clone(board))
    }

    /// Brings a packet to the process here that it is for. If it is not here, the packet goes to [`Outside`](super::Outside).
    ///
    /// Whether its sender knew where the process is matters to the kernel: what the packet says of that stays.
    pub fn bring(&self, packet: Packet) {
        self.0.bring_in(packet);
    }

    /// Gives a core a wire to another node.
    pub(crate) fn wire(&self, core: usize, wire: Wire) {
        self.0.send(core, ToCore::Wire(Box::new(wire)));
    }

    /// A packet comes back: nobody has the process that it is for.
    pub fn nobody(&self, packet: Packet) {
        self.0.nobody(Box::new(packet), 0);
    }

    /// Sends a message of somebody who is no process, and is told of the reply on a core's thread.
    pub fn visit(&self, visit: Visit) {
        self.0.send(VISITED, ToCore::Visit(Box::new(visit)));
    }

    /// He waits for the reply no more.
    pub fn leave(&self, pid: Pid) {
        self.0.send(VISITED, ToCore::Leave(pid));
    }

    /// A device process is here from now on.
    ///
    /// # Errors
    /// [`Refusal::Duplicate`].
    pub fn begin_devices(&self, process: DeviceProcess) -> Result<(), Refusal> {
        self.0.registry.enter_devices(process.pid, VISITED)?;
        self.tell_devices(DeviceWord::Begin(process));
        Ok(())
    }

    /// The same, of the origin of `root`, which is here and knows it.
    ///
    /// # Errors
    /// [`Refusal::Duplicate`].
    pub fn begin_devices_of(&self, pid: Pid, origin: Origin, root: Pid) -> Result<(), Refusal> {
        let again = self.clone();
        let notify = move || again.retry_devices(pid);
        let mut services = Services::new(origin, root, notify, |_, _, ()| {});
        self.begin_devices(DeviceProcess { pid, serve: Box::new(move |ask| services.serve(ask)) })
    }

    /// The origin of a device process has answered.
    pub fn devices_replied(&self, pid: Pid, answered: Answered) {
        self.tell_devices(DeviceWord::Replied(pid, answered));
    }

    /// What waits at the origin of a device process can be tried again.
    pub fn retry_devices(&self, pid: Pid) {
        self.tell_devices(DeviceWord::Retry(pid));
    }

    /// A device process ends: who waits for it is told, and nobody finds it any more.
    pub fn end_devices(&self, pid: Pid) {
        self.0.registry.leave_devices(pid);
        self.tell_devices(DeviceWord::End(pid));
    }

    fn tell_devices(&self, word: DeviceWord) {
        self.0.send(VISITED, ToCore::Devices(Box::new(word)));
    }

    /// Asks all cores what processes do.
    pub fn survey(&self, survey: Survey) {
        self.0.survey(&Arc::new(survey));
    }

    /// A node is gone, with all that it had: who waits for its processes is told.
    pub fn unreachable(&self, node: u128) {
        self.0.unreachable(node);
    }

    /// Whether a process is on the cores.
    #[must_use]
    pub fn has(&self, pid: Pid) -> bool {
        self.0.registry.core_of(pid).is_some()
    }

    /// A process here may have lost names ([`Names::take_lost`]): its kernel tells it. One that is on its way, from core to core
    /// or back to them, is told where it comes to.
    pub fn lost_names(&self, pid: Pid) {
        if let Some(core) = self.0.registry.core_of(pid) {
            self.0.send(core, ToCore::LostNames(pid));
        }
    }

    /// The names of all processes that these can look up.
    pub fn names(&self) -> MutexGuard<'_, Names> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
