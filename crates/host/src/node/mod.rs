//! A node: where processes run that were started here or elsewhere.

pub mod exchange;
