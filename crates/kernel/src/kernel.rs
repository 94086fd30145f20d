//! The kernel: its processes, and who of them can go on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use peripatos_abi::Pid;
use peripatos_abi::message::Status;

use crate::aged::Aged;
use crate::alien::{Aliens, Answer};
use crate::budget::Budget;
use crate::circle::Circle;
use crate::claim::Timers;
use crate::errand::Errands;
use crate::group::principal;
use crate::limits::{ENDS_MAX, LUGGAGE_ALIENS_MAX};
use crate::mutation::Mutation;
use crate::packet::{Body, Packet, Place};
use crate::probe::Suspect;
use crate::process::{At, Call, Form, Process, State};
use crate::routes::Routes;
use crate::table::{Slot, Table};
use crate::tick::HeardReplies;

/// A process that can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// What its `wait` waited for is there.
    Process(Slot),
    /// A handler that can be called for what waits in its queue: [`Kernel::next_call`].
    Handler(Slot),
    /// One that is to be ended, and why: its parent wants it, or one that it is linked with has ended. Once it has,
    /// [`Kernel::remove`].
    Kill(Slot, Pid),
}

impl Woken {
    fn slot(self) -> Slot {
        match self {
            Woken::Process(slot) | Woken::Handler(slot) | Woken::Kill(slot, _) => slot,
        }
    }
}

/// One core's kernel. See the crate's page.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) place: Place,
    pub(crate) table: Table,
    pub(crate) woken: VecDeque<Woken>,
    pub(crate) packets: VecDeque<Box<Packet>>,
    pub(crate) circles: VecDeque<Circle>,
    pub(crate) routes: Routes,
    pub(crate) aliens: Aliens,
    /// Processes that have ended here, and how.
    pub(crate) ends: Aged<Pid, u64>,
    pub(crate) errands: Errands,
    pub(crate) heard: HeardReplies,
    pub(crate) timers: Timers,
    /// What [`Kernel::tick`] was told.
    pub(crate) now: u64,
    /// When circles are looked for next.
    pub(crate) probe_due: u64,
    /// Which processes were reached by whose probes since circles were looked for last.
    pub(crate) probed: BTreeSet<(Pid, Pid)>,
    /// How often circles were looked for.
    pub(crate) round: u64,
    /// Whose probes have got round once.
    pub(crate) suspects: BTreeMap<Pid, Suspect>,
    #[cfg(feature = "mutations")]
    pub(crate) mutation: Option<Mutation>,
    /// Calls of handlers on the stack.
    pub(crate) depth: u32,
    /// See [`Kernel::looks`].
    pub(crate) looks: u64,
}

impl Kernel {
    /// A kernel without processes, at this place. `era`: a number that no kernel had that was at this place within the last minutes,
    /// as that of a node which starts again. Others would take what this one says for what they have heard from that one.
    #[must_use]
    pub fn new(place: Place, era: u32) -> Kernel {
        Kernel {
            place,
            table: Table::default(),
            woken: VecDeque::new(),
            packets: VecDeque::new(),
            circles: VecDeque::new(),
            routes: Routes::new(place),
            aliens: Aliens::default(),
            ends: Aged::new(ENDS_MAX),
            errands: Errands::of_era(era),
            heard: HeardReplies::default(),
            timers: Timers::default(),
            now: 0,
            probe_due: 0,
            probed: BTreeSet::new(),
            round: 0,
            suspects: BTreeMap::new(),
            #[cfg(feature = "mutations")]
            mutation: None,
            depth: 0,
            looks: 0,
        }
    }

    /// Takes a process in. `None`: one of this pid is here already.
    pub fn add(&mut self, pid: Pid, form: Form) -> Option<Slot> {
        self.ends.remove(pid);
        self.table.insert(Process::new(pid, form))
    }

