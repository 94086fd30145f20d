//! Linear memories into images and back. Works on slices only; pages that are zero are left out.

use crate::image::{MemoryImage, PAGE_BYTES, Run};
use crate::metadata::Initial;
use crate::pages;

/// The contents of a memory of `size` pages of WebAssembly.
pub(crate) fn capture(data: &[u8], size: u64, initial: &Initial) -> MemoryImage {
    let mut image = MemoryImage { size, ..MemoryImage::default() };
    for run in candidates(data, initial) {
        for page in run.first..run.first + run.count {
            let bytes = &data[page as usize * PAGE_BYTES..][..PAGE_BYTES];
            if !is_zero(bytes) {
                pages::push(&mut image.runs, page, 1);
                image.bytes.extend_from_slice(bytes);
            }
        }
    }
    image
}

/// Writes an image's contents over a memory that instantiation has just filled, and that is at least
/// as large as the image's `size`. The image's runs must lie within it, ascending.
pub(crate) fn restore(data: &mut [u8], image: &MemoryImage, initial: &Initial) {
    for run in candidates_initial(data.len(), initial) {
        for page in run.first..run.first + run.count {
            let bytes = &mut data[page as usize * PAGE_BYTES..][..PAGE_BYTES];
            if !covered(&image.runs, page) && !is_zero(bytes) {
                bytes.fill(0);
            }
        }
    }
    let mut rest = &image.bytes[..];
    for run in &image.runs {
        let (bytes, behind) = rest.split_at(run.count as usize * PAGE_BYTES);
        data[run.first as usize * PAGE_BYTES..][..bytes.len()].copy_from_slice(bytes);
        rest = behind;
    }
}

/// Whether the runs are ascending, apart and within a memory of so many bytes, and `bytes` long.
pub(crate) fn fits(image: &MemoryImage, data_len: u64) -> bool {
    let pages = data_len / PAGE_BYTES as u64;
    let mut next = 0;
    let mut total: u64 = 0;
    for run in &image.runs {
        let Some(end) = run.first.checked_add(run.count) else { return false };
        if run.count == 0 || run.first < next || end > pages {
            return false;
        }
        next = end;
        total += run.count;
    }
    total.checked_mul(PAGE_BYTES as u64) == Some(image.bytes.len() as u64)
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

fn joined(mut runs: Vec<Run>) -> Vec<Run> {
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

fn is_zero(page: &[u8]) -> bool {
    page.as_chunks::<16>().0.iter().all(|chunk| u128::from_ne_bytes(*chunk) == 0)
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
            restore(&mut after, &image, &initial);
            assert!(after == before);
        }
    }

    #[test]
    fn runs_that_do_not_fit_are_told() {
        let image = |runs: &[(u64, u64)], pages: usize| MemoryImage {
            size: 1,
            runs: runs.iter().map(|&(first, count)| Run { first, count }).collect(),
            bytes: vec![0; pages * PAGE_BYTES],
        };
        let check = |runs, pages| fits(&image(runs, pages), 16 * PAGE_BYTES as u64);
        assert!(check(&[(0, 1), (3, 13)], 14));
        for runs in [&[(0, 0)][..], &[(3, 1), (0, 1)], &[(0, 17)], &[(u64::MAX, 2)]] {
            assert!(!check(runs, 2), "{runs:?}");
        }
        assert!(!check(&[(0, 1)], 2));
    }
}
