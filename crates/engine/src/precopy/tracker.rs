//! Which pages of a memory were written, from the operating system. **Contains `unsafe`.**
//!
//! A userfaultfd in asynchronous write-protect mode lets the first write to a page through and only notes it, in the page
//! table; PAGEMAP_SCAN (Linux 6.7) reads the notes and protects those pages again, in one go. Measured: 0.7 to 1.5 us a first
//! write, 0.4 ms to look through 256 MiB (kernel 6.18; the kernel's documentation: admin-guide/mm/pagemap).
//!
//! Considered: mprotect and a signal handler, which is ten to twenty times as dear a write and has to share the handler with
//! the engine; soft-dirty bits, which not every kernel has. Where this is missing processes stand still while they are
//! copied.
//!
//! Nothing here changes what a memory holds, or who may write it: the calls are `unsafe` only for the pointers they take.
#![allow(unsafe_code)]

#[cfg(not(target_os = "linux"))]
use std::io;
#[cfg(not(target_os = "linux"))]
use std::ops::Range;

#[cfg(target_os = "linux")]
pub(super) use linux::Tracker;

/// Whether pages can be tracked here. Tried out, on a page.
///
/// # Errors
/// They cannot: why.
pub fn page_tracking() -> Result<(), String> {
    use crate::image::{PAGE_BYTES, Run};
    let mut pages = vec![0_u8; 3 * PAGE_BYTES];
    let start = pages.as_ptr().align_offset(PAGE_BYTES);
    let page = &mut pages[start..start + PAGE_BYTES];
    let tracker = Tracker::new()?;
    let at = page.as_ptr() as usize;
    let reach = at..at + PAGE_BYTES;
    tracker.follow(&reach)?;
    page[0] = 1;
    let found = tracker.take_written(&reach).and_then(|_| {
        let before = tracker.written(&reach)?;
        page[0] = 2;
        Ok((before, tracker.written(&reach)?))
    });
    match found {
        Ok((before, after)) if before.is_empty() && after == [Run { first: 0, count: 1 }] => Ok(()),
        Ok(_) => Err("the kernel does not tell who was written".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::c_void;
    use std::io;
    use std::ops::Range;
    use std::os::fd::OwnedFd;

    use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
    use rustix::mm::{UserfaultfdFlags, userfaultfd};

    use crate::image::{PAGE_BYTES, Run};
    use crate::pages;

    /// `UFFD_USER_MODE_ONLY`: for this no privilege is needed. Faults of the kernel never wait in this mode, either.
    const USER_MODE_ONLY: u32 = 1;
    const UFFD_API: u64 = 0xaa;
    /// `UFFD_FEATURE_PAGEFAULT_FLAG_WP` and `UFFD_FEATURE_WP_ASYNC`.
    const FEATURES: u64 = 1 | 1 << 15;
    /// `UFFDIO_REGISTER_MODE_WP`.
    const REGISTER_WP: u64 = 1 << 1;
    /// `PM_SCAN_WP_MATCHING` and `PM_SCAN_CHECK_WPASYNC`.
    const PROTECT: u64 = 1 | 1 << 1;
    const PAGE_IS_WRITTEN: u64 = 1 << 1;
    const PAGE_IS_PRESENT: u64 = 1 << 3;
    const PAGE_IS_SWAPPED: u64 = 1 << 4;
    /// Runs that are read at once.
    const REGIONS: usize = 512;

    /// `struct uffdio_api`.
    #[repr(C)]
    struct Api {
        api: u64,
        features: u64,
        ioctls: u64,
    }

    /// `struct uffdio_register`.
    #[repr(C)]
    struct Register {
        start: u64,
        len: u64,
        mode: u64,
        ioctls: u64,
    }

    /// `struct uffdio_range`.
    #[repr(C)]
    struct Part {
        start: u64,
        len: u64,
    }

    /// `struct page_region`.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Region {
        start: u64,
        end: u64,
        categories: u64,
    }

    /// `struct pm_scan_arg`.
    #[repr(C)]
    #[derive(Default)]
    struct Scan {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        vec: u64,
        vec_len: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }

    /// A call that takes and changes a structure, and returns a number.
    struct Call<'a, T> {
        opcode: Opcode,
        argument: &'a mut T,
    }

    // SAFETY: the opcodes below are of calls that take a structure of this type, and write to nothing else but what `Scan`
    // points to.
    unsafe impl<T> Ioctl for Call<'_, T> {
        type Output = usize;

        const IS_MUTATING: bool = true;

        fn opcode(&self) -> Opcode {
            self.opcode
        }

        fn as_ptr(&mut self) -> *mut c_void {
            std::ptr::from_mut(self.argument).cast()
        }

        unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<usize> {
            Ok(usize::try_from(out).unwrap_or(0))
        }
    }

    /// Follows some address space until it is dropped.
    #[derive(Debug)]
    pub(in crate::precopy) struct Tracker {
        /// Closing it ends it all.
        faults: OwnedFd,
    }

    impl Tracker {
        /// Follows nothing yet.
        ///
        /// # Errors
        /// The kernel cannot: why.
        pub(in crate::precopy) fn new() -> Result<Tracker, String> {
            if rustix::param::page_size() != PAGE_BYTES {
                return Err("pages are not of 4 KiB".to_owned());
            }
            let missing = |what: &'static str| move |error| format!("{what}: {error}");
            let flags =
                UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::from_bits_retain(USER_MODE_ONLY);
            // SAFETY: what this file can do to memory is done below, and no more.
            let faults = unsafe { userfaultfd(flags) }.map_err(missing("no userfaultfd"))?;
            let mut api = Api { api: UFFD_API, features: FEATURES, ioctls: 0 };
            let call = Call { opcode: opcode::read_write::<Api>(0xaa, 0x3f), argument: &mut api };
            // SAFETY: UFFDIO_API takes this structure.
            unsafe { ioctl(&faults, call) }.map_err(missing("no asynchronous write-protection"))?;
            Ok(Tracker { faults })
        }

        /// Follows this part of the address space, too, from now on. All its pages that are given out count as written at
        /// first. Start and end are multiples of [`PAGE_BYTES`].
        ///
        /// # Errors
        /// The kernel cannot: why.
        pub(in crate::precopy) fn follow(&self, reach: &Range<usize>) -> Result<(), String> {
            let (start, len) = (reach.start as u64, reach.len() as u64);
            let mut register = Register { start, len, mode: REGISTER_WP, ioctls: 0 };
            let opcode = opcode::read_write::<Register>(0xaa, 0);
            let call = Call { opcode, argument: &mut register };
            // SAFETY: UFFDIO_REGISTER takes this structure. In this mode no fault ever waits for the file's reader: whoever
            // writes to the memory does not notice.
            unsafe { ioctl(&self.faults, call) }
                .map_err(|error| format!("the memory cannot be tracked: {error}"))?;
            // Whether the kernel can scan shows at once.
            let first = reach.start..reach.start + 1;
            self.scan(0, &first).map(drop).map_err(|error| format!("no PAGEMAP_SCAN: {error}"))
        }

        /// Follows this part, of which it has followed all, no longer.
        pub(in crate::precopy) fn leave(&self, reach: &Range<usize>) {
            let mut part = Part { start: reach.start as u64, len: reach.len() as u64 };
            // `_IOR`, as the kernel has it, though it writes nothing.
            let call = Call { opcode: opcode::read::<Part>(0xaa, 1), argument: &mut part };
            // SAFETY: UFFDIO_UNREGISTER takes this structure.
            let left = unsafe { ioctl(&self.faults, call) };
            // Else it is left when all is over.
            let _ = left;
        }

        /// Pages of this part that were written since they were taken, ascending, counted from its start.
        pub(in crate::precopy) fn written(&self, reach: &Range<usize>) -> io::Result<Vec<Run>> {
            self.scan(0, reach)
        }

        /// The same, and takes them.
        pub(in crate::precopy) fn take_written(
            &self,
            reach: &Range<usize>,
        ) -> io::Result<Vec<Run>> {
            self.scan(PROTECT, reach)
        }

        fn scan(&self, flags: u64, reach: &Range<usize>) -> io::Result<Vec<Run>> {
            let pagemap = pages::pagemap().ok_or(io::ErrorKind::NotFound)?;
            let mut regions = [Region::default(); REGIONS];
            let end = reach.end as u64;
            let mut scan = Scan {
                size: size_of::<Scan>() as u64,
                flags,
                start: reach.start as u64,
                end,
                vec: regions.as_mut_ptr().expose_provenance() as u64,
                vec_len: REGIONS as u64,
                category_mask: PAGE_IS_WRITTEN,
                category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                return_mask: PAGE_IS_WRITTEN,
                ..Scan::default()
            };
            let mut runs = Vec::new();
            while scan.start < end {
                let opcode = opcode::read_write::<Scan>(b'f', 16);
                // SAFETY: PAGEMAP_SCAN takes this structure, and writes so many regions at most to where it points.
                let count = unsafe { ioctl(pagemap, Call { opcode, argument: &mut scan }) }?;
                for region in regions.iter().take(count) {
                    let first = (region.start as usize).saturating_sub(reach.start) / PAGE_BYTES;
                    let pages = (region.end.saturating_sub(region.start)) / PAGE_BYTES as u64;
                    // The kernel may tell of a page twice.
                    pages::push(&mut runs, first as u64, pages);
                }
                if scan.walk_end <= scan.start {
                    return Err(io::Error::other("the kernel does not get on"));
                }
                scan.start = scan.walk_end;
            }
            Ok(runs)
        }
    }
}

