//! What the operating system knows about a file, in preview 1's words.

use std::io;

use cap_std::fs::{FileType as CapFileType, Metadata, MetadataExt};
use peripatos_abi::descriptors::Identity;
use peripatos_abi::{FileType, Filestat};
use rustix::fd::AsFd;
use rustix::fs::FileType as HostFileType;
use rustix::time::Timespec;

use super::clock::nanoseconds;

pub(super) fn filestat(metadata: &Metadata) -> Filestat {
    let time = |tv_sec, tv_nsec| nanoseconds(Timespec { tv_sec, tv_nsec });
    Filestat {
        device: metadata.dev(),
        inode: metadata.ino(),
        file_type: file_type(metadata.file_type(), metadata.mode()),
        links: metadata.nlink(),
        size: metadata.size(),
        accessed_ns: time(metadata.atime(), metadata.atime_nsec()),
        modified_ns: time(metadata.mtime(), metadata.mtime_nsec()),
        changed_ns: time(metadata.ctime(), metadata.ctime_nsec()),
    }
}

pub(super) fn file_type_of(metadata: &Metadata) -> FileType {
    file_type(metadata.file_type(), metadata.mode())
}

pub(super) fn identity(fd: impl AsFd) -> io::Result<Identity> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(Identity { device: stat.st_dev, inode: stat.st_ino })
}

pub(super) fn identity_of(metadata: &Metadata) -> Identity {
    Identity { device: metadata.dev(), inode: metadata.ino() }
}

fn file_type(file_type: CapFileType, mode: u32) -> FileType {
    if file_type.is_file() {
        FileType::RegularFile
    } else if file_type.is_dir() {
        FileType::Directory
    } else {
        host_file_type(HostFileType::from_raw_mode(mode))
    }
}

/// Preview 1 has no pipes: `Unknown`. It cannot tell kinds of sockets by their inode either, so
/// those are streams.
pub(super) fn host_file_type(file_type: HostFileType) -> FileType {
    match file_type {
        HostFileType::RegularFile => FileType::RegularFile,
        HostFileType::Directory => FileType::Directory,
        HostFileType::Symlink => FileType::SymbolicLink,
        HostFileType::CharacterDevice => FileType::CharacterDevice,
        HostFileType::BlockDevice => FileType::BlockDevice,
        HostFileType::Socket => FileType::SocketStream,
        HostFileType::Fifo | HostFileType::Unknown => FileType::Unknown,
    }
}
