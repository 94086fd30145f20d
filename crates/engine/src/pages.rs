//! What the operating system knows of a memory's pages, and what it is told. **Contains `unsafe`.**
//!
//! Pages that it has not given out are zero, and need not be looked at: looking at 64 MiB of
//! untouched memory would cost as much as copying it. On Linux this is read from
//! `/proc/self/pagemap`; anywhere else, or where it cannot be read, the answer is "cannot tell",
//! and every page is looked at.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use crate::image::{PAGE_BYTES, Run};

/// A page is in memory (bit 63) or swapped out (bit 62): see the kernel's documentation, pagemap.
const GIVEN_OUT: u64 = 0b11 << 62;
/// What Linux on x86-64, and on AArch64 with pages of 4 KiB, calls a huge page.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Entries read at once.
const ENTRIES: usize = 4096;

/// Runs of pages in `[address, address + len)` that may be other than zero. `None`: cannot tell.
/// `address` and `len` are multiples of [`PAGE_BYTES`], or the answer is `None`.
///
/// Pages of a file mapping that nobody has touched count as not given out: what instantiation put
/// into a memory must be added by the caller.
pub(crate) fn touched(address: usize, len: usize) -> Option<Vec<Run>> {
    let fits = rustix::param::page_size() == PAGE_BYTES
        && address.is_multiple_of(PAGE_BYTES)
        && len.is_multiple_of(PAGE_BYTES);
    let pagemap = pagemap().filter(|_| fits)?;
    let (first, count) = (address / PAGE_BYTES, len / PAGE_BYTES);
    let mut runs: Vec<Run> = Vec::new();
    let mut buffer = vec![0; ENTRIES.min(count) * 8];
    let mut page = 0;
    while page < count {
        let part = &mut buffer[..(count - page).min(ENTRIES) * 8];
        pagemap.read_exact_at(part, ((first + page) * 8) as u64).ok()?;
        for entry in part.as_chunks::<8>().0 {
            if u64::from_ne_bytes(*entry) & GIVEN_OUT != 0 {
                push(&mut runs, page as u64, 1);
            }
            page += 1;
        }
    }
    Some(runs)
}

/// What Linux shows of this OS process's page tables. `None`: nothing.
pub(crate) fn pagemap() -> Option<&'static File> {
    static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();
    let open = || File::open("/proc/self/pagemap").ok().filter(|_| cfg!(target_os = "linux"));
    PAGEMAP.get_or_init(open).as_ref()
}

/// Reads memory of this OS process that other threads may be writing to: the kernel does, to which that is nothing new. What is
/// not mapped, or not accessible, is an error.
///
/// process_vm_readv copies once; reading `/proc/self/mem` copies twice, and looks up page by page: that takes three times as long,
/// and is for where a sandbox forbids the other.
pub(crate) fn read_exact_at(bytes: &mut [u8], address: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match read_at(bytes, address) {
        Ok(count) if count == bytes.len() => return Ok(()),
        // What comes behind is not accessible.
        Ok(_) => return Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOSYS | libc::EPERM) => {}
            _ => return Err(error),
        },
    }
    static FILE: OnceLock<Result<File, io::ErrorKind>> = OnceLock::new();
    let open = || File::open("/proc/self/mem").map_err(|error| error.kind());
    let file = FILE.get_or_init(open).as_ref().map_err(|kind| io::Error::from(*kind))?;
    file.read_exact_at(bytes, address)
}

#[cfg(target_os = "linux")]
fn read_at(bytes: &mut [u8], address: u64) -> io::Result<usize> {
    let to = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let from = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(address as usize),
        iov_len: bytes.len(),
    };
    // SAFETY: the kernel writes to `bytes` only, as many as there are at most, and checks where it reads.
    let count = unsafe { libc::process_vm_readv(libc::getpid(), &to, 1, &from, 1, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// All of these bytes are about to be written: the operating system may give them out in huge pages. A page fault for
/// each 4 KiB took as long as all else that is done to an image at its target. Where there are no huge pages, or none
/// are left, nothing changes.
pub(crate) fn will_fill(bytes: &mut [u8]) {
    let whole = whole_huge_pages(bytes);
    #[cfg(target_os = "linux")]
    if !whole.is_empty() {
        // SAFETY: this advice changes neither contents nor protection of any page of the slice.
        let advised = unsafe {
            let start = whole.as_mut_ptr().cast();
            rustix::mm::madvise(start, whole.len(), rustix::mm::Advice::LinuxHugepage)
        };
        // A kernel without huge pages says so here.
        let _ = advised;
    }
}

/// Has these bytes, which are zero and have never been touched, given out now.
pub(crate) fn give_out(bytes: &mut [u8]) {
    will_fill(bytes);
    bytes.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 0);
}

/// Gives bytes back that are zero, of memory that no file is behind: they stay zero.
pub(crate) fn give_back(bytes: &mut [u8]) {
    let whole = whole_huge_pages(bytes);
    #[cfg(target_os = "linux")]
    if !whole.is_empty() {
        // SAFETY: anonymous memory is zero after this, and it was; the range lies within the slice.
        let advised = unsafe {
            let start = whole.as_mut_ptr().cast();
            rustix::mm::madvise(start, whole.len(), rustix::mm::Advice::LinuxDontNeed)
        };
        // What is not given back is only kept.
        let _ = advised;
    }
}

/// The whole huge pages among these bytes.
fn whole_huge_pages(bytes: &mut [u8]) -> &mut [u8] {
    let skipped = bytes.as_ptr().align_offset(HUGE_PAGE_BYTES).min(bytes.len());
    let whole = (bytes.len() - skipped) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    &mut bytes[skipped..skipped + whole]
}

/// Adds pages behind all others; joins neighbours.
pub(crate) fn push(runs: &mut Vec<Run>, first: u64, count: u64) {
    match runs.last_mut() {
        Some(last) if first <= last.first + last.count => {
            last.count = last.count.max(first + count - last.first);
        }
        _ => runs.push(Run { first, count }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined() {
        let mut runs = Vec::new();
        for (first, count) in [(0, 2), (2, 1), (1, 1), (5, 1)] {
            push(&mut runs, first, count);
        }
        assert_eq!(runs, [Run { first: 0, count: 3 }, Run { first: 5, count: 1 }]);
    }

    #[test]
    fn memory_is_read_by_the_kernel() {
        let memory: Vec<u8> = (0..3 * PAGE_BYTES).map(|at| at as u8).collect();
        let mut read = vec![0; memory.len()];
        read_exact_at(&mut read, memory.as_ptr() as u64).unwrap();
        assert_eq!(read, memory);
        assert!(read_exact_at(&mut read, 8).is_err());
    }

    #[test]
    fn what_was_written_is_touched() {
        let len = 64 * PAGE_BYTES;
        let mut memory = vec![0_u8; len + PAGE_BYTES];
        let start = memory.as_ptr().align_offset(PAGE_BYTES);
        memory[start + 7 * PAGE_BYTES] = 1;
        let Some(runs) = touched(memory[start..].as_ptr() as usize, len) else { return };
        assert!(runs.iter().any(|run| (run.first..run.first + run.count).contains(&7)));
        assert_eq!(touched(memory.as_ptr() as usize + 1, len), None);
    }
}
