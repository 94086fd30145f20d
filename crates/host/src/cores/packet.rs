//! What crosses between cores, and comes to them from outside. Nothing else does.

use std::sync::Arc;

use peripatos_abi::Pid;
use peripatos_engine::Control;

use super::execution::Execution;
use super::habits::Habits;
use super::tag::Tag;
use super::wires::Wire;
use crate::talk::{DeviceWord, Leaving, Server, Survey, Visit};

/// One message to a core.
pub(super) enum Packet {
    /// A process, whole: from now on it is this core's. A new one, or one that another core gave
    /// away.
    Take(Parcel),
    /// A process of this core can go on.
    Wake(Arc<Tag>),
    /// Somebody wants a process of this core to freeze or to end: it goes ahead of all others.
    Hurry(Arc<Tag>),
    /// A core is idle: give it a process, or ask on. There is at most one such packet in an inbox.
    Ask,
    /// A handler, whole: from now on it is this core's.
    Serve(Station),
    /// What a parked handler of this core waited for may be there.
    Resume(Arc<Tag>),
    /// A handler of this core is to go to another one.
    Shift(Arc<Tag>),
    /// A word from another core's kernel.
    Talk(Box<peripatos_kernel::Packet>),
    /// The same, back from where nobody has the process that it is for; so many cores' kernels know nothing of it.
    Nobody(Box<peripatos_kernel::Packet>, usize),
    /// A node is gone.
    Unreachable(u128),
    /// A wire: from now on it is this core's.
    Wire(Box<Wire>),
    /// A process of this core has lost a name: look.
    LostNames(Pid),
    /// Somebody who is no process sends a message.
    Visit(Box<Visit>),
    /// He waits for the reply no more.
    Leave(Pid),
    /// A word to a device process of this core.
    Devices(Box<DeviceWord>),
    /// Somebody wants to know what processes do.
    Survey(Arc<Survey>),
    /// End everything.
    Close,
}

impl Packet {
    /// Whether what runs has to give way, so that the core looks into its inbox at once.
    pub(super) fn is_urgent(&self) -> bool {
        match self {
            Packet::Take(_)
            | Packet::Wake(_)
            | Packet::Serve(_)
            | Packet::Resume(_)
            | Packet::Shift(_)
            | Packet::Talk(_)
            | Packet::Unreachable(_)
            | Packet::Wire(_)
            | Packet::LostNames(_)
            | Packet::Visit(_)
            | Packet::Leave(_)
            | Packet::Devices(_)
            | Packet::Survey(_)
            | Packet::Nobody(..) => false,
            Packet::Hurry(_) | Packet::Ask | Packet::Close => true,
        }
    }
}

/// A process and all that goes with it. It is runnable.
pub(super) struct Parcel {
    pub(super) tag: Arc<Tag>,
    pub(super) control: Control,
    pub(super) execution: Execution,
    /// What it has under way with others, if it comes from another core.
    pub(super) talking: Option<Box<Leaving>>,
    pub(super) habits: Habits,
}

/// A handler and all that goes with it.
pub(super) struct Station {
    pub(super) tag: Arc<Tag>,
    pub(super) server: Server,
    /// What it has under way with others, if it does not begin here.
    pub(super) talking: Option<Box<Leaving>>,
}
