//! A process: one instance of a program, from spawn or thaw to its end.

use peripatos_abi::{Pid, Signal, device::Devices};

use crate::{
    Code, Control, FreezeTimings, Image, ImageError, ProcessError, Runtime, SpawnError, ThawTimings,
};

/// How much a process may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of linear memory, all memories of the program together; beyond, `memory.grow` answers -1.
    pub memory_bytes: u64,
    /// Elements of one table; beyond, `table.grow` answers -1.
    pub table_elements: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_bytes: 4 << 30, table_elements: 10_000_000 }
    }
}

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
    /// With code loaded as [`crate::CodeKind::CountDown`]: freeze at every N-th check.
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
#[derive(Clone, Debug)]
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

/// A process.
pub struct Process {}

impl Process {
    /// A new process of a program; nothing of it has run yet.
    pub fn spawn(
        _runtime: &Runtime,
        _code: &Code,
        _options: ProcessOptions,
    ) -> Result<Process, SpawnError> {
        todo!()
    }

    /// A process made of an image; [`Process::run`] continues it. The image stays as it is: thaw it twice with
    /// different pids and there are two processes (fork).
    pub fn thaw(
        _runtime: &Runtime,
        _code: &Code,
        _image: &Image,
        _options: ThawOptions,
    ) -> Result<Process, SpawnError> {
        todo!()
    }

    /// Runs until the process exits, traps or is frozen. Frozen, it can be run on (thaw in place).
    pub async fn run(&mut self) -> Result<Outcome, ProcessError> {
        todo!()
    }

    /// A handle for other threads.
    pub fn control(&self) -> Control {
        todo!()
    }

    /// The image of a frozen process. The process stays frozen and whole.
    pub fn capture(&mut self, _options: CaptureOptions) -> Result<Image, ImageError> {
        todo!()
    }

    /// Its name.
    pub fn pid(&self) -> Pid {
        todo!()
    }

    /// Who answers its requests, to be asked for what belongs into an image.
    pub fn devices(&mut self) -> &mut dyn Devices {
        todo!()
    }

    /// Ends the process and gives the devices back.
    pub fn into_devices(self) -> Box<dyn Devices> {
        todo!()
    }

    /// What the last freeze took.
    pub fn freeze_timings(&self) -> FreezeTimings {
        todo!()
    }

    /// What the thaw that made this process took; zeros if it was spawned.
    pub fn thaw_timings(&self) -> ThawTimings {
        todo!()
    }

    /// How many frames lie in the save memory: the depth of the call stack of a frozen process.
    pub fn frames(&self) -> usize {
        todo!()
    }
}
