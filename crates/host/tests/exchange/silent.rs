//! A process whose origin's node is silent for a while.

use std::sync::Arc;
use std::task::Poll;

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::{ClockId, Errno, EventKind, Fd, Subject, Subscription};

use super::support::{Guest, Home, create, data, event, read};

const MONOTONIC: Request = Request::ClockTime(ClockId::Monotonic);
const IO: Reply = Reply::Failed(Errno::Io);
/// A reading that no machine's clock comes to by itself.
const FAR_NS: u64 = 1 << 61;

#[test]
fn who_waits_is_told_and_asks_the_origin_again_when_it_is_back() {
    let guest = Guest::new();
    assert_eq!(guest.poll(1, &read(10)), Poll::Pending);
    guest.exchange.origin_silent();
    assert_eq!(guest.wakes.count(), 1);
    assert_eq!(guest.ask(1, &read(10)), IO);
    assert_eq!(guest.ask(2, &Request::Close(Fd(0))), IO);
    guest.exchange.resend();
    guest.exchange.origin_back();
    guest.exchange.resend();
    assert_eq!(guest.sent(), [1]);
    guest.exchange(3, &read(10), &data(b"line"));
    // And again.
    guest.exchange.origin_silent();
    assert_eq!(guest.ask(4, &read(10)), IO);
    guest.exchange.origin_back();
    guest.exchange(5, &read(10), &data(b"more"));
    assert_eq!(guest.sent(), [1, 3, 5]);
}

#[test]
fn what_comes_late_has_no_effect_and_is_not_taken_for_something_else() {
    let guest = Guest::new();
    let home = Home::new();
    let Some((1, Reply::Descriptor(fd))) = home.service.request(1, create("log")) else { panic!() };
    let write = |text: &[u8]| Request::Write { fd, data: text.to_vec(), offset: None };
    // One reply is lost, and one request is late.
    assert_eq!(guest.poll(2, &write(b"one,")), Poll::Pending);
    assert_eq!(home.service.request(2, write(b"one,")), Some((2, Reply::Number(4))));
    guest.exchange.origin_silent();
    assert_eq!(guest.ask(2, &write(b"one,")), IO);
    assert_eq!(guest.ask(3, &write(b"never,")), IO);
    guest.exchange.origin_back();
    assert_eq!(guest.poll(4, &write(b"two,")), Poll::Pending);
    guest.exchange.deliver(2, Reply::Number(4));
    let (sequence, reply) = home.service.request(4, write(b"two,")).unwrap();
    let refused = Reply::Failed(Errno::NotRecoverable);
    assert_eq!(home.service.request(2, write(b"one,")), Some((2, refused)));
    guest.exchange.deliver(sequence, reply);
    assert_eq!(guest.ask(4, &write(b"two,")), Reply::Number(4));
    assert_eq!(std::fs::read(home.directory.path().join("log")).unwrap(), b"one,two,");
}

#[test]
fn a_reply_counts_if_it_comes_before_the_process_has_heard() {
    let guest = Guest::new();
    assert_eq!(guest.poll(1, &read(10)), Poll::Pending);
    guest.exchange.origin_silent();
    guest.exchange.origin_back();
    guest.exchange.deliver(1, data(b"line"));
    assert_eq!(guest.ask(1, &read(10)), data(b"line"));
}

#[test]
fn clocks_go_on_and_do_not_go_back_when_the_origin_is_back() {
    let guest = Guest::new();
    guest.exchange(1, &MONOTONIC, &Reply::Number(FAR_NS));
    guest.exchange.origin_silent();
    let Reply::Number(here_ns) = guest.ask(2, &MONOTONIC) else { panic!() };
    assert!(here_ns >= FAR_NS);
    let Reply::Data(random) = guest.ask(3, &Request::Random(16)) else { panic!() };
    assert_eq!(random.len(), 16);
    guest.exchange.origin_back();
    // As if it had stood still.
    assert_eq!(guest.poll(4, &MONOTONIC), Poll::Pending);
    guest.exchange.deliver(4, Reply::Number(FAR_NS));
    assert_eq!(guest.ask(4, &MONOTONIC), Reply::Number(here_ns));
    guest.exchange(5, &MONOTONIC, &Reply::Number(here_ns + 1));
}

