//! Where processes are, in datagrams: what nodes without a link ask and tell each other for that. All numbers are big endian.
//!
//! ```text
//! lookup = 0 pid:u128 question:u64 | 1 pid:u128 question:u64 sighting | 2 count:u8 (pid:u128 moves:u32 here:u8)*
//! sighting = 0 (here) | 1 (not here) | 2 node:u128 (perhaps there)
//! ```

use bytes::{Buf, BufMut};
use peripatos_abi::Pid;

use crate::NodeId;
use crate::limits::ENTRIES_SAID_MAX;
use crate::message::{Entry, Sighting, Sought};
use crate::promises::MalformedWord;

/// What is said. Each is a hint, or a question that is asked again: it may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// As [`Message::Seek`](crate::message::Message::Seek).
    Seek {
        /// Which process.
        pid: Pid,
        /// Which of the asker's questions this is.
        question: u64,
    },
    /// As [`Message::Sought`](crate::message::Message::Sought).
    Sought(Sought),
    /// As [`Message::Entries`](crate::message::Message::Entries): at most [`ENTRIES_SAID_MAX`].
    Entries(Vec<Entry>),
}

impl Lookup {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Lookup::Seek { pid, question } => {
                bytes.put_u8(0);
                bytes.put_u128(pid.bits());
                bytes.put_u64(*question);
            }
            Lookup::Sought(Sought { pid, question, sighting }) => {
                bytes.put_u8(1);
                bytes.put_u128(pid.bits());
                bytes.put_u64(*question);
                match sighting {
                    Sighting::Here => bytes.put_u8(0),
                    Sighting::NotHere => bytes.put_u8(1),
                    Sighting::Perhaps(node) => {
                        bytes.put_u8(2);
                        bytes.put_u128(node.0);
                    }
                }
            }
            Lookup::Entries(entries) => {
                let entries = &entries[..entries.len().min(ENTRIES_SAID_MAX)];
                bytes.put_u8(2);
                bytes.put_u8(entries.len() as u8);
                for Entry { pid, moves, here } in entries {
                    bytes.put_u128(pid.bits());
                    bytes.put_u32(*moves);
                    bytes.put_u8(u8::from(*here));
                }
            }
        }
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are none.
    pub fn read(mut bytes: &[u8]) -> Result<Lookup, MalformedWord> {
        let bytes = &mut bytes;
        let lookup = match bytes.try_get_u8()? {
            0 => Lookup::Seek { pid: pid(bytes)?, question: bytes.try_get_u64()? },
            1 => {
                let (pid, question) = (pid(bytes)?, bytes.try_get_u64()?);
                let sighting = match bytes.try_get_u8()? {
                    0 => Sighting::Here,
                    1 => Sighting::NotHere,
                    2 => Sighting::Perhaps(NodeId(bytes.try_get_u128()?)),
                    _ => return Err(MalformedWord::Unknown("sighting")),
                };
                Lookup::Sought(Sought { pid, question, sighting })
            }
            2 => {
                let count = usize::from(bytes.try_get_u8()?);
                if count > ENTRIES_SAID_MAX {
                    return Err(MalformedWord::Unknown("number of processes"));
                }
                let entries = (0..count).map(|_| entry(bytes)).collect::<Result<_, _>>()?;
                Lookup::Entries(entries)
            }
            _ => return Err(MalformedWord::Unknown("kind of lookup")),
        };
        if bytes.is_empty() { Ok(lookup) } else { Err(MalformedWord::Long) }
    }
}

fn pid(bytes: &mut &[u8]) -> Result<Pid, MalformedWord> {
    Ok(Pid::from_bits(bytes.try_get_u128()?))
}

fn entry(bytes: &mut &[u8]) -> Result<Entry, MalformedWord> {
    let (pid, moves) = (pid(bytes)?, bytes.try_get_u32()?);
    match bytes.try_get_u8()? {
        here @ (0 | 1) => Ok(Entry { pid, moves, here: here == 1 }),
        _ => Err(MalformedWord::Unknown("word of a process")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GOSSIP_BYTES_MAX;

    #[test]
    fn they_are_read_as_they_were_written_and_nothing_else_is() {
        let pid = Pid::new(7, 8);
        let sought = |sighting| Lookup::Sought(Sought { pid, question: 3, sighting });
        let entry = |number| Entry { pid: Pid::new(number, 1), moves: 5, here: number % 2 == 0 };
        let all = [
            Lookup::Seek { pid, question: u64::MAX },
            sought(Sighting::Here),
            sought(Sighting::NotHere),
            sought(Sighting::Perhaps(NodeId(9))),
            Lookup::Entries((0..ENTRIES_SAID_MAX as u64).map(entry).collect()),
        ];
        for lookup in all {
            let bytes = lookup.to_bytes();
            assert!(bytes.len() < GOSSIP_BYTES_MAX);
            assert_eq!(Lookup::read(&bytes), Ok(lookup));
            for cut in 0..bytes.len() {
                assert!(Lookup::read(&bytes[..cut]).is_err());
            }
            assert_eq!(Lookup::read(&[&bytes[..], &[0]].concat()), Err(MalformedWord::Long));
        }
        for malformed in [&[3][..], &[2, ENTRIES_SAID_MAX as u8 + 1]] {
            assert!(matches!(Lookup::read(malformed), Err(MalformedWord::Unknown(_))));
        }
    }
}
