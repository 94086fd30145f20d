//! Kernels, processes and what happens to them, one event after another.

use std::collections::HashMap;

use peripatos_abi::Pid;
use peripatos_cluster::Incarnation;
use peripatos_kernel::{Kernel, Place};

use crate::actor::{Actor, Id};
use crate::checkers;
use crate::config::{Config, Level, MS, SECOND};
use crate::event::{Event, Events};
use crate::ledger::Ledger;
use crate::nodes::Cluster;
use crate::random::Random;
use crate::trace::Trace;

/// How long it takes, after nothing goes wrong any more, until everybody has been told.
const SETTLED: u64 = 60 * SECOND;
/// And, after everybody has ended, until the kernels have forgotten everything.
const FORGOTTEN: u64 = 240 * SECOND;
/// A kernel is told the time so often at least.
const TICK: u64 = 500 * MS;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Of the run of this seed.
    pub seed: u64,
    /// Which checker has found it.
    pub checker: &'static str,
    /// What.
    pub what: String,
    /// When, in nanoseconds.
    pub at: u64,
}

/// What a run was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Outcome {
    /// All that has happened, as a number.
    pub hash: u64,
    /// Sends that were made.
    pub sends: usize,
    /// Of them, those that were replied to.
    pub replies: usize,
    /// Those that failed because of a circle.
    pub deadlocks: usize,
    /// Those that failed because a node could not be reached.
    pub unreachable: usize,
    /// Processes that have moved.
    pub moves: usize,
    /// Ends that watchers were told of.
    pub ends: usize,
    /// Messages that were forwarded.
    pub forwards: usize,
    /// Names that were lost to somebody else.
    pub names_lost: usize,
    /// Operations on what was lent that were done.
    pub accesses: usize,
    /// Sends to groups that came to a reply.
    pub gathered: usize,
    /// Processes that have woken.
    pub woken: usize,
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) alive: bool,
    /// Its clock's ticks come late.
    pub(crate) slow: bool,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    pub(crate) config: Config,
    pub(crate) random: Random,
    pub(crate) trace: Trace,
    pub(crate) events: Events,
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) places: Vec<Place>,
    /// Which node a kernel belongs to.
    pub(crate) node_of: Vec<usize>,
    tick_at: Vec<u64>,
    /// Kernels that may have something to say.
    pub(crate) touched: Vec<usize>,
    pub(crate) actors: Vec<Actor>,
    pub(crate) by_pid: HashMap<Pid, Id>,
    /// Who answers.
    pub(crate) services: Vec<Id>,
    /// Where processes are, as hosts know it, and since when; `None`: nowhere.
    pub(crate) directory: Vec<(Option<usize>, u64)>,
    /// Nodes on one side, and on the other.
    pub(crate) parted: Option<Vec<bool>>,
    /// Nothing goes wrong any more, and nobody begins anything.
    pub(crate) calm: bool,
    /// All have been told to end: whoever comes does.
    pub(crate) ended: bool,
    /// The nodes, if they are simulated.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) ledger: Ledger,
    pub(crate) outcome: Outcome,
    pub(crate) violation: Option<Violation>,
    #[cfg(feature = "mutations")]
    mutation: Option<peripatos_kernel::Mutation>,
    #[cfg(feature = "mutations")]
    pub(crate) lapse: Option<crate::sleep::Lapse>,
}

impl World {
    /// A run that has not begun. `tell`: prints what happens.
    #[must_use]
    pub fn new(config: Config, tell: bool) -> World {
        let random = Random::new(config.seed);
        let mut world = World {
            random,
            trace: Trace::new(tell),
            events: Events::default(),
            now: 0,
            nodes: Vec::new(),
            kernels: Vec::new(),
            places: Vec::new(),
            node_of: Vec::new(),
            tick_at: Vec::new(),
            touched: Vec::new(),
            actors: Vec::new(),
            by_pid: HashMap::new(),
            services: Vec::new(),
            directory: Vec::new(),
            parted: None,
            calm: false,
            ended: false,
            cluster: None,
            #[cfg(feature = "mutations")]
            mutation: None,
            #[cfg(feature = "mutations")]
            lapse: None,
            ledger: Ledger::default(),
            outcome: Outcome::default(),
            violation: None,
            config,
        };
        for (node, cores) in world.config.cores.clone().into_iter().enumerate() {
            for core in 0..cores {
                let place = Place { node: node as u128 + 1, core: core as u32 };
                world.kernels.push(Kernel::new(place, 0));
                world.places.push(place);
                world.node_of.push(node);
                world.tick_at.push(0);
            }
            let slow = world.random.permille(100);
            world.nodes.push(Node { alive: true, slow });
        }
        if world.config.level == Level::Nodes {
            world.cluster = Some(Cluster::start(&world.config.cores, world.config.seed));
        }
        world
    }

