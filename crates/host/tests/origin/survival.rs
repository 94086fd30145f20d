//! What survives a move, and what is known to be lost.

use peripatos_abi::descriptors::{DecodeError, DescriptorTable, LostReason};
use peripatos_abi::device::{Reply, Request};
use peripatos_abi::{ClockId, Errno, Fd, FdFlags, OpenFlags, Whence};

use super::support::{Guest, ROOT, failed};

#[test]
fn offsets_flags_and_numbers_survive() {
    let mut guest = Guest::new();
    let first = guest.open("first", OpenFlags::CREATE, FdFlags::NONE);
    let second = guest.open("second", OpenFlags::CREATE, FdFlags::APPEND);
    guest.write(first, b"abcdef");
    guest.write(second, b"xyz");
    guest.ask(&Request::Seek { fd: first, delta: 2, whence: Whence::Start });
    guest.ask(&Request::Seek { fd: second, delta: 0, whence: Whence::Start });
    guest.ask(&Request::Renumber { from: first, to: ROOT });
    assert_eq!(guest.move_on(), []);
    assert_eq!(guest.read(ROOT, 2), b"cd");
    guest.write(second, b"!");
    assert_eq!(std::fs::read(guest.host_path("second")).unwrap(), b"xyz!");
    assert_eq!(guest.ask(&Request::Tell(first)), failed(Errno::BadF));
}

#[test]
fn a_fork_has_offsets_of_its_own() {
    let mut guest = Guest::new();
    let fd = guest.open("file", OpenFlags::CREATE, FdFlags::NONE);
    guest.write(fd, b"abcdef");
    guest.ask(&Request::Seek { fd, delta: 1, whence: Whence::Start });
    let mut copy = guest.fork();
    assert_eq!(guest.read(fd, 2), b"bc");
    assert_eq!(copy.read(fd, 3), b"bcd");
    assert_eq!(guest.read(fd, 1), b"d");
}

#[test]
fn a_renamed_file_is_found() {
    let mut guest = Guest::new();
    let fd = guest.open("file", OpenFlags::CREATE, FdFlags::NONE);
    guest.write(fd, b"abc");
    std::fs::create_dir(guest.host_path("sub")).unwrap();
    std::fs::rename(guest.host_path("file"), guest.host_path("sub/moved")).unwrap();
    assert_eq!(guest.move_on(), []);
    guest.write(fd, b"def");
    assert_eq!(std::fs::read(guest.host_path("sub/moved")).unwrap(), b"abcdef");
}

#[test]
fn a_removed_file_is_lost_and_stays_so() {
    let mut guest = Guest::new();
    let fd = guest.open("file", OpenFlags::CREATE, FdFlags::NONE);
    std::fs::remove_file(guest.host_path("file")).unwrap();
    let reasons = |guest: &mut Guest| -> Vec<_> {
        guest.move_on().into_iter().map(|warning| (warning.fd, warning.reason)).collect()
    };
    assert_eq!(reasons(&mut guest)[0], (fd, LostReason::Removed));
    assert_eq!(guest.ask(&Request::Tell(fd)), failed(Errno::Io));
    assert_eq!(reasons(&mut guest)[0], (fd, LostReason::LostBefore));
    assert_eq!(guest.ask(&Request::Close(fd)), Reply::Done);
}

#[test]
fn another_file_under_the_path_is_noticed() {
    let mut guest = Guest::new();
    let fd = guest.open("file", OpenFlags::CREATE, FdFlags::NONE);
    let (table, warnings) = guest.origin.snapshot(guest.pid).unwrap();
    assert_eq!(warnings, []);
    // Kept under another name, so that the new file cannot get its serial number.
    std::fs::rename(guest.host_path("file"), guest.host_path("old")).unwrap();
    std::fs::write(guest.host_path("file"), b"another").unwrap();
    let warnings = guest.origin.restore(guest.pid, &table);
    assert_eq!(warnings.len(), 1);
    assert_eq!((warnings[0].fd, &warnings[0].reason), (fd, &LostReason::Replaced));
    assert_eq!(guest.ask(&Request::Read { fd, len: 1, offset: None }), failed(Errno::Io));
}

#[test]
fn a_vanished_directory_loses_what_is_below_it() {
    let mut guest = Guest::new();
    let fd = guest.open("file", OpenFlags::CREATE, FdFlags::NONE);
    let (table, _) = guest.origin.snapshot(guest.pid).unwrap();
    std::fs::remove_dir_all(guest.directory()).unwrap();
    let lost: Vec<Fd> =
        guest.origin.restore(guest.pid, &table).into_iter().map(|warning| warning.fd).collect();
    assert_eq!(lost, [ROOT, fd]);
    let create = Request::CreateDirectory { fd: ROOT, path: "x".into() };
    assert_eq!(guest.ask(&create), failed(Errno::Io));
}

#[test]
fn a_listing_goes_on_while_files_come_and_go() {
    let mut guest = Guest::new();
    for name in ["a", "b", "c", "d"] {
        std::fs::write(guest.host_path(name), b"").unwrap();
    }
    let mut names = Vec::new();
    let mut cookie = 0;
    for _ in 0..20 {
        // Room for one entry: the listing is read bit by bit.
        let reply = guest.ask(&Request::ReadDirectory { fd: ROOT, cookie, bytes: 1 });
        let Reply::Entries(entries) = reply else { panic!("{reply:?}") };
        let Some(entry) = entries.first() else { break };
        cookie = entry.next;
        names.push(entry.name.clone());
        if !entry.name.starts_with('.') {
            std::fs::remove_file(guest.host_path(&entry.name)).unwrap();
        }
        assert_eq!(guest.move_on(), []);
    }
    names.sort();
    assert_eq!(names, [".", "..", "a", "b", "c", "d"]);
}

#[test]
fn the_monotonic_clock_never_goes_back() {
    let mut guest = Guest::new();
    let mut last = 0;
    for _ in 0..3 {
        let reply = guest.ask(&Request::ClockTime(ClockId::Monotonic));
        let Reply::Number(now) = reply else { panic!("{reply:?}") };
        assert!(now >= last);
        last = now;
        guest.move_on();
    }
}

#[test]
fn a_damaged_table_is_an_error() {
    let mut guest = Guest::new();
    guest.open("file", OpenFlags::CREATE, FdFlags::NONE);
    let bytes = guest.origin.snapshot(guest.pid).unwrap().0.encode();
    for len in 0..bytes.len() {
        assert!(DescriptorTable::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
    let mut other = bytes.clone();
    other[0] += 1;
    assert_eq!(DescriptorTable::decode(&other), Err(DecodeError::Version(other[0])));
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(DescriptorTable::decode(&longer), Err(DecodeError::Damaged(_))));
}
