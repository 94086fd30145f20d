//! A process: one instance of a program, from spawn or thaw to its end.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::Waker;

use peripatos_abi::message::SPAWNED;
use peripatos_abi::{Pid, Signal, device::Devices};
use wasmtime::{Func, Instance, Memory, ModuleExport, Ref, Store, Table, Val};

use crate::code::Exports;
use crate::control::Shared;
use crate::flags::Flags;
use crate::image::Stage;
use crate::limits::{Limiter, Limits};
use crate::messages::Messages;
use crate::pool::{Made, Whereabouts};
use crate::restore::frame_sites;
use crate::save::SaveMemory;
use crate::sleep::Awake;
use crate::state::{Hot, NoDevices, State};
use crate::trap::classify;
use crate::wasi::{self, Strings};
use crate::{
    Code, CodeKind, Control, Form, FreezeTimings, ImageError, ProcessError, SpawnError,
    ThawTimings, TrapKind, checks, engines, pool,
};

/// The export at which a command starts.
pub(crate) const ENTRY: &str = "_start";
/// The export by which the host calls the original's start function.
pub(crate) const START: &str = "peripatos.start";

/// What a new process is given.
pub struct ProcessOptions {
    /// Its name.
    pub pid: Pid,
    /// Arguments, the program's name first; without NUL bytes.
    pub args: Vec<Vec<u8>>,
    /// Environment, `NAME=VALUE`; without NUL bytes.
    pub env: Vec<Vec<u8>>,
    /// Who answers its requests.
    pub devices: Box<dyn Devices>,
    /// How much it may use.
    pub limits: Limits,
    /// With code loaded as [`CodeKind::CountDown`]: freeze at every N-th check.
    pub freeze_every: Option<u32>,
}

/// What a thawed process is given; the rest is in the image.
pub struct ThawOptions {
    /// A new name, for a fork; `None`: the name it had.
    pub pid: Option<Pid>,
    /// Who answers its requests.
    pub devices: Box<dyn Devices>,
    /// How much it may use.
    pub limits: Limits,
    /// As in [`ProcessOptions`].
    pub freeze_every: Option<u32>,
}

/// What an image is given beside the process's own state.
#[derive(Clone, Debug, Default)]
pub struct CaptureOptions {
    /// What the devices want kept with the process (descriptors), opaque here.
    pub devices: Vec<u8>,
    /// Whether the image carries the original module, so that it can be thawed alone.
    pub with_program: bool,
}

/// How `run` came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program exited with this code.
    Exited(u32),
    /// The program raised this signal against itself (`proc_raise`).
    Raised(Signal),
    /// The process is frozen: [`Process::capture`] it, or `run` it on.
    Frozen,
}

/// A process. Dropping it ends it.
pub struct Process {
    pub(crate) store: Store<State>,
    pub(crate) status: Status,
    pub(crate) stage: Stage,
    /// Of a plain program, once it runs: a hot one's is in its state.
    plain: Option<Instance>,
    /// Of a handler: where in its memory messages are put, and how many bytes.
    pub(crate) buffer: (u32, u32),
    pub(crate) freeze_timings: FreezeTimings,
    pub(crate) thaw_timings: ThawTimings,
    _awake: Awake,
}

/// What comes next in a run.
enum Next {
    /// The guest runs: an entry, or the continuation of its innermost frame.
    Call(Func),
    Over(Outcome),
}

/// What `run` has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Call the entry of the stage.
    New,
    /// All frames are in the save memory.
    Frozen,
    /// Inside `run`, or left in the middle of it: its frames are lost.
    Running,
    /// Over.
    Ended,
}

impl Process {
    /// A new process of a program; nothing of it has run yet.
    ///
    /// # Errors
    /// See [`SpawnError`]; nothing is left behind.
    pub fn spawn(code: &Code, options: ProcessOptions) -> Result<Process, SpawnError> {
        if code.form() == Form::Handler {
            return Err(SpawnError::Handler);
        }
        if !code.inner().exports.has_entry {
            return Err(SpawnError::NoEntry(ENTRY.to_owned()));
        }
        let ProcessOptions { pid, args, env, devices, limits, freeze_every } = options;
        let strings = Strings { args, env };
        let state = new_state(code, pid, strings, devices, limits, freeze_every, Arc::default());
        let mut process = Process::new(code, state, Form::Program)?;
        if code.kind() != CodeKind::Plain {
            process.instantiate()?;
        }
        Ok(process)
    }

