//! A server that is called on the stack of whoever sends to it. See `adder.rs`.

#[path = "interfaces/adder.rs"]
mod interface;

use interface::{Adder, Sum};

peripatos::handler!(Adder, Sum::default);
