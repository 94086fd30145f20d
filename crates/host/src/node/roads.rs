//! The ways that packets of message kernels take from node to node: past the node's thread, where it is known where to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peripatos_cluster::NodeId;
use peripatos_cluster::message::Message;
use peripatos_kernel::{Names, Packet};

use super::host::{Input, Inputs};
use super::links::Sender;
use crate::cores::Outside;

/// The links that stand, for whoever has a packet for another node.
#[derive(Clone, Debug, Default)]
pub(super) struct Roads(Arc<Mutex<HashMap<u128, Sender>>>);

impl Roads {
    pub(super) fn open(&self, node: NodeId, sender: Sender) {
        self.lock().insert(node.0, sender);
    }

    pub(super) fn close(&self, node: NodeId) {
        self.lock().remove(&node.0);
    }

    /// Sends a packet to its target's node. It comes back if it has no target, or there is no link to it. One that the
    /// link does not take is lost: kernels send again.
    pub(super) fn send(&self, packet: Packet) -> Option<Packet> {
        let Some(place) = packet.target else { return Some(packet) };
        self.send_to(place.node, packet)
    }

    /// The same, to this node: a packet whose sender does not know where it goes.
    pub(super) fn send_to(&self, node: u128, packet: Packet) -> Option<Packet> {
        let sender = self.lock().get(&node).cloned();
        let Some(sender) = sender else { return Some(packet) };
        // There is nothing in it that has no form.
        let bytes = postcard::to_stdvec(&packet).unwrap_or_default();
        sender.used.note();
        let _ = sender.send(&Message::Talk(bytes));
        None
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, Sender>> {
        // Nothing under the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the cores of a node see of it.
pub(super) struct Surroundings {
    pub(super) roads: Roads,
    pub(super) inputs: Inputs,
}

impl Outside for Surroundings {
    fn packet(&self, packet: Packet) -> Option<Packet> {
        if let Some(packet) = self.roads.send(packet) {
            self.inputs.send(Input::Stray(Box::new(packet)));
        }
        None
    }

    fn named(&self, _: &Mutex<Names>) {
        self.inputs.send(Input::Named);
    }
}

/// A packet that has come by a link.
///
/// # Errors
/// It is malformed: how.
pub(super) fn read(bytes: &[u8]) -> Result<Packet, String> {
    let packet: Packet = postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
    packet.check().map_err(|error| error.to_string())?;
    Ok(packet)
}
