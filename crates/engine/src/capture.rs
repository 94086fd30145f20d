//! A frozen process into an image. The process stays as it is.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::{Mutability, Store};

use crate::image::{GlobalImage, Image, MemoryImage, TableImage};
use crate::process::Status;
use crate::state::{Hot, State};
use crate::values::Saver;
use crate::{CaptureOptions, ImageError, Process, memory, restore};

impl Process {
    /// The image of a frozen process. The process stays frozen and whole: it can be captured again,
    /// or run on.
    ///
    /// # Errors
    /// [`ImageError::NotFrozen`], or [`ImageError::HostReference`] if it holds what only exists in
    /// this host.
    pub fn capture(&mut self, options: CaptureOptions) -> Result<Image, ImageError> {
        let started = Instant::now();
        let pid = self.pid();
        let frozen = self.store.data().hot.filter(|_| self.status == Status::Frozen);
        let hot = frozen.ok_or(ImageError::NotFrozen(pid))?;
        let code = self.store.data().code.clone();
        let save = hot.save.contents(&self.store);
        let frames = restore::frames(&code, &save)?;
        if self.store.data().externs.iter().next().is_some() {
            return Err(ImageError::HostReference);
        }
        let mut saver = Saver::new(&mut self.store, hot)?;
        let globals = globals(&mut self.store, hot, &mut saver)?;
        let tables = tables(&mut self.store, hot, &mut saver)?;
        let exceptions = saver.finish(&mut self.store)?;
        let memories = memories(&mut self.store, hot);
        let state = self.store.data();
        let image = Image {
            module: code.hash(),
            layout: code.layout_hash(),
            canonical_nan: code.inner().runtime.settings().canonical_nan,
            pid,
            sequence: state.sequence,
            stage: self.stage,
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

fn memories(store: &mut Store<State>, hot: Hot) -> Vec<MemoryImage> {
    let code = store.data().code.clone();
    let mut memories = Vec::new();
    for (index, initial) in code.inner().metadata.memories.iter().enumerate() {
        let name = format!("peripatos.memory.{index}");
        let Some(memory) = hot.instance.get_memory(&mut *store, &name) else { continue };
        let size = memory.size(&*store);
        memories.push(memory::capture(memory.data(&*store), size, initial));
    }
    memories
}