    /// It begins where processes do that another one has spawned, if its program says where ([`SPAWNED`]). Before it
    /// has run.
    pub fn begin_as_spawned(&mut self) {
        let has_spawned = self.store.data().code.inner().exports.has_spawned;
        if has_spawned && self.stage == Stage::Start {
            self.stage = Stage::StartSpawned;
        }
    }

    /// An empty store with nothing in it.
    pub(crate) fn new(code: &Code, state: State, form: Form) -> Result<Process, SpawnError> {
        if code.form() != form {
            return Err(match form {
                Form::Program => SpawnError::Handler,
                Form::Handler => SpawnError::NoEntry(crate::HANDLER_EXPORT.to_owned()),
            });
        }
        let mut store = Store::new(&code.inner().engine, state);
        store.limiter(|state| &mut state.limiter);
        // Where the checks are compiled in (`Settings::epoch_interruption`), they never fire.
        store.set_epoch_deadline(u64::MAX / 2);
        Ok(Process {
            store,
            status: Status::New,
            stage: Stage::Start,
            plain: None,
            buffer: (0, 0),
            freeze_timings: FreezeTimings::default(),
            thaw_timings: ThawTimings::default(),
            _awake: Awake::new(),
        })
    }

    /// Makes the instance of a hot module; none of its code runs.
    pub(crate) fn instantiate(&mut self) -> Result<Hot, SpawnError> {
        let failed = |error: wasmtime::Error| SpawnError::Instantiate(engines::one_line(&error));
        let pre = self.store.data().code.inner().instance.clone();
        let code = self.store.data().code.clone();
        let footprint = &code.inner().footprint;
        let (instance, made) =
            pool::in_one_place(code.private_maxima(), footprint, || match code.form() {
                Form::Program => crate::block_on(pre.instantiate_async(&mut self.store)),
                Form::Handler => pre.instantiate(&mut self.store),
            });
        let Made { place, memories } = made;
        self.store.data_mut().place = place.filter(|_| code.form() == Form::Program);
        let instance = instance.map_err(failed)?;
        let memories = self.in_order(instance, memories);
        self.store.data().shared.set_memories(memories);
        let exports = &code.inner().exports;
        let hot = hot(&mut self.store, exports, instance)
            .ok_or_else(|| SpawnError::Instantiate("the hot module lacks an export".to_owned()))?;
        self.store.data_mut().memory = memory(&mut self.store, instance, exports.memory.as_ref());
        self.store.data_mut().hot = Some(hot);
        let count = self.store.data().count();
        hot.save.set_counter(&mut self.store, count);
        let bytes = hot.flags.preempt_bytes(&self.store);
        self.store.data().shared.attach(bytes);
        Ok(hot)
    }

    /// Where the program's memories are, in their order, of those that were made with its instance. None, if not all are found.
    fn in_order(&mut self, instance: Instance, made: Vec<Whereabouts>) -> Vec<Whereabouts> {
        let grounds = made.into_iter().filter_map(|one| Some((one.ground()?.reach().start, one)));
        let grounds: Vec<_> = grounds.collect();
        let code = self.store.data().code.clone();
        let exports = code.inner().exports.memories.iter();
        let memories = exports.map(|export| {
            let start = memory(&mut self.store, instance, Some(export))?.data_ptr(&self.store);
            grounds.iter().find(|(at, _)| *at == start as usize).map(|(_, one)| one.clone())
        });
        memories.collect::<Option<_>>().unwrap_or_default()
    }

    /// Runs until the process exits, traps or is frozen. Frozen, it can be run on (thaw in place).
    ///
    /// Dropping the future ends the process where it is.
    ///
    /// # Errors
    /// See [`ProcessError`]; the process has ended.
    pub async fn run(&mut self) -> Result<Outcome, ProcessError> {
        let mut next = match std::mem::replace(&mut self.status, Status::Running) {
            Status::New => self.begin().await,
            Status::Frozen => self.resume().await,
            Status::Running | Status::Ended => Err(ProcessError::Ended),
        };
        // The guest runs in this await, and in no function below it: whenever it waits, each function between whoever polls
        // and its fiber costs a return that the processor predicts wrongly, some 5 ns, for it remembers the fiber's.
        let result = loop {
            let function = match next {
                Ok(Next::Call(function)) => function,
                Ok(Next::Over(outcome)) => break Ok(outcome),
                Err(error) => break Err(error),
            };
            let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
            let place = self.store.data().place.clone();
            let call = function.call_async(&mut self.store, &[], &mut results);
            next = match pool::on_its_stack(place, call).await {
                Err(error) => self.classify(error).map(Next::Over),
                Ok(()) => Ok(self.returned()),
            };
        };
        self.status =
            if matches!(result, Ok(Outcome::Frozen)) { Status::Frozen } else { Status::Ended };
        result
    }

