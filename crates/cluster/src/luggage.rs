//! What goes with a process that moves, besides its image. As [`crate::message`], a wire form.

use serde::{Deserialize, Serialize};

use crate::message::{Description, Hold, MoveCosts};

/// What a process brings along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Luggage {
    /// Who it is.
    pub process: Description,
    /// How often it has moved, this move included.
    pub moves: u32,
    /// What the moves before this one have taken.
    pub costs: MoveCosts,
    /// Processor time it has used so far.
    pub cpu_ms: u64,
    /// Memory it has.
    pub memory_bytes: u64,
    /// How much it wants a core, in thousandths.
    pub demand_permille: u32,
    /// It is to stay where it comes: for so long, or until it is released.
    pub hold: Option<Hold>,
    /// It is not to come if more than so much wants a core there by now, in thousandths of a process, with what is on its way: others have come
    /// first.
    pub demand_permille_max: Option<u32>,
    /// Its origin is gone for good. Where it comes nobody may ever have met that one's node.
    pub orphaned: bool,
}

impl Luggage {
    /// Memory that the process has, or is to have.
    pub(crate) fn memory_bytes_needed(&self) -> u64 {
        self.memory_bytes.max(self.process.memory_bytes_needed)
    }
}
