//! What the origin holds of one process, and the dispatch of its requests.

use std::sync::Arc;

use peripatos_abi::device::{Ahead, Reply, Request, Used};
use peripatos_abi::limits::TRANSFER_BYTES_MAX;
use peripatos_abi::{Errno, Fd};
use rustix::rand::{GetRandomFlags, getrandom};

use super::behind::Behind;
use super::clock::Clocks;
use super::errno::from_host;
use super::step::Step;
use super::table::{Resource, Root, Table};
use super::{file, listing, open, path, poll, stream};

/// All that the origin holds of a process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) table: Table,
    pub(super) roots: Vec<Root>,
    pub(super) clocks: Clocks,
    /// The last reply and its sequence number: the duplicate filter.
    pub(super) last_reply: Option<(u64, Reply)>,
    /// The request that is waiting and the monotonic reading when it was first tried.
    pub(super) waiting: Option<(u64, u64)>,
    /// What was sent ahead with the last reply, and has not been used as far as is known.
    pub(super) sent: Option<SentAhead>,
    pub(super) behind: Behind,
}

/// Bytes that the process may have read, and its descriptor has not passed.
#[derive(Debug)]
pub(super) struct SentAhead {
    sequence: u64,
    fd: Fd,
    bytes: u32,
}

impl Process {
    /// Tries a request, or gives the reply it got before.
    pub(super) fn request(&mut self, sequence: u64, ahead: Ahead, request: &Request) -> Step {
        if let Some((last, reply)) = &self.last_reply {
            if *last == sequence {
                return reply.clone().into();
            }
            // The process goes by an older state than this one: it must not act on it.
            if *last > sequence {
                return Reply::Failed(Errno::NotRecoverable).into();
            }
        }
        let step = match self.pass_used(ahead.used) {
            Ok(()) => match (request, ahead.told()) {
                (Request::Write { fd, data, offset }, Some(told)) => {
                    self.write_behind(*fd, data, *offset, told)
                }
                _ => self.awaited(sequence, ahead.bytes > 0, request),
            },
            Err(errno) => Err(errno),
        };
        let step = step.map(|step| self.with_more(sequence, ahead.bytes, request, step));
        let step = step.unwrap_or_else(|errno| Reply::Failed(errno).into());
        match &step {
            Step::Reply(reply) => {
                // Said again, to a node that may be another one, a write was only written.
                let kept = match reply {
                    Reply::GoOn(count) => Reply::Number(*count),
                    reply => reply.clone(),
                };
                self.last_reply = Some((sequence, kept));
                self.waiting = None;
            }
            Step::Wait(_) => {
                self.waiting_since(sequence);
            }
        }
        step
    }

    /// The process has read of what was sent ahead. What is not used is not good any more: the process has not kept it, or will not.
    fn pass_used(&mut self, used: Option<Used>) -> Result<(), Errno> {
        let Some(sent) = self.sent.take() else { return Ok(()) };
        let used = used.filter(|used| used.sequence == sent.sequence && used.bytes <= sent.bytes);
        match used {
            Some(used) => stream::pass(self.table.get(sent.fd)?, used.bytes),
            None => Ok(()),
        }
    }

    /// A reply to a read, with what comes next in the file.
    fn with_more(&mut self, sequence: u64, bytes: u32, request: &Request, step: Step) -> Step {
        let (Request::Read { fd, len, offset: None }, Step::Reply(Reply::Data(data))) =
            (request, &step)
        else {
            return step;
        };
        let asked = (*len).min(TRANSFER_BYTES_MAX);
        // A short one is the end.
        if bytes == 0 || data.len() < asked as usize {
            return step;
        }
        let more = bytes.min(TRANSFER_BYTES_MAX - asked);
        let Ok(descriptor) = self.table.get(*fd) else { return step };
        let both = stream::with_next(descriptor, data, more);
        let Some(both) = both else { return step };
        let bytes = (both.len() - data.len()) as u32;
        self.sent = Some(SentAhead { sequence, fd: *fd, bytes });
        Reply::Data(Arc::new(both)).into()
    }

    /// When this request was first tried, by the process's monotonic clock.
    fn waiting_since(&mut self, sequence: u64) -> u64 {
        match self.waiting {
            Some((waiting, since_ns)) if waiting == sequence => since_ns,
            _ => {
                let now_ns = self.clocks.read(peripatos_abi::ClockId::Monotonic);
                self.waiting = Some((sequence, now_ns));
                now_ns
            }
        }
    }

