//! A process's traffic with its origin, which may be on another machine.
//!
//! Invariants:
//! * One request of a process is under way at a time, or what it has written and was told is done (`behind`). It is kept until the next
//!   one is sent, so that it can be sent again whenever it may have been lost; its number makes that harmless. What the process asks and
//!   waits for is sent when all that it has written before was heard.
//! * A reply is taken once, for the request under way; any other is ignored.
//! * No lock is held while something is sent or somebody is woken.
//!
//! A process that reads on in a file gets more than it asks for, which is kept here for its next reads (`ahead`); of one that writes
//! what it writes is kept here until its origin has heard it (`behind`).
//!
//! Random bytes that are too many for one reply are drawn here rather than at the origin: any
//! machine's are as good, and a process that asks again after a move has not seen the first ones.
//!
//! # When the origin has ended, or its node is silent
//!
//! There is no way back from [`Exchange::origin_gone`], even if a reply should still come in; from
//! [`Exchange::origin_silent`] there is one, [`Exchange::origin_back`]. In between requests, the one that
//! waits included, are answered here:
//! * A reply that was delivered before is still given.
//! * Clocks go on. The monotonic clock continues from the last reading that passed through here, by
//!   the time that has passed here since: it never goes back, and is behind what it would have been
//!   by no more than that reading's travel. Processor time continues from its last reading with
//!   that of this OS process. The real time is this machine's.
//! * Random bytes are drawn here.
//! * A poll on clocks alone waits here. If it had begun to wait, its relative timeouts still count
//!   from when it was first asked here.
//! * A poll that names descriptors reports `Errno::Io` for each of them at once.
//! * Everything else fails with `Errno::Io`. Whether a request that was waiting has had its effect
//!   is not known, nor of what was written and not heard. Of the latter the next write, sync or close of the file tells; if none comes
//!   before the origin is back, that one does, and else whoever hears of the process's end ([`AtEnd::Lost`]).
//!
//! A request that began to be answered here is not sent once more when the origin is back: a poll that waits
//! goes on here. The numbers go on as ever, so the origin sees a gap, and refuses what was asked before it
//! and comes late. If the origin's own reply should come while the process has not heard yet, it counts. No clock
//! goes back for the origin's return: one that is behind stands until it has caught up.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use peripatos_abi::descriptors::DescriptorTable;
use peripatos_abi::device::{Ahead, Devices, Reply, Request, Used};
use peripatos_abi::limits::RANDOM_BYTES_MAX;
use peripatos_abi::{Errno, Event, EventFlags, Pid, Subject, Subscription};

use super::ahead::{Next, ReadAhead};
use super::behind::WriteBehind;
use super::readings::elapsed_ns;
use crate::origin::Origin;

pub use super::behind::{Allowance, Outstanding};
pub use super::readings::Readings;

/// One process's traffic with its origin. The process's thread asks, the network's delivers.
pub struct Exchange {
    pid: Pid,
    send: Box<SendRequest>,
    /// Has no descriptors. Answers what is answered here.
    local: Origin,
    state: Mutex<State>,
}

/// Brings a process's request, of this sequence number, on its way.
type SendRequest = dyn Fn(Pid, u64, Ahead, &Request) + Send + Sync;

struct State {
    under_way: Option<UnderWay>,
    ahead: ReadAhead,
    behind: WriteBehind,
    origin: Reach,
    /// Requests that have failed because the origin's node is silent, and were not told of.
    unserved: u64,
    /// The process is about to go on elsewhere: nothing is sent from here.
    stands_still: bool,
    readings: Readings,
    /// When the monotonic reading passed.
    read_at: Instant,
}

/// What is known of the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// It answers, as far as is known.
    There,
    /// Its node is silent.
    Silent,
    /// It has ended.
    Gone,
}

struct UnderWay {
    sequence: u64,
    progress: Progress,
}

enum Progress {
    Waits(Waiting),
    Answered(Reply),
}

/// A request that waits for its reply.
struct Waiting {
    request: Arc<Request>,
    ahead: Ahead,
    asked_at: Instant,
    /// It is on its way; not before all that was written before it was heard.
    sent: bool,
    /// It is answered here, whatever becomes of the origin.
    here: bool,
    /// To be woken then.
    waker: Waker,
}

/// What is to be sent: its number, what goes with it, and what.
type Outgoing = (u64, Ahead, Arc<Request>);

/// What a process that has ended had written, and its origin has not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// Nothing.
    Nothing,
    /// It is on its way.
    OnItsWay,
    /// So many bytes were lost.
    Lost(u64),
}

/// What is to be done about a request.
enum Step {
    Done(Reply),
    Wait,
    /// The process waits.
    Send(Outgoing),
    /// It need not.
    Written(u64, Option<Outgoing>),
    AnswerHere,
}

