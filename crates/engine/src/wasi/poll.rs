//! `poll_oneoff`.

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::limits::SUBSCRIPTIONS_MAX;
use peripatos_abi::{ClockId, Errno, Event, Fd, Subject, Subscription};

use super::memory::{bytes, check, write, write_u32};
use super::table::Args;

/// Bytes of a subscription.
const SUBSCRIPTION_SIZE: u32 = 48;
/// Bytes of an event.
const EVENT_SIZE: u32 = 32;
/// `subclockflags::subscription_clock_abstime`, the only flag.
const ABSOLUTE_TIME: u16 = 1;

/// Arguments: subscriptions, room for as many events, how many, where the count goes.
pub(super) fn begin(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    let count = args.u32(2);
    check(memory, args.u32(3), 4)?;
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Err(Errno::Inval);
    }
    check(memory, args.u32(1), count * EVENT_SIZE)?;
    let list = bytes(memory, args.u32(0), count * SUBSCRIPTION_SIZE)?;
    let subscriptions = list.chunks_exact(SUBSCRIPTION_SIZE as usize).map(subscription);
    Ok(Request::Poll(subscriptions.collect::<Result<_, _>>()?))
}

pub(super) fn finish(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    let Reply::Events(events) = reply else { return Err(Errno::Io) };
    if events.len() > args.u32(2) as usize {
        return Err(Errno::Io);
    }
    for (index, one) in events.iter().enumerate() {
        write(memory, args.u32(1) + index as u32 * EVENT_SIZE, &event(one))?;
    }
    write_u32(memory, args.u32(3), events.len() as u32)
}

/// `wire` is as long as a subscription.
fn subscription(wire: &[u8]) -> Result<Subscription, Errno> {
    let word = |at: usize| u32::from_le_bytes([wire[at], wire[at + 1], wire[at + 2], wire[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let subject = match wire[8] {
        0 => Subject::Clock {
            clock: ClockId::from_code(word(16)).ok_or(Errno::Inval)?,
            timeout_ns: long(24),
            absolute: match word(40) as u16 {
                0 => false,
                ABSOLUTE_TIME => true,
                _ => return Err(Errno::Inval),
            },
        },
        1 => Subject::Read(Fd(word(16))),
        2 => Subject::Write(Fd(word(16))),
        _ => return Err(Errno::Inval),
    };
    Ok(Subscription { userdata: long(0), subject })
}

fn event(event: &Event) -> [u8; EVENT_SIZE as usize] {
    let mut wire = [0; EVENT_SIZE as usize];
    let error = event.error.map_or(Errno::SUCCESS, Errno::code);
    wire[..8].copy_from_slice(&event.userdata.to_le_bytes());
    wire[8..10].copy_from_slice(&error.to_le_bytes());
    wire[10] = event.kind as u8;
    wire[16..24].copy_from_slice(&event.bytes.to_le_bytes());
    wire[24..26].copy_from_slice(&event.flags.bits().to_le_bytes());
    wire
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use peripatos_abi::{EventFlags, EventKind};

    use super::*;

    #[test]
    fn a_subscription_and_its_event() {
        let mut memory = vec![0; 256];
        memory[..8].copy_from_slice(&7u64.to_le_bytes());
        memory[16] = 1;
        memory[24..32].copy_from_slice(&1_000_000_007u64.to_le_bytes());
        memory[40] = 1;
        memory[48 + 8] = 1;
        memory[48 + 16] = 3;
        let words = [0, 128, 2, 200];
        let clock =
            Subject::Clock { clock: ClockId::Monotonic, timeout_ns: 1_000_000_007, absolute: true };
        assert_eq!(
            begin(&memory, Args::new(&words)),
            Ok(Request::Poll(vec![
                Subscription { userdata: 7, subject: clock },
                Subscription { userdata: 0, subject: Subject::Read(Fd(3)) },
            ]))
        );
        let event = Event {
            userdata: 7,
            error: Some(Errno::BadF),
            kind: EventKind::Read,
            bytes: 5,
            flags: EventFlags::HANGUP,
        };
        finish(&mut memory, Args::new(&words), &Reply::Events(Arc::new(vec![event]))).unwrap();
        assert_eq!(memory[128..136], [7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(memory[136..139], [8, 0, 1]);
        assert_eq!(memory[144], 5);
        assert_eq!(memory[152], 1);
        assert_eq!(memory[200], 1);
    }

    #[test]
    fn nothing_to_wait_for_is_refused() {
        assert_eq!(begin(&[0; 64], Args::new(&[0, 0, 0, 0])), Err(Errno::Inval));
    }
}
