//! A handler with one of several parts to play; which one, its argument says.

#[path = "servant/counter.rs"]
mod counter;
#[path = "servant/fork.rs"]
mod fork;
#[path = "servant/mall.rs"]
mod mall;
mod part;

use std::cell::RefCell;

use peripatos::Caller;

use counter::Counter;
use fork::Fork;
use mall::Mall;

enum Part {
    Counter(Counter),
    Mall(Mall),
    Fork(Fork),
}

impl Part {
    fn of(argument: &[u8]) -> Part {
        match argument.split_first() {
            Some((&part::COUNTER, _)) => Part::Counter(Counter::default()),
            Some((&part::MALL, meetings)) => Part::Mall(Mall::new(number(meetings))),
            Some((&part::FORK, _)) => Part::Fork(Fork::default()),
            _ => panic!("no such part: {argument:?}"),
        }
    }
}

thread_local! {
    static PART: RefCell<Part> = RefCell::new(Part::of(&peripatos::argument_bytes()));
}

/// An empty message ends the servant. The length of the reply, which lies where the message was. `None`: it comes later.
fn serve(caller: Caller, buffer: &mut [u8], length: usize) -> Option<usize> {
    if length == 0 {
        std::process::exit(0);
    }
    PART.with_borrow_mut(|part| match part {
        Part::Counter(counter) => Some(counter.serve(buffer, length)),
        Part::Mall(mall) => mall.serve(caller, buffer),
        Part::Fork(fork) => fork.serve(caller, buffer),
    })
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map(u64::from_le_bytes).expect("a number of 8 bytes")
}

peripatos::handler!(bytes: serve);