    /// The first entry.
    async fn begin(&mut self) -> Result<Next, ProcessError> {
        if self.store.data().hot.is_none() {
            let pre = self.store.data().code.inner().instance.clone();
            let instance = match pre.instantiate_async(&mut self.store).await {
                Ok(instance) => instance,
                Err(error) => return classify(error).map(Next::Over),
            };
            self.store.data_mut().memory =
                instance.get_memory(&mut self.store, wasi::MEMORY_EXPORT);
            self.plain = Some(instance);
        }
        Ok(self.entry())
    }

    /// The guest has returned: it is frozen, or the next entry is due.
    fn returned(&mut self) -> Next {
        if self.stopped() {
            return Next::Over(Outcome::Frozen);
        }
        match self.stage.next() {
            Some(next) => {
                self.stage = next;
                self.entry()
            }
            None => Next::Over(Outcome::Exited(0)),
        }
    }

    /// The entry of the current stage, or of the next one that the program has.
    fn entry(&mut self) -> Next {
        let instance = self.store.data().hot.map(|hot| hot.instance).or(self.plain);
        loop {
            let name = match self.stage {
                Stage::Start | Stage::StartSpawned => START,
                Stage::Main => ENTRY,
                Stage::Spawned => SPAWNED,
            };
            if let Some(entry) = instance.and_then(|one| one.get_func(&mut self.store, name)) {
                return Next::Call(entry);
            }
            match self.stage.next() {
                Some(next) => self.stage = next,
                None => return Next::Over(Outcome::Exited(0)),
            }
        }
    }

    /// Continues a frozen process.
    async fn resume(&mut self) -> Result<Next, ProcessError> {
        let Some(hot) = self.store.data().hot else { return Err(ProcessError::Ended) };
        if !self.fill_slots(hot).await? {
            return Ok(Next::Over(Outcome::Frozen));
        }
        let site = hot.save.top_site(&self.store);
        let slot = site.and_then(|site| hot.slots.get(&mut self.store, u64::from(site)));
        let Some(Ref::Func(Some(continuation))) = slot else {
            return Err(ProcessError::Internal("a frame without a continuation".to_owned()));
        };
        let count = self.store.data().count();
        hot.save.set_counter(&mut self.store, count);
        hot.flags.set_unwinding(&mut self.store, false);
        Ok(Next::Call(continuation))
    }

    /// Sees that every frame's slot is filled. `false`: a freeze is wanted and won.
    async fn fill_slots(&mut self, hot: Hot) -> Result<bool, ProcessError> {
        let internal = |error: wasmtime::Error| ProcessError::Internal(engines::one_line(&error));
        for site in self.prepare_resume(hot)? {
            if checks::filled(&mut self.store, hot, site).map_err(internal)? {
                continue;
            }
            match checks::continuation(&mut self.store, site).await {
                Ok(Some(compiled)) => {
                    checks::link(&mut self.store, hot, &compiled).await.map_err(internal)?;
                }
                Ok(None) => return Ok(false),
                Err(error) => return Err(ProcessError::Continuation(engines::one_line(&error))),
            }
        }
        Ok(true)
    }

    /// The sites of all frames, whose slots must be filled before the process goes on.
    pub(crate) fn prepare_resume(&mut self, hot: Hot) -> Result<Vec<u32>, ProcessError> {
        let sites = self.sites(hot).map_err(|error| ProcessError::Internal(error.to_string()))?;
        let imports = self.store.data().code.inner().metadata.imported_functions;
        self.store.data_mut().again = sites.last().is_some_and(|site| *site < imports);
        Ok(sites)
    }

    /// Ends the unwinding: the next call into the guest continues it.
    pub(crate) fn begin_resume(&mut self, hot: Hot) {
        let count = self.store.data().count();
        hot.save.set_counter(&mut self.store, count);
        hot.flags.set_unwinding(&mut self.store, false);
    }

    /// What a failed call means. A stack overflow while frames lie in the save memory is told apart:
    /// it is not the program that wanted so much.
    pub(crate) fn classify(&self, error: wasmtime::Error) -> Result<Outcome, ProcessError> {
        let state = self.store.data();
        let base = state.code.inner().metadata.frames_base;
        let frames = state.hot.is_some_and(|hot| hot.save.stack_pointer(&self.store) > base);
        classify(error).map_err(|error| match error {
            ProcessError::Trap { kind: TrapKind::StackOverflow, .. } if frames => {
                let message =
                    "stack overflow: no room to save or restore its call stack".to_owned();
                ProcessError::Trap { kind: TrapKind::StackOverflow, message }
            }
            _ => error,
        })
    }

