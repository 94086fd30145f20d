//! Samples and words as bytes. All numbers are big endian.
//!
//! ```text
//! samples = count:u8  load  (node:u128 age:u8 load)*      the first is the sender's own, and counted
//! word    = 0 number:u32 load | 1 number:u32 load promises
//! promises = count:u8 (maker:u128 permille:u32 left:u8)*
//! load    = cores:u16 speed_permille:u16 demand_permille:u32 memory_free:u16 flags:u8      memory in 64 MiB; draining 1, closed 2
//! ```
//! Ages are in 64ths of a second, and what is left of a promise in eighths. What is too large for its field is the largest there.

use std::time::Duration;

use bytes::{Buf, BufMut, TryGetError};
use peripatos_balancer::Load;
use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::limits::{PROCESSES_MAX, PROMISES_PASSED_MAX, SAMPLES_TOLD};

const LOAD_BYTES: usize = 11;
const HEARD_BYTES: usize = 16 + 1 + LOAD_BYTES;
const MEMORY_SHIFT: u32 = 26;
const AGES_A_SECOND: u128 = 64;
const LEFTS_A_SECOND: u128 = 8;
/// More than any node has.
const DEMAND_PERMILLE_MAX: u32 = PROCESSES_MAX as u32 * 1_000;

/// How loaded a node was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Which. `None`: the one that says so.
    pub node: Option<NodeId>,
    /// How loaded.
    pub load: Load,
    /// How long ago.
    pub age: Duration,
}

/// A promise on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// Who will give it.
    pub maker: NodeId,
    /// How much, in thousandths of a process.
    pub permille: u32,
    /// How long it lasts.
    pub left: Duration,
}

/// What nodes say to each other of promises. Loads are effective ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// "I have less than you, as I hear."
    Ask {
        /// The question's number.
        number: u32,
        /// How loaded the asker is.
        load: Load,
    },
    /// To that.
    Answer {
        /// To which question.
        number: u32,
        /// How loaded the speaker is, without what it gives.
        load: Load,
        /// What it gives: at most [`PROMISES_PASSED_MAX`].
        promises: Vec<Promise>,
    },
}

/// Why bytes are none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedWord {
    /// There are too few.
    #[error("a word of the balance is cut off")]
    Cut,
    /// There are too many.
    #[error("a word of the balance is too long")]
    Long,
    /// A number that stands for nothing, or for more than there can be.
    #[error("a word of the balance has an unknown {0}")]
    Unknown(&'static str),
}

impl From<TryGetError> for MalformedWord {
    fn from(_: TryGetError) -> MalformedWord {
        MalformedWord::Cut
    }
}

impl Word {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Word::Ask { number, load } => {
                bytes.put_u8(0);
                bytes.put_u32(*number);
                put_load(*load, &mut bytes);
            }
            Word::Answer { number, load, promises } => {
                bytes.put_u8(1);
                bytes.put_u32(*number);
                put_load(*load, &mut bytes);
                put_promises(promises, &mut bytes);
            }
        }
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are no word.
    pub fn read(bytes: &[u8]) -> Result<Word, MalformedWord> {
        let mut rest = bytes;
        let word = match rest.try_get_u8()? {
            0 => Word::Ask { number: rest.try_get_u32()?, load: get_load(&mut rest)? },
            1 => Word::Answer {
                number: rest.try_get_u32()?,
                load: get_load(&mut rest)?,
                promises: get_promises(&mut rest)?,
            },
            _ => return Err(MalformedWord::Unknown("kind")),
        };
        if rest.has_remaining() { Err(MalformedWord::Long) } else { Ok(word) }
    }
}

/// The sender's own, and those it has heard for which there is room. If there is none at all: no samples.
pub(super) fn put_samples(own: Load, heard: &[Heard], room: usize) -> Vec<u8> {
    let mut bytes = vec![0];
    if room < 1 + LOAD_BYTES {
        return bytes;
    }
    put_load(own, &mut bytes);
    bytes[0] = 1;
    for one in heard.iter().take((room - bytes.len()) / HEARD_BYTES) {
        bytes.put_u128(one.node.map_or(0, |node| node.0));
        bytes.put_u8(in_parts(one.age, AGES_A_SECOND));
        put_load(one.load, &mut bytes);
        bytes[0] += 1;
    }
    bytes
}

