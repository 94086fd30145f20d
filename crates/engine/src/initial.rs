//! What instantiation puts into a program's memories: what processes that sleep need not keep.

use std::collections::BTreeMap;

use wasmparser::{DataKind, Parser, Payload};

use crate::image::{Image, MemoryImage, PAGE_BYTES};
use crate::metadata::{Initial, Metadata, constant};

/// The pages of one memory that are not zero after instantiation, by number.
type Pages = BTreeMap<u64, Box<[u8; PAGE_BYTES]>>;

/// By memory. Nothing is known of one where a segment lies where only instantiation can tell.
#[derive(Default)]
pub(crate) struct InitialContents(Vec<Pages>);

impl InitialContents {
    /// Of a valid module.
    pub(crate) fn of(wasm: &[u8], metadata: &Metadata) -> InitialContents {
        let mut contents: Vec<Pages> = metadata.memories.iter().map(|_| Pages::new()).collect();
        for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
            let Payload::DataSection(section) = payload else { continue };
            for data in section.into_iter().map_while(Result::ok) {
                let DataKind::Active { memory_index, offset_expr } = data.kind else { continue };
                let at = memory_index as usize;
                let known = matches!(metadata.memories.get(at), Some(Initial::Pages(_)));
                if let Some(offset) = constant(&offset_expr).filter(|_| known) {
                    write(&mut contents[at], offset, data.data);
                }
            }
        }
        InitialContents(contents)
    }

    /// Turns an image's memory contents into how they differ from these, and back.
    pub(crate) fn toggle(&self, image: &mut Image) {
        for (memory, initial) in image.memories.iter_mut().zip(&self.0) {
            if !initial.is_empty() {
                toggle(memory, initial);
            }
        }
    }
}

fn toggle(memory: &mut MemoryImage, initial: &Pages) {
    let MemoryImage { runs, bytes, .. } = memory;
    let numbers = runs.iter().flat_map(|run| run.first..run.first + run.count);
    for (number, page) in numbers.zip(bytes.chunks_exact_mut(PAGE_BYTES)) {
        if let Some(initial) = initial.get(&number) {
            page.iter_mut().zip(&initial[..]).for_each(|(byte, initial)| *byte ^= initial);
        }
    }
}

fn write(pages: &mut Pages, offset: u64, mut data: &[u8]) {
    let mut at = offset;
    while !data.is_empty() {
        let within = (at % PAGE_BYTES as u64) as usize;
        let (now, rest) = data.split_at(data.len().min(PAGE_BYTES - within));
        let page = pages.entry(at / PAGE_BYTES as u64);
        let page = page.or_insert_with(|| Box::new([0; PAGE_BYTES]));
        page[within..within + now.len()].copy_from_slice(now);
        at = at.saturating_add(now.len() as u64);
        data = rest;
    }
}
