//! The bytes of files and streams: reading, writing, seeking.
//!
//! Invariant: nothing here makes the calling thread wait for another program. What is not a regular
//! file is read and written only as far as it is ready.

use std::sync::Arc;

use peripatos_abi::descriptors::Stream;
use peripatos_abi::device::Reply;
use peripatos_abi::{Errno, FdFlags, FileType, Rights, Whence};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::AsFd;
use rustix::fs::SeekFrom;
use rustix::io::{Errno as Host, retry_on_intr};
use rustix::time::Timespec;

use super::Streams;
use super::errno::from_host;
use super::step::{Step, Wait};
use super::table::{Descriptor, OpenFile, Resource};

/// Bytes read at once from a pipe or terminal: what a pipe holds.
const STREAM_READ_BYTES_MAX: usize = 1 << 16;

/// Bytes that a pipe which is ready for writing takes without waiting (POSIX's `PIPE_BUF`).
const STREAM_WRITE_BYTES: usize = 4096;

/// Reads, at an offset or where the descriptor stands.
pub(super) fn read(descriptor: &Descriptor, len: u32, offset: Option<u64>) -> Result<Step, Errno> {
    let (file, rights) = match offset {
        Some(_) => (descriptor.seekable()?, Rights::FD_READ.union(Rights::FD_SEEK)),
        None => (descriptor.file()?, Rights::FD_READ),
    };
    descriptor.allow(rights)?;
    let len = len as usize;
    let len = if file.is_regular() { len } else { len.min(STREAM_READ_BYTES_MAX) };
    if len == 0 {
        return Ok(Reply::Data(Arc::default()).into());
    }
    if !file.is_regular() && !is_ready(file, PollFlags::IN) {
        return wait(descriptor, file, PollFlags::IN);
    }
    let mut data = Vec::with_capacity(len);
    let result = retry_on_intr(|| {
        let room = rustix::buffer::spare_capacity(&mut data);
        match offset {
            Some(offset) => rustix::io::pread(&file.file, room, offset),
            None => rustix::io::read(&file.file, room),
        }
    });
    match result {
        Ok(_) => Ok(Reply::Data(Arc::new(data)).into()),
        Err(Host::AGAIN) => wait(descriptor, file, PollFlags::IN),
        Err(error) => Err(from_host(error)),
    }
}

/// What was read, and what comes next in a file that the process has opened, at most so many bytes: the descriptor stays where it is.
/// `None`: nothing does, or it is another kind of file. Others that read from a stream would miss what is kept elsewhere.
pub(super) fn with_next(descriptor: &Descriptor, read: &[u8], bytes: u32) -> Option<Vec<u8>> {
    let Resource::File(file, _) = &descriptor.resource else { return None };
    if !file.is_regular() || bytes == 0 {
        return None;
    }
    let at = rustix::fs::tell(&file.file).ok()?;
    let mut both = Vec::with_capacity(read.len() + bytes as usize);
    both.extend_from_slice(read);
    let room = rustix::buffer::spare_capacity(&mut both);
    // What goes wrong here the next read meets.
    rustix::io::pread(&file.file, room, at).ok().filter(|count| *count > 0)?;
    // The allocator may have given more than was asked for.
    both.truncate(read.len() + bytes as usize);
    Some(both)
}

/// The process has read so many bytes more of a file.
pub(super) fn pass(descriptor: &Descriptor, bytes: u32) -> Result<(), Errno> {
    let file = descriptor.file()?;
    let to = SeekFrom::Current(i64::from(bytes));
    rustix::fs::seek(&file.file, to).map(drop).map_err(from_host)
}

/// Writes, at an offset or where the descriptor stands (at the end, in append mode).
pub(super) fn write(
    descriptor: &Descriptor,
    data: &[u8],
    offset: Option<u64>,
) -> Result<Step, Errno> {
    let (file, rights) = match offset {
        Some(_) => (descriptor.seekable()?, Rights::FD_WRITE.union(Rights::FD_SEEK)),
        None => (descriptor.file()?, Rights::FD_WRITE),
    };
    descriptor.allow(rights)?;
    if let Some(offset) = offset {
        let result = retry_on_intr(|| rustix::io::pwrite(&file.file, data, offset));
        return written(result.map_err(from_host)?);
    }
    if !file.is_regular() {
        return write_stream(descriptor, file, data);
    }
    if matches!(descriptor.resource, Resource::Stream(..))
        && descriptor.flags.contains(FdFlags::APPEND)
    {
        // The mode of a stream belongs to all programs that share it, so it is not set.
        rustix::fs::seek(&file.file, SeekFrom::End(0)).map_err(from_host)?;
    }
    written(retry_on_intr(|| rustix::io::write(&file.file, data)).map_err(from_host)?)
}

