//! What the cores share: a post each, who is idle, the registry, and the ways from one to another.
//!
//! Invariants:
//! * No lock here is held while a process runs, an event is told, a control is used or a waker
//!   called.
//! * Whoever brings work to a core that runs something sees to it that it is not left lying:
//!   it goes first ([`Packet::is_urgent`]), or what runs looks for it ([`super::lookout`]), or a core that is idle may take it
//!   over, or the ticker ends the slice ([`Board::press`]). He writes first (a packet, a count), and looks at who runs and who
//!   is idle then; a core shows what it is about to run, and looks at its inbox and at who is idle
//!   then ([`super::core`]); an idle core shows that it is, and looks at the others' loads then. Each
//!   has a sequentially consistent fence between the two, so of any two that meet one sees the other.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use peripatos_abi::Pid;
use peripatos_engine::{CodeKind, Form, Handler, Process};
use peripatos_kernel::{Body, Circle, Names, Place, principal};
use rustix::rand::{GetRandomFlags, getrandom};

use super::execution::Execution;
use super::habits::Habits;
use super::handlers;
use super::here;
use super::idle::Idle;
use super::letterbox::VISITED;
use super::outside::Outside;
use super::packet::{Packet, Parcel, Station};
use super::post::Post;
use super::registry::Registry;
use super::tag::{Tag, Wish};
use super::ticker::Ticker;
use super::{CoreEvent, NotHere, Refusal, RunError, SLICE, Sample, ServeError, wires};
use crate::talk::{Leaving, Server, Share, Survey};

/// Of circles that are found sooner after each other only the first is told of.
const DEADLOCK_EVERY_NS: u64 = 1_000_000_000;

/// See the module.
pub(super) struct Board {
    posts: Box<[Post]>,
    pub(super) idle: Idle,
    pub(super) registry: Registry,
    pub(super) ticker: Ticker,
    /// The node, as kernels name it.
    node: u128,
    /// Drawn: what its kernels are told by from those of the same node before it started again.
    era: u32,
    /// Takes what is for processes of other nodes, or gives it back: there are none.
    outside: Box<dyn Outside>,
    /// The names of all processes.
    pub(super) names: Arc<Mutex<Names>>,
    /// Whether it pays to look out for packets before one sleeps: not where there is one CPU, and who would send
    /// them has to get it first.
    pub(super) spin: bool,
    /// No process changes its core by itself any more.
    stay: AtomicBool,
    /// Processes of this OS process that may be awake although some only wait.
    pub(super) awake_max: usize,
    /// When a circle was told of last; 0: never.
    deadlock_ns: AtomicU64,
    /// Where the board's time begins.
    epoch: Instant,
    events: Box<dyn Fn(CoreEvent) + Send + Sync>,
}

