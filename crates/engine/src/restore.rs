//! An image into a process. Nothing that the image says is believed before it has been checked
//! against the program; what goes wrong half-way goes away with the unfinished process.

use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use peripatos_abi::Pid;
use peripatos_abi::message::Envelope;
use wasmtime::{Memory, Mutability, Store};

use crate::capture::memory_name;
use crate::control::Shared;
use crate::image::{Frames, Image, MemoryImage, Run, walk};
use crate::metadata::Initial;
use crate::pool;
use crate::precopy::Arriving;
use crate::process::{Status, new_state};
use crate::state::{Hot, State};
use crate::values::Loader;
use crate::wasi::Strings;
use crate::{
    Code, CodeKind, Form, ImageError, ImageLimits, Process, SpawnError, ThawOptions, block_on,
    checks, engines, memory, pages, precopy,
};

/// Memory that is made ready before its contents come. Beyond, pages are given out as they are filled: a process may
/// have far more memory than it uses.
const ROOM_BYTES_MAX: u64 = 256 << 20;

/// So much of it where pages can be tracked: who has more is copied while he runs.
const COPIED_BYTES: usize = 2 << 20;

/// An instance that waits for its image.
pub struct Room {
    process: Process,
    pid: Option<Pid>,
    /// Bytes of its memory that have been made ready. They are zero.
    ready: Range<usize>,
}

impl Process {
    /// A process made of an image; [`Process::run`] continues it. The image stays as it is: thaw it
    /// twice with different pids and there are two processes (fork).
    ///
    /// Continuations that are not at hand are made here, on this thread.
    ///
    /// # Errors
    /// The image does not fit the program, or is damaged, or the limits are too small; nothing is
    /// left behind.
    pub fn thaw(code: &Code, image: &Image, options: ThawOptions) -> Result<Process, SpawnError> {
        Process::thaw_as(code, image, options, Form::Program)
    }

    /// A program or a handler made of an image.
    pub(crate) fn thaw_as(
        code: &Code,
        image: &Image,
        options: ThawOptions,
        form: Form,
    ) -> Result<Process, SpawnError> {
        Process::thaw_with(code, image, options, form, Arc::default())
    }

    /// The same, for those who have `shared` already.
    pub(crate) fn thaw_with(
        code: &Code,
        image: &Image,
        options: ThawOptions,
        form: Form,
        shared: Arc<Shared>,
    ) -> Result<Process, SpawnError> {
        fits(code, image)?;
        let pid = options.pid;
        let mut process = Process::empty(code, options, form, shared)?;
        process.restore_memories(image, |_, memory, data, initial| {
            let mut rest = &memory.bytes[..];
            memory::restore(data, memory, &[], initial, &mut |to| {
                let damaged = ImageError::Damaged("memories");
                let (bytes, behind) = rest.split_at_checked(to.len()).ok_or(damaged)?;
                to.copy_from_slice(bytes);
                rest = behind;
                Ok(())
            })
        })?;
        process.complete(image, pid)?;
        Ok(process)
    }

