//! Writes that a process was told are done before they were: they come behind, in its order, from the node that runs it.
//!
//! Invariants:
//! * What is in the files is what the process would have written up to some moment: behind a write that fails none is done which the
//!   process believes done. That ends with the first request that it waits for, for by then everything has come.
//! * A failure is told once: at the next write, sync or close of its descriptor. What no such call has told, and what only a close has,
//!   which many programs do not look at, is kept for the user ([`Unwritten`]).

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::{Errno, Fd, FdFlags, Rights};

use super::process::Process;
use super::step::Step;
use super::stream;
use super::table::{Descriptor, Resource};

/// Failures of files that are closed by now which are kept one by one; there are no more of others than descriptors.
const KEPT_MAX: usize = 64;

/// What failed of one process's writes behind it.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// One has failed, and nothing has come since that the process waits for.
    broken: bool,
    failures: Vec<Failure>,
    /// Those that are not kept one by one.
    more: u64,
}

#[derive(Debug)]
struct Failure {
    /// `None`: it is closed.
    fd: Option<Fd>,
    what: Unwritten,
}

/// A file that a process has not written as it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// As the process calls it.
    pub file: String,
    /// Why.
    pub cause: Errno,
    /// Whether it was told when it closed the file.
    pub told: bool,
}

impl Process {
    /// A request with which nothing goes that was done before, of a process that waits for it.
    pub(super) fn awaited(
        &mut self,
        sequence: u64,
        asks: bool,
        request: &Request,
    ) -> Result<Step, Errno> {
        self.behind.broken = false;
        if let Some(cause) = self.behind.tell(request) {
            if let Request::Close(fd) = request {
                self.table.remove(*fd)?;
            }
            return Err(cause);
        }
        let step = self.perform(sequence, request)?;
        match (request, &step) {
            (Request::Renumber { from, to }, _) => self.behind.renumber(*from, *to),
            (Request::Write { fd, data, .. }, Step::Reply(Reply::Number(count))) if asks => {
                let whole = *count == data.len() as u64;
                if whole && self.table.get(*fd).is_ok_and(may_be_behind) {
                    return Ok(Reply::GoOn(*count).into());
                }
            }
            _ => {}
        }
        Ok(step)
    }

    /// A write of which the process was told that `told` bytes are written.
    pub(super) fn write_behind(
        &mut self,
        fd: Fd,
        data: &[u8],
        offset: Option<u64>,
        told: u32,
    ) -> Result<Step, Errno> {
        let written = match self.behind.broken {
            false => self.write_all(fd, data, offset, told),
            // The descriptor of the one that failed says why.
            true => Err(Errno::Io),
        };
        match written {
            Ok(()) => Ok(Reply::Number(data.len() as u64).into()),
            Err(cause) => {
                self.behind.broken = true;
                let file = self.shown(fd);
                self.behind.failed(fd, file, cause);
                Err(cause)
            }
        }
    }

    fn write_all(&self, fd: Fd, data: &[u8], offset: Option<u64>, told: u32) -> Result<(), Errno> {
        let descriptor = self.table.get(fd)?;
        if !may_be_behind(descriptor) {
            return Err(Errno::BadF);
        }
        let mut done = 0;
        while done < data.len() {
            let at = offset.map(|offset| offset.saturating_add(done as u64));
            match stream::write(descriptor, &data[done..], at)? {
                Step::Reply(Reply::Number(count @ 1..)) => done += count as usize,
                // A regular file neither waits nor takes nothing.
                _ => return Err(Errno::Io),
            }
        }
        if data.len() < told as usize { Err(Errno::Io) } else { Ok(()) }
    }

    /// What the process calls the file behind a descriptor.
    fn shown(&self, fd: Fd) -> String {
        let location = match self.table.get(fd).map(|descriptor| &descriptor.resource) {
            Ok(Resource::File(_, location)) => location,
            _ => return format!("descriptor {}", fd.0),
        };
        let root = self.roots.get(location.root as usize);
        let root = root.map_or("", |root| root.guest_path.as_str());
        std::path::Path::new(root).join(&location.path).display().to_string()
    }
}

impl Behind {
    /// What this call tells of a failure of its descriptor.
    fn tell(&mut self, request: &Request) -> Option<Errno> {
        let (fd, closes) = match *request {
            Request::Write { fd, .. } | Request::Sync(fd) | Request::DataSync(fd) => (fd, false),
            Request::Close(fd) => (fd, true),
            _ => return None,
        };
        let index = self.failures.iter().position(|one| one.fd == Some(fd))?;
        let cause = self.failures[index].what.cause;
        if closes {
            self.failures[index].what.told = true;
            self.closed(index);
        } else {
            self.failures.remove(index);
        }
        Some(cause)
    }

    fn failed(&mut self, fd: Fd, file: String, cause: Errno) {
        // The first cause is the one that counts.
        if self.failures.iter().all(|one| one.fd != Some(fd)) {
            let what = Unwritten { file, cause, told: false };
            self.failures.push(Failure { fd: Some(fd), what });
        }
    }

    fn renumber(&mut self, from: Fd, to: Fd) {
        if from == to {
            return;
        }
        if let Some(index) = self.failures.iter().position(|one| one.fd == Some(to)) {
            self.closed(index);
        }
        let moved = self.failures.iter_mut().filter(|one| one.fd == Some(from));
        moved.for_each(|one| one.fd = Some(to));
    }

    fn closed(&mut self, index: usize) {
        self.failures[index].fd = None;
        if self.failures.iter().filter(|one| one.fd.is_none()).count() > KEPT_MAX {
            self.failures.remove(index);
            self.more += 1;
        }
    }

    /// What its user is to know when the process has ended: the files, and how many more there are.
    pub(super) fn unwritten(&self) -> (Vec<Unwritten>, u64) {
        (self.failures.iter().map(|one| one.what.clone()).collect(), self.more)
    }
}

/// Whether a process may be told that it has written before it has: to a regular file which it has opened itself, and not for that to be
/// on the disk. Of a stream others have the end, too.
fn may_be_behind(descriptor: &Descriptor) -> bool {
    let Resource::File(file, _) = &descriptor.resource else { return false };
    let synchronous = FdFlags::SYNC.union(FdFlags::DSYNC).union(FdFlags::RSYNC);
    file.file_type == peripatos_abi::FileType::RegularFile
        && !descriptor.flags.intersects(synchronous)
        && descriptor.allow(Rights::FD_WRITE.union(Rights::FD_SEEK)).is_ok()
}
