//! An origin with pipes for streams, and a process that is only its requests.

use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use peripatos_abi::device::{Devices, Reply, Request};
use peripatos_abi::{
    Errno, Event, EventFlags, EventKind, Fd, FdFlags, LookupFlags, OpenFlags, Pid, Rights,
};
use peripatos_host::node::exchange::{Exchange, RemoteDevices};
use peripatos_host::origin::{Origin, Preopen, Service, Streams};
use tempfile::TempDir;

pub(crate) const PID: Pid = Pid::new(1, 7);
pub(crate) const STDIN: Fd = Fd(0);
/// The directory every process here is given.
pub(crate) const ROOT: Fd = Fd(3);

/// Longer than any wait here takes; only a broken test gets there.
const PATIENCE: Duration = Duration::from_secs(60);

/// The origin's side.
pub(crate) struct Home {
    pub(crate) origin: Origin,
    pub(crate) service: Service,
    pub(crate) input: PipeWriter,
    ready: Receiver<()>,
    pub(crate) directory: TempDir,
    /// Kept open: a closed one would be an error to write to.
    _output: PipeReader,
}

impl Home {
    pub(crate) fn new() -> Self {
        let (stdin, input) = std::io::pipe().unwrap();
        let (output, stdout) = std::io::pipe().unwrap();
        let stderr = stdout.try_clone().unwrap();
        let files = [OwnedFd::from(stdin), stdout.into(), stderr.into()].map(File::from);
        let origin = Origin::with_streams(Streams::Files(files));
        let directory = tempfile::tempdir().unwrap();
        let preopen =
            Preopen { host_path: directory.path().to_owned(), guest_path: "/data".into() };
        origin.open(PID, &[preopen]).unwrap();
        let (notify, ready) = channel();
        let service = Service::new(origin.clone(), PID, move || notify.send(()).unwrap_or(()));
        Self { origin, service, input, ready, directory, _output: output }
    }

    /// Waits until what waits should be tried again.
    pub(crate) fn wait_ready(&self) {
        self.ready.recv_timeout(PATIENCE).unwrap();
    }

    /// Waits until what waits has its reply.
    pub(crate) fn wait_reply(&self) -> (u64, Reply) {
        loop {
            self.wait_ready();
            if let Some(reply) = self.service.retry() {
                return reply;
            }
        }
    }
}

pub(crate) fn read(len: u32) -> Request {
    Request::Read { fd: STDIN, len, offset: None }
}

pub(crate) fn data(bytes: &[u8]) -> Reply {
    Reply::Data(Arc::new(bytes.to_vec()))
}

/// Makes a file, which must not be there.
pub(crate) fn create(path: &str) -> Request {
    Request::Open {
        fd: ROOT,
        lookup: LookupFlags::NONE,
        path: path.into(),
        flags: OpenFlags::CREATE.union(OpenFlags::EXCLUSIVE),
        rights: Rights::FD_READ.union(Rights::FD_WRITE),
        rights_inheriting: Rights::NONE,
        fd_flags: FdFlags::NONE,
    }
}

pub(crate) fn event(userdata: u64, kind: EventKind, error: Option<Errno>) -> Event {
    Event { userdata, error, kind, bytes: 0, flags: EventFlags::NONE }
}

/// What an exchange has sent, in order.
pub(crate) type Sent = Arc<Mutex<Vec<(u64, Request)>>>;

/// A process whose requests go nowhere but into a list.
pub(crate) struct Guest {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) sent: Sent,
    pub(crate) wakes: Arc<Wakes>,
}

impl Guest {
    pub(crate) fn new() -> Self {
        let sent = Sent::default();
        let record = Arc::clone(&sent);
        let exchange = Exchange::new(PID, move |pid, sequence, _, request| {
            assert_eq!(pid, PID);
            record.lock().unwrap().push((sequence, request.clone()));
        });
        Self { exchange, sent, wakes: Arc::default() }
    }

    pub(crate) fn poll(&self, sequence: u64, request: &Request) -> Poll<Reply> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        let mut cx = Context::from_waker(&waker);
        RemoteDevices::new(Arc::clone(&self.exchange)).poll_request(&mut cx, PID, sequence, request)
    }

    /// Asks what is answered at once.
    pub(crate) fn ask(&self, sequence: u64, request: &Request) -> Reply {
        match self.poll(sequence, request) {
            Poll::Ready(reply) => reply,
            Poll::Pending => panic!("{request:?} waits"),
        }
    }

    /// Asks what the origin answers so.
    pub(crate) fn exchange(&self, sequence: u64, request: &Request, reply: &Reply) {
        assert_eq!(self.poll(sequence, request), Poll::Pending);
        self.exchange.deliver(sequence, reply.clone());
        assert_eq!(self.poll(sequence, request), Poll::Ready(reply.clone()));
    }

    pub(crate) fn sent(&self) -> Vec<u64> {
        self.sent.lock().unwrap().iter().map(|(sequence, _)| *sequence).collect()
    }
}

/// Counts wakes, and lets one wait for them.
#[derive(Default)]
pub(crate) struct Wakes {
    count: AtomicUsize,
    waiter: Mutex<Option<std::thread::Thread>>,
}

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until there have been this many.
    pub(crate) fn wait(&self, count: usize) {
        *self.waiter.lock().unwrap() = Some(std::thread::current());
        while self.count() < count {
            std::thread::park_timeout(PATIENCE);
        }
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        if let Some(thread) = &*self.waiter.lock().unwrap() {
            thread.unpark();
        }
    }
}
