//! Linear memories into images and back. Works on slices only; pages that are zero are left out.

use std::ops::Range;

use wasmtime::MemoryType;

use crate::image::{MemoryImage, PAGE_BYTES, Run};
use crate::metadata::Initial;
use crate::pages;

/// Where the contents of a memory of `size` pages of WebAssembly lie; the contents stay there.
pub(crate) fn outline(data: &[u8], size: u64, initial: &Initial) -> MemoryImage {
    let mut image = MemoryImage { size, ..MemoryImage::default() };
    for run in candidates(data, initial) {
        for page in run.first..run.first + run.count {
            if !is_zero(&data[page as usize * PAGE_BYTES..][..PAGE_BYTES]) {
                pages::push(&mut image.runs, page, 1);
            }
        }
    }
    image
}

/// The contents of a memory of `size` pages of WebAssembly.
pub(crate) fn capture(data: &[u8], size: u64, initial: &Initial) -> MemoryImage {
    let mut image = outline(data, size, initial);
    image.bytes.reserve_exact(image.runs.iter().map(|run| run.bytes().len()).sum());
    for run in &image.runs {
        image.bytes.extend_from_slice(&data[run.bytes()]);
    }
    image
}

/// Writes an image's contents over a memory that instantiation has just filled, and that is at least
/// as large as the image's `size`. The image's runs must lie within it, ascending; `fill` is asked for
/// their contents, one run after another. What else there is becomes zero, but for the pages of `kept`.
pub(crate) fn restore<E>(
    data: &mut [u8],
    image: &MemoryImage,
    kept: &[Run],
    initial: &Initial,
    fill: &mut dyn FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    for run in candidates_initial(data.len(), initial) {
        for page in run.first..run.first + run.count {
            let bytes = &mut data[page as usize * PAGE_BYTES..][..PAGE_BYTES];
            if !covered(&image.runs, page) && !covered(kept, page) && !is_zero(bytes) {
                bytes.fill(0);
            }
        }
    }
    for run in &image.runs {
        let bytes = &mut data[run.bytes()];
        pages::will_fill(bytes);
        fill(bytes)?;
    }
    Ok(())
}

/// Gives pages back that were made ready for contents which did not come. `ready` is a part of the memory that was zero
/// before these runs were written.
pub(crate) fn give_back_gaps(data: &mut [u8], runs: &[Run], ready: Range<usize>) {
    let mut give_back = |gap: Range<usize>| {
        // Behind what was made ready there is none: it would end before it begins.
        if let Some(gap) = data.get_mut(gap) {
            pages::give_back(gap);
        }
    };
    let mut from = ready.start;
    for run in runs.iter().map(|run| run.bytes()).filter(|run| run.end > ready.start) {
        give_back(from..run.start.min(ready.end));
        from = run.end;
    }
    give_back(from..ready.end);
}

/// Whether the runs are ascending, apart and within a memory of so many bytes.
pub(crate) fn fits(image: &MemoryImage, data_len: u64) -> bool {
    let pages = data_len / PAGE_BYTES as u64;
    let mut next = 0;
    for run in &image.runs {
        let Some(end) = run.first.checked_add(run.count) else { return false };
        if run.count == 0 || run.first < next || end > pages {
            return false;
        }
        next = end;
    }
    true
}

/// How many bytes a memory of this type can have.
pub(crate) fn bytes_max(ty: &MemoryType) -> usize {
    let pages_max = if ty.is_64() { 1 << 48 } else { 1 << 16 };
    let pages = ty.maximum().unwrap_or(u64::MAX).min(pages_max);
    usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(ty.page_size() as usize)
}

/// Pages that may be other than zero, ascending.
fn candidates(data: &[u8], initial: &Initial) -> Vec<Run> {
    let everything = vec![Run { first: 0, count: (data.len() / PAGE_BYTES) as u64 }];
    let touched = pages::touched(data.as_ptr() as usize, data.len());
    let (Some(mut runs), Initial::Pages(_)) = (touched, initial) else { return everything };
    runs.extend(candidates_initial(data.len(), initial));
    joined(runs)
}

/// Pages that instantiation may have filled, ascending.
fn candidates_initial(len: usize, initial: &Initial) -> Vec<Run> {
    let pages = (len / PAGE_BYTES) as u64;
    match initial {
        Initial::Unknown => vec![Run { first: 0, count: pages }],
        Initial::Pages(list) => joined(
            list.iter()
                .map(|&(first, count)| {
                    let first = first.min(pages);
                    Run { first, count: count.min(pages - first) }
                })
                .filter(|run| run.count > 0)
                .collect(),
        ),
    }
}

