//! A producer sends ones to a counter, a handler, and compares the sum in the end. An item is a message and its reply.

use std::time::Instant;

use peripatos::{Error, send};

use crate::part::COUNTER;
use crate::{Done, servants};

pub(crate) fn run(messages: u32) -> Result<Done, Error> {
    let counter = servants::start(&[COUNTER])?;
    let mut sum = [0; 8];
    let begun = Instant::now();
    for _ in 0..messages {
        send(counter, &1_u64.to_le_bytes(), &mut sum)?;
    }
    let done = Done::since(begun, u64::from_le_bytes(sum));
    assert_eq!(done.items, u64::from(messages), "messages were lost");
    servants::dismiss(counter)?;
    Ok(done)
}
