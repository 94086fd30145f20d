//! A request has its effect once, however often it is asked.

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::{Errno, Fd, FdFlags, OpenFlags, Whence};

use super::support::{Guest, READ_WRITE, failed, open_request};

#[test]
fn a_write_asked_twice_happens_once() {
    let mut guest = Guest::new();
    let fd = guest.open("log", OpenFlags::CREATE, FdFlags::APPEND);
    let write = Request::Write { fd, data: b"once ".to_vec(), offset: None };
    assert_eq!(guest.ask(&write), Reply::Number(5));
    assert_eq!(guest.ask_again(&write), Reply::Number(5));
    assert_eq!(std::fs::read(guest.host_path("log")).unwrap(), b"once ");
    assert_eq!(guest.ask(&write), Reply::Number(5));
    assert_eq!(std::fs::read(guest.host_path("log")).unwrap(), b"once once ");
}

#[test]
fn a_write_asked_again_after_a_move_has_happened() {
    let mut guest = Guest::new();
    let fd = guest.open("log", OpenFlags::CREATE, FdFlags::NONE);
    let write = Request::Write { fd, data: b"once ".to_vec(), offset: None };
    assert_eq!(guest.ask(&write), Reply::Number(5));
    assert_eq!(guest.move_on(), []);
    assert_eq!(guest.ask_again(&write), Reply::Number(5));
    assert_eq!(guest.ask(&write), Reply::Number(5));
    assert_eq!(std::fs::read(guest.host_path("log")).unwrap(), b"once once ");
}

#[test]
fn every_kind_of_reply_is_kept_over_a_move() {
    let mut guest = Guest::new();
    let fd = guest.open("file", OpenFlags::CREATE, FdFlags::NONE);
    guest.write(fd, b"0123456789");
    let requests = [
        Request::Seek { fd, delta: -4, whence: Whence::Current },
        Request::Read { fd, len: 3, offset: None },
        Request::Random(16),
        Request::FdstatGet(fd),
        Request::FilestatGet(fd),
        Request::PreopenName(Fd(3)),
        Request::ReadDirectory { fd: Fd(3), cookie: 0, bytes: 100 },
        open_request(
            "file",
            OpenFlags::EXCLUSIVE.union(OpenFlags::CREATE),
            READ_WRITE,
            FdFlags::NONE,
        ),
        open_request("file", OpenFlags::NONE, READ_WRITE, FdFlags::NONE),
        Request::Rename { from: Fd(3), from_path: "file".into(), to: Fd(3), to_path: "new".into() },
        Request::Close(fd),
    ];
    for request in &requests {
        let reply = guest.ask(request);
        assert_eq!(guest.ask_again(request), reply, "{request:?}");
        assert_eq!(guest.move_on(), [], "{request:?}");
        assert_eq!(guest.ask_again(request), reply, "{request:?}");
    }
    assert_eq!(guest.ask(&Request::Close(fd)), failed(Errno::BadF));
}

#[test]
fn a_process_older_than_its_descriptors_is_refused() {
    let mut guest = Guest::new();
    let fd = guest.open("log", OpenFlags::CREATE, FdFlags::NONE);
    guest.write(fd, b"a");
    guest.sequence -= 2;
    let write = Request::Write { fd, data: b"b".to_vec(), offset: None };
    assert_eq!(guest.ask(&write), failed(Errno::NotRecoverable));
    assert_eq!(std::fs::read(guest.host_path("log")).unwrap(), b"a");
}