impl Exchange {
    /// The traffic of `pid`, from its arrival here on. `send` brings a request on its way to the
    /// origin, or drops it if there is no way now; it must not wait. It is called from the
    /// process's thread and by [`Self::resend`].
    pub fn new(
        pid: Pid,
        send: impl Fn(Pid, u64, Ahead, &Request) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let local = Origin::new();
        local.restore(pid, &DescriptorTable::default());
        let state = State {
            under_way: None,
            ahead: ReadAhead::default(),
            behind: WriteBehind::default(),
            origin: Reach::There,
            unserved: 0,
            stands_still: false,
            readings: Readings::default(),
            read_at: Instant::now(),
        };
        Arc::new(Self { pid, send: Box::new(send), local, state: Mutex::new(state) })
    }

    /// The origin may send more of a file than was asked for: for a process that learns nothing but by its requests.
    pub fn read_ahead(&self) {
        self.lock().ahead.enable();
    }

    /// Its writes need not wait: likewise. `allowance` is what all processes of the node may have outstanding.
    pub fn write_behind(&self, allowance: Allowance) {
        self.lock().behind.enable(allowance);
    }

    /// A reply has come in, decoded and checked. It is ignored unless it is for the request that
    /// waits, or for what was written.
    pub fn deliver(&self, sequence: u64, reply: Reply) {
        let mut state = self.lock();
        if state.origin == Reach::Gone {
            return;
        }
        let woken = match state.behind.heard(sequence) {
            true => state.written(&reply),
            false => state.answered(sequence, reply),
        };
        let next = state.next();
        drop(state);
        self.send(next);
        if let Some(waker) = woken {
            waker.wake();
        }
    }

    /// Sends what is under way once more, if something is: a link has come back, or the process's
    /// origin is reached another way.
    pub fn resend(&self) {
        let mut state = self.lock();
        let again = state.again().or_else(|| state.next());
        drop(state);
        self.send(again);
    }

    /// The process stands still, and goes on elsewhere unless [`Self::go_on`] says otherwise: what is sent from here now could get a reply
    /// that it waits for there.
    pub fn stand_still(&self) {
        self.lock().stands_still = true;
    }

    /// The process runs here.
    pub fn go_on(&self) {
        self.lock().stands_still = false;
        self.resend();
    }

    fn send(&self, outgoing: Option<Outgoing>) {
        if let Some((sequence, ahead, request)) = outgoing {
            (self.send)(self.pid, sequence, ahead, &request);
        }
    }

    /// The origin has ended: from now on requests are answered here, as the module says. Wakes who
    /// waits.
    pub fn origin_gone(&self) {
        self.answer_here(Reach::Gone);
    }

    /// The origin's node is silent: until [`Self::origin_back`] requests are answered here, as the module
    /// says. Wakes who waits.
    pub fn origin_silent(&self) {
        self.answer_here(Reach::Silent);
    }

    /// The origin's node is back: what is asked from now on is sent there. Does nothing if the origin has
    /// ended.
    pub fn origin_back(&self) {
        let mut state = self.lock();
        if state.origin != Reach::Silent {
            return;
        }
        state.origin = Reach::There;
        let next = state.next();
        drop(state);
        self.send(next);
    }

