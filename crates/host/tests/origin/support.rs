//! A process that is only its requests.

use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use peripatos_abi::descriptors::{DescriptorTable, Warning};
use peripatos_abi::device::{Devices, Reply, Request};
use peripatos_abi::{Errno, Fd, FdFlags, LookupFlags, OpenFlags, Pid, Rights};
use peripatos_host::origin::{Origin, Preopen, Streams};
use tempfile::TempDir;

/// The directory every process here is given.
pub(crate) const ROOT: Fd = Fd(3);

/// Rights to read and write a file and move in it.
pub(crate) const READ_WRITE: Rights =
    Rights::FD_READ.union(Rights::FD_WRITE).union(Rights::FD_SEEK).union(Rights::FD_FILESTAT_GET);

/// A process at its origin, with a directory of its own and pipes for streams.
pub(crate) struct Guest {
    pub(crate) origin: Origin,
    pub(crate) pid: Pid,
    pub(crate) sequence: u64,
    pub(crate) input: Option<PipeWriter>,
    pub(crate) output: Option<PipeReader>,
    directory: Arc<TempDir>,
}

impl Guest {
    pub(crate) fn new() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let (origin, input, output) = piped_origin();
        let pid = Pid::new(1, 7);
        let preopen =
            Preopen { host_path: directory.path().to_owned(), guest_path: "/data".into() };
        origin.open(pid, &[preopen]).unwrap();
        Self { origin, pid, sequence: 0, input: Some(input), output: Some(output), directory }
    }

    pub(crate) fn host_path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Asks and waits, under a new sequence number.
    pub(crate) fn ask(&mut self, request: &Request) -> Reply {
        self.sequence += 1;
        self.ask_again(request)
    }

    /// Asks and waits, under the last sequence number.
    pub(crate) fn ask_again(&mut self, request: &Request) -> Reply {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            match self.origin.poll_request(&mut cx, self.pid, self.sequence, request) {
                Poll::Ready(reply) => return reply,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// Tries once, under the last sequence number.
    pub(crate) fn try_again(&mut self, request: &Request, wakes: &Arc<Wakes>) -> Poll<Reply> {
        let waker = Waker::from(Arc::clone(wakes));
        let mut cx = Context::from_waker(&waker);
        self.origin.poll_request(&mut cx, self.pid, self.sequence, request)
    }

    /// Opens a file below the directory.
    pub(crate) fn open(&mut self, path: &str, flags: OpenFlags, fd_flags: FdFlags) -> Fd {
        match self.ask(&open_request(path, flags, READ_WRITE, fd_flags)) {
            Reply::Descriptor(fd) => fd,
            reply => panic!("open {path}: {reply:?}"),
        }
    }

    pub(crate) fn write(&mut self, fd: Fd, data: &[u8]) {
        let reply = self.ask(&Request::Write { fd, data: data.to_vec(), offset: None });
        assert_eq!(reply, Reply::Number(data.len() as u64));
    }

    pub(crate) fn read(&mut self, fd: Fd, len: u32) -> Vec<u8> {
        match self.ask(&Request::Read { fd, len, offset: None }) {
            Reply::Data(data) => data.to_vec(),
            reply => panic!("read: {reply:?}"),
        }
    }

    /// Goes on at another origin, by way of the bytes that an image holds.
    pub(crate) fn move_on(&mut self) -> Vec<Warning> {
        let (table, mut warnings) = self.origin.snapshot(self.pid).unwrap();
        let table = DescriptorTable::decode(&table.encode()).unwrap();
        let (origin, input, output) = piped_origin();
        warnings.extend(origin.restore(self.pid, &table));
        self.origin.close(self.pid);
        (self.origin, self.input, self.output) = (origin, Some(input), Some(output));
        warnings
    }

    /// The same process twice, each at an origin of its own.
    pub(crate) fn fork(&self) -> Self {
        let (table, _) = self.origin.snapshot(self.pid).unwrap();
        let (origin, input, output) = piped_origin();
        let pid = Pid::new(2, 8);
        origin.restore(pid, &table);
        let directory = Arc::clone(&self.directory);
        let (input, output) = (Some(input), Some(output));
        Self { origin, pid, sequence: self.sequence, input, output, directory }
    }
}

pub(crate) fn open_request(
    path: &str,
    flags: OpenFlags,
    rights: Rights,
    fd_flags: FdFlags,
) -> Request {
    Request::Open {
        fd: ROOT,
        lookup: LookupFlags::SYMLINK_FOLLOW,
        path: path.into(),
        flags,
        rights,
        rights_inheriting: Rights::NONE,
        fd_flags,
    }
}

pub(crate) fn failed(errno: Errno) -> Reply {
    Reply::Failed(errno)
}

fn piped_origin() -> (Origin, PipeWriter, PipeReader) {
    let (stdin, input) = std::io::pipe().unwrap();
    let (output, stdout) = std::io::pipe().unwrap();
    let file = |fd: std::os::fd::OwnedFd| File::from(fd);
    let stderr = stdout.try_clone().unwrap();
    let files = [file(stdin.into()), file(stdout.into()), file(stderr.into())];
    (Origin::with_streams(Streams::Files(files)), input, output)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Counts wakes.
#[derive(Default)]
pub(crate) struct Wakes(pub(crate) AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