/// Between the threads.
impl Board {
    pub(super) fn new(
        cores: usize,
        node: u128,
        outside: Box<dyn Outside>,
        awake_max: usize,
        events: Box<dyn Fn(CoreEvent) + Send + Sync>,
    ) -> io::Result<Board> {
        let mut era = [0; 4];
        // Up to 256 bytes come as a whole, says getrandom(2).
        getrandom(&mut era, GetRandomFlags::empty())?;
        Ok(Board {
            node,
            era: u32::from_le_bytes(era),
            outside,
            posts: (0..cores)
                .map(|core| Post::new(Place { node, core: core as u32 }, cores))
                .collect(),
            idle: Idle::new(cores),
            registry: Registry::default(),
            ticker: Ticker::new()?,
            names: Arc::default(),
            // Asked before the cores are pinned: it counts what a thread may use.
            spin: thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1),
            stay: AtomicBool::new(false),
            awake_max,
            deadlock_ns: AtomicU64::new(0),
            epoch: Instant::now(),
            events,
        })
    }

    pub(super) fn post(&self, core: usize) -> &Post {
        &self.posts[core]
    }

    pub(super) fn posts(&self) -> &[Post] {
        &self.posts
    }

    /// The kernel of a core.
    pub(super) fn place(&self, core: usize) -> Place {
        Place { node: self.node, core: core as u32 }
    }

    /// That of all its kernels.
    pub(super) fn era(&self) -> u32 {
        self.era
    }

    /// No kernel: whoever has a process that was taken from the cores.
    pub(super) fn elsewhere(&self) -> Place {
        Place { node: self.node, core: peripatos_kernel::OUTSIDE }
    }

    /// And back.
    pub(super) fn instant(&self, time_ns: u64) -> Instant {
        self.epoch + Duration::from_nanos(time_ns)
    }

    /// The board's time.
    pub(super) fn time_ns(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_nanos() as u64
    }

    /// From now on processes stay on their cores.
    pub(super) fn stay(&self) {
        self.stay.store(true, Ordering::Relaxed);
    }

    /// Whether they do.
    pub(super) fn stays(&self) -> bool {
        self.stay.load(Ordering::Relaxed)
    }

    /// Delivers an event.
    pub(super) fn tell(&self, event: CoreEvent) {
        (self.events)(event);
    }

    /// Sends a packet, and sees to it that it is read in time. To a core that has ended it is lost, with
    /// all that it holds.
    pub(super) fn send(&self, core: usize, packet: Packet) {
        let urgent = packet.is_urgent();
        // One that is to be frozen and runs sees the request by itself.
        let unless = match &packet {
            Packet::Hurry(tag) if tag.wish() == Wish::Freeze => Some(tag.pid()),
            _ => None,
        };
        match here::push(self, core, packet) {
            Some(packet) => drop(packet),
            None if urgent => self.posts[core].preempt(unless),
            None => self.pressed(core),
        }
    }

    /// Somebody has left something for this core.
    fn pressed(&self, core: usize) {
        self.press(core, || !self.posts[core].inbox.is_seen());
    }

    /// Somebody has come to wait at this core, which is the caller's; `spare`: it may be that it could be given away.
    pub(super) fn pressed_here(&self, core: usize, spare: bool) {
        self.press(core, || spare);
    }

    /// What runs there is to give way: at once, if an idle core could take over what came (`now`), or when its slice is over.
    fn press(&self, core: usize, now: impl FnOnce() -> bool) {
        let Some(began_ns) = self.posts[core].slice_began_ns() else { return };
        if self.idle.any() && now() {
            self.posts[core].preempt(None);
        } else {
            self.ticker.look_at(began_ns + SLICE.as_nanos() as u64);
        }
    }

    /// Asks the core that most processes wait for to give one to whoever is idle. `by` is not asked.
    pub(super) fn ask(&self, by: usize) {
        let others = self.posts.iter().enumerate().filter(|(core, _)| *core != by);
        let loads = others.map(|(core, post)| (post.load(), core));
        // Of one process nothing can be given.
        let Some((_, core)) = loads.filter(|(load, _)| *load >= 2).max() else { return };
        if !self.posts[core].asked.swap(true, Ordering::SeqCst) {
            self.send(core, Packet::Ask);
        }
    }

    /// A process can go on, wherever it is.
    pub(super) fn wake(&self, tag: &Arc<Tag>) {
        if tag.wake()
            && let Some(core) = tag.core()
        {
            self.send(core, Packet::Wake(Arc::clone(tag)));
        }
    }

    /// Ends all processes and lets all threads end. Those that run end at their next check.
    pub(super) fn close(&self) {
        (0..self.posts.len()).for_each(|core| self.send(core, Packet::Close));
        self.ticker.close();
    }
}

/// What callers do.
impl Board {
    pub(super) fn run(
        self: &Arc<Self>,
        process: Process,
        talking: Option<Box<Leaving>>,
        share: Option<Arc<Share>>,
    ) -> Result<(), RunError> {
        if process.form() == Form::Handler {
            return self.serve_again(process, talking);
        }
        let core = self.least_loaded();
        let parcel = match self.enter(process, core, share) {
            Ok(parcel) => Parcel { talking, ..parcel },
            Err(error) => return Err(RunError { talking, ..error }),
        };
        self.send(core, Packet::Take(parcel));
        Ok(())
    }

