//! A frozen process into an image. The process stays as it is.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::{Mutability, Store};

use crate::image::{GlobalImage, Image, MemoryImage, Outline, TableImage};
use crate::metadata::Initial;
use crate::process::Status;
use crate::state::{Hot, State};
use crate::values::Saver;
use crate::{CaptureOptions, ImageError, PreCopy, Process, memory, restore};

/// Makes the image of a memory of this index: with its contents, or without.
type Take<'a> = &'a dyn Fn(usize, &[u8], u64, &Initial) -> Result<MemoryImage, ImageError>;

impl Process {
    /// The image of a frozen process, or of a handler that rests. The process stays frozen and whole: it can be captured again,
    /// or run on.
    ///
    /// # Errors
    /// [`ImageError::NotFrozen`], or [`ImageError::HostReference`] if it holds what only exists in
    /// this host.
    pub fn capture(&mut self, options: CaptureOptions) -> Result<Image, ImageError> {
        self.image(options, &|_, data, size, initial| Ok(memory::capture(data, size, initial)))
    }

    /// The image of a frozen process but for the contents of its memories, which stay in the process. As long as it
    /// does not run, [`Outline::pieces`] makes the whole image of both.
    ///
    /// # Errors
    /// As [`Process::capture`].
    pub fn outline(&mut self, options: CaptureOptions) -> Result<Outline, ImageError> {
        let take: Take<'_> = &|_, data, size, initial| Ok(memory::outline(data, size, initial));
        self.image(options, take).map(Outline::new)
    }

    /// The same, but only with those contents that were written since the last round of `copy` began: for who has the
    /// others already.
    ///
    /// # Errors
    /// As [`Process::capture`]; [`ImageError::Moved`].
    pub fn outline_rest(
        &mut self,
        options: CaptureOptions,
        copy: &PreCopy,
    ) -> Result<Outline, ImageError> {
        let take: Take<'_> = &|index, data, size, _| {
            let runs = copy.rest(index, data.as_ptr() as usize, data.len())?;
            let runs = runs.ok_or(ImageError::Moved)?;
            Ok(MemoryImage { size, runs, bytes: Vec::new() })
        };
        self.image(options, take).map(Outline::new)
    }

    /// What lies in a memory of a process that stands still.
    pub(crate) fn still_contents(&mut self, index: usize) -> Result<&[u8], ImageError> {
        let pid = self.pid();
        let still = self.status == Status::Frozen || self.rests();
        let hot = self.store.data().hot.filter(|_| still).ok_or(ImageError::NotFrozen(pid))?;
        let found = hot.instance.get_memory(&mut self.store, &memory_name(index));
        Ok(found.ok_or(ImageError::Damaged("memories"))?.data(&self.store))
    }

    fn image(&mut self, options: CaptureOptions, take: Take<'_>) -> Result<Image, ImageError> {
        let started = Instant::now();
        let pid = self.pid();
        let code = self.store.data().code.clone();
        let rests = self.rests();
        let frozen = self.store.data().hot.filter(|_| rests || self.status == Status::Frozen);
        let hot = frozen.ok_or(ImageError::NotFrozen(pid))?;
        let save = hot.save.contents(&self.store);
        let frames = if rests { Vec::new() } else { restore::frames(&code, &save)? };
        if self.store.data().externs.iter().next().is_some() {
            return Err(ImageError::HostReference);
        }
        let mut saver = Saver::new(&mut self.store, hot)?;
        let globals = globals(&mut self.store, hot, &mut saver)?;
        let tables = tables(&mut self.store, hot, &mut saver)?;
        let exceptions = saver.finish(&mut self.store)?;
        let memories = memories(&mut self.store, hot, take)?;
        let state = self.store.data();
        let image = Image {
            module: code.hash(),
            layout: code.layout_hash(),
            canonical_nan: code.inner().runtime.settings().canonical_nan,
            pid,
            sequence: state.sequence,
            stage: self.stage,
            buffer: self.buffer,
            strings: state.strings.clone(),
            memories,
            globals,
            tables,
            exceptions,
            save,
            frame_count: frames.len(),
            devices: options.devices,
            program: options.with_program.then(|| Arc::clone(code.original())),
        };
        self.freeze_timings.capture = started.elapsed();
        Ok(image)
    }
}

fn globals(
    store: &mut Store<State>,
    hot: Hot,
    saver: &mut Saver,
) -> Result<Vec<GlobalImage>, ImageError> {
    let code = store.data().code.clone();
    let mut globals = Vec::new();
    for (index, name) in &code.inner().global_exports {
        let Some(global) = hot.instance.get_global(&mut *store, name) else { continue };
        if global.ty(&*store).mutability() == Mutability::Var {
            let value = global.get(&mut *store);
            globals.push(GlobalImage { index: *index, value: saver.value(store, &value)? });
        }
    }
    Ok(globals)
}

fn tables(
    store: &mut Store<State>,
    hot: Hot,
    saver: &mut Saver,
) -> Result<Vec<TableImage>, ImageError> {
    let code = store.data().code.clone();
    let mut tables = Vec::new();
    let changes = code.inner().metadata.table_changes.iter().enumerate();
    for (index, _) in changes.filter(|(_, changes)| **changes) {
        let name = format!("peripatos.table.{index}");
        let Some(table) = hot.instance.get_table(&mut *store, &name) else { continue };
        let mut elements = Vec::new();
        for at in 0..table.size(&*store) {
            // Within the table's size, which does not change meanwhile.
            let Some(element) = table.get(&mut *store, at) else { break };
            elements.push(saver.element(store, element)?);
        }
        tables.push(TableImage { index: index as u32, elements });
    }
    Ok(tables)
}

fn memories(
    store: &mut Store<State>,
    hot: Hot,
    take: Take<'_>,
) -> Result<Vec<MemoryImage>, ImageError> {
    let code = store.data().code.clone();
    let mut memories = Vec::new();
    for (index, initial) in code.inner().metadata.memories.iter().enumerate() {
        let found = hot.instance.get_memory(&mut *store, &memory_name(index));
        let Some(memory) = found else { continue };
        let size = memory.size(&*store);
        memories.push(take(index, memory.data(&*store), size, initial)?);
    }
    Ok(memories)
}

/// Under which name the hot module shows a memory.
pub(crate) fn memory_name(index: usize) -> String {
    format!("peripatos.memory.{index}")
}