    /// Makes room for a process that will have at least so many bytes of memory: what takes time and can be done
    /// before it is frozen.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn make_room(
        code: &Code,
        options: ThawOptions,
        memory_bytes_min: u64,
    ) -> Result<Room, SpawnError> {
        let pid = options.pid;
        let mut process = Process::empty(code, options, code.form(), Arc::default())?;
        let ready = process.ready_memory(memory_bytes_min.min(ROOM_BYTES_MAX));
        Ok(Room { process, pid, ready })
    }

    /// Grows the memory, if it has just one (of several nobody has said which has how much), and has the operating system give
    /// new pages out.
    fn ready_memory(&mut self, bytes: u64) -> Range<usize> {
        const PAGE_BYTES: u64 = 1 << 16;
        let [found] = self.memories()[..] else { return 0..0 };
        let before = found.data_size(&self.store);
        let missing = (bytes / PAGE_BYTES).saturating_sub(found.size(&self.store));
        if missing == 0 || found.grow(&mut self.store, missing).is_err() {
            return 0..0;
        }
        let data = found.data_mut(&mut self.store);
        // What is large comes while its process runs: then it is time enough when contents are there.
        let end =
            if precopy::tracks() { data.len().min(before + COPIED_BYTES) } else { data.len() };
        pages::give_out(&mut data[before..end]);
        before..end
    }

    /// The program's memories, in their order.
    fn memories(&mut self) -> Vec<Memory> {
        let Some(hot) = self.store.data().hot else { return Vec::new() };
        let count = self.store.data().code.inner().metadata.memories.len();
        let memory = |index| hot.instance.get_memory(&mut self.store, &memory_name(index));
        (0..count).map_while(memory).collect()
    }

    /// An instance of which nothing is as its image will say.
    fn empty(
        code: &Code,
        options: ThawOptions,
        form: Form,
        shared: Arc<Shared>,
    ) -> Result<Process, SpawnError> {
        let started = Instant::now();
        let ThawOptions { pid: _, devices, limits, freeze_every } = options;
        let (nobody, strings) = (Pid::from_bits(0), Strings::default());
        let state = new_state(code, nobody, strings, devices, limits, freeze_every, shared);
        let mut process = Process::new(code, state, form)?;
        process.instantiate()?;
        process.thaw_timings.instantiate = started.elapsed();
        Ok(process)
    }

    /// Makes it the process of an image whose memories are restored.
    fn complete(&mut self, image: &Image, pid: Option<Pid>) -> Result<(), SpawnError> {
        let code = self.store.data().code.clone();
        // A handler without frames is one that rested.
        let rested = image.frame_count == 0 && code.form() == Form::Handler;
        let frames = if rested { Vec::new() } else { frames(&code, &image.save)? };
        if frames.len() != image.frame_count {
            return Err(ImageError::Damaged("frames").into());
        }
        let started = Instant::now();
        let state = self.store.data_mut();
        state.pid = pid.unwrap_or(image.pid);
        state.strings = image.strings.clone();
        state.sequence = image.sequence;
        let hot = state.hot.ok_or(ImageError::ForeignLayout)?;
        self.stage = image.stage;
        self.buffer = self.checked_buffer(image)?;
        restore(&mut self.store, hot, image)?;
        self.thaw_timings.restore += started.elapsed();
        self.make_continuations(hot, &frames)?;
        self.status = if rested { Status::New } else { Status::Frozen };
        Ok(())
    }

    /// Where a handler's messages are put. A program's nobody looks at.
    fn checked_buffer(&self, image: &Image) -> Result<(u32, u32), ImageError> {
        let (address, size) = image.buffer;
        let end = address as usize + size as usize;
        let is_sound = size as usize >= Envelope::BYTES && end <= self.memory_len();
        if is_sound || image.buffer == (0, 0) {
            return Ok(image.buffer);
        }
        Err(ImageError::Damaged("a handler's buffer"))
    }

    /// Grows the memories to their sizes, and has each filled. What the image says of them is checked first.
    fn restore_memories(
        &mut self,
        image: &Image,
        mut fill: impl FnMut(usize, &MemoryImage, &mut [u8], &Initial) -> Result<(), ImageError>,
    ) -> Result<(), SpawnError> {
        const DAMAGED: SpawnError = SpawnError::Image(ImageError::Damaged("memories"));
        let started = Instant::now();
        let store = &mut self.store;
        let code = store.data().code.clone();
        let hot = store.data().hot.ok_or(ImageError::ForeignLayout)?;
        let initials = &code.inner().metadata.memories;
        if initials.len() != image.memories.len() {
            return Err(DAMAGED);
        }
        for (index, (contents, initial)) in image.memories.iter().zip(initials).enumerate() {
            let found = hot.instance.get_memory(&mut *store, &memory_name(index)).ok_or(DAMAGED)?;
            let missing = contents.size.checked_sub(found.size(&*store)).ok_or(DAMAGED)?;
            if missing > 0 {
                grow(store, found, missing)?;
            }
            let data = found.data_mut(&mut *store);
            if !memory::fits(contents, data.len() as u64) {
                return Err(DAMAGED);
            }
            fill(index, contents, data, initial)?;
        }
        self.thaw_timings.restore = started.elapsed();
        Ok(())
    }

    /// Sees that every frame's slot is filled, and that every frame is as long as its site says.
    fn make_continuations(&mut self, hot: Hot, frames: &Frames) -> Result<(), SpawnError> {
        let code = self.store.data().code.clone();
        let mut sites: Vec<u32> = frames.iter().map(|(site, _)| *site).collect();
        sites.sort_unstable();
        sites.dedup();
        let made = code.make(&sites).map_err(SpawnError::Continuation)?;
        self.thaw_timings.generate = made.generate;
        self.thaw_timings.compile = made.compile;
        self.thaw_timings.compiled = made.modules;
        for (site, size) in frames {
            let compiled = code.continuations().get(*site);
            if compiled.and_then(|compiled| compiled.frame_size(*site)) != Some(*size) {
                return Err(ImageError::Damaged("frames").into());
            }
        }
        let started = Instant::now();
        let failed = |error: wasmtime::Error| SpawnError::Continuation(engines::one_line(&error));
        for site in sites {
            if !checks::filled(&mut self.store, hot, site).map_err(failed)? {
                let compiled = code.continuations().get(site);
                let compiled =
                    compiled.ok_or_else(|| SpawnError::Continuation("it is gone".to_owned()))?;
                match code.form() {
                    Form::Program => {
                        block_on(checks::link(&mut self.store, hot, &compiled)).map_err(failed)?;
                    }
                    Form::Handler => {
                        checks::link_now(&mut self.store, hot, &compiled).map_err(failed)?;
                    }
                }
            }
        }
        self.thaw_timings.link = started.elapsed();
        Ok(())
    }
}