    /// Whether the call returned because the process is frozen; takes the time if so.
    fn stopped(&mut self) -> bool {
        let Some(hot) = self.store.data().hot else { return false };
        if !hot.flags.unwinding(&self.store) {
            return false;
        }
        self.note_stopped();
        true
    }

    /// The process is frozen: the request is fulfilled.
    pub(crate) fn note_stopped(&mut self) {
        self.freeze_timings.stop = self.store.data().shared.take_freeze().unwrap_or_default();
    }

    /// Sites of all frames, outermost first.
    fn sites(&self, hot: Hot) -> Result<Vec<u32>, ImageError> {
        frame_sites(&self.store.data().code, &hot.save.contents(&self.store))
    }

    /// A handle for other threads.
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.store.data().shared))
    }

    /// Its name.
    pub fn pid(&self) -> Pid {
        self.store.data().pid
    }

    /// Bytes of the memory that its calls refer to. 0 if it has none.
    pub fn memory_len(&self) -> usize {
        self.store.data().memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    /// Whether it runs, or is called: a handler is made one by [`crate::Handler::of`].
    pub fn form(&self) -> Form {
        self.store.data().code.form()
    }

    /// A handler of which nothing is on a stack: it can be put aside as it is.
    pub(crate) fn rests(&self) -> bool {
        self.form() == Form::Handler && self.status == Status::New
    }

    /// The form of its code; a plain one is neither frozen nor preempted.
    pub fn kind(&self) -> CodeKind {
        self.store.data().code.kind()
    }

    /// Who answers its requests, to be asked for what belongs into an image.
    pub fn devices(&mut self) -> &mut dyn Devices {
        &mut *self.store.data_mut().devices
    }

    /// From now on it can talk to others, through this kernel.
    pub fn set_messages(&mut self, messages: Box<dyn Messages>) {
        self.store.data_mut().messages = Some(messages);
    }

    /// Ends the process and gives the devices back.
    pub fn into_devices(mut self) -> Box<dyn Devices> {
        std::mem::replace(&mut self.store.data_mut().devices, Box::new(NoDevices))
    }

    /// What the last freeze took.
    pub fn freeze_timings(&self) -> FreezeTimings {
        self.freeze_timings
    }

    /// What the thaw that made this process took; zeros if it was spawned.
    pub fn thaw_timings(&self) -> ThawTimings {
        self.thaw_timings
    }

    /// How many frames lie in the save memory: the depth of the call stack of a frozen process.
    pub fn frames(&self) -> usize {
        let hot = self.store.data().hot;
        hot.and_then(|hot| self.sites(hot).ok()).map_or(0, |sites| sites.len())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The store goes next, and the preempt bytes with it.
        self.store.data().shared.detach();
    }
}

/// The state of a process that has done nothing yet.
pub(crate) fn new_state(
    code: &Code,
    pid: Pid,
    strings: Strings,
    devices: Box<dyn Devices>,
    limits: Limits,
    freeze_every: Option<u32>,
    shared: Arc<Shared>,
) -> State {
    State {
        pid,
        sequence: 0,
        strings,
        devices,
        messages: None,
        limiter: Limiter::new(limits, code.private_maxima(), Arc::clone(&shared)),
        shared,
        code: code.clone(),
        place: None,
        memory: None,
        hot: None,
        function_ids: None,
        exceptions: Default::default(),
        externs: Default::default(),
        freeze_every: freeze_every.and_then(NonZeroU32::new),
        waker: Waker::noop().clone(),
        known_waker: None,
        parked: false,
        again: false,
    }
}

/// The exports of a hot module that the host works with.
fn hot(store: &mut Store<State>, exports: &Exports, instance: Instance) -> Option<Hot> {
    let save = memory(store, instance, exports.save.as_ref())?;
    let flags = memory(store, instance, exports.flags.as_ref())?;
    Some(Hot {
        instance,
        save: SaveMemory::new(&*store, save)?,
        flags: Flags::new(&*store, flags)?,
        slots: table(store, instance, exports.slots.as_ref())?,
        functions: table(store, instance, exports.functions.as_ref()),
    })
}

fn memory(
    store: &mut Store<State>,
    instance: Instance,
    export: Option<&ModuleExport>,
) -> Option<Memory> {
    instance.get_module_export(store, export?)?.into_memory()
}

fn table(
    store: &mut Store<State>,
    instance: Instance,
    export: Option<&ModuleExport>,
) -> Option<Table> {
    instance.get_module_export(store, export?)?.into_table()
}