#[test]
fn a_poll_on_clocks_goes_on_here_when_the_origin_is_back() {
    let guest = Guest::new();
    guest.exchange(1, &MONOTONIC, &Reply::Number(FAR_NS));
    let clock = |timeout_ns| {
        let subject = Subject::Clock { clock: ClockId::Monotonic, timeout_ns, absolute: false };
        Request::Poll(vec![Subscription { userdata: 7, subject }])
    };
    let short = clock(1_000_000);
    assert_eq!(guest.poll(2, &short), Poll::Pending);
    guest.exchange.origin_silent();
    let mut wakes = 1;
    let reply = loop {
        match guest.poll(2, &short) {
            Poll::Ready(reply) => break reply,
            Poll::Pending => {
                guest.exchange.origin_back();
                guest.exchange.resend();
                wakes += 1;
                guest.wakes.wait(wakes);
            }
        }
    };
    assert_eq!(reply, Reply::Events(Arc::new(vec![event(7, EventKind::Clock, None)])));
    // It has gone to the origin once.
    assert_eq!(guest.sent(), [1, 2]);
    // One that waits for ever goes on as well, and ends when the origin's own reply comes.
    guest.exchange.origin_back();
    let long = clock(u64::MAX);
    assert_eq!(guest.poll(3, &long), Poll::Pending);
    guest.exchange.origin_silent();
    assert_eq!(guest.poll(3, &long), Poll::Pending);
    guest.exchange.origin_back();
    guest.exchange.deliver(3, Reply::Events(Arc::new(Vec::new())));
    assert_eq!(guest.ask(3, &long), Reply::Events(Arc::new(Vec::new())));
}

#[test]
fn a_poll_on_descriptors_says_that_they_cannot_be_reached() {
    let guest = Guest::new();
    let subject = Subject::Read(Fd(0));
    let poll = Request::Poll(vec![Subscription { userdata: 1, subject }]);
    assert_eq!(guest.poll(1, &poll), Poll::Pending);
    guest.exchange.origin_silent();
    let lost = Reply::Events(Arc::new(vec![event(1, EventKind::Read, Some(Errno::Io))]));
    assert_eq!(guest.ask(1, &poll), lost);
}

#[test]
fn an_origin_that_has_ended_does_not_come_back() {
    for silent_before in [true, false] {
        let guest = Guest::new();
        if silent_before {
            guest.exchange.origin_silent();
            assert_eq!(guest.ask(1, &read(10)), IO);
        }
        guest.exchange.origin_gone();
        guest.exchange.origin_silent();
        guest.exchange.origin_back();
        assert_eq!(guest.ask(2, &read(10)), IO);
        assert_eq!(guest.sent(), [0_u64; 0]);
    }
}

#[test]
fn what_has_failed_meanwhile_is_counted() {
    let guest = Guest::new();
    assert_eq!(guest.poll(1, &read(10)), Poll::Pending);
    guest.exchange.origin_silent();
    for sequence in 1..4 {
        assert_eq!(guest.ask(sequence, &read(10)), Reply::Failed(Errno::Io));
    }
    let poll = |subject| Request::Poll(vec![Subscription { userdata: 1, subject }]);
    let now = Subject::Clock { clock: ClockId::Monotonic, timeout_ns: 0, absolute: false };
    guest.ask(4, &poll(Subject::Read(Fd(0))));
    // These do not fail.
    guest.ask(5, &poll(now));
    guest.ask(6, &Request::ClockTime(ClockId::Realtime));
    assert_eq!((guest.exchange.take_unserved(), guest.exchange.take_unserved()), (4, 0));
    // Of an origin that has ended there is nobody who could be told.
    guest.exchange.origin_gone();
    assert_eq!(guest.ask(7, &read(10)), Reply::Failed(Errno::Io));
    assert_eq!(guest.exchange.take_unserved(), 0);
}
