//! What is sent to device processes, on its way to the origins that are connected here, and the replies on their way back.

use peripatos_abi::device::{self, Reply};
use peripatos_abi::{Errno, Pid};

use super::super::protocol::FromNode;
use super::{Host, Input};
use crate::origin::Ask;
use crate::talk::DeviceProcess;

impl Host {
    /// The device process of an origin that is connected here begins.
    pub(super) fn begin_devices(&mut self, pid: Pid, number: u64) -> Result<(), String> {
        let inputs = self.inputs.clone();
        let serve = Box::new(move |ask| {
            inputs.send(Input::Devices(pid, ask));
            // The replies come later.
            Vec::new()
        });
        let begun = self.letterbox.begin_devices(DeviceProcess { pid, serve });
        begun.map_err(|refusal| refusal.to_string())?;
        self.clients.device_origins.insert(pid, number);
        Ok(())
    }

    /// Its origin is gone, or serves nobody any more.
    pub(super) fn end_devices(&mut self, pid: Option<Pid>) {
        if let Some(pid) = pid
            && self.clients.device_origins.remove(&pid).is_some()
        {
            self.letterbox.end_devices(pid);
        }
    }

    /// It asks its origin.
    pub(super) fn devices_ask(&mut self, pid: Pid, ask: Ask) {
        // When it has ended nobody waits for an answer.
        let Some(number) = self.clients.device_origins.get(&pid).copied() else { return };
        let said = match ask {
            Ask::Request { client, sequence, request } => match device::encode_request(&request) {
                Ok(request) => FromNode::ClientRequest { client: client.bits(), sequence, request },
                Err(error) => {
                    let failed = Reply::Failed(Errno::Inval);
                    self.log_once(&format!("{pid:#} has taken what is no request: {error}"));
                    return self.letterbox.devices_replied(pid, (client, sequence, failed));
                }
            },
            Ask::Release(client) => FromNode::ReleaseClient(client.bits()),
            // The origin does that by itself.
            Ask::Retry => return,
        };
        self.clients.say(number, said);
    }

    /// An origin has answered a client of its device process.
    pub(super) fn client_replied(&mut self, number: u64, client: Pid, sequence: u64, reply: &[u8]) {
        let Some(pid) = self.clients.connected.get(&number).and_then(|one| one.devices) else {
            return;
        };
        let reply = device::decode_reply(reply).unwrap_or_else(|error| {
            self.log_once(&format!("{pid:#}: its origin's reply is damaged: {error}"));
            Reply::Failed(Errno::Io)
        });
        self.letterbox.devices_replied(pid, (client, sequence, reply));
    }
}
