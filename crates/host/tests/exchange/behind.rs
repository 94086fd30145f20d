//! Writes that a process is told are done before they are.

use std::task::Poll;

use peripatos_abi::device::{Ahead, Reply, Request};
use peripatos_abi::{Errno, Fd, FdFlags};
use peripatos_host::node::exchange::{Allowance, AtEnd};
use peripatos_host::origin::Unwritten;

use super::network::{create_with, write_rights};
use super::support::{Guest, Home, PID, STDIN, create};

const FILE: Fd = Fd(4);
const OTHER: Fd = Fd(5);

fn write(fd: Fd, text: &str) -> Request {
    Request::Write { fd, data: text.into(), offset: None }
}

fn write_at(fd: Fd, text: &str, offset: u64) -> Request {
    Request::Write { fd, data: text.into(), offset: Some(offset) }
}

/// One that may write on in two files, whose requests are numbered from 11 on.
fn writer() -> Guest {
    let guest = Guest::new();
    guest.exchange.write_behind(Allowance::default());
    for (sequence, fd) in [(1, FILE), (2, OTHER)] {
        assert_eq!(guest.poll(sequence, &write(fd, "ab")), Poll::Pending);
        guest.exchange.deliver(sequence, Reply::GoOn(2));
        assert_eq!(guest.ask(sequence, &write(fd, "ab")), Reply::Number(2));
    }
    guest.sent.lock().unwrap().clear();
    guest
}

#[test]
fn writes_are_sent_one_piece_at_a_time_and_before_whatever_else_is_asked() {
    let guest = writer();
    for (sequence, request) in [
        (11, write(FILE, "1")),
        (12, write(FILE, "2")),
        (13, write(FILE, "3")),
        (14, write_at(FILE, "45", 7)),
        (15, write_at(FILE, "6", 9)),
        (16, write_at(FILE, "7", 9)),
        (17, write(OTHER, "8")),
    ] {
        let Request::Write { data, .. } = &request else { panic!() };
        assert_eq!(guest.ask(sequence, &request), Reply::Number(data.len() as u64));
    }
    assert_eq!(guest.poll(18, &Request::Tell(OTHER)), Poll::Pending);
    for (sequence, request) in [
        (11, write(FILE, "1")),
        (13, write(FILE, "23")),
        (15, write_at(FILE, "456", 7)),
        (16, write_at(FILE, "7", 9)),
        (17, write(OTHER, "8")),
    ] {
        assert_eq!(guest.exchange.at_end(), AtEnd::OnItsWay);
        assert_eq!(guest.sent.lock().unwrap().last(), Some(&(sequence, request)));
        // A reply to something else is none.
        guest.exchange.deliver(18, Reply::Number(0));
        guest.exchange.deliver(sequence, Reply::Number(1));
    }
    assert_eq!(guest.exchange.at_end(), AtEnd::Nothing);
    assert_eq!(guest.sent(), [11, 13, 15, 16, 17, 18]);
    assert_eq!(guest.poll(18, &Request::Tell(OTHER)), Poll::Pending);
    guest.exchange.deliver(18, Reply::Number(3));
    assert_eq!(guest.ask(18, &Request::Tell(OTHER)), Reply::Number(3));
}

#[test]
fn only_what_the_origin_says_is_written_behind() {
    let guest = writer();
    let waits = |sequence, request: &Request| {
        assert_eq!(guest.poll(sequence, request), Poll::Pending, "{request:?}");
        guest.exchange.deliver(sequence, Reply::Number(1));
    };
    waits(11, &write(Fd(1), "to a stream"));
    waits(12, &write(FILE, ""));
    waits(13, &Request::FdstatSetFlags { fd: FILE, flags: FdFlags::SYNC });
    waits(14, &write(FILE, "x"));
    waits(15, &Request::Renumber { from: OTHER, to: FILE });
    waits(16, &write(FILE, "x"));
    waits(17, &write(OTHER, "x"));
    // Of a node that has not said that it may.
    let guest = Guest::new();
    assert_eq!(guest.poll(1, &write(FILE, "x")), Poll::Pending);
    guest.exchange.deliver(1, Reply::GoOn(1));
    assert_eq!(guest.ask(1, &write(FILE, "x")), Reply::Number(1));
    assert_eq!(guest.poll(2, &write(FILE, "x")), Poll::Pending);
}