impl Room {
    /// Makes the process of an image while that is read, and before it of what was copied while the process ran
    /// ([`PreCopy`](crate::PreCopy)), if there is something: memory contents are written where they belong. Also returns what
    /// the devices had put into the image.
    ///
    /// # Errors
    /// As [`Image::read_from`] and [`Process::thaw`].
    pub fn thaw_from(
        mut self,
        from: &mut dyn Read,
        limits: ImageLimits,
    ) -> Result<(Process, Vec<u8>), SpawnError> {
        let mut magic = [0; precopy::MAGIC.len()];
        from.read_exact(&mut magic).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => ImageError::NotAnImage,
            _ => ImageError::Io(error),
        })?;
        if magic == precopy::MAGIC {
            let copied = self.take_copied(from)?;
            self.complete(from, limits, &copied)
        } else {
            self.complete(&mut magic.chain(from), limits, &[])
        }
    }

    /// Takes pages that come before the image. Which, by memory.
    fn take_copied(&mut self, from: &mut dyn Read) -> Result<Vec<Vec<Run>>, SpawnError> {
        const PAGE_BYTES: usize = 1 << 16;
        let memories = self.process.memories();
        let store = &mut self.process.store;
        let mut arriving = Arriving::default();
        while let Some(arrival) = arriving.next(from)? {
            let (index, end) = (arrival.memory(), arrival.end());
            let no_memory = ImageError::NoMemory { index, count: memories.len() };
            let memory = memories.get(index).ok_or(no_memory)?;
            if end > memory::bytes_max(&memory.ty(&*store)) {
                return Err(ImageError::BehindMemory(index).into());
            }
            let missing = end.saturating_sub(memory.data_size(&*store));
            if missing > 0 {
                grow(store, *memory, missing.div_ceil(PAGE_BYTES) as u64)?;
            }
            let data = memory.data_mut(&mut *store);
            if arrival.is_size() {
                pages::will_fill(data);
            } else {
                arriving.take(arrival, data, from)?;
            }
        }
        Ok((0..).zip(&memories).map(|(index, _)| arriving.runs(index)).collect())
    }

    /// `copied`: pages that are as the image supposes, by memory.
    fn complete(
        self,
        from: &mut dyn Read,
        limits: ImageLimits,
        copied: &[Vec<Run>],
    ) -> Result<(Process, Vec<u8>), SpawnError> {
        let Room { mut process, pid, ready } = self;
        let code = process.store.data().code.clone();
        let image = Image::read_with(from, limits, |image, from, _| {
            fits(&code, image)?;
            process.restore_memories(image, |index, memory, data, initial| {
                let kept = copied.get(index).map_or(&[][..], |runs| runs);
                memory::restore(data, memory, kept, initial, &mut |to| from.exact(to))?;
                // Only of the first one something was made ready.
                if index == 0 {
                    let filled = memory::joined([kept, &memory.runs].concat());
                    memory::give_back_gaps(data, &filled, ready.clone());
                }
                Ok(())
            })
        })?;
        process.complete(&image, pid)?;
        Ok((process, image.devices))
    }
}

