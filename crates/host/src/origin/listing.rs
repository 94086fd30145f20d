//! `fd_readdir`: listing a directory.
//!
//! The directory is read whole when the listing starts (cookie 0), and the listing is kept with the
//! descriptor: an entry keeps its cookie while files come and go, and over a move.

use std::sync::Arc;

use cap_std::fs::Dir;
use peripatos_abi::device::Reply;
use peripatos_abi::limits::DIRECTORY_ENTRIES_MAX;
use peripatos_abi::{DirectoryEntry, Errno, FileType, Rights};
use rustix::fs::{AtFlags, FileType as HostFileType};

use super::errno::from_host;
use super::stat::host_file_type;
use super::table::{Descriptor, Resource};

/// Bytes of an entry in the guest's form, before its name.
const ENTRY_BYTES: usize = 24;

/// Entries from `cookie` on, as many as take `bytes` in the guest's form.
pub(super) fn read(descriptor: &mut Descriptor, cookie: u64, bytes: u32) -> Result<Reply, Errno> {
    descriptor.directory()?;
    descriptor.allow(Rights::FD_READDIR)?;
    let Resource::Directory(directory) = &mut descriptor.resource else {
        return Err(Errno::NotDir);
    };
    if cookie == 0 || directory.listing.is_empty() {
        let is_root = directory.location.path.as_os_str().is_empty();
        directory.listing = Arc::new(list(&directory.dir, is_root)?);
    }
    let rest = usize::try_from(cookie).ok().and_then(|at| directory.listing.get(at..));
    let mut room = bytes as usize;
    let mut entries = Vec::new();
    for entry in rest.unwrap_or_default() {
        if room == 0 {
            break;
        }
        room = room.saturating_sub(ENTRY_BYTES + entry.name.len());
        entries.push(entry.clone());
    }
    Ok(Reply::Entries(Arc::new(entries)))
}

/// All entries, `.` and `..` first. Names that are not UTF-8 cannot be said in preview 1 and are
/// left out. What lies above a root is not told: its `..` is itself.
fn list(dir: &Dir, is_root: bool) -> Result<Vec<DirectoryEntry>, Errno> {
    let mut entries = Vec::new();
    let mut own_inode = 0;
    for entry in rustix::fs::Dir::read_from(dir).map_err(from_host)? {
        let entry = entry.map_err(from_host)?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if entries.len() == DIRECTORY_ENTRIES_MAX {
            return Err(Errno::Overflow);
        }
        if name == "." {
            own_inode = entry.ino();
        }
        entries.push(DirectoryEntry {
            next: 0,
            inode: entry.ino(),
            file_type: entry_type(dir, name, entry.file_type()),
            name: name.to_owned(),
        });
    }
    // `.` sorts before `..`, both before the rest, whose order stays the system's.
    entries.sort_by_key(|entry| match entry.name.as_str() {
        "." => 0,
        ".." => 1,
        _ => 2,
    });
    for (index, entry) in entries.iter_mut().enumerate() {
        entry.next = index as u64 + 1;
        if is_root && entry.name == ".." {
            entry.inode = own_inode;
        }
    }
    Ok(entries)
}

/// Some file systems do not tell the type in the listing.
fn entry_type(dir: &Dir, name: &str, listed: HostFileType) -> FileType {
    if listed != HostFileType::Unknown {
        return host_file_type(listed);
    }
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.map_or(FileType::Unknown, |stat| host_file_type(HostFileType::from_raw_mode(stat.st_mode)))
}
