//! Many processes and the one that has made them: it waits until all have said something, and then lets them go on.

use peripatos::{Caller, Error, Message, Pid, link, parent, receive, send};
use serde::de::DeserializeOwned;

/// Bytes that one of them says, at most.
const SAID_BYTES_MAX: usize = 64;

/// Those who have come.
pub(crate) struct Gathering<T> {
    /// Each with what it has said, in the order of coming.
    pub(crate) all: Vec<(Caller, T)>,
}

impl<T: DeserializeOwned> Gathering<T> {
    /// Waits for so many.
    pub(crate) fn of(count: u32) -> Result<Gathering<T>, Error> {
        let mut all = Vec::with_capacity(count as usize);
        while all.len() < count as usize {
            let mut buffer = [0; SAID_BYTES_MAX];
            let Some(message) = receive(&mut buffer)?.message() else { continue };
            let said = message.decode()?;
            all.push((message.caller, said));
        }
        Ok(Gathering { all })
    }
}

/// Waits until so many have said a number, and lets each go on at once: the sum.
pub(crate) fn sum(count: u32) -> Result<u64, Error> {
    let (mut sum, mut buffer) = (0, [0; 8]);
    for _ in 0..count {
        let message = loop {
            if let Some(message) = receive(&mut buffer)?.message() {
                break message;
            }
        };
        sum += number(&message);
        message.reply(&[])?;
    }
    Ok(sum)
}

fn number(message: &Message<'_>) -> u64 {
    message.bytes.try_into().map(u64::from_le_bytes).expect("a number of 8 bytes")
}

/// Tells a number to whoever has made this process.
pub(crate) fn tell(number: u64) {
    send(maker(), &number.to_le_bytes(), &mut []).expect("a reply");
}

/// Belongs to whoever has made this process: if something goes wrong here, all is over.
pub(crate) fn belong() {
    link(maker()).expect("one that waits");
}

/// Whoever has made this process.
pub(crate) fn maker() -> Pid {
    parent().expect("one that was spawned")
}
