//! Processes that sleep: put aside as images that hold nothing of the machine but their bytes.
//!
//! A process in wasmtime takes mappings, page tables and pages for what it might do at any time. One that only waits needs
//! none of it. Its image is kept as it differs from what instantiation makes, and without zeros: some hundred bytes for a
//! small process. What belongs to it in this OS process stays: its devices, its line to the kernel, its controls.
//!
//! Sleeping and waking are a freeze and a thaw; no process can tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use peripatos_abi::Pid;
use peripatos_abi::device::Devices;

use crate::control::Shared;
use crate::image::squeeze::{expand, squeeze};
use crate::messages::Messages;
use crate::process::Status;
use crate::state::NoDevices;
use crate::{
    CaptureOptions, Code, Control, Form, Handler, Image, ImageError, ImageLimits, Limits, Process,
    SpawnError, ThawOptions,
};

static AWAKE: AtomicUsize = AtomicUsize::new(0);

/// Processes and handlers of this OS process that have a store: all but those that sleep.
#[must_use]
pub fn awake() -> usize {
    AWAKE.load(Ordering::Relaxed)
}

/// Counts one that is awake.
pub(crate) struct Awake(());

impl Awake {
    pub(crate) fn new() -> Awake {
        AWAKE.fetch_add(1, Ordering::Relaxed);
        Awake(())
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        AWAKE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A process that sleeps. Dropping it ends it.
pub struct Sleeping {
    code: Code,
    pid: Pid,
    squeezed: Box<[u8]>,
    devices: Box<dyn Devices>,
    messages: Option<Box<dyn Messages>>,
    shared: Arc<Shared>,
    limits: Limits,
    freeze_every: Option<u32>,
}

/// A handler that sleeps. Dropping it ends it.
pub struct SleepingHandler {
    process: Sleeping,
    waker: Waker,
    buffer: (usize, usize),
}

impl Process {
    /// Puts a frozen process to sleep.
    ///
    /// # Errors
    /// Why it has no image. It stays as it is.
    pub fn sleep(mut self) -> Result<Sleeping, (Box<Process>, ImageError)> {
        let image = match self.capture(CaptureOptions::default()) {
            Ok(image) => image,
            Err(error) => return Err((Box::new(self), error)),
        };
        let squeezed = match pack(self.code(), image) {
            Ok(squeezed) => squeezed,
            Err(error) => return Err((Box::new(self), error)),
        };
        let state = self.store.data_mut();
        let sleeping = Sleeping {
            code: state.code.clone(),
            pid: state.pid,
            squeezed,
            devices: std::mem::replace(&mut state.devices, Box::new(NoDevices)),
            messages: state.messages.take(),
            shared: Arc::clone(&state.shared),
            limits: state.limiter.limits(),
            freeze_every: state.freeze_every.map(std::num::NonZeroU32::get),
        };
        sleeping.shared.set_asleep(true);
        Ok(sleeping)
    }

    fn code(&self) -> &Code {
        &self.store.data().code
    }
}

impl Sleeping {
    /// Wakes it: it is frozen, where it was.
    ///
    /// # Errors
    /// There is no room for it. It sleeps on.
    pub fn wake(&mut self) -> Result<Process, SpawnError> {
        let image = unpack(&self.code, &self.squeezed)?;
        let options = ThawOptions {
            pid: None,
            devices: Box::new(NoDevices),
            limits: self.limits,
            freeze_every: self.freeze_every,
        };
        let shared = Arc::clone(&self.shared);
        let form = self.code.form();
        let mut process = Process::thaw_with(&self.code, &image, options, form, shared)?;
        let state = process.store.data_mut();
        state.devices = std::mem::replace(&mut self.devices, Box::new(NoDevices));
        state.messages = self.messages.take();
        self.shared.set_asleep(false);
        Ok(process)
    }

    /// Its name.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What its image takes, bytes.
    #[must_use]
    pub fn image_bytes(&self) -> usize {
        self.squeezed.len()
    }
}

impl Handler {
    /// Puts a handler to sleep that is not being called, nor parked.
    ///
    /// # Errors
    /// Why it has no image. It stays as it is.
    pub fn sleep(self) -> Result<SleepingHandler, (Box<Handler>, ImageError)> {
        let Handler { process, entry, buffer, bytes } = self;
        if process.status != Status::New {
            let error = ImageError::NotFrozen(process.pid());
            return Err((Box::new(Handler { process, entry, buffer, bytes }), error));
        }
        let waker = process.store.data().waker.clone();
        match process.sleep() {
            Ok(process) => Ok(SleepingHandler { process, waker, buffer }),
            Err((process, error)) => {
                Err((Box::new(Handler { process: *process, entry, buffer, bytes }), error))
            }
        }
    }
}

impl SleepingHandler {
    /// Wakes it: it can be called.
    ///
    /// # Errors
    /// There is no room for it. It sleeps on.
    pub fn wake(&mut self) -> Result<Handler, SpawnError> {
        let mut handler = Handler::awake(self.process.wake()?, self.buffer)?;
        handler.set_waker(self.waker.clone());
        Ok(handler)
    }

    /// Its name.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// A handle for other threads.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.process.shared))
    }

    /// What its image takes, bytes.
    #[must_use]
    pub fn image_bytes(&self) -> usize {
        self.process.image_bytes()
    }
}

fn pack(code: &Code, mut image: Image) -> Result<Box<[u8]>, ImageError> {
    code.initial_contents().toggle(&mut image);
    let mut bytes = Vec::new();
    image.write_to(&mut bytes)?;
    Ok(squeeze(&bytes))
}

fn unpack(code: &Code, squeezed: &[u8]) -> Result<Image, ImageError> {
    let bytes = expand(squeezed).ok_or(ImageError::Damaged("sleeping image"))?;
    let limits = ImageLimits { total_bytes: u64::MAX };
    let mut image = Image::read_from(&mut &bytes[..], limits)?;
    code.initial_contents().toggle(&mut image);
    Ok(image)
}

/// Whether a handler of this status can be put aside although nothing of it is on a stack.
pub(crate) fn rests(form: Form, status: Status) -> bool {
    form == Form::Handler && status == Status::New
}