/// The samples at the beginning of a datagram, and what comes after them.
///
/// # Errors
/// There are none, or too many.
pub fn read_samples(bytes: &[u8]) -> Result<(Vec<Heard>, &[u8]), MalformedWord> {
    let mut rest = bytes;
    let count = usize::from(rest.try_get_u8()?);
    if count > 1 + SAMPLES_TOLD {
        return Err(MalformedWord::Unknown("number of samples"));
    }
    let mut heard = Vec::with_capacity(count);
    for index in 0..count {
        let (node, age) = if index == 0 {
            (None, Duration::ZERO)
        } else {
            let node = NodeId(rest.try_get_u128()?);
            (Some(node), from_parts(rest.try_get_u8()?, AGES_A_SECOND))
        };
        heard.push(Heard { node, load: get_load(&mut rest)?, age });
    }
    Ok((heard, rest))
}

fn put_load(load: Load, bytes: &mut Vec<u8>) {
    let short = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
    bytes.put_u16(short(load.cores.into()));
    bytes.put_u16(short(load.speed_permille.into()));
    bytes.put_u32(load.demand_permille);
    bytes.put_u16(short(load.memory_free_bytes >> MEMORY_SHIFT));
    bytes.put_u8(u8::from(load.draining) | u8::from(load.closed) << 1);
}

fn get_load(rest: &mut &[u8]) -> Result<Load, MalformedWord> {
    let (cores, speed_permille) = (rest.try_get_u16()?.into(), rest.try_get_u16()?.into());
    let demand_permille = rest.try_get_u32()?;
    if demand_permille > DEMAND_PERMILLE_MAX {
        return Err(MalformedWord::Unknown("demand"));
    }
    let memory = rest.try_get_u16()?;
    // The largest number is that, or more.
    let memory_free_bytes =
        if memory == u16::MAX { u64::MAX } else { u64::from(memory) << MEMORY_SHIFT };
    let flags = rest.try_get_u8()?;
    if flags > 3 {
        return Err(MalformedWord::Unknown("flag"));
    }
    let (draining, closed) = (flags & 1 != 0, flags & 2 != 0);
    Ok(Load { cores, speed_permille, demand_permille, memory_free_bytes, draining, closed })
}

fn put_promises(promises: &[Promise], bytes: &mut Vec<u8>) {
    // Never more than PROMISES_PASSED_MAX.
    bytes.put_u8(promises.len() as u8);
    for promise in promises {
        bytes.put_u128(promise.maker.0);
        bytes.put_u32(promise.permille);
        bytes.put_u8(in_parts(promise.left, LEFTS_A_SECOND));
    }
}

fn get_promises(rest: &mut &[u8]) -> Result<Vec<Promise>, MalformedWord> {
    let count = usize::from(rest.try_get_u8()?);
    if count > PROMISES_PASSED_MAX {
        return Err(MalformedWord::Unknown("number of promises"));
    }
    (0..count).map(|_| get_promise(rest)).collect()
}

fn get_promise(rest: &mut &[u8]) -> Result<Promise, MalformedWord> {
    let (maker, permille) = (NodeId(rest.try_get_u128()?), rest.try_get_u32()?);
    if permille > DEMAND_PERMILLE_MAX {
        return Err(MalformedWord::Unknown("amount"));
    }
    let left = from_parts(rest.try_get_u8()?, LEFTS_A_SECOND);
    Ok(Promise { maker, permille, left })
}

fn in_parts(time: Duration, parts_a_second: u128) -> u8 {
    u8::try_from(time.as_millis() * parts_a_second / 1_000).unwrap_or(u8::MAX)
}

fn from_parts(parts: u8, parts_a_second: u128) -> Duration {
    Duration::from_millis(u64::from(parts) * 1_000 / parts_a_second as u64)
}