    /// Takes a process onto the board, as one of this core.
    pub(super) fn enter(
        self: &Arc<Self>,
        process: Process,
        core: usize,
        share: Option<Arc<Share>>,
    ) -> Result<Parcel, RunError> {
        let (control, tag) = (process.control(), Arc::new(Tag::new(process.pid(), core, share)));
        let entered = match process.kind() {
            CodeKind::Plain => Err(Refusal::Plain),
            _ => self.registry.enter(&tag, control.clone()),
        };
        if let Err(refusal) = entered {
            return Err(RunError { process: Box::new(process), talking: None, refusal });
        }
        let execution = Execution::new(process, &tag, Arc::downgrade(self));
        Ok(Parcel { tag, control, execution, talking: None, habits: Habits::default() })
    }

    pub(super) fn serve(self: &Arc<Self>, handler: Box<Handler>) -> Result<(), ServeError> {
        self.post_handler(handler, &mut None)
    }

    /// Takes a handler that was stopped, here or elsewhere.
    fn serve_again(
        self: &Arc<Self>,
        process: Process,
        mut talking: Option<Box<Leaving>>,
    ) -> Result<(), RunError> {
        let (process, refusal) = match Handler::of(process) {
            Ok(handler) => match self.post_handler(Box::new(handler), &mut talking) {
                Ok(()) => return Ok(()),
                Err(ServeError { handler, refusal }) => (Box::new(handler.into_process()), refusal),
            },
            // Only plain code has no instance to be called.
            Err((process, _)) => (process, Refusal::Plain),
        };
        Err(RunError { process, talking, refusal })
    }

    /// Sends a handler to a core; takes what it has under way, if it can.
    fn post_handler(
        self: &Arc<Self>,
        mut handler: Box<Handler>,
        talking: &mut Option<Box<Leaving>>,
    ) -> Result<(), ServeError> {
        let core = self.least_loaded();
        let tag = match self.enter_handler(&handler, core) {
            Ok(tag) => tag,
            Err(refusal) => return Err(ServeError { handler, refusal }),
        };
        handler.set_waker(handlers::waker(self, &tag));
        let station = Station { tag, server: Server::Awake(handler), talking: talking.take() };
        self.send(core, Packet::Serve(station));
        Ok(())
    }

    /// Takes a handler onto the board, as one of this core.
    pub(super) fn enter_handler(
        &self,
        handler: &Handler,
        core: usize,
    ) -> Result<Arc<Tag>, Refusal> {
        let tag = Arc::new(Tag::of_handler(handler.pid(), core));
        self.registry.enter(&tag, handler.control())?;
        Ok(tag)
    }

    fn least_loaded(&self) -> usize {
        let loads = self.posts.iter().map(Post::load).enumerate();
        loads.min_by_key(|(_, load)| *load).map_or(0, |(core, _)| core)
    }

    /// Brings a kernel's packet to the core that it is for, or gives it back: nobody has that process.
    pub(super) fn bring(
        &self,
        packet: Box<peripatos_kernel::Packet>,
    ) -> Option<Box<peripatos_kernel::Packet>> {
        let core = match packet.target {
            Some(place) if place.node != self.node => {
                if matches!(packet.body, Body::Send { .. }) {
                    here::note_away(place.node);
                }
                return wires::send(*packet)
                    .and_then(|packet| self.outside.packet(packet))
                    .map(Box::new);
            }
            Some(place) if (place.core as usize) < self.posts.len() => Some(place.core as usize),
            _ => self.registry.core_of(principal(packet.to)),
        };
        match core {
            Some(core) => {
                if packet.body.is_call() {
                    here::note_far(core);
                }
                self.send(core, Packet::Talk(packet));
                None
            }
            None => self.outside.packet(*packet).map(Box::new),
        }
    }

    /// The core that has the process which a packet from outside is for.
    pub(super) fn core_for(&self, packet: &peripatos_kernel::Packet) -> Option<usize> {
        let core = self.registry.core_of(principal(packet.to));
        // A visitor is on no board, and where its sender believes it to be.
        let visits = |place: Place| place.core as usize == VISITED && place.node == self.node;
        core.or_else(|| packet.target.is_some_and(visits).then_some(VISITED))
    }

