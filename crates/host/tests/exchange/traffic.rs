//! The process's side: what is sent, and which replies are taken.

use std::io::Write;
use std::task::Poll;

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::limits::{PATH_BYTES_MAX, RANDOM_BYTES_MAX, TRANSFER_BYTES_MAX};
use peripatos_abi::{Errno, Fd};

use super::support::{Guest, Home, ROOT, data, read};

#[test]
fn a_request_is_sent_once_and_again_on_demand() {
    let guest = Guest::new();
    assert_eq!(guest.poll(5, &read(10)), Poll::Pending);
    assert_eq!(guest.poll(5, &read(10)), Poll::Pending);
    assert_eq!(*guest.sent.lock().unwrap(), [(5, read(10))]);
    guest.exchange.resend();
    assert_eq!(*guest.sent.lock().unwrap(), [(5, read(10)), (5, read(10))]);
    guest.exchange.deliver(5, data(b"x"));
    guest.exchange.resend();
    assert_eq!(guest.ask(5, &read(10)), data(b"x"));
    assert_eq!(guest.ask(5, &read(10)), data(b"x"));
    assert_eq!(guest.sent(), [5, 5]);
}

#[test]
fn only_the_reply_that_is_waited_for_is_taken() {
    let guest = Guest::new();
    guest.exchange.deliver(5, data(b"early"));
    assert_eq!(guest.poll(5, &read(10)), Poll::Pending);
    guest.exchange.deliver(4, data(b"older"));
    guest.exchange.deliver(6, data(b"newer"));
    assert_eq!(guest.wakes.count(), 0);
    guest.exchange.deliver(5, data(b"this"));
    assert_eq!(guest.wakes.count(), 1);
    guest.exchange.deliver(5, data(b"twice"));
    assert_eq!(guest.wakes.count(), 1);
    assert_eq!(guest.ask(5, &read(10)), data(b"this"));
}

#[test]
fn a_read_interrupted_by_a_move_gets_its_line_once() {
    let mut home = Home::new();
    let before = Guest::new();
    assert_eq!(before.poll(1, &read(5)), Poll::Pending);
    assert_eq!(home.service.request(1, read(5)), None);
    // The process is frozen where it was, and asks again where it is now.
    let after = Guest::new();
    assert_eq!(after.poll(1, &read(5)), Poll::Pending);
    assert_eq!(home.service.request(1, read(5)), None);
    home.input.write_all(b"one..two..").unwrap();
    let (sequence, reply) = home.wait_reply();
    assert_eq!((sequence, &reply), (1, &data(b"one..")));
    // The reply goes both ways, and the request comes once more.
    before.exchange.deliver(sequence, reply.clone());
    after.exchange.deliver(sequence, reply);
    assert_eq!(home.service.request(1, read(5)), Some((1, data(b"one.."))));
    assert_eq!(after.ask(1, &read(5)), data(b"one.."));
    assert_eq!(after.poll(2, &read(5)), Poll::Pending);
    assert_eq!(home.service.request(2, read(5)), Some((2, data(b"two.."))));
}

#[test]
fn what_cannot_travel_is_answered_at_once() {
    let guest = Guest::new();
    let path = "a".repeat(PATH_BYTES_MAX as usize + 1);
    let long = Request::UnlinkFile { fd: ROOT, path };
    assert_eq!(guest.ask(1, &long), Reply::Failed(Errno::NameTooLong));
    let write =
        Request::Write { fd: Fd(4), data: vec![0; TRANSFER_BYTES_MAX as usize + 1], offset: None };
    assert_eq!(guest.ask(2, &write), Reply::Failed(Errno::Inval));
    let random = |len| guest.ask(3, &Request::Random(len));
    let Reply::Data(bytes) = random(TRANSFER_BYTES_MAX + 1) else { panic!() };
    assert_eq!(bytes.len(), TRANSFER_BYTES_MAX as usize + 1);
    assert_eq!(random(RANDOM_BYTES_MAX + 1), Reply::Failed(Errno::Inval));
    assert_eq!(guest.sent(), [0_u64; 0]);
    assert_eq!(guest.poll(4, &Request::Random(TRANSFER_BYTES_MAX)), Poll::Pending);
    assert_eq!(guest.sent(), [4]);
}