    /// All kernels do this wrong.
    #[cfg(feature = "mutations")]
    pub fn mutate(&mut self, mutation: peripatos_kernel::Mutation) {
        self.mutation = Some(mutation);
        self.kernels.iter_mut().for_each(|kernel| kernel.mutate(mutation));
    }

    /// Whoever drives the kernels does this wrong.
    #[cfg(feature = "mutations")]
    pub fn mutate_hosts(&mut self, lapse: crate::sleep::Lapse) {
        self.lapse = Some(lapse);
    }

    /// All nodes do this wrong, if there are any.
    #[cfg(feature = "mutations")]
    pub fn mutate_nodes(&mut self, mutation: crate::nodes::Mutation) {
        self.cluster.iter_mut().for_each(|cluster| cluster.mutate(mutation));
    }

    /// All nodes deal wrongly with names, if there are any.
    #[cfg(feature = "mutations")]
    pub fn mutate_names(&mut self, mutation: peripatos_kernel::Mutation) {
        self.cluster.iter_mut().for_each(|cluster| cluster.mutate_names(mutation));
    }

    /// Lets it all happen.
    ///
    /// # Errors
    /// What was found first that must not be.
    pub fn run(mut self) -> Result<Outcome, Violation> {
        if self.cluster.is_some() {
            // First all nodes find each other: whom nobody knows nobody asks.
            self.plan_nodes();
            self.run_until(SECOND);
        }
        let begun = self.now;
        self.populate();
        self.plan_faults();
        (0..self.kernels.len()).for_each(|kernel| self.plan_tick(kernel));
        let span = self.config.span;
        self.run_until(begun + span);
        self.events.plan(self.now, Event::Calm);
        self.events.plan(self.now + SETTLED / 2, Event::Quiet);
        self.run_until(begun + span + SETTLED);
        if let Some(violation) = self.violation {
            return Err(violation);
        }
        checkers::at_rest(&mut self);
        self.end_all();
        self.events.plan(self.now + SECOND, Event::End);
        self.run_until(begun + span + SETTLED + FORGOTTEN);
        checkers::at_end(&mut self);
        self.outcome.hash = self.trace.hash();
        self.outcome.sends = self.ledger.sends.len();
        match self.violation {
            None => Ok(self.outcome),
            Some(violation) => Err(violation),
        }
    }

    /// Somebody says that something must not be. The first counts.
    pub(crate) fn violated(&mut self, checker: &'static str, what: String) {
        let (seed, at) = (self.config.seed, self.now);
        self.trace.note(at, &[u64::MAX], || format!("{checker}: {what}"));
        self.violation.get_or_insert(Violation { seed, checker, what, at });
    }

