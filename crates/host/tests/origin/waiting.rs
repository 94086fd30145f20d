//! Requests that wait: they consume nothing, survive a move, and end once.

use std::io::{Read, Write};
use std::sync::Arc;
use std::task::Poll;

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::{
    ClockId, Errno, Event, EventFlags, EventKind, Fd, FdFlags, FileType, Rights, Subject,
    Subscription,
};

use super::support::{Guest, Wakes, failed};

const STDIN: Fd = Fd(0);
const STDOUT: Fd = Fd(1);
const READ: Request = Request::Read { fd: STDIN, len: 100, offset: None };
/// Longer than any test lives.
const NEVER_NS: u64 = u64::MAX;

#[test]
fn a_pending_read_consumes_nothing() {
    let mut guest = Guest::new();
    let wakes = Arc::new(Wakes::default());
    guest.sequence += 1;
    assert_eq!(guest.try_again(&READ, &wakes), Poll::Pending);
    let mut input = guest.input.take().unwrap();
    input.write_all(b"line\n").unwrap();
    // The process was frozen meanwhile: another holder of the stream gets what it did not take.
    let mut copy = guest.fork();
    assert_eq!(guest.ask_again(&READ), Reply::Data(Arc::new(b"line\n".to_vec())));
    assert_eq!(guest.ask_again(&READ), Reply::Data(Arc::new(b"line\n".to_vec())));
    copy.input.take().unwrap().write_all(b"other\n").unwrap();
    assert_eq!(copy.ask_again(&READ), Reply::Data(Arc::new(b"other\n".to_vec())));
}

#[test]
fn a_read_waits_for_input_and_for_its_end() {
    let mut guest = Guest::new();
    let mut input = guest.input.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(b"late"));
    assert_eq!(guest.read(STDIN, 100), b"late");
    writer.join().unwrap().unwrap();
    assert_eq!(guest.read(STDIN, 100), b"");
}

#[test]
fn a_full_pipe_makes_a_write_wait() {
    let mut guest = Guest::new();
    let chunk = Request::Write { fd: STDOUT, data: vec![b'x'; 1 << 20], offset: None };
    let Reply::Number(first) = guest.ask(&chunk) else { panic!() };
    assert!(first > 0 && first < 1 << 20);
    guest.sequence += 1;
    let wakes = Arc::new(Wakes::default());
    assert_eq!(guest.try_again(&chunk, &wakes), Poll::Pending);
    let mut output = guest.output.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        output.read_to_end(&mut all).map(|count| count as u64)
    });
    let Reply::Number(second) = guest.ask_again(&chunk) else { panic!() };
    assert!(second > 0);
    drop(guest);
    assert_eq!(reader.join().unwrap().unwrap(), first + second);
}

#[test]
fn a_closed_pipe_is_an_error() {
    let mut guest = Guest::new();
    drop(guest.output.take());
    let write = Request::Write { fd: STDOUT, data: b"x".to_vec(), offset: None };
    assert_eq!(guest.ask(&write), failed(Errno::Pipe));
}

#[test]
fn a_non_blocking_stream_does_not_wait() {
    let mut guest = Guest::new();
    let nonblock = Request::FdstatSetFlags { fd: STDIN, flags: FdFlags::NONBLOCK };
    assert_eq!(guest.ask(&nonblock), Reply::Done);
    assert_eq!(guest.ask(&READ), failed(Errno::Again));
}

#[test]
fn streams_are_no_terminals_and_have_no_positions() {
    let mut guest = Guest::new();
    let reply = guest.ask(&Request::FdstatGet(STDIN));
    let Reply::Fdstat(stat) = reply else { panic!("{reply:?}") };
    assert_eq!(stat.file_type, FileType::Unknown);
    assert!(!stat.rights.intersects(Rights::FD_SEEK.union(Rights::FD_TELL)));
    assert_eq!(guest.ask(&Request::Tell(STDIN)), failed(Errno::SPipe));
    let write = Request::Write { fd: STDIN, data: b"x".to_vec(), offset: None };
    assert_eq!(guest.ask(&write), failed(Errno::NotCapable));
}

fn clock(userdata: u64, timeout_ns: u64) -> Subscription {
    let clock = ClockId::Monotonic;
    Subscription { userdata, subject: Subject::Clock { clock, timeout_ns, absolute: false } }
}

fn event(userdata: u64, kind: EventKind, error: Option<Errno>, bytes: u64) -> Event {
    Event { userdata, error, kind, bytes, flags: EventFlags::NONE }
}

#[test]
fn poll_reports_what_is_ready_and_what_is_wrong() {
    let mut guest = Guest::new();
    guest.input.as_mut().unwrap().write_all(b"abc").unwrap();
    let on = |userdata, subject| Subscription { userdata, subject };
    let cases: [(&[Subscription], &[Event]); 4] = [
        (&[clock(1, 0), clock(2, NEVER_NS)], &[event(1, EventKind::Clock, None, 0)]),
        (&[on(3, Subject::Read(STDIN)), clock(2, NEVER_NS)], &[event(3, EventKind::Read, None, 3)]),
        (
            &[on(4, Subject::Read(Fd(99))), on(5, Subject::Read(STDOUT))],
            &[
                event(4, EventKind::Read, Some(Errno::BadF), 0),
                event(5, EventKind::Read, Some(Errno::NotCapable), 0),
            ],
        ),
        (&[clock(6, 1_000_000), clock(2, NEVER_NS)], &[event(6, EventKind::Clock, None, 0)]),
    ];
    for (subscriptions, events) in cases {
        let reply = guest.ask(&Request::Poll(subscriptions.to_vec()));
        assert_eq!(reply, Reply::Events(Arc::new(events.to_vec())));
    }
}

#[test]
fn a_timeout_counts_from_the_first_try_over_a_move() {
    let mut guest = Guest::new();
    let wakes = Arc::new(Wakes::default());
    let request = Request::Poll(vec![clock(1, NEVER_NS)]);
    guest.sequence += 1;
    assert_eq!(guest.try_again(&request, &wakes), Poll::Pending);
    let since = |guest: &Guest| guest.origin.snapshot(guest.pid).unwrap().0.waiting;
    let first = since(&guest);
    assert!(first.is_some());
    assert_eq!(guest.move_on(), []);
    assert_eq!(guest.try_again(&request, &wakes), Poll::Pending);
    assert_eq!(since(&guest), first);
}