/// There is none.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(super) enum Tracker {}

#[cfg(not(target_os = "linux"))]
impl Tracker {
    pub(super) fn new() -> Result<Tracker, String> {
        Err("only Linux tells which pages were written".to_owned())
    }

    pub(super) fn follow(&self, _: &Range<usize>) -> Result<(), String> {
        match *self {}
    }

    pub(super) fn leave(&self, _: &Range<usize>) {
        match *self {}
    }

    pub(super) fn written(&self, _: &Range<usize>) -> io::Result<Vec<crate::image::Run>> {
        match *self {}
    }

    pub(super) fn take_written(&self, _: &Range<usize>) -> io::Result<Vec<crate::image::Run>> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{PAGE_BYTES, Run};

    #[test]
    fn what_was_written_since_it_was_taken_is_told() {
        // Where it cannot be tracked there is nothing to test; `peri doctor` says so.
        if page_tracking().is_err() {
            return;
        }
        let count = 2_000;
        let mut memory = vec![1_u8; (count + 1) * PAGE_BYTES];
        let start = memory.as_ptr().align_offset(PAGE_BYTES);
        let pages = &mut memory[start..start + count * PAGE_BYTES];
        let at = pages.as_ptr() as usize;
        let (reach, half) = (at..at + pages.len(), pages.len() / 2);
        let tracker = Tracker::new().unwrap();
        // Two parts side by side are as good as one.
        let [front, back] = [at..at + half, at + half..at + pages.len()];
        tracker.follow(&front).unwrap();
        tracker.follow(&back).unwrap();
        let all = [Run { first: 0, count: count as u64 }];
        assert_eq!(tracker.written(&reach).unwrap(), all);
        assert_eq!(tracker.take_written(&reach).unwrap(), all);
        assert_eq!(tracker.written(&reach).unwrap(), []);
        // More runs than are read at once.
        let run = |first| Run { first, count: 1 };
        let odd: Vec<Run> = (1..count as u64).step_by(2).map(run).collect();
        odd.iter().for_each(|run| pages[run.bytes()][7] = 2);
        assert_eq!(tracker.written(&reach).unwrap(), odd);
        assert_eq!(tracker.take_written(&reach).unwrap(), odd);
        pages[..2 * PAGE_BYTES].fill(3);
        assert_eq!(tracker.take_written(&reach).unwrap(), [Run { first: 0, count: 2 }]);
        // What is left can be followed by another one.
        tracker.leave(&front);
        let other = Tracker::new().unwrap();
        other.follow(&front).unwrap();
        assert!(other.follow(&back).unwrap_err().contains("cannot be tracked"));
        pages[half..].fill(5);
        let count = (half / PAGE_BYTES) as u64;
        assert_eq!(tracker.take_written(&back).unwrap(), [Run { first: 0, count }]);
        drop(tracker);
        other.follow(&back).unwrap();
        drop(other);
        pages.fill(4);
    }
}