    /// A handler can be called with messages of so many bytes at most: longer ones are refused
    /// ([`Status::TooLong`](peripatos_abi::message::Status::TooLong)).
    pub fn set_room(&mut self, slot: Slot, bytes: usize) {
        if let Some(process) = self.table.get_mut(slot) {
            process.room = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
    }

    /// What a process sends is charged to this budget while it waits.
    pub fn set_budget(&mut self, slot: Slot, budget: &Arc<Budget>) {
        if let Some(process) = self.table.get_mut(slot) {
            process.budget = Some(Arc::clone(budget));
        }
    }

    /// A process has ended, with this reason ([`EndReason`](peripatos_abi::EndReason), as a number): whoever waits for
    /// it, or watches it, is told.
    pub fn remove(&mut self, slot: Slot, reason: u64) {
        let Some(mut process) = self.table.remove(slot) else { return };
        self.ends.insert(process.pid, reason, self.now);
        if self.does_wrong(Mutation::NobodyTold) {
            return;
        }
        for waiting in std::mem::take(&mut process.queue) {
            self.fail(waiting.from, waiting.transaction, process.pid, Status::NoProcess);
        }
        if let Some((from, transaction)) = process.serves {
            self.fail(from, transaction, process.pid, Status::NoProcess);
        }
        if let Some((from, transaction)) = process.wanted() {
            self.fail(from, transaction, process.pid, Status::NoProcess);
        }
        if process.clients > 0 {
            self.fail_clients(&process);
        }
        self.remove_delegates(&process);
        if let Some(ties) = process.ties.take() {
            self.untie(process.pid, *ties, reason);
        }
        // A send of its own may still be replied to: nobody will be there.
        if let Call::Send { to, at: At::Away, .. } = process.call {
            let (transaction, hop) = process.last_send();
            let place = process.out.claim.place.or(self.routes.get(to));
            self.post(place, process.pid, to, Body::Over { transaction, hop });
        }
    }

    /// Where a process is.
    #[must_use]
    #[inline]
    pub fn find(&self, pid: Pid) -> Option<Slot> {
        self.table.find(pid)
    }

    /// What a process does. `None`: it has gone.
    #[must_use]
    pub fn state(&self, slot: Slot) -> Option<State> {
        self.table.get(slot).map(Process::state)
    }

    /// Whether a process waits, and nothing has come for it: one that may be put aside until its kernel names it.
    #[must_use]
    pub fn is_blocked(&self, slot: Slot) -> bool {
        let state = self.state(slot);
        matches!(
            state,
            Some(State::SendBlocked(_) | State::ReplyBlocked(_) | State::ReceiveBlocked)
        )
    }

    /// Whether others wait for a process: for it to take their messages, or to reply.
    #[must_use]
    pub fn is_waited_for(&self, slot: Slot) -> bool {
        self.table.get(slot).is_some_and(Process::is_waited_for)
    }

    /// How much goes with a process to another kernel: messages, watches, and senders of other kernels, of which not more
    /// than so many are counted. Each takes time there and here.
    #[must_use]
    pub fn luggage(&self, slot: Slot) -> usize {
        let Some(process) = self.table.get(slot) else { return 0 };
        process.luggage() + self.aliens.senders_to(process.pid).take(LUGGAGE_ALIENS_MAX).count()
    }

    /// Of whom a process waits for a message, if of a certain one.
    #[must_use]
    pub fn receives_from(&self, slot: Slot) -> Option<Pid> {
        match self.table.get(slot)?.call {
            Call::Receive(receive) => receive.from,
            _ => None,
        }
    }

    /// Whose messages lie in queues here, and in whose. Looks at all processes.
    pub fn queued(&self) -> impl Iterator<Item = (Pid, Pid)> {
        let of = |process: &'_ Process| {
            let to = process.pid;
            let from = process.queue.iter().map(move |waiting| (principal(waiting.from), to));
            from.collect::<Vec<_>>()
        };
        self.table.iter().filter(|process| !process.queue.is_empty()).flat_map(of)
    }

    /// What a process is called. `None`: it has gone.
    #[must_use]
    #[inline]
    pub fn pid(&self, slot: Slot) -> Option<Pid> {
        self.table.get(slot).map(|process| process.pid)
    }

    /// Whether the process of this pid is there.
    #[must_use]
    #[inline]
    pub fn is_at(&self, pid: Pid, slot: Slot) -> bool {
        self.table.get(slot).is_some_and(|process| process.pid == pid)
    }

    /// How a process takes its messages. `None`: it has gone.
    #[must_use]
    pub fn form(&self, slot: Slot) -> Option<Form> {
        self.table.get(slot).map(|process| process.form)
    }

    /// How many processes are here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nobody can go on, and nothing is to leave, that has not been told of.
    #[must_use]
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.woken.is_empty() && self.packets.is_empty()
    }

    /// Who can go on, if it is one, and nobody else: without telling it.
    #[must_use]
    #[inline]
    pub fn only_woken(&self) -> Option<Woken> {
        let only = if self.woken.len() == 1 { self.woken.front().copied() } else { None };
        only.filter(|woken| !self.is_delegate(woken.slot()))
    }

    /// The next process that can go on, each time once.
    #[inline]
    pub fn next_woken(&mut self) -> Option<Woken> {
        loop {
            match self.woken.pop_front()? {
                Woken::Process(slot) if self.is_delegate(slot) => self.delegate_woken(slot),
                // Somebody has linked itself with what has no program, and ends with its answer.
                woken if self.is_delegate(woken.slot()) => {}
                woken => return Some(woken),
            }
        }
    }

    /// The next packet that is to leave.
    #[inline]
    pub fn next_packet(&mut self) -> Option<Box<Packet>> {
        self.packets.pop_front()
    }

    /// Where other kernels' processes are.
    pub fn routes(&mut self) -> &mut Routes {
        &mut self.routes
    }

    /// Ends a send, wherever its sender is, because the receiver `of` has ended or refuses.
    pub(crate) fn fail(&mut self, from: Pid, transaction: u64, of: Pid, status: Status) {
        let Some(slot) = self.table.find(from) else {
            // Whoever has gone meanwhile need not be told.
            let _ = self.answer_alien(from, transaction, of, Answer::Failed(status));
            return;
        };
        let Some(sender) = self.table.get_mut(slot) else { return };
        let waits = matches!(sender.call, Call::Send { to, .. } if to == of);
        if waits && sender.sends == transaction {
            sender.fail(status);
            self.woken.push_back(Woken::Process(slot));
        }
    }

    /// Tells all who wait for a reply of one that has ended.
    fn fail_clients(&mut self, process: &Process) {
        let of = process.pid;
        let callers = self.callers_of(process).into_iter();
        let here = callers.filter_map(|slot| self.table.get(slot));
        let here = here.map(|process| (process.pid, process.sends));
        let clients: Vec<(Pid, u64)> = here.chain(self.aliens.clients_of(of)).collect();
        for (from, transaction) in clients {
            self.fail(from, transaction, of, Status::NoProcess);
        }
    }
}