/// In order, neighbours joined.
pub(crate) fn joined(mut runs: Vec<Run>) -> Vec<Run> {
    runs.sort_unstable_by_key(|run| run.first);
    let mut joined = Vec::with_capacity(runs.len());
    for run in runs {
        pages::push(&mut joined, run.first, run.count);
    }
    joined
}

fn covered(runs: &[Run], page: u64) -> bool {
    let at = runs.partition_point(|run| run.first <= page);
    at > 0 && page < runs[at - 1].first + runs[at - 1].count
}

/// A branch a cache line pair, not a word: this looks through all small memories that are given back.
pub(crate) fn is_zero(page: &[u8]) -> bool {
    const STEP: usize = 128;
    let (steps, rest) = page.as_chunks::<STEP>();
    let zero = |step: &[u8; STEP]| {
        let words = step.as_chunks::<8>().0.iter();
        words.fold(0, |all, word| all | u64::from_ne_bytes(*word)) == 0
    };
    steps.iter().all(zero) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(byte: u8) -> Vec<u8> {
        vec![byte; PAGE_BYTES]
    }

    #[test]
    fn contents_come_back_over_what_instantiation_left() {
        let before = [page(1), page(0), page(0), page(4), page(5)].concat();
        for initial in [Initial::Pages(vec![(0, 1), (1, 9)]), Initial::Unknown] {
            let image = capture(&before, 1, &initial);
            assert_eq!(image.runs, [Run { first: 0, count: 1 }, Run { first: 3, count: 2 }]);
            assert!(fits(&image, before.len() as u64));
            let mut after = [page(7), page(7), page(7), page(0), page(0)].concat();
            let mut rest = &image.bytes[..];
            let restored: Result<(), ()> = restore(&mut after, &image, &[], &initial, &mut |to| {
                let (bytes, behind) = rest.split_at(to.len());
                to.copy_from_slice(bytes);
                rest = behind;
                Ok(())
            });
            restored.unwrap();
            assert!(after == before);
        }
    }

    #[test]
    fn pages_that_are_kept_stay() {
        let mut data = [page(1), page(2), page(3), page(4)].concat();
        let (initial, run) = (Initial::Pages(vec![(0, 4)]), |first| Run { first, count: 1 });
        let image = MemoryImage { runs: vec![run(3)], ..MemoryImage::default() };
        let fill = &mut |to: &mut [u8]| -> Result<(), ()> {
            to.fill(9);
            Ok(())
        };
        restore(&mut data, &image, &[run(1)], &initial, fill).unwrap();
        assert!(data == [page(0), page(2), page(0), page(9)].concat());
    }

    #[test]
    fn what_was_made_ready_for_nothing_is_given_back() {
        let huge = 2 << 20;
        let run = |first, count| Run { first, count };
        let pages = |bytes: usize| (bytes / PAGE_BYTES) as u64;
        let runs = vec![run(pages(huge), 3), run(pages(5 * huge), 3)];
        let image = MemoryImage { runs, ..MemoryImage::default() };
        // All of it, none, and parts that begin and end within and between the runs.
        for ready in [0..6 * huge, 0..0, 0..4 * huge, 2 * huge..5 * huge + PAGE_BYTES, 0..huge] {
            let mut data = vec![0; 6 * huge];
            pages::give_out(&mut data);
            let filled: Vec<Range<usize>> = image.runs.iter().map(|run| run.bytes()).collect();
            for run in &filled {
                data[run.clone()].fill(7);
            }
            give_back_gaps(&mut data, &image.runs, ready.clone());
            let kept = |at: usize| filled.iter().any(|run| run.contains(&at));
            let whole = data.iter().enumerate().all(|(at, byte)| (*byte == 7) == kept(at));
            assert!(whole, "{ready:?}");
        }
    }

    #[test]
    fn runs_that_do_not_fit_are_told() {
        let image = |runs: &[(u64, u64)]| MemoryImage {
            size: 1,
            runs: runs.iter().map(|&(first, count)| Run { first, count }).collect(),
            bytes: Vec::new(),
        };
        let check = |runs| fits(&image(runs), 16 * PAGE_BYTES as u64);
        assert!(check(&[(0, 1), (3, 13)]));
        for runs in [&[(0, 0)][..], &[(3, 1), (0, 1)], &[(0, 17)], &[(u64::MAX, 2)]] {
            assert!(!check(runs), "{runs:?}");
        }
    }
}
