//! Who asks a device process, and what of theirs is under way: the decisions, without kernel or origin.
//!
//! Invariants:
//! * To the origin a client has a name that only the device process knows, and its requests a count of its own: what a
//!   process sends cannot be taken for what it asks of its devices itself, and nobody can name another one's descriptors.
//! * One request of a client is under way at a time, as of any process at its origin. A later one takes its place: its
//!   sender waits for one reply only, so it has given the earlier one up.

use std::collections::HashMap;

use peripatos_abi::device::{self, Request, WireError};
use peripatos_abi::message::Envelope;
use peripatos_abi::{Errno, Pid};

use super::devices::shortened;

/// Clients of a device process (`Errno::NFile`), each with descriptors of its own at the origin. So many requests may be
/// under way.
pub const DEVICE_CLIENTS_MAX: usize = 4_096;
/// Requests of a client that may be on their way to the origin although others have taken their place (`Errno::Again`).
const OVERTAKING_MAX: u32 = 16;
/// What a request has before it: its number.
const SEQUENCE_BYTES: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Clients {
    of: HashMap<Pid, Client>,
    /// Whose names these are.
    names: HashMap<Pid, Pid>,
}

#[derive(Debug)]
struct Client {
    name: Pid,
    sequence: u64,
    /// To whom the reply goes.
    waits: Option<Envelope>,
    /// Requests that took another one's place since the origin answered last.
    overtaking: u32,
}

/// A request to be brought to the origin.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) name: Pid,
    pub(super) sequence: u64,
    pub(super) request: Request,
    /// Its sender was not known before.
    pub(super) is_new: bool,
    /// What it takes the place of.
    pub(super) before: Option<Envelope>,
}

impl Clients {
    /// A message has come. `draw` draws the name of a new client, if it can.
    ///
    /// # Errors
    /// It is refused, and nothing has changed.
    pub(super) fn take(
        &mut self,
        envelope: Envelope,
        message: &[u8],
        draw: impl FnOnce() -> Option<Pid>,
    ) -> Result<Taken, Errno> {
        let request = message.get(SEQUENCE_BYTES..).ok_or(Errno::Inval)?;
        let request = device::decode_request(request).map_err(|error| match error {
            WireError::Limit(limit) => limit.errno(),
            _ => Errno::Inval,
        })?;
        let is_new = !self.of.contains_key(&envelope.from);
        if is_new {
            if self.of.len() >= DEVICE_CLIENTS_MAX {
                return Err(Errno::NFile);
            }
            let name = draw().ok_or(Errno::Io)?;
            self.names.insert(name, envelope.from);
            self.of.insert(envelope.from, Client { name, sequence: 0, waits: None, overtaking: 0 });
        }
        let client = self.of.get_mut(&envelope.from).ok_or(Errno::Io)?;
        if client.waits.is_some() {
            if client.overtaking >= OVERTAKING_MAX {
                return Err(Errno::Again);
            }
            client.overtaking += 1;
        }
        client.sequence += 1;
        let before = client.waits.replace(envelope);
        let (name, sequence) = (client.name, client.sequence);
        Ok(Taken { name, sequence, request: shortened(&request), is_new, before })
    }

    /// The origin has answered: to whom that goes. `None`: nobody waits for it any more.
    pub(super) fn answered(&mut self, name: Pid, sequence: u64) -> Option<Envelope> {
        let client = self.of.get_mut(self.names.get(&name)?)?;
        if client.sequence != sequence {
            return None;
        }
        client.overtaking = 0;
        client.waits.take()
    }

    /// A client has ended, or is lost: what the origin calls it, and what of it waits for a reply.
    pub(super) fn remove(&mut self, pid: Pid) -> Option<(Pid, Option<Envelope>)> {
        let Client { name, waits, .. } = self.of.remove(&pid)?;
        self.names.remove(&name);
        Some((name, waits))
    }

    /// What the origin calls them.
    pub(super) fn names(&self) -> Vec<Pid> {
        self.names.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peripatos_abi::ClockId;
    use peripatos_abi::message::Kind;

    fn envelope(from: u64, transaction: u64) -> Envelope {
        Envelope { from: Pid::new(from, from), transaction, len: 0, kind: Kind::Message }
    }

    fn message(request: &Request) -> Vec<u8> {
        [&[0; SEQUENCE_BYTES], device::encode_request(request).unwrap_or_default().as_slice()]
            .concat()
    }

    #[test]
    fn a_client_has_one_request_under_way() {
        let mut clients = Clients::default();
        let clock = message(&Request::ClockTime(ClockId::Realtime));
        let name = Pid::new(0, 77);
        let take = |clients: &mut Clients, transaction| {
            clients.take(envelope(1, transaction), &clock, || Some(name)).ok()
        };
        let first = take(&mut clients, 1);
        assert!(first.is_some_and(|one| one.is_new && one.sequence == 1 && one.before.is_none()));
        let second = take(&mut clients, 2);
        assert!(second.is_some_and(|two| !two.is_new && two.before == Some(envelope(1, 1))));
        assert_eq!(clients.answered(name, 1), None);
        assert_eq!(clients.answered(Pid::new(1, 1), 2), None);
        assert_eq!(clients.answered(name, 2), Some(envelope(1, 2)));
        assert_eq!(clients.answered(name, 2), None);
        // What floods is stopped until an answer comes.
        for transaction in 0..=u64::from(OVERTAKING_MAX) {
            assert!(take(&mut clients, transaction).is_some());
        }
        assert!(take(&mut clients, 99).is_none());
        let last = u64::from(OVERTAKING_MAX) + 3;
        assert_eq!(clients.answered(name, last), Some(envelope(1, u64::from(OVERTAKING_MAX))));
        assert!(take(&mut clients, 100).is_some());
        assert_eq!(clients.remove(Pid::new(1, 1)), Some((name, Some(envelope(1, 100)))));
        assert_eq!((clients.remove(Pid::new(1, 1)), clients.names()), (None, Vec::new()));
    }

    #[test]
    fn what_is_refused_leaves_no_client() {
        let mut clients = Clients::default();
        let refused = |clients: &mut Clients, message: &[u8]| {
            clients.take(envelope(1, 1), message, || Some(Pid::new(0, 1))).err()
        };
        for bytes in [&[][..], &[0; 7], &[0; 8], &[255; 40]] {
            assert_eq!(refused(&mut clients, bytes), Some(Errno::Inval));
        }
        let unnamed = clients.take(envelope(1, 1), &message(&Request::Random(1)), || None);
        assert_eq!(unnamed.err(), Some(Errno::Io));
        assert!(clients.of.is_empty() && clients.names.is_empty());
        for number in 0..DEVICE_CLIENTS_MAX as u64 {
            let draw = || Some(Pid::new(0, number));
            let taken = clients.take(envelope(number + 2, 1), &message(&Request::Random(1)), draw);
            assert!(taken.is_ok());
        }
        assert_eq!(refused(&mut clients, &message(&Request::Random(1))), Some(Errno::NFile));
    }
}
