//! What being migratable costs, measured on the spot beside wasmtime's own epoch interruption.

use crate::bench::overhead::{Engines, compare};
use crate::exit::Result;
use crate::guests::ALL;

/// Programs on which the price is measured, with less work than they do by default, and how often each is run in each
/// variant. `peri bench overhead` does all, and longer.
const PRICED: [&[&str]; 3] = [&["fib", "35"], &["interp", "30000"], &["perft", "4"]];
const ROUNDS: usize = 5;

/// Ratios to plain wasmtime.
pub(super) struct Price {
    pub(super) name: &'static str,
    pub(super) migratable: f64,
    pub(super) epoch: f64,
}

pub(super) fn measure() -> Result<Vec<Price>> {
    let engines = Engines::new(true)?;
    let mut prices = Vec::new();
    for args in PRICED {
        let Some(guest) = ALL.iter().find(|guest| guest.name == args[0]) else { continue };
        let args = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        let compared = compare(&engines, guest, args, ROUNDS)?;
        let (migratable, epoch) = (compared.migratable.median(), compared.epoch.median());
        prices.push(Price { name: guest.name, migratable, epoch });
    }
    Ok(prices)
}
