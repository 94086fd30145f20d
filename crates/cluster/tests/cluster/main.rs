//! Nodes among nodes: moves, what becomes of them when links break and nodes die, and the balance.

mod balance;
mod chaos;
mod directory;
mod drains;
mod families;
mod farewell;
mod heard;
mod leases;
mod lies;
mod links;
mod looking;
mod membership;
mod memory;
mod moves;
mod precopy;
mod preferences;
mod promises;
mod reach;
mod removal;
mod strays;
mod told;
mod world;
