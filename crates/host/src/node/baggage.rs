//! What the image of a process carries of its node, besides the process itself.

use std::time::{Duration, Instant};

use peripatos_abi::device::Used;
use serde::{Deserialize, Serialize};

use super::behind::Outstanding;
use super::exchange::Readings;
use crate::talk::Leaving;

/// See the module.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Baggage {
    /// Where its clocks stand: monotonic, processor time.
    clocks_ns: (u64, u64),
    /// What its origin has not heard of what it has read.
    pub(super) used: Option<Used>,
    /// Of a process that talks.
    pub(super) talk: Option<Talk>,
    /// What its origin has not heard of what it has written. Comes behind the rest, and only if there is something: nodes of link version 8
    /// do not know it.
    #[serde(skip)]
    pub(super) written: Outstanding,
}

/// What a process that talks takes along.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Talk {
    /// Environment of those that it spawns.
    pub(super) env: Vec<Vec<u8>>,
    /// What it was given when it was spawned.
    pub(super) argument: Vec<u8>,
    /// The names that it has.
    pub(super) names: Vec<Vec<u8>>,
    /// What it has under way with others, as its kernel writes it.
    moving: Vec<u8>,
    /// How much longer it waits for a message, nanoseconds.
    deadline_ns: Option<u64>,
}

impl Baggage {
    pub(super) fn new(
        readings: Readings,
        used: Option<Used>,
        talk: Option<Talk>,
        written: Outstanding,
    ) -> Baggage {
        Baggage { clocks_ns: (readings.monotonic_ns, readings.cpu_ns), used, talk, written }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let form = "there is nothing in it that has no form";
        let bytes = postcard::to_stdvec(self).expect(form);
        match self.written.is_empty() {
            true => bytes,
            false => postcard::to_extend(&self.written, bytes).expect(form),
        }
    }

    /// # Errors
    /// It is damaged: how.
    pub(super) fn decode(bytes: &[u8]) -> Result<Baggage, String> {
        let damaged = |error| format!("what the image carries of its node is damaged: {error}");
        let (read, rest) = postcard::take_from_bytes::<Baggage>(bytes).map_err(damaged)?;
        if rest.is_empty() {
            return Ok(read);
        }
        let (written, rest) = postcard::take_from_bytes::<Outstanding>(rest).map_err(damaged)?;
        if !rest.is_empty() {
            return Err(damaged(postcard::Error::DeserializeBadEncoding));
        }
        written.check()?;
        Ok(Baggage { written, ..read })
    }

    pub(super) fn readings(&self) -> Readings {
        let (monotonic_ns, cpu_ns) = self.clocks_ns;
        Readings { monotonic_ns, cpu_ns }
    }
}

impl Talk {
    pub(super) fn new(
        env: Vec<Vec<u8>>,
        argument: Vec<u8>,
        names: Vec<Vec<u8>>,
        leaving: &Leaving,
    ) -> Talk {
        let left = |at: Instant| at.saturating_duration_since(Instant::now()).as_nanos() as u64;
        let deadline_ns = leaving.deadline().map(left);
        Talk { env, argument, names, moving: leaving.encode(), deadline_ns }
    }

    /// What it has under way, for a process with so many bytes of memory.
    ///
    /// # Errors
    /// It is damaged: how.
    pub(super) fn leaving(&self, memory_len: usize) -> Result<Leaving, String> {
        let now = Instant::now();
        let deadline = self.deadline_ns.and_then(|ns| now.checked_add(Duration::from_nanos(ns)));
        Leaving::decode(&self.moving, memory_len, deadline).map_err(|error| error.to_string())
    }
}
