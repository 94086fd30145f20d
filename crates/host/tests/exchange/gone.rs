//! A process whose origin has ended.

use std::sync::Arc;
use std::task::Poll;

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::{ClockId, Errno, Event, EventKind, Fd, Subject, Subscription};
use peripatos_host::node::exchange::Readings;

use super::support::{Guest, create, data, event, read};

const MONOTONIC: Request = Request::ClockTime(ClockId::Monotonic);
const CPU: Request = Request::ClockTime(ClockId::ProcessCpu);
/// A reading that no machine's clock comes to by itself.
const FAR_NS: u64 = 1 << 61;

#[test]
fn who_waits_is_told() {
    let guest = Guest::new();
    assert_eq!(guest.poll(1, &read(10)), Poll::Pending);
    guest.exchange.origin_gone();
    assert_eq!(guest.wakes.count(), 1);
    // Too late.
    guest.exchange.deliver(1, data(b"line"));
    assert_eq!(guest.ask(1, &read(10)), Reply::Failed(Errno::Io));
    guest.exchange.resend();
    assert_eq!(guest.ask(2, &create("file")), Reply::Failed(Errno::Io));
    assert_eq!(guest.ask(3, &Request::Close(Fd(0))), Reply::Failed(Errno::Io));
    assert_eq!(guest.sent(), [1]);
    assert_eq!(guest.wakes.count(), 1);
}

#[test]
fn a_reply_that_came_before_is_given() {
    let guest = Guest::new();
    assert_eq!(guest.poll(1, &read(10)), Poll::Pending);
    guest.exchange.deliver(1, data(b"line"));
    guest.exchange.origin_gone();
    assert_eq!(guest.ask(1, &read(10)), data(b"line"));
}

#[test]
fn clocks_go_on_and_never_back() {
    let guest = Guest::new();
    guest.exchange(1, &MONOTONIC, &Reply::Number(FAR_NS));
    guest.exchange(2, &CPU, &Reply::Number(FAR_NS + 1));
    guest.exchange.origin_gone();
    let mut last_ns = FAR_NS;
    for sequence in 3..20 {
        let now_ns = number(&guest.ask(sequence, &MONOTONIC));
        assert!(now_ns >= last_ns, "{now_ns} after {last_ns}");
        last_ns = now_ns;
    }
    assert!(number(&guest.ask(20, &CPU)) > FAR_NS);
    assert!(number(&guest.ask(21, &Request::ClockTime(ClockId::Realtime))) > 0);
    assert!(number(&guest.ask(22, &Request::ClockResolution(ClockId::Monotonic))) > 0);
    let Reply::Data(random) = guest.ask(23, &Request::Random(16)) else { panic!() };
    assert_eq!(random.len(), 16);
}

#[test]
fn a_reading_that_is_under_way_is_answered_here() {
    let guest = Guest::new();
    guest.exchange(1, &MONOTONIC, &Reply::Number(FAR_NS));
    assert_eq!(guest.poll(2, &MONOTONIC), Poll::Pending);
    guest.exchange.origin_gone();
    assert!(number(&guest.ask(2, &MONOTONIC)) >= FAR_NS);
}

#[test]
fn readings_move_with_the_process() {
    let before = Guest::new();
    before.exchange(1, &MONOTONIC, &Reply::Number(FAR_NS));
    before.exchange(2, &CPU, &Reply::Number(7));
    let readings = before.exchange.readings();
    assert!(readings.monotonic_ns >= FAR_NS);
    assert_eq!(readings, Readings { cpu_ns: 7, ..readings });
    let after = Guest::new();
    after.exchange.continue_from(readings, None);
    after.exchange.origin_gone();
    assert!(number(&after.ask(3, &MONOTONIC)) >= readings.monotonic_ns);
    assert!(number(&after.ask(4, &CPU)) >= 7);
}

#[test]
fn a_poll_on_clocks_waits_here() {
    let guest = Guest::new();
    guest.exchange(1, &MONOTONIC, &Reply::Number(FAR_NS));
    guest.exchange.origin_gone();
    let clock = |userdata, timeout_ns, absolute| Subscription {
        userdata,
        subject: Subject::Clock { clock: ClockId::Monotonic, timeout_ns, absolute },
    };
    let happened = |userdata| events(&[event(userdata, EventKind::Clock, None)]);
    let never = clock(1, u64::MAX, true);
    assert_eq!(guest.ask(2, &Request::Poll(vec![never, clock(2, FAR_NS, true)])), happened(2));
    let short = Request::Poll(vec![never, clock(3, 1_000_000, false)]);
    let mut wakes = 0;
    let reply = loop {
        match guest.poll(3, &short) {
            Poll::Ready(reply) => break reply,
            Poll::Pending => {
                wakes += 1;
                guest.wakes.wait(wakes);
            }
        }
    };
    assert_eq!(reply, happened(3));
    assert_eq!(guest.sent(), [1]);
}

/// The timeout of a poll that was under way counts from when it was asked, not from the origin's
/// end.
#[test]
fn a_poll_under_way_goes_on_here() {
    let guest = Guest::new();
    let subject = Subject::Clock { clock: ClockId::Monotonic, timeout_ns: 1, absolute: false };
    let poll = Request::Poll(vec![Subscription { userdata: 4, subject }]);
    assert_eq!(guest.poll(1, &poll), Poll::Pending);
    guest.exchange.origin_gone();
    assert_eq!(guest.wakes.count(), 1);
    assert_eq!(guest.ask(1, &poll), events(&[event(4, EventKind::Clock, None)]));
}

#[test]
fn a_poll_on_descriptors_says_that_they_are_lost() {
    let guest = Guest::new();
    guest.exchange.origin_gone();
    let subject = Subject::Clock { clock: ClockId::Monotonic, timeout_ns: 0, absolute: false };
    let poll = Request::Poll(vec![
        Subscription { userdata: 1, subject: Subject::Read(Fd(0)) },
        Subscription { userdata: 2, subject },
        Subscription { userdata: 3, subject: Subject::Write(Fd(1)) },
    ]);
    let lost =
        [event(1, EventKind::Read, Some(Errno::Io)), event(3, EventKind::Write, Some(Errno::Io))];
    assert_eq!(guest.ask(1, &poll), events(&lost));
}

fn number(reply: &Reply) -> u64 {
    match reply {
        Reply::Number(number) => *number,
        reply => panic!("{reply:?}"),
    }
}

fn events(events: &[Event]) -> Reply {
    Reply::Events(Arc::new(events.to_vec()))
}