#[test]
fn what_is_outstanding_has_a_limit_of_a_process_and_of_a_node() {
    let big = "x".repeat(300 << 10);
    let guest = writer();
    for sequence in 11..14 {
        assert_eq!(guest.ask(sequence, &write(FILE, &big)), Reply::Number(300 << 10));
    }
    assert_eq!(guest.poll(14, &write(FILE, &big)), Poll::Pending);
    let wakes = guest.wakes.count();
    guest.exchange.deliver(11, Reply::Number(300 << 10));
    assert_eq!(guest.wakes.count(), wakes + 1, "there is room again");
    assert_eq!(guest.ask(14, &write(FILE, &big)), Reply::Number(300 << 10));
    // Small pieces do not cost nothing.
    let guest = writer();
    let taken = (11..).take_while(|sequence| {
        guest.poll(*sequence, &write_at(FILE, "x", 2 * sequence)).is_ready()
    });
    let taken = taken.count();
    assert!((1_000..10_000).contains(&taken), "{taken}");

    let allowance = Allowance::default();
    let writers: Vec<Guest> = (0..80)
        .map(|_| {
            let guest = Guest::new();
            guest.exchange.write_behind(allowance.clone());
            assert_eq!(guest.poll(1, &write(FILE, "x")), Poll::Pending);
            guest.exchange.deliver(1, Reply::GoOn(1));
            guest
        })
        .collect();
    let whole = "x".repeat(1_000_000);
    let takes = |guest: &&Guest| guest.poll(2, &write(FILE, &whole)).is_ready();
    assert_eq!(writers.iter().filter(takes).count(), (64 << 20) / 1_000_256);
    drop(writers);
    let guest = Guest::new();
    guest.exchange.write_behind(allowance);
    assert_eq!(guest.poll(1, &write(FILE, "x")), Poll::Pending);
    guest.exchange.deliver(1, Reply::GoOn(1));
    assert_eq!(guest.ask(2, &write(FILE, &whole)), Reply::Number(1_000_000), "it is given back");
}

#[test]
fn a_failure_is_told_and_each_write_waits_from_then_on() {
    let guest = writer();
    assert_eq!(guest.ask(11, &write(FILE, "1")), Reply::Number(1));
    assert_eq!(guest.ask(12, &write(OTHER, "1")), Reply::Number(1));
    guest.exchange.deliver(11, Reply::Failed(Errno::NoSpc));
    guest.exchange.deliver(12, Reply::Failed(Errno::Io));
    // The origin has it.
    for (sequence, fd) in [(13, FILE), (14, OTHER)] {
        assert_eq!(guest.poll(sequence, &write(fd, "x")), Poll::Pending);
        guest.exchange.deliver(sequence, Reply::Failed(Errno::NoSpc));
        assert_eq!(guest.ask(sequence, &write(fd, "x")), Reply::Failed(Errno::NoSpc));
    }
}

#[test]
fn what_a_silent_origin_has_not_heard_is_told_once() {
    let lost = |guest: &Guest| {
        for (sequence, fd) in [(11, FILE), (12, FILE), (13, OTHER)] {
            assert_eq!(guest.ask(sequence, &write(fd, "abc")), Reply::Number(3));
        }
        guest.exchange.origin_silent();
        assert_eq!(guest.exchange.at_end(), AtEnd::Lost(9));
    };
    let guest = writer();
    lost(&guest);
    // Here, as long as it is silent;
    assert_eq!(guest.ask(14, &Request::Close(FILE)), Reply::Failed(Errno::Io));
    assert_eq!(guest.exchange.at_end(), AtEnd::Lost(3));
    // and then there: what was lost is said under the number of the last of it.
    guest.exchange.origin_back();
    assert_eq!(guest.sent.lock().unwrap()[1..], [(13, write(OTHER, ""))]);
    assert_eq!(guest.poll(15, &Request::Sync(OTHER)), Poll::Pending);
    guest.exchange.deliver(13, Reply::Failed(Errno::Io));
    assert_eq!(guest.sent(), [11, 13, 15]);
    // It goes along, too.
    let guest = writer();
    lost(&guest);
    let there = Guest::new();
    there.exchange.continue_writing(guest.exchange.outstanding());
    there.exchange.go_on();
    assert_eq!(*there.sent.lock().unwrap(), [(12, write(FILE, ""))]);
    // Of one that has ended nobody is told.
    guest.exchange.origin_gone();
    assert_eq!(guest.exchange.at_end(), AtEnd::Nothing);
}