    pub(super) fn perform(&mut self, sequence: u64, request: &Request) -> Result<Step, Errno> {
        let table = &mut self.table;
        let reply = match request {
            Request::Read { fd, len, offset } => {
                return stream::read(table.get(*fd)?, (*len).min(TRANSFER_BYTES_MAX), *offset);
            }
            Request::Write { fd, data, offset } => {
                return stream::write(table.get(*fd)?, data, *offset);
            }
            Request::Open { fd, lookup, path, flags, rights, rights_inheriting, fd_flags } => {
                let wish = open::Wish {
                    path,
                    lookup: *lookup,
                    flags: *flags,
                    rights: *rights,
                    rights_inheriting: *rights_inheriting,
                    fd_flags: *fd_flags,
                };
                return open::open(table, *fd, &wish);
            }
            Request::Poll(subscriptions) => {
                let since_ns = self.waiting_since(sequence);
                return Ok(poll::poll(&self.table, &self.clocks, since_ns, subscriptions));
            }
            Request::ClockTime(clock) => Reply::Number(self.clocks.read(*clock)),
            Request::ClockResolution(clock) => Reply::Number(self.clocks.resolution(*clock)),
            Request::Random(len) => random(*len)?,
            Request::Seek { fd, delta, whence } => stream::seek(table.get(*fd)?, *delta, *whence)?,
            Request::Tell(fd) => stream::tell(table.get(*fd)?)?,
            Request::FdstatGet(fd) => file::fdstat(table.get(*fd)?)?,
            Request::FilestatGet(fd) => file::filestat_get(table.get(*fd)?)?,
            Request::Close(fd) => table.remove(*fd).map(|_| Reply::Done)?,
            Request::Renumber { from, to } => table.renumber(*from, *to).map(|()| Reply::Done)?,
            Request::PreopenName(fd) => self.preopen_name(*fd)?,
            Request::ReadDirectory { fd, cookie, bytes } => {
                listing::read(table.get_mut(*fd)?, *cookie, *bytes)?
            }
            Request::FdstatSetFlags { fd, flags } => file::set_flags(table.get_mut(*fd)?, *flags)?,
            Request::FdstatSetRights { fd, rights, rights_inheriting } => {
                file::set_rights(table.get_mut(*fd)?, *rights, *rights_inheriting)?
            }
            Request::Advise { fd, offset, len, advice } => {
                file::advise(table.get(*fd)?, *offset, *len, *advice)?
            }
            Request::Allocate { fd, offset, len } => {
                file::allocate(table.get(*fd)?, *offset, *len)?
            }
            Request::DataSync(fd) => file::sync(table.get(*fd)?, true)?,
            Request::Sync(fd) => file::sync(table.get(*fd)?, false)?,
            Request::FilestatSetSize { fd, size } => file::set_size(table.get(*fd)?, *size)?,
            Request::FilestatSetTimes { fd, accessed_ns, modified_ns, flags } => {
                file::set_times(table.get(*fd)?, *accessed_ns, *modified_ns, *flags)?
            }
            Request::Accept { fd, .. }
            | Request::Receive { fd, .. }
            | Request::Send { fd, .. }
            | Request::Shutdown { fd, .. } => return self.no_socket(*fd),
            path_request => self.perform_path(path_request)?,
        };
        Ok(reply.into())
    }

    fn perform_path(&mut self, request: &Request) -> Result<Reply, Errno> {
        let table = &self.table;
        match request {
            Request::CreateDirectory { fd, path } => path::create_directory(table, *fd, path),
            Request::PathFilestatGet { fd, lookup, path } => {
                path::filestat_get(table, *fd, *lookup, path)
            }
            Request::PathFilestatSetTimes { fd, lookup, path, accessed_ns, modified_ns, flags } => {
                let times = (*accessed_ns, *modified_ns);
                path::set_times(table, *fd, *lookup, path, times, *flags)
            }
            Request::Link { from, lookup, from_path, to, to_path } => {
                path::link(table, (*from, from_path), *lookup, (*to, to_path))
            }
            Request::ReadLink { fd, path } => path::read_link(table, *fd, path),
            Request::RemoveDirectory { fd, path } => path::remove_directory(table, *fd, path),
            Request::Rename { from, from_path, to, to_path } => {
                path::rename(table, (*from, from_path), (*to, to_path))
            }
            Request::Symlink { target, fd, path } => path::symlink(table, target, *fd, path),
            Request::UnlinkFile { fd, path } => path::unlink_file(table, *fd, path),
            _ => Err(Errno::NoSys),
        }
    }

    fn preopen_name(&self, fd: Fd) -> Result<Reply, Errno> {
        match &self.table.get(fd)?.resource {
            Resource::Directory(directory) if directory.preopen => {
                let root = &self.roots[directory.location.root as usize];
                Ok(Reply::Data(root.guest_path.clone().into_bytes().into()))
            }
            Resource::Lost => Err(Errno::Io),
            _ => Err(Errno::BadF),
        }
    }

    /// No descriptor is a socket.
    fn no_socket(&self, fd: Fd) -> Result<Step, Errno> {
        self.table.get(fd)?;
        Err(Errno::NotSock)
    }
}

fn random(len: u32) -> Result<Reply, Errno> {
    let mut data = Vec::with_capacity(len as usize);
    while data.len() < len as usize {
        let room = rustix::buffer::spare_capacity(&mut data);
        match getrandom(room, GetRandomFlags::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(from_host(error)),
        }
    }
    data.truncate(len as usize);
    Ok(Reply::Data(data.into()))
}
