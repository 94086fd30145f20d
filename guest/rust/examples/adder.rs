//! One client, and two servers that do the same: a handler of another program, and a receive loop of this one.
//!
//! `peri run --local --with adder_handler.wasm adder.wasm`

#[path = "interfaces/adder.rs"]
mod interface;

use interface::{Adder, AdderClient, Sum};
use peripatos::{Error, spawn, spawn_fn};

fn serve_in_a_loop(first: i64) {
    let mut sum = Sum::default();
    sum.add(first);
    peripatos::serve::<dyn Adder, _>(sum);
}

#[peripatos::main]
fn main() -> Result<(), Error> {
    let handler = AdderClient::new(spawn("adder_handler").start()?);
    let server = AdderClient::new(spawn_fn(serve_in_a_loop, &1000)?);
    for number in 1..=10 {
        handler.add(number)?;
        server.add(number)?;
    }
    println!("the handler says {}", handler.describe("pebbles")?);
    println!("the loop says {}", server.describe("pebbles")?);
    Ok(())
}
