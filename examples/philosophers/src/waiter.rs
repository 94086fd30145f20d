//! A waiter: lays sections of a table, and leads philosophers to it. There are several, so that forks are made where those
//! are who use them: each core that has nothing to do takes over a waiter, who stays there, with all that he makes.

use peripatos::{Error, Pid, receive_from, spawn, spawn_fn};

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
        for _ in 0..philosophers {
            let invitation = Invitation { hall, table, waiter, section, meals };
            lead(spawn_fn(philosopher, &invitation)?, table)?;
        }
    }
    Ok(())
}

/// Waits until the philosopher asks for a place, and leaves that to the table: so it sleeps from the start, and no other
/// core takes it away from its forks.
fn lead(philosopher: Pid, table: TableClient) -> Result<(), Error> {
    let mut buffer = [0; 64];
    if let Some(message) = receive_from(philosopher, &mut buffer)?.message() {
        message.caller.forward(table.pid, message.bytes)?;
    }
    Ok(())
}