    fn answer_here(&self, because: Reach) {
        let mut state = self.lock();
        let before = state.origin;
        if before == Reach::Gone || before == because {
            return;
        }
        state.origin = because;
        state.ahead.forget();
        match because {
            Reach::Gone => state.behind.forget(),
            _ => state.behind.lose(),
        }
        if before == Reach::Silent {
            // It is answered here already, and the clocks go on.
            return;
        }
        let Readings { monotonic_ns, cpu_ns } = state.readings_now();
        let waiting = state.waiting().map(|(sequence, waiting)| {
            (sequence, monotonic_ns.saturating_sub(elapsed_ns(waiting.asked_at)))
        });
        let table = DescriptorTable { waiting, monotonic_ns, cpu_ns, ..DescriptorTable::default() };
        // Nothing can be lost of no descriptors.
        let _ = self.local.restore(self.pid, &table);
        let waker = state.waiting().map(|(_, waiting)| {
            waiting.here = true;
            waiting.waker.clone()
        });
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Where the process's clocks stand at least. To be carried along when it moves, or else its
    /// clocks could go back if its origin ends before they are read again.
    #[must_use]
    pub fn readings(&self) -> Readings {
        self.lock().readings_now()
    }

    /// What the origin has not heard of what was read: to be carried along, too.
    #[must_use]
    pub fn used(&self) -> Option<Used> {
        self.lock().ahead.used()
    }

    /// What the origin has not heard of what was written: likewise.
    #[must_use]
    pub fn outstanding(&self) -> Outstanding {
        self.lock().behind.outstanding()
    }

    /// The process has ended: what it has written is to be heard.
    #[must_use]
    pub fn at_end(&self) -> AtEnd {
        let state = self.lock();
        match (state.behind.is_empty(), state.origin) {
            (true, _) | (_, Reach::Gone) => AtEnd::Nothing,
            (false, Reach::There) => AtEnd::OnItsWay,
            (false, Reach::Silent) => AtEnd::Lost(state.behind.lost_bytes()),
        }
    }

    /// How many requests have failed since this was last asked because the origin's node is silent: somebody is to be told who can be.
    #[must_use]
    pub fn take_unserved(&self) -> u64 {
        std::mem::take(&mut self.lock().unserved)
    }

    /// What the process has written elsewhere, before it goes on here.
    pub fn continue_writing(&self, outstanding: Outstanding) {
        self.lock().behind.continue_from(outstanding);
    }

    /// The readings that the process has brought along, and what its origin has not heard of what was read.
    pub fn continue_from(&self, readings: Readings, used: Option<Used>) {
        let mut state = self.lock();
        state.ahead.continue_from(used);
        state.readings = readings;
        state.read_at = Instant::now();
    }

    fn poll_request(
        &self,
        cx: &mut Context<'_>,
        pid: Pid,
        sequence: u64,
        request: &Request,
    ) -> Poll<Reply> {
        if pid != self.pid {
            return Poll::Ready(Reply::Failed(Errno::BadF));
        }
        let step = self.lock().step(cx, sequence, request);
        match step {
            Step::Done(reply) => return Poll::Ready(reply),
            Step::Wait => return Poll::Pending,
            Step::Send(outgoing) => self.send(Some(outgoing)),
            Step::Written(bytes, outgoing) => {
                self.send(outgoing);
                return Poll::Ready(Reply::Number(bytes));
            }
            Step::AnswerHere => return self.answer(cx, sequence, request),
        }
        Poll::Pending
    }

    /// Answers without the origin.
    fn answer(&self, cx: &mut Context<'_>, sequence: u64, request: &Request) -> Poll<Reply> {
        match request {
            Request::ClockTime(_) | Request::ClockResolution(_) | Request::Random(_) => {}
            Request::Poll(subscriptions) => {
                let events = unreachable_descriptors(subscriptions);
                if !events.is_empty() {
                    self.lock().fail_one();
                    return Poll::Ready(Reply::Events(Arc::new(events)));
                }
            }
            _ => {
                let mut state = self.lock();
                state.fail_one();
                state.behind.told(request);
                return Poll::Ready(Reply::Failed(Errno::Io));
            }
        }
        let answer = self.local.clone().poll_request(cx, self.pid, sequence, request);
        let mut state = self.lock();
        let State { readings, read_at, .. } = &mut *state;
        answer.map(|reply| readings.note(request, reply, read_at))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl State {
    fn step(&mut self, cx: &Context<'_>, sequence: u64, request: &Request) -> Step {
        if let Some(under_way) = &mut self.under_way
            && under_way.sequence == sequence
        {
            match &mut under_way.progress {
                Progress::Answered(reply) => return Step::Done(reply.clone()),
                Progress::Waits(waiting) => {
                    waiting.waker.clone_from(cx.waker());
                    return if waiting.here { Step::AnswerHere } else { Step::Wait };
                }
            }
        }
        if let Err(limit) = request.check() {
            return match request {
                Request::Random(len) if *len <= RANDOM_BYTES_MAX => Step::AnswerHere,
                _ => Step::Done(Reply::Failed(limit.errno())),
            };
        }
        if let Request::Write { data, .. } = request
            && self.behind.was_answered(sequence)
        {
            return Step::Done(Reply::Number(data.len() as u64));
        }
        let here = self.origin != Reach::There;
        let asked_at = Instant::now();
        let ahead = match self.ahead.ask(asked_at, request) {
            Next::Here(reply) => {
                let progress = Progress::Answered(reply.clone());
                self.under_way = Some(UnderWay { sequence, progress });
                return Step::Done(reply);
            }
            Next::Ask(ahead) => ahead,
        };
        if !here && let Some(bytes) = self.take(sequence, request) {
            return Step::Written(bytes, self.next());
        }
        let bytes = self.behind.asks(request).unwrap_or(ahead.bytes);
        let waiting = Waiting {
            request: Arc::new(request.clone()),
            ahead: Ahead { bytes, ..ahead },
            asked_at,
            sent: false,
            here,
            waker: cx.waker().clone(),
        };
        self.under_way = Some(UnderWay { sequence, progress: Progress::Waits(waiting) });
        match self.next() {
            _ if here => Step::AnswerHere,
            Some(outgoing) => Step::Send(outgoing),
            None => Step::Wait,
        }
    }

    /// Takes a write in, to be sent behind the process: how many bytes it has written.
    fn take(&mut self, sequence: u64, request: &Request) -> Option<u64> {
        let Request::Write { data, .. } = request else { return None };
        if !self.behind.take(sequence, request) {
            return None;
        }
        let bytes = data.len() as u64;
        let progress = Progress::Answered(Reply::Number(bytes));
        self.under_way = Some(UnderWay { sequence, progress });
        Some(bytes)
    }

    /// A piece of what was written was heard. A write that waits for room may not have to wait any more.
    fn written(&mut self, reply: &Reply) -> Option<Waker> {
        self.ahead.heard();
        if matches!(reply, Reply::Failed(_)) {
            self.behind.stop();
        }
        let (sequence, waiting) = self.waiting().filter(|(_, one)| !one.sent && !one.here)?;
        let (request, waker) = (Arc::clone(&waiting.request), waiting.waker.clone());
        self.take(sequence, &request).map(|_| waker)
    }

    /// The reply to what the process waits for has come.
    fn answered(&mut self, sequence: u64, reply: Reply) -> Option<Waker> {
        let State { under_way, ahead, behind, readings, read_at, .. } = self;
        let under_way = under_way.as_mut().filter(|one| one.sequence == sequence)?;
        let Progress::Waits(Waiting { request, waker, sent: true, .. }) = &under_way.progress
        else {
            return None;
        };
        let reply = match (reply, &**request) {
            (Reply::GoOn(count), Request::Write { fd, .. }) => {
                behind.may(*fd);
                Reply::Number(count)
            }
            // To what nobody has asked.
            (Reply::GoOn(_), _) => Reply::Failed(Errno::Io),
            (reply, _) => reply,
        };
        let reply = ahead.came(Instant::now(), sequence, request, reply);
        let reply = readings.note(request, reply, read_at);
        let waker = waker.clone();
        under_way.progress = Progress::Answered(reply);
        Some(waker)
    }

    /// What can be sent now, and was not yet.
    fn next(&mut self) -> Option<Outgoing> {
        if self.origin != Reach::There || self.stands_still {
            return None;
        }
        let used = self.ahead.used();
        if let Some((sequence, told, request)) = self.behind.next() {
            return Some((sequence, Ahead::behind(used, told), request));
        }
        let all_heard = self.behind.is_empty();
        let (sequence, waiting) = self.waiting()?;
        if !all_heard || waiting.sent || waiting.here {
            return None;
        }
        waiting.sent = true;
        Some((sequence, Ahead { used, ..waiting.ahead }, Arc::clone(&waiting.request)))
    }

    /// A request fails here.
    fn fail_one(&mut self) {
        // Of an origin that has ended nobody can be told.
        self.unserved += u64::from(self.origin == Reach::Silent);
    }

    /// What was sent, and may have been lost.
    fn again(&mut self) -> Option<Outgoing> {
        if self.stands_still {
            return None;
        }
        let used = self.ahead.used();
        if let Some((sequence, told, request)) = self.behind.under_way() {
            return Some((sequence, Ahead::behind(used, told), request));
        }
        let (sequence, waiting) = self.waiting().filter(|(_, one)| one.sent && !one.here)?;
        Some((sequence, Ahead { used, ..waiting.ahead }, Arc::clone(&waiting.request)))
    }

    fn waiting(&mut self) -> Option<(u64, &mut Waiting)> {
        match self.under_way.as_mut()? {
            UnderWay { sequence, progress: Progress::Waits(waiting) } => Some((*sequence, waiting)),
            _ => None,
        }
    }

    fn readings_now(&self) -> Readings {
        let monotonic_ns = self.readings.monotonic_ns.saturating_add(elapsed_ns(self.read_at));
        Readings { monotonic_ns, ..self.readings }
    }
}

/// The events of those subscriptions that name descriptors.
fn unreachable_descriptors(subscriptions: &[Subscription]) -> Vec<Event> {
    let named = subscriptions.iter().filter(|one| !matches!(one.subject, Subject::Clock { .. }));
    named
        .map(|subscription| Event {
            userdata: subscription.userdata,
            error: Some(Errno::Io),
            kind: subscription.subject.kind(),
            bytes: 0,
            flags: EventFlags::NONE,
        })
        .collect()
}

/// The devices of a process whose origin is reached through an [`Exchange`].
#[derive(Clone, Debug)]
pub struct RemoteDevices {
    exchange: Arc<Exchange>,
}

impl RemoteDevices {
    /// The devices behind this exchange.
    #[must_use]
    pub fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange }
    }
}

impl Devices for RemoteDevices {
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        pid: Pid,
        sequence: u64,
        request: &Request,
    ) -> Poll<Reply> {
        self.exchange.poll_request(cx, pid, sequence, request)
    }
}
