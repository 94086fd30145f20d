//! The commands of `peri`, one file each: its arguments, and what it does.

pub(crate) mod up;

pub(crate) mod down;
pub(crate) mod node;
pub(crate) mod nodes;
pub(crate) mod token;

pub(crate) mod balance;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod migrate;

pub(crate) mod call;
pub(crate) mod compile;
pub(crate) mod doctor;
pub(crate) mod freeze;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod sim;
pub(crate) mod thaw;
