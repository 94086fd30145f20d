//! The wire form of requests and replies: every variant round trips, and bytes from a liar are
//! refused or give a value that is valid.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod samples;

use std::sync::Arc;

use peripatos_abi::device::{
    LimitError, Reply, Request, WireError, decode_reply, decode_request, encode_reply,
    encode_request,
};
use peripatos_abi::limits::{
    DEVICE_BYTES_MAX, LISTING_BYTES_MAX, PATH_BYTES_MAX, RANDOM_BYTES_MAX, SUBSCRIPTIONS_MAX,
    TRANSFER_BYTES_MAX,
};
use peripatos_abi::{
    ClockId, DirectoryEntry, Errno, Event, EventFlags, EventKind, Fd, FdFlags, Fdstat, FileType,
    Filestat, Rights, Subject, Subscription,
};

use samples::{Random, replies, requests};

/// Rounds of generated values, each with every variant.
const ROUNDS: u64 = 200;

#[test]
fn every_request_round_trips() {
    for seed in 0..ROUNDS {
        for request in requests(&mut Random(seed)) {
            let bytes = encode_request(&request).unwrap();
            assert_eq!(decode_request(&bytes), Ok(request), "seed {seed}");
        }
    }
}

#[test]
fn every_reply_round_trips() {
    for seed in 0..ROUNDS {
        for reply in replies(&mut Random(seed)) {
            let bytes = encode_reply(&reply).unwrap();
            assert_eq!(decode_reply(&bytes), Ok(reply), "seed {seed}");
        }
    }
}

/// The samples are in the order of the variants, and there is no variant after them.
#[test]
fn samples_have_every_variant() {
    let mut random = Random(0);
    let requests = requests(&mut random);
    for (index, request) in requests.iter().enumerate() {
        assert_eq!(usize::from(encode_request(request).unwrap()[0]), index, "{request:?}");
    }
    assert_eq!(decode_request(&[requests.len() as u8; 64]), Err(WireError::OutOfRange));
    let replies = replies(&mut random);
    for (index, reply) in replies.iter().enumerate() {
        assert_eq!(usize::from(encode_reply(reply).unwrap()[0]), index, "{reply:?}");
    }
    assert_eq!(decode_reply(&[replies.len() as u8; 64]), Err(WireError::OutOfRange));
}