    fn run_until(&mut self, until: u64) {
        while self.violation.is_none()
            && let Some((at, event)) = self.events.next(until)
        {
            self.now = at;
            self.happens(event);
            while let Some(kernel) = self.touched.pop() {
                self.hear(kernel);
            }
        }
        self.now = until;
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Turn(id) => self.turn(id),
            Event::TimeOut(id, turn) => self.time_out(id, turn),
            Event::Resume(id, turn) => self.resume(id, turn),
            Event::Repay(id) => self.repay(id),
            Event::Look(id) => self.look(id),
            Event::Nap(id, turn) => self.nap(id, turn),
            Event::Wake(id, sleep) => self.wake(id, sleep),
            Event::Packet(kernel, packet) => self.arrives(kernel, *packet),
            Event::Arrive(id, from, to, moving) => self.comes(id, from, to, *moving),
            Event::Tick(kernel) => self.tick(kernel),
            Event::Learn(id, place, since) => {
                if self.directory[id].1 <= since {
                    self.directory[id] = (place, since);
                }
            }
            Event::Move => self.move_some(),
            Event::Part(sides) => self.part(sides),
            Event::Heal => self.heal(),
            Event::Crash(node) => self.crash(node),
            Event::Unreachable(kernel, node) => self.told_unreachable(kernel, node),
            Event::Calm => self.calm_down(),
            Event::Quiet => checkers::leaks::when_quiet(self),
            Event::End => self.end_all(),
            event => self.happens_to_nodes(event),
        }
    }

    fn happens_to_nodes(&mut self, event: Event) {
        match event {
            Event::Dial(one, other) => self.dial(one, other),
            Event::Call(one, other) => self.call_node(one, other),
            Event::LinkUp(end, number) => self.link_up(end, number),
            Event::LinkDown(end, number) => self.link_down(end, number),
            Event::Heard(to, number, said, item) => self.heard(to, number, said, *item),
            Event::Input(node, of, input) if self.is(node, of) => self.takes_input(node, *input),
            Event::HostTick(node) => self.host_tick(node),
            Event::Freeze(node, of, pid) if self.is(node, of) => self.freeze(node, pid),
            Event::Kill(node, of, pid) if self.is(node, of) => self.kill(node, pid),
            Event::Nobody(kernel, packet, asked) if self.is_alive(kernel) => {
                self.hears_nobody(kernel, *packet, asked);
            }
            Event::Gone(at, node, of) => self.told_gone(at, node, of),
            Event::Renewed(node, of, sent) if self.is(node, of) => self.renewed(node, sent),
            Event::Datagram(from, to, bytes) => self.datagram_comes(from, to, &bytes),
            Event::Gossip(at, node, of, up) => self.gossip_heard(at, node, of, up),
            Event::Restart(node) => self.restart(node),
            Event::Drain(node, on) => self.drain(node, on),
            Event::Cut(one, other) => self.cut(one, other),
            Event::Break => self.break_some(),
            // Of a node that has crashed.
            _ => {}
        }
    }

    fn is(&self, node: usize, of: Incarnation) -> bool {
        let hosts = self.cluster.as_ref().map(|cluster| &cluster.hosts);
        self.nodes[node].alive && hosts.is_some_and(|hosts| hosts[node].incarnation == of)
    }

    /// The nodes. Only what happens in a world that has them asks for them.
    pub(crate) fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("there are nodes")
    }

    fn plan_nodes(&mut self) {
        for one in 0..self.nodes.len() {
            let at = self.random.within(0..100 * MS);
            self.events.plan(at, Event::HostTick(one));
            self.take_lease(one);
            if self.is_sparse() {
                self.gossip_of_newcomer(one);
                continue;
            }
            for other in one + 1..self.nodes.len() {
                let at = self.random.within(0..100 * MS);
                self.events.plan(at, Event::Dial(one, other));
            }
        }
        self.ledger.trouble = Some(u64::MAX);
        if self.config.break_every > 0 {
            self.events.plan(2 * SECOND, Event::Break);
        }
    }

    /// A kernel begins, where another one may have been.
    pub(crate) fn start_kernel(&mut self, at: usize) {
        // Between two starts of a node there are more milliseconds than one.
        let mut kernel = Kernel::new(self.places[at], (self.now / MS) as u32);
        #[cfg(feature = "mutations")]
        if let Some(mutation) = self.mutation {
            kernel.mutate(mutation);
        }
        kernel.tick(self.now);
        self.kernels[at] = kernel;
        self.tick_at[at] = 0;
        self.plan_tick(at);
    }

    pub(crate) fn is_alive(&self, kernel: usize) -> bool {
        self.nodes[self.node_of[kernel]].alive
    }

    fn tick(&mut self, kernel: usize) {
        // Another one was planned meanwhile.
        if self.tick_at[kernel] != self.now || !self.is_alive(kernel) {
            return;
        }
        self.kernels[kernel].tick(self.now);
        self.touched.push(kernel);
        self.plan_tick(kernel);
    }

    /// Plans when a kernel is told the time next.
    pub(crate) fn plan_tick(&mut self, kernel: usize) {
        let wanted = self.kernels[kernel].next_tick().unwrap_or(u64::MAX);
        let mut at = wanted.clamp(self.now + MS, self.now + TICK);
        if self.nodes[self.node_of[kernel]].slow {
            at += 100 * MS;
        }
        let planned = self.tick_at[kernel];
        if planned <= self.now || at < planned {
            self.tick_at[kernel] = at;
            self.events.plan(at, Event::Tick(kernel));
        }
    }

    /// The kernel, slot and memory of a process that is somewhere.
    pub(crate) fn parts(
        &mut self,
        id: Id,
    ) -> Option<(&mut Kernel, peripatos_kernel::Slot, &mut Actor)> {
        let actor = &mut self.actors[id];
        let (kernel, slot) = actor.place?;
        self.touched.push(kernel);
        Some((&mut self.kernels[kernel], slot, actor))
    }
}
