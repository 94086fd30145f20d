//! What a store holds beside the guest's own state: one value for each process.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use peripatos_abi::device::{Devices, Reply, Request};
use peripatos_abi::{Errno, Pid};
use wasmtime::{Instance, Memory, Table};

use crate::Code;
use crate::control::Shared;
use crate::flags::Flags;
use crate::limits::Limiter;
use crate::messages::Messages;
use crate::pool::Place;
use crate::references::{Exceptions, Externs, FunctionIds};
use crate::save::SaveMemory;
use crate::wasi::Strings;

/// A process's part of the host.
pub(crate) struct State {
    pub(crate) pid: Pid,
    /// Number of the next request; grows when a reply has been written into the guest's memory.
    pub(crate) sequence: u64,
    pub(crate) strings: Strings,
    pub(crate) devices: Box<dyn Devices>,
    /// Its kernel, if it has one.
    pub(crate) messages: Option<Box<dyn Messages>>,
    pub(crate) limiter: Limiter,
    pub(crate) shared: Arc<Shared>,
    pub(crate) code: Code,
    /// Where its memories are. Its stacks are to be there, too ([`on_its_stack`](crate::pool::on_its_stack)).
    pub(crate) place: Option<Arc<Place>>,
    /// The memory that system calls refer to.
    pub(crate) memory: Option<Memory>,
    /// Absent in plain processes, and until the instance is there.
    pub(crate) hot: Option<Hot>,
    pub(crate) function_ids: Option<FunctionIds>,
    pub(crate) exceptions: Exceptions,
    pub(crate) externs: Externs,
    /// Test mode: freeze when the count-down ends.
    pub(crate) freeze_every: Option<NonZeroU32>,
    /// Whom to wake when a parked handler can go on.
    pub(crate) waker: Waker,
    /// Whom requests wake: what [`Shared::register`] was told last.
    pub(crate) known_waker: Option<Waker>,
    /// The handler unwinds because it has to wait, not because of a freeze.
    pub(crate) parked: bool,
    /// The next host call is one that a freeze interrupted.
    pub(crate) again: bool,
}

/// Handles on the hot instance. Kept here because a host function's caller may be a continuation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hot {
    pub(crate) instance: Instance,
    pub(crate) save: SaveMemory,
    pub(crate) flags: Flags,
    /// One continuation a site; null until made.
    pub(crate) slots: Table,
    /// The functions whose references can escape.
    pub(crate) functions: Option<Table>,
}

impl State {
    /// Whether the process is to be frozen at this check. `counter` is what is left of the
    /// count-down.
    pub(crate) fn freeze_due(&self, counter: i32) -> bool {
        self.shared.freeze_wanted() || self.freeze_every.is_some() && counter <= 0
    }

    /// What the count-down starts at.
    pub(crate) fn count(&self) -> i32 {
        let count = self.freeze_every.map_or(i32::MAX as u32, NonZeroU32::get);
        i32::try_from(count).unwrap_or(i32::MAX)
    }
}

/// Stands where the devices were when they have been given back.
pub(crate) struct NoDevices;

impl Devices for NoDevices {
    fn poll_request(&mut self, _: &mut Context<'_>, _: Pid, _: u64, _: &Request) -> Poll<Reply> {
        Poll::Ready(Reply::Failed(Errno::Io))
    }
}