#[test]
fn mutated_bytes_are_refused_or_valid() {
    let (mut refused, mut taken) = (0, 0);
    for seed in 0..ROUNDS {
        let mut random = Random(seed);
        for request in requests(&mut random) {
            let mut bytes = encode_request(&request).unwrap();
            random.damage(&mut bytes);
            match decode_request(&bytes) {
                // What was taken can be said again, and is understood as the same.
                Ok(request) => {
                    taken += 1;
                    let again = encode_request(&request).unwrap();
                    assert_eq!(decode_request(&again), Ok(request), "seed {seed}");
                }
                Err(_) => refused += 1,
            }
        }
        for reply in replies(&mut random) {
            let mut bytes = encode_reply(&reply).unwrap();
            random.damage(&mut bytes);
            match decode_reply(&bytes) {
                Ok(reply) => {
                    taken += 1;
                    let again = encode_reply(&reply).unwrap();
                    assert_eq!(decode_reply(&again), Ok(reply), "seed {seed}");
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100 && taken > 100, "{refused} refused, {taken} taken");
}

#[test]
fn every_cut_is_refused() {
    for request in requests(&mut Random(1)) {
        let bytes = encode_request(&request).unwrap();
        for len in 0..bytes.len() {
            assert!(decode_request(&bytes[..len]).is_err(), "{request:?} cut to {len}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(decode_request(&longer), Err(WireError::Damaged(_))), "{request:?}");
    }
}

#[test]
fn numbers_without_meaning_are_refused() {
    let check = |reply: &Reply, at: usize, number: u8| {
        let mut bytes = encode_reply(reply).unwrap();
        bytes[at] = number;
        assert_eq!(decode_reply(&bytes), Err(WireError::OutOfRange), "{reply:?} {at} {number}");
    };
    check(&Reply::Failed(Errno::Io), 1, 0);
    check(&Reply::Failed(Errno::Io), 1, 77);
    let stat = Fdstat {
        file_type: FileType::Directory,
        flags: FdFlags::NONE,
        rights: Rights::NONE,
        rights_inheriting: Rights::NONE,
    };
    check(&Reply::Fdstat(stat), 1, 8);
    check(&Reply::Fdstat(stat), 2, 1 << 5);
    let event = Event {
        userdata: 1,
        error: None,
        kind: EventKind::Read,
        bytes: 0,
        flags: EventFlags::NONE,
    };
    let events = Reply::Events(Arc::new(vec![event]));
    for (at, number) in [(3, 77), (4, 3), (6, 2)] {
        check(&events, at, number);
    }
    // Rights have more bits than a byte of their number.
    assert_eq!(decode_reply(&[5, 0, 0, 0x80, 0x80, 0x80, 0x80, 4, 0]), Err(WireError::OutOfRange));
    // A bool, and text.
    assert!(decode_request(&[31, 1, 0, 0, 1, 0, 2]).is_err());
    assert!(decode_request(&[26, 3, 1, 0xff]).is_err());
}

/// Images hold replies in this form: see `descriptors::VERSION` before changing a byte.
#[test]
fn replies_have_these_bytes() {
    let check = |reply: Reply, bytes: &[u8]| assert_eq!(encode_reply(&reply).unwrap(), bytes);
    check(Reply::Failed(Errno::Io), &[0, 29]);
    check(Reply::Done, &[1]);
    check(Reply::Number(300), &[2, 0xac, 2]);
    check(Reply::Data(Arc::new(vec![200, 1])), &[3, 2, 200, 1]);
    check(Reply::Descriptor(Fd(5)), &[4, 5]);
    let stat = Fdstat {
        file_type: FileType::RegularFile,
        flags: FdFlags::SYNC,
        rights: Rights::FD_ADVISE,
        rights_inheriting: Rights::FD_READ,
    };
    check(Reply::Fdstat(stat), &[5, 4, 16, 0x80, 1, 2]);
    let stat = Filestat {
        file_type: FileType::Directory,
        device: 11,
        inode: 12,
        links: 13,
        size: 14,
        accessed_ns: 15,
        modified_ns: 16,
        changed_ns: 17,
    };
    check(Reply::Filestat(stat), &[6, 3, 11, 12, 13, 14, 15, 16, 17]);
    let entry =
        DirectoryEntry { next: 1, inode: 2, file_type: FileType::SymbolicLink, name: "ab".into() };
    check(Reply::Entries(Arc::new(vec![entry])), &[7, 1, 1, 2, 7, 2, b'a', b'b']);
    let event = Event {
        userdata: 9,
        error: Some(Errno::BadF),
        kind: EventKind::Write,
        bytes: 5,
        flags: EventFlags::HANGUP,
    };
    let well = Event { error: None, ..event };
    check(Reply::Events(Arc::new(vec![event, well])), &[8, 2, 9, 8, 2, 5, 1, 9, 0, 2, 5, 1]);
    check(Reply::GoOn(300), &[9, 0xac, 2]);
}

#[test]
fn lengths_have_limits() {
    let bytes = |len: u32| vec![0; len as usize];
    let path = |len: u32| "a".repeat(len as usize);
    let poll = |len: u32| {
        let clock =
            Subject::Clock { clock: ClockId::Monotonic, timeout_ns: u64::MAX, absolute: true };
        Request::Poll(vec![Subscription { userdata: u64::MAX, subject: clock }; len as usize])
    };
    let write = |len| Request::Write { fd: Fd(u32::MAX), data: bytes(len), offset: Some(u64::MAX) };
    let symlink = |target, at| Request::Symlink { target: path(target), fd: Fd(1), path: path(at) };
    let (data, name) = (TRANSFER_BYTES_MAX, PATH_BYTES_MAX);
    let over = |max: u32| max as usize + 1;
    check(&write(data), None);
    check(&write(data + 1), Some(LimitError::Transfer(over(data))));
    check(
        &Request::Send { fd: Fd(1), data: bytes(data + 1) },
        Some(LimitError::Transfer(over(data))),
    );
    check(&Request::Random(data), None);
    check(
        &Request::Random(RANDOM_BYTES_MAX),
        Some(LimitError::Transfer(RANDOM_BYTES_MAX as usize)),
    );
    check(&symlink(name, name), None);
    check(&symlink(name + 1, name), Some(LimitError::Path(over(name))));
    check(&symlink(name, name + 1), Some(LimitError::Path(over(name))));
    check(&poll(SUBSCRIPTIONS_MAX), None);
    check(&poll(SUBSCRIPTIONS_MAX + 1), Some(LimitError::Subscriptions(over(SUBSCRIPTIONS_MAX))));

    fn check(request: &Request, expected: Option<LimitError>) {
        assert_eq!(request.check().err(), expected);
        let encoded = encode_request(request);
        match expected {
            None => assert_eq!(decode_request(&encoded.unwrap()).as_ref(), Ok(request)),
            Some(error) => assert_eq!(encoded, Err(WireError::Limit(error))),
        }
    }
}

#[test]
fn a_listing_has_a_limit() {
    let entry = |name: usize| DirectoryEntry {
        next: u64::MAX,
        inode: u64::MAX,
        file_type: FileType::SocketStream,
        name: "a".repeat(name),
    };
    let listing = |count: usize, last: usize| {
        let mut entries = vec![entry(0); count];
        entries.push(entry(last));
        Reply::Entries(Arc::new(entries))
    };
    let full = TRANSFER_BYTES_MAX as usize / 24;
    let whole = listing(full, PATH_BYTES_MAX as usize);
    let bytes = encode_reply(&whole).unwrap();
    assert_eq!(decode_reply(&bytes), Ok(whole));
    let len = LISTING_BYTES_MAX as usize - 24;
    assert!(listing(0, len).check().is_ok());
    let error = LimitError::Listing(len + 25);
    assert_eq!(encode_reply(&listing(0, len + 1)), Err(WireError::Limit(error)));
    assert_eq!(error.errno(), Errno::Overflow);
}

#[test]
fn too_many_bytes_are_not_looked_at() {
    let bytes = vec![0; DEVICE_BYTES_MAX + 1];
    assert_eq!(decode_request(&bytes), Err(WireError::TooLong(bytes.len())));
    assert_eq!(decode_reply(&bytes), Err(WireError::TooLong(bytes.len())));
}