/// Writes as long as the stream takes more; waits only if it takes nothing.
fn write_stream(descriptor: &Descriptor, file: &OpenFile, data: &[u8]) -> Result<Step, Errno> {
    let mut done = 0;
    while done < data.len() {
        if !is_ready(file, PollFlags::OUT) {
            break;
        }
        let part = &data[done..data.len().min(done + STREAM_WRITE_BYTES)];
        match retry_on_intr(|| rustix::io::write(&file.file, part)) {
            Ok(count) => done += count,
            Err(Host::AGAIN) => break,
            // The next write meets the error again.
            Err(_) if done > 0 => break,
            Err(error) => return Err(from_host(error)),
        }
    }
    if done == 0 && !data.is_empty() {
        return wait(descriptor, file, PollFlags::OUT);
    }
    written(done)
}

/// Moves the offset.
pub(super) fn seek(descriptor: &Descriptor, delta: i64, whence: Whence) -> Result<Reply, Errno> {
    let file = descriptor.seekable()?;
    if delta == 0 && whence == Whence::Current {
        return tell(descriptor);
    }
    descriptor.allow(Rights::FD_SEEK)?;
    let to = match whence {
        Whence::Start => SeekFrom::Start(u64::try_from(delta).map_err(|_| Errno::Inval)?),
        Whence::Current => SeekFrom::Current(delta),
        Whence::End => SeekFrom::End(delta),
    };
    rustix::fs::seek(&file.file, to).map(Reply::Number).map_err(from_host)
}

/// The offset. The right to seek is also the right to this.
pub(super) fn tell(descriptor: &Descriptor) -> Result<Reply, Errno> {
    let file = descriptor.seekable()?;
    if !descriptor.rights.intersects(Rights::FD_TELL.union(Rights::FD_SEEK)) {
        return Err(Errno::NotCapable);
    }
    rustix::fs::tell(&file.file).map(Reply::Number).map_err(from_host)
}

/// A descriptor of its own for one of the origin's streams.
pub(super) fn open_standard(streams: &Streams, stream: Stream) -> std::io::Result<Descriptor> {
    let file = match (streams, stream) {
        (Streams::Own, Stream::Input) => std::io::stdin().as_fd().try_clone_to_owned()?.into(),
        (Streams::Own, Stream::Output) => std::io::stdout().as_fd().try_clone_to_owned()?.into(),
        (Streams::Own, Stream::Error) => std::io::stderr().as_fd().try_clone_to_owned()?.into(),
        (Streams::Files([input, _, _]), Stream::Input) => input.try_clone()?,
        (Streams::Files([_, output, _]), Stream::Output) => output.try_clone()?,
        (Streams::Files([_, _, error]), Stream::Error) => error.try_clone()?,
    };
    standard(stream, file)
}

/// A descriptor of a stream over this file.
fn standard(stream: Stream, file: std::fs::File) -> std::io::Result<Descriptor> {
    let stat = rustix::fs::fstat(&file)?;
    let host_type = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    let file_type = super::stat::host_file_type(host_type);
    let direction = match stream {
        Stream::Input => Rights::FD_WRITE,
        Stream::Output | Stream::Error => Rights::FD_READ,
    };
    let terminal = rustix::termios::isatty(&file);
    let rights = match file_type {
        FileType::RegularFile | FileType::BlockDevice => Rights::FILE.without(direction),
        // A terminal is open in both directions, whichever stream it is.
        FileType::CharacterDevice if terminal => Rights::STREAM,
        // Another device must not be taken for a terminal.
        FileType::CharacterDevice => {
            Rights::STREAM.union(Rights::FD_SEEK).union(Rights::FD_TELL).without(direction)
        }
        _ => Rights::STREAM.without(direction),
    };
    let input = stream == Stream::Input;
    let file = OpenFile { file: Arc::new(file), file_type, readable: input, writable: !input };
    Ok(Descriptor {
        resource: Resource::Stream(stream, file),
        flags: FdFlags::NONE,
        rights,
        rights_inheriting: Rights::NONE,
    })
}

fn written(count: usize) -> Result<Step, Errno> {
    Ok(Reply::Number(count as u64).into())
}

fn wait(descriptor: &Descriptor, file: &OpenFile, interest: PollFlags) -> Result<Step, Errno> {
    if descriptor.flags.contains(FdFlags::NONBLOCK) {
        return Err(Errno::Again);
    }
    Ok(Step::Wait(Wait::file(&file.file, interest)))
}

/// Whether an operation would not wait: there is something, or an end, or an error to report.
fn is_ready(file: &OpenFile, interest: PollFlags) -> bool {
    let mut fds = [PollFd::new(&file.file, interest)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A file that cannot be polled says so when it is used.
    retry_on_intr(|| rustix::event::poll(&mut fds, Some(&now))).map_or(true, |count| count > 0)
}
