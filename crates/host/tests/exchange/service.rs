//! The origin's side: which of two requests counts.

use std::io::Write;

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::limits::{SUBSCRIPTIONS_MAX, TRANSFER_BYTES_MAX};
use peripatos_abi::{Errno, Fd, Pid, Subject, Subscription};
use peripatos_host::origin::{Ask, Origin, Services};

use super::support::{Home, PID, ROOT, create, data, read};

#[test]
fn what_waits_is_answered_when_it_can_be() {
    let mut home = Home::new();
    assert_eq!(home.service.retry(), None);
    assert_eq!(home.service.request(1, read(5)), None);
    assert_eq!(home.service.retry(), None);
    home.input.write_all(b"line\n").unwrap();
    assert_eq!(home.wait_reply(), (1, data(b"line\n")));
    assert_eq!(home.service.retry(), None);
    assert_eq!(home.service.request(1, read(5)), Some((1, data(b"line\n"))));
}

#[test]
fn a_newer_request_takes_the_place_of_what_waits() {
    let mut home = Home::new();
    assert_eq!(home.service.request(1, read(5)), None);
    assert_eq!(home.service.request(2, read(3)), None);
    home.input.write_all(b"line\n").unwrap();
    assert_eq!(home.wait_reply(), (2, data(b"lin")));
    assert_eq!(home.service.request(1, read(5)), Some((1, Reply::Failed(Errno::NotRecoverable))));
    assert_eq!(home.service.request(3, read(5)), Some((3, data(b"e\n"))));
}

#[test]
fn an_older_request_leaves_what_waits_alone() {
    let mut home = Home::new();
    let Some((1, Reply::Descriptor(fd))) = home.service.request(1, create("log")) else { panic!() };
    let write = Request::Write { fd, data: b"once".to_vec(), offset: None };
    assert_eq!(home.service.request(2, write.clone()), Some((2, Reply::Number(4))));
    assert_eq!(home.service.request(4, read(5)), None);
    // The last that was answered, one before it, and one that never was.
    assert_eq!(home.service.request(2, write.clone()), Some((2, Reply::Number(4))));
    let refused = Reply::Failed(Errno::NotRecoverable);
    assert_eq!(home.service.request(1, create("log")), Some((1, refused.clone())));
    assert_eq!(home.service.request(3, write), Some((3, refused)));
    home.input.write_all(b"line\n").unwrap();
    assert_eq!(home.wait_reply(), (4, data(b"line\n")));
    assert_eq!(std::fs::read(home.directory.path().join("log")).unwrap(), b"once");
}

#[test]
fn what_is_over_the_limits_has_no_effect() {
    let home = Home::new();
    let Some((1, Reply::Descriptor(fd))) = home.service.request(1, create("log")) else { panic!() };
    let data = vec![0; TRANSFER_BYTES_MAX as usize + 1];
    let write = Request::Write { fd, data, offset: None };
    assert_eq!(home.service.request(2, write), Some((2, Reply::Failed(Errno::Inval))));
    assert_eq!(std::fs::read(home.directory.path().join("log")).unwrap(), b"");
    let subscription = Subscription { userdata: 1, subject: Subject::Read(Fd(0)) };
    let poll = Request::Poll(vec![subscription; SUBSCRIPTIONS_MAX as usize + 1]);
    assert_eq!(home.service.request(2, poll), Some((2, Reply::Failed(Errno::Inval))));
}

#[test]
fn a_listing_that_cannot_travel_is_an_error() {
    let home = Home::new();
    let name = "n".repeat(250);
    for index in 0..4000 {
        std::fs::File::create(home.directory.path().join(format!("{name}{index:04}"))).unwrap();
    }
    let list = |bytes| Request::ReadDirectory { fd: ROOT, cookie: 0, bytes };
    let failed = Reply::Failed(Errno::Overflow);
    assert_eq!(home.service.request(1, list(u32::MAX)), Some((1, failed.clone())));
    assert_eq!(home.service.request(1, list(u32::MAX)), Some((1, failed)));
    let reply = home.service.request(2, list(TRANSFER_BYTES_MAX));
    let Some((2, Reply::Entries(entries))) = reply else { panic!("{reply:?}") };
    assert!(entries.len() > 3000 && entries.len() < 4000, "{}", entries.len());
}

/// The origin moves: what waits has had no effect, and what was answered stays answered.
#[test]
fn a_snapshot_has_what_was_answered() {
    let home = Home::new();
    let Some((1, created)) = home.service.request(1, create("log")) else { panic!() };
    assert_eq!(home.service.request(2, read(5)), None);
    let (table, warnings) = home.service.snapshot().unwrap();
    assert_eq!(warnings, []);
    assert_eq!(table.last_reply, Some((1, created)));
    assert_eq!(table.waiting.map(|(sequence, _)| sequence), Some(2));
    home.origin.close(PID);
    assert_eq!(home.service.snapshot(), None);
    assert_eq!(home.service.retry(), Some((2, Reply::Failed(Errno::BadF))));
    assert!(Origin::new().restore(PID, &table).is_empty());
}

#[test]
fn a_service_is_called_from_any_thread() {
    let home = Home::new();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| home.service.request(1, create("log")));
        assert!(matches!(served.join(), Ok(Some((1, Reply::Descriptor(_))))));
    });
}

#[test]
fn what_a_client_had_is_closed_when_it_is_released() {
    let home = Home::new();
    let mut services = Services::new(home.origin.clone(), PID, || {}, |_, _, ()| {});
    let (client, other) = (Pid::new(0, 71), Pid::new(0, 72));
    let mut ask = |client, sequence, request| {
        let answers = services.serve(Ask::Request { client, sequence, request });
        let [(to, of, reply)] = answers.try_into().unwrap();
        assert_eq!((to, of), (client, sequence));
        (reply, services.serve(Ask::Retry).len())
    };
    let (Reply::Descriptor(fd), 0) = ask(client, 1, create("log")) else { panic!() };
    let write = Request::Write { fd, data: b"once".to_vec(), offset: None };
    assert_eq!(ask(client, 2, write.clone()), (Reply::Number(4), 0));
    let closed = (Reply::Failed(Errno::BadF), 0);
    assert_eq!(ask(other, 1, write.clone()), closed);
    assert!(services.serve(Ask::Release(client)).is_empty());
    let mut ask = |sequence, request| services.serve(Ask::Request { client, sequence, request });
    // It has gone with all its numbers; whoever comes under its name is new.
    assert_eq!(ask(1, write), [(client, 1, closed.0)]);
    assert_eq!(ask(2, create("other")), [(client, 2, Reply::Descriptor(fd))]);
}
