//! Generated requests and replies, one of every variant, in the variants' order.

use std::sync::Arc;

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::{
    Advice, ClockId, DirectoryEntry, Errno, Event, EventFlags, EventKind, Fd, FdFlags, Fdstat,
    FileType, Filestat, LookupFlags, OpenFlags, ReceiveFlags, Rights, SetTimesFlags, ShutdownFlags,
    Subject, Subscription, Whence,
};

/// SplitMix64 (Steele, Lea, Flood 2014): any seed will do.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number of any magnitude, so that all lengths of its wire form are seen.
    fn number(&mut self) -> u64 {
        let shift = self.below(65);
        self.next().checked_shr(shift as u32).unwrap_or(0)
    }

    fn fd(&mut self) -> Fd {
        Fd(self.number() as u32)
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(40)).map(|_| self.next() as u8).collect()
    }

    fn text(&mut self) -> String {
        (0..self.below(12))
            .map(|_| ['a', '/', '.', 'é', '漢', '\0'][self.below(6) as usize])
            .collect()
    }

    fn offset(&mut self) -> Option<u64> {
        (self.below(2) == 0).then(|| self.number())
    }

    fn errno(&mut self) -> Errno {
        Errno::from_code(self.below(76) as u16 + 1).unwrap()
    }

    fn clock(&mut self) -> ClockId {
        ClockId::from_code(self.below(4) as u32).unwrap()
    }

    fn file_type(&mut self) -> FileType {
        FileType::from_code(self.below(8) as u8).unwrap()
    }

    fn rights(&mut self) -> Rights {
        Rights::from_bits_truncate(self.next())
    }

    fn fd_flags(&mut self) -> FdFlags {
        FdFlags::from_bits_truncate(self.next() as u16)
    }

    fn times(&mut self) -> SetTimesFlags {
        SetTimesFlags::from_bits_truncate(self.next() as u16)
    }

    fn lookup(&mut self) -> LookupFlags {
        LookupFlags::from_bits_truncate(self.next() as u32)
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(5)).map(|_| one(self)).collect()
    }

    fn subscription(&mut self) -> Subscription {
        let subject = match self.below(3) {
            0 => Subject::Clock {
                clock: self.clock(),
                timeout_ns: self.number(),
                absolute: self.below(2) == 0,
            },
            1 => Subject::Read(self.fd()),
            _ => Subject::Write(self.fd()),
        };
        Subscription { userdata: self.number(), subject }
    }

    fn event(&mut self) -> Event {
        Event {
            userdata: self.number(),
            error: (self.below(2) == 0).then(|| self.errno()),
            kind: EventKind::from_code(self.below(3) as u8).unwrap(),
            bytes: self.number(),
            flags: EventFlags::from_bits_truncate(self.next() as u16),
        }
    }

    fn entry(&mut self) -> DirectoryEntry {
        DirectoryEntry {
            next: self.number(),
            inode: self.number(),
            file_type: self.file_type(),
            name: self.text(),
        }
    }

    /// Changes, takes out, or puts in a few bytes.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len() as u64 + 1) as usize;
            match self.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.next() as u8),
                2 if at < bytes.len() => bytes[at] = self.next() as u8,
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => bytes.extend(self.bytes()),
            }
        }
    }
}

pub(crate) fn requests(r: &mut Random) -> Vec<Request> {
    vec![
        Request::ClockResolution(r.clock()),
        Request::ClockTime(r.clock()),
        Request::Random(r.below(1 << 20) as u32),
        Request::Advise {
            fd: r.fd(),
            offset: r.number(),
            len: r.number(),
            advice: Advice::from_code(r.below(6) as u8).unwrap(),
        },
        Request::Allocate { fd: r.fd(), offset: r.number(), len: r.number() },
        Request::Close(r.fd()),
        Request::DataSync(r.fd()),
        Request::Sync(r.fd()),
        Request::FdstatGet(r.fd()),
        Request::FdstatSetFlags { fd: r.fd(), flags: r.fd_flags() },
        Request::FdstatSetRights { fd: r.fd(), rights: r.rights(), rights_inheriting: r.rights() },
        Request::FilestatGet(r.fd()),
        Request::FilestatSetSize { fd: r.fd(), size: r.number() },
        Request::FilestatSetTimes {
            fd: r.fd(),
            accessed_ns: r.number(),
            modified_ns: r.number(),
            flags: r.times(),
        },
        Request::Read { fd: r.fd(), len: r.number() as u32, offset: r.offset() },
        Request::Write { fd: r.fd(), data: r.bytes(), offset: r.offset() },
        Request::PreopenName(r.fd()),
        Request::ReadDirectory { fd: r.fd(), cookie: r.number(), bytes: r.number() as u32 },
        Request::Renumber { from: r.fd(), to: r.fd() },
        Request::Seek {
            fd: r.fd(),
            delta: r.number() as i64,
            whence: Whence::from_code(r.below(3) as u8).unwrap(),
        },
        Request::Tell(r.fd()),
        Request::CreateDirectory { fd: r.fd(), path: r.text() },
        Request::PathFilestatGet { fd: r.fd(), lookup: r.lookup(), path: r.text() },
        Request::PathFilestatSetTimes {
            fd: r.fd(),
            lookup: r.lookup(),
            path: r.text(),
            accessed_ns: r.number(),
            modified_ns: r.number(),
            flags: r.times(),
        },
        Request::Link {
            from: r.fd(),
            lookup: r.lookup(),
            from_path: r.text(),
            to: r.fd(),
            to_path: r.text(),
        },
        Request::Open {
            fd: r.fd(),
            lookup: r.lookup(),
            path: r.text(),
            flags: OpenFlags::from_bits_truncate(r.next() as u16),
            rights: r.rights(),
            rights_inheriting: r.rights(),
            fd_flags: r.fd_flags(),
        },
        Request::ReadLink { fd: r.fd(), path: r.text() },
        Request::RemoveDirectory { fd: r.fd(), path: r.text() },
        Request::Rename { from: r.fd(), from_path: r.text(), to: r.fd(), to_path: r.text() },
        Request::Symlink { target: r.text(), fd: r.fd(), path: r.text() },
        Request::UnlinkFile { fd: r.fd(), path: r.text() },
        Request::Poll(r.list(Random::subscription)),
        Request::Accept { fd: r.fd(), flags: r.fd_flags() },
        Request::Receive {
            fd: r.fd(),
            len: r.number() as u32,
            flags: ReceiveFlags::from_bits_truncate(r.next() as u16),
        },
        Request::Send { fd: r.fd(), data: r.bytes() },
        Request::Shutdown { fd: r.fd(), how: ShutdownFlags::from_bits_truncate(r.next() as u8) },
    ]
}

pub(crate) fn replies(r: &mut Random) -> Vec<Reply> {
    vec![
        Reply::Failed(r.errno()),
        Reply::Done,
        Reply::Number(r.number()),
        Reply::Data(Arc::new(r.bytes())),
        Reply::Descriptor(r.fd()),
        Reply::Fdstat(Fdstat {
            file_type: r.file_type(),
            flags: r.fd_flags(),
            rights: r.rights(),
            rights_inheriting: r.rights(),
        }),
        Reply::Filestat(Filestat {
            file_type: r.file_type(),
            device: r.number(),
            inode: r.number(),
            links: r.number(),
            size: r.number(),
            accessed_ns: r.number(),
            modified_ns: r.number(),
            changed_ns: r.number(),
        }),
        Reply::Entries(Arc::new(r.list(Random::entry))),
        Reply::Events(Arc::new(r.list(Random::event))),
        Reply::GoOn(r.number()),
    ]
}
