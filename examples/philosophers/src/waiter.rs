//! A waiter: lays sections of a table, and leads philosophers to it. There are several, so that forks are made where those
//! are who use them: each core that has nothing to do takes over a waiter, who stays there, with all that he makes.

use peripatos::{Caller, Error, Pid, receive_from, spawn, spawn_fn};

use crate::philosopher::{Invitation, philosopher};
use crate::services::{HallClient, Order, TableClient};

/// Places in a section, at most.
pub(crate) const SECTION_PLACES_MAX: u32 = 64;

/// A process of its own.
pub(crate) fn waiter((hall, table): (HallClient, TableClient)) {
    if let Err(error) = serve(hall, table) {
        eprintln!("a waiter could not do its work: {error}");
        std::process::exit(1);
    }
}

fn serve(hall: HallClient, table: TableClient) -> Result<(), Error> {
    while let Some(Order { section, places, philosophers, meals }) = table.next_order()? {
        let forks: Vec<Pid> =
            (0..places).map(|_| spawn("fork").start()).collect::<Result<_, _>>()?;
        if !forks.is_empty() {
            table.laid(section, forks)?;
        }
        let waiter = Pid::own();
        let mut come = Vec::new();
        for _ in 0..philosophers {
            let invitation = Invitation { hall, table, waiter, section, meals };
            come.push(await_request(spawn_fn(philosopher, &invitation)?)?);
        }
        for (caller, request) in come {
            caller.forward(table.pid, &request)?;
        }
    }
    Ok(())
}

/// Waits until the philosopher asks for a place. So one after another comes and sleeps, and until they dine there is
/// never more than one that another core could take away from its forks.
fn await_request(philosopher: Pid) -> Result<(Caller, Vec<u8>), Error> {
    let mut buffer = [0; 64];
    loop {
        if let Some(message) = receive_from(philosopher, &mut buffer)?.message() {
            return Ok((message.caller, message.bytes.to_vec()));
        }
    }
}