/// Grows a memory by so many pages of WebAssembly.
fn grow(store: &mut Store<State>, memory: Memory, pages: u64) -> Result<(), SpawnError> {
    let grown = memory.grow(&mut *store, pages).map(drop);
    grown.map_err(|_| SpawnError::Instantiate(store.data_mut().limiter.why_not_grown()))
}

/// Whether the image belongs to this program, this frame layout, these settings.
fn fits(code: &Code, image: &Image) -> Result<(), ImageError> {
    if image.module != code.hash() {
        return Err(ImageError::ForeignModule);
    }
    if image.layout != code.layout_hash() || code.kind() == CodeKind::Plain {
        return Err(ImageError::ForeignLayout);
    }
    if image.canonical_nan != code.inner().runtime.settings().canonical_nan {
        return Err(ImageError::Setting("canonical NaNs"));
    }
    Ok(())
}

/// The frames in a save memory's contents, outermost first; there is at least one, and only the
/// innermost may be an interrupted host call.
pub(crate) fn frames(code: &Code, save: &[u8]) -> Result<Frames, ImageError> {
    let frames = walk(save, code.inner().metadata.frames_base)?;
    let imports = code.inner().metadata.imported_functions;
    let outer = frames.split_last().map_or(&[][..], |(_, outer)| outer);
    if frames.is_empty() || outer.iter().any(|(site, _)| *site < imports) {
        return Err(ImageError::Damaged("frames"));
    }
    Ok(frames)
}

/// Sites of all frames, outermost first.
pub(crate) fn frame_sites(code: &Code, save: &[u8]) -> Result<Vec<u32>, ImageError> {
    Ok(frames(code, save)?.iter().map(|(site, _)| *site).collect())
}

fn restore(store: &mut Store<State>, hot: Hot, image: &Image) -> Result<(), SpawnError> {
    let loader = Loader::new(store, hot, &image.exceptions)?;
    globals(store, hot, image, &loader)?;
    tables(store, hot, image, &loader)?;
    if !hot.save.restore(&mut *store, &image.save) {
        return Err(SpawnError::Instantiate("no memory for its frames".to_owned()));
    }
    if let Some(redrop) = hot.instance.get_func(&mut *store, "peripatos.redrop") {
        let failed = |error: wasmtime::Error| SpawnError::Instantiate(engines::one_line(&error));
        match store.data().code.form() {
            Form::Program => {
                let place = store.data().place.clone();
                let call = redrop.call_async(store, &[], &mut []);
                block_on(pool::on_its_stack(place, call)).map_err(failed)?;
            }
            Form::Handler => redrop.call(store, &[], &mut []).map_err(failed)?,
        }
    }
    Ok(())
}

fn globals(
    store: &mut Store<State>,
    hot: Hot,
    image: &Image,
    loader: &Loader,
) -> Result<(), ImageError> {
    const DAMAGED: ImageError = ImageError::Damaged("globals");
    for global in &image.globals {
        let name = format!("peripatos.global.{}", global.index);
        let found = hot.instance.get_global(&mut *store, &name).ok_or(DAMAGED)?;
        if found.ty(&*store).mutability() != Mutability::Var {
            return Err(DAMAGED);
        }
        let value = loader.value(store, global.value)?;
        found.set(&mut *store, value).map_err(|_| DAMAGED)?;
    }
    Ok(())
}

fn tables(
    store: &mut Store<State>,
    hot: Hot,
    image: &Image,
    loader: &Loader,
) -> Result<(), ImageError> {
    const DAMAGED: ImageError = ImageError::Damaged("tables");
    for table in &image.tables {
        let name = format!("peripatos.table.{}", table.index);
        let found = hot.instance.get_table(&mut *store, &name).ok_or(DAMAGED)?;
        let wanted = table.elements.len() as u64;
        let missing = wanted.checked_sub(found.size(&*store)).ok_or(DAMAGED)?;
        for (at, value) in table.elements.iter().enumerate() {
            let value = loader.value(store, *value)?;
            let element = value.ref_().ok_or(DAMAGED)?;
            if at == 0 && missing > 0 {
                found.grow(&mut *store, missing, element.clone()).map_err(|_| DAMAGED)?;
            }
            found.set(&mut *store, at as u64, element).map_err(|_| DAMAGED)?;
        }
    }
    Ok(())
}