#[test]
fn a_process_that_stands_still_sends_nothing_from_here() {
    let guest = writer();
    assert_eq!(guest.ask(11, &write(FILE, "1")), Reply::Number(1));
    assert_eq!(guest.ask(12, &write(FILE, "2")), Reply::Number(1));
    guest.exchange.stand_still();
    guest.exchange.resend();
    let outstanding = guest.exchange.outstanding();
    guest.exchange.deliver(11, Reply::Number(1));
    assert_eq!(guest.sent(), [11]);
    let there = Guest::new();
    there.exchange.write_behind(Allowance::default());
    there.exchange.continue_writing(outstanding);
    there.exchange.go_on();
    assert_eq!(there.sent(), [11]);
    // A call that was interrupted when it was done is not done again.
    assert_eq!(there.ask(12, &write(FILE, "2")), Reply::Number(1));
    there.exchange.deliver(11, Reply::Failed(Errno::NotRecoverable));
    assert_eq!(*there.sent.lock().unwrap(), [(11, write(FILE, "1")), (12, write(FILE, "2"))]);
    // It has stayed after all.
    guest.exchange.go_on();
    assert_eq!(guest.sent(), [11, 12]);
}

/// At the origin: what was written behind a failure, and who hears of it.
#[test]
fn the_origin_does_nothing_behind_a_failure_and_keeps_it() {
    let home = Home::new();
    let mut sequence = 0;
    let mut ask = |told: Option<u32>, request: Request| {
        sequence += 1;
        let ahead = match told {
            Some(told) => Ahead::behind(None, told),
            None => Ahead { used: None, bytes: Ahead::ASKS },
        };
        let (_, reply) = home.service.request_ahead(sequence, ahead, request.clone()).unwrap();
        let again = home.service.request_ahead(sequence, ahead, request).unwrap().1;
        let same = match reply {
            Reply::GoOn(count) => Reply::Number(count),
            ref reply => reply.clone(),
        };
        assert_eq!(again, same);
        reply
    };
    let open = |name| create_with(name, write_rights(), FdFlags::NONE);
    for (name, fd) in [("one", FILE), ("two", OTHER)] {
        assert_eq!(ask(None, open(name)), Reply::Descriptor(fd));
    }
    assert_eq!(ask(None, create("narrow")), Reply::Descriptor(Fd(6)));
    assert_eq!(ask(None, write(FILE, "a")), Reply::GoOn(1));
    assert_eq!(ask(None, write(Fd(6), "a")), Reply::Number(1), "it may not seek");
    assert_eq!(ask(Some(1), write(FILE, "b")), Reply::Number(1));
    // Something was lost on the way; nothing behind it is done.
    let failed = Reply::Failed(Errno::Io);
    assert_eq!(ask(Some(4), write(FILE, "cd")), failed);
    assert_eq!(ask(Some(1), write(OTHER, "x")), failed);
    assert_eq!(ask(Some(1), write(FILE, "x")), failed);
    let unwritten = |file: &str, told| Unwritten { file: file.into(), cause: Errno::Io, told };
    let expected = [unwritten("/data/one", false), unwritten("/data/two", false)];
    assert_eq!(home.origin.unwritten(PID).0, expected);
    // Each is told once.
    assert_eq!(ask(None, Request::Tell(OTHER)), Reply::Number(0));
    assert_eq!(ask(None, write(FILE, "y")), failed);
    assert_eq!(ask(None, write(FILE, "e")), Reply::GoOn(1));
    assert_eq!(ask(None, Request::Renumber { from: OTHER, to: Fd(6) }), Reply::Done);
    assert_eq!(ask(None, Request::Close(Fd(6))), failed);
    assert_eq!(ask(None, Request::Close(Fd(6))), Reply::Failed(Errno::BadF), "it was closed");
    // Nobody may have looked at that.
    assert_eq!(home.origin.unwritten(PID).0, [unwritten("/data/two", true)]);
    // Not to a stream, whatever a node says.
    assert_eq!(ask(Some(1), write(STDIN, "x")), Reply::Failed(Errno::BadF));
    let file = |name| std::fs::read_to_string(home.directory.path().join(name)).unwrap();
    assert_eq!((file("one"), file("two")), ("abcde".into(), String::new()));
}
