//! A hundred chameneos meet at a mall, two at a time, and change their colours. An item is a meeting.

use std::time::Instant;

use peripatos::{Error, Pid, send, spawn_fn};

use crate::gathering::{belong, sum, tell};
use crate::part::{FADED, MALL};
use crate::{Done, servants};

const CREATURES: u32 = 100;

/// There are three colours: 0, 1, 2. Of two that meet, both get the third, or keep the one that they have in common.
fn creature((mall, mut colour): (Pid, u8)) {
    belong();
    let mut meetings = 0;
    loop {
        let mut other = [0];
        send(mall, &[colour], &mut other).expect("the mall");
        match other[0] {
            FADED => break,
            other if other != colour => colour = 3 - colour - other,
            _ => {}
        }
        meetings += 1;
    }
    tell(meetings);
}

pub(crate) fn run(meetings: u32) -> Result<Done, Error> {
    let argument = [&[MALL][..], &u64::from(meetings).to_le_bytes()].concat();
    let mall = servants::start(&argument)?;
    let begun = Instant::now();
    for number in 0..CREATURES {
        spawn_fn(creature, &(mall, (number % 3) as u8))?;
    }
    let total = sum(CREATURES)?;
    let done = Done::since(begun, meetings.into());
    assert_eq!(total, 2 * u64::from(meetings), "two have a part in each meeting");
    servants::dismiss(mall)?;
    Ok(done)
}