    /// Brings a packet from outside to the process that it is for. If it is not here, the packet goes outside again.
    ///
    /// Whether its sender knew where the process is matters to the kernel: what the packet says of that stays.
    pub(super) fn bring_in(&self, packet: peripatos_kernel::Packet) {
        if let Some(core) = self.core_for(&packet) {
            return self.send(core, Packet::Talk(Box::new(packet)));
        }
        let packet = Box::new(peripatos_kernel::Packet { target: None, ..packet });
        if let Some(packet) = self.bring(packet) {
            self.nobody(packet, 0);
        }
    }

    /// A process has a name, or has it no more.
    pub(super) fn named(&self) {
        self.outside.named(&self.names);
    }

    /// A node is gone: who waits for its processes is told.
    pub(super) fn unreachable(&self, node: u128) {
        (0..self.posts.len()).for_each(|core| self.send(core, Packet::Unreachable(node)));
    }

    /// Asks all cores what processes do.
    pub(super) fn survey(&self, survey: &Arc<Survey>) {
        for core in 0..self.posts.len() {
            self.send(core, Packet::Survey(Arc::clone(survey)));
        }
    }

    /// Tells of a circle, unless another one was told of just before.
    pub(super) fn deadlock(&self, circle: Circle) {
        let now_ns = self.time_ns(Instant::now());
        let last_ns = self.deadlock_ns.load(Ordering::Relaxed);
        let due = last_ns == 0 || now_ns.saturating_sub(last_ns) >= DEADLOCK_EVERY_NS;
        let relaxed = Ordering::Relaxed;
        let exchange =
            || self.deadlock_ns.compare_exchange(last_ns, now_ns.max(1), relaxed, relaxed);
        if due && exchange().is_ok() {
            self.tell(CoreEvent::Deadlock(circle));
        }
    }

    pub(super) fn cores(&self) -> usize {
        self.posts.len()
    }

    /// Nobody has the process that a packet is for, and so many cores' kernels know nothing of it: the next one is asked. The
    /// last is that of the core from which it is, if it is from here.
    pub(super) fn nobody(&self, packet: Box<peripatos_kernel::Packet>, asked: usize) {
        let last = self.core_of(packet.source).unwrap_or(0);
        self.send((last + 1 + asked) % self.cores(), Packet::Nobody(packet, asked));
    }

    /// Which core of this node that is.
    pub(super) fn core_of(&self, place: Place) -> Option<usize> {
        let core = place.core as usize;
        (place.node == self.node && core < self.cores()).then_some(core)
    }

    pub(super) fn freeze(&self, pid: Pid) -> Result<(), NotHere> {
        let (tag, control, new) = self.registry.wish(pid, Wish::Freeze)?;
        if new {
            // First the request, then the turn: else the turn might be over before it.
            control.freeze();
            self.hurry(tag);
        }
        Ok(())
    }

    /// Asks a handler to go to another core.
    pub(super) fn shift_handler(&self, pid: Pid, core: usize) -> Result<(), NotHere> {
        let tag = self.registry.handler(pid).ok_or(NotHere(pid))?;
        if core < self.posts.len()
            && tag.ask_shift(core)
            && let Some(at) = tag.core()
        {
            self.send(at, Packet::Shift(tag));
        }
        Ok(())
    }

    pub(super) fn kill(&self, pid: Pid) -> Result<(), NotHere> {
        let (tag, _, new) = self.registry.wish(pid, Wish::Kill)?;
        if new {
            self.hurry(tag);
        }
        Ok(())
    }

    /// Gives a process that is to be frozen or killed the next turn on its core, at once.
    fn hurry(&self, tag: Arc<Tag>) {
        if let Some(core) = tag.core() {
            self.send(core, Packet::Hurry(tag));
        }
    }

    pub(super) fn sample_changed(&self) -> Vec<Sample> {
        self.registry.sample_changed(|core| self.posts[core].clock(self.epoch))
    }

    pub(super) fn sample(&self) -> Vec<Sample> {
        self.registry.sample(|core| self.posts[core].clock(self.epoch))
    }
}
