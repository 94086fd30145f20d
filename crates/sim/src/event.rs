//! What is going to happen, in time's order; of what happens at one time, what was planned first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use peripatos_abi::Pid;
use peripatos_cluster::Incarnation;
use peripatos_kernel::{Moving, Packet};

use crate::actor::Id;
use crate::nodes::{Input, Item};

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A process has something to do.
    Turn(Id),
    /// One that has waited for a message since this turn of it waits no more.
    TimeOut(Id, u64),
    /// A handler that was parked at this turn of it goes on.
    Resume(Id, u64),
    /// A process looks whether what it waits for is there.
    Look(Id),
    /// One that has waited since this turn of it may fall asleep.
    Nap(Id, u64),
    /// One that has something to do wakes from this sleep of it.
    Wake(Id, u64),
    /// A handler replies to somebody whom it owes it.
    Repay(Id),
    /// A packet reaches a kernel.
    Packet(usize, Box<Packet>),
    /// A process reaches a kernel; from which it has come.
    Arrive(Id, usize, usize, Box<Moving>),
    /// A kernel is told the time.
    Tick(usize),
    /// The directory learns where a process was at that time, or that it is nowhere.
    Learn(Id, Option<usize>, u64),
    /// Some process is moved.
    Move,
    /// These nodes and the others do not reach each other.
    Part(Vec<bool>),
    /// All nodes reach each other.
    Heal,
    /// A node is gone.
    Crash(usize),
    /// A node hears that another one is gone.
    Unreachable(usize, usize),
    /// From now on nothing goes wrong.
    Calm,
    /// Two nodes call each other, if they have no link.
    Dial(usize, usize),
    /// The first of two nodes calls the other one, if they have no link.
    Call(usize, usize),
    /// An end of a link stands.
    LinkUp(usize, u64),
    /// An end of a link notices that it is broken.
    LinkDown(usize, u64),
    /// What was said at that time over this link reaches this end.
    Heard(usize, u64, u64, Box<Item>),
    /// Something reaches the thread of this OS process of a node.
    Input(usize, Incarnation, Box<Input>),
    /// A node looks at the clock.
    HostTick(usize),
    /// A core of that OS process of a node is to freeze a process.
    Freeze(usize, Incarnation, Pid),
    /// A core of it is to end one.
    Kill(usize, Incarnation, Pid),
    /// A kernel hears that nobody has the process that a packet is for, of which so many kernels of its node know nothing.
    Nobody(usize, Box<Packet>, usize),
    /// A node hears that an OS process of another one has ended.
    Gone(usize, usize, Incarnation),
    /// The answer to the renewal of a lease that this OS process of a node has sent at that time.
    Renewed(usize, Incarnation, u64),
    /// A node hears by gossip that this OS process of another one lives, or does not.
    Gossip(usize, usize, Incarnation, bool),
    /// A datagram of the first of these nodes reaches the other one.
    Datagram(usize, usize, Vec<u8>),
    /// A node starts again.
    Restart(usize),
    /// An operator has a node emptied, or not any more.
    Drain(usize, bool),
    /// This link breaks.
    Cut(usize, usize),
    /// Some link breaks.
    Break,
    /// All end that have not.
    End,
    /// All that was said has been heard.
    Quiet,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Events {
    heap: BinaryHeap<Reverse<Planned>>,
    planned: u64,
}

#[derive(Debug)]
struct Planned {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Planned) -> bool {
        self.number == other.number
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Planned) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Planned) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Events {
    /// It happens then.
    pub(crate) fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.heap.push(Reverse(Planned { at, number: self.planned, event }));
    }

    /// What happens next, if it is not later than that.
    pub(crate) fn next(&mut self, until: u64) -> Option<(u64, Event)> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        self.heap.pop().map(|Reverse(planned)| (planned.at, planned.event))
    }
}
