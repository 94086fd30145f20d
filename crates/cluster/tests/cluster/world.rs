//! Several nodes with hosts that keep only the books: what runs, what stands still, what has come. Links keep the
//! order of messages, lose what is under way when they are cut, and lose nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::limits::{KNOWS_ALL_MAX, LINK_IDLE, LINKS_KEPT};
use peripatos_cluster::message::{Content, Description, Doing, End, Message, MigrationId};
use peripatos_cluster::{
    Action, Config, Event, Incarnation, Labels, Node, NodeId, Peer, PreCopied, Proof, Request,
    RequestId, Response, Sample, Strays, Talks, Time,
};

/// Without a link for so long a node counts as silent.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(1);

pub(crate) type Index = usize;

/// One node, and the books of its host.
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) incarnation: Incarnation,
    pub(crate) running: BTreeSet<Pid>,
    pub(crate) frozen: BTreeSet<Pid>,
    /// Do not run any more, and do not stand still yet.
    freezing: BTreeMap<MigrationId, Pid>,
    pub(crate) arriving: BTreeMap<MigrationId, Pid>,
    pub(crate) codes: BTreeSet<[u8; 32]>,
    /// Programs that peers were asked for.
    pub(crate) awaited: BTreeSet<[u8; 32]>,
    /// What its own threads will report.
    pub(crate) reports: VecDeque<Event>,
    pub(crate) responses: BTreeMap<RequestId, Response>,
    pub(crate) told: Vec<(Pid, End)>,
    /// Spawned processes of an origin here, and their families' roots.
    pub(crate) adopted: BTreeMap<Pid, Pid>,
    pub(crate) orphans: BTreeSet<Pid>,
    /// What its cores say, at once.
    surveys: VecDeque<Event>,
    /// Its cores say nothing.
    pub(crate) is_silent: bool,
    /// Which processes' origins were told of a circle, and how.
    pub(crate) deadlocks: Vec<(Pid, String)>,
    pub(crate) log: Vec<String>,
    /// Nodes of which those were told who wait for them.
    pub(crate) silent: Vec<NodeId>,
    /// Nodes whose names do not count any more, each time.
    pub(crate) nameless: Vec<NodeId>,
    /// Addresses that were to be called.
    pub(crate) called: Vec<String>,
    /// Who has told it that it was removed.
    pub(crate) removed_by: Option<NodeId>,
    /// Packets: each is the pid of the process that it is for.
    pub(crate) strays: Strays<Pid>,
    pub(crate) brought: Vec<Pid>,
    /// Of those nobody has the process.
    pub(crate) refused: Vec<Pid>,
}

impl Host {
    fn next_report(&mut self) -> Option<Event> {
        let report = self.reports.pop_front()?;
        if let Event::Frozen { migration, .. } = report {
            let pid = self.freezing.remove(&migration).expect("it was being frozen");
            self.frozen.insert(pid);
        }
        Some(report)
    }
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) hosts: Vec<Option<Host>>,
    /// Messages under way, by direction. There is an entry while the link stands.
    links: BTreeMap<(Index, Index), VecDeque<Message>>,
    pub(crate) codes_sent: usize,
    /// Questions where a process is, and answers.
    pub(crate) seek_messages: usize,
    /// Messages to keepers.
    pub(crate) entry_messages: usize,
    /// How often each process was offered to another node.
    pub(crate) offers: BTreeMap<Pid, usize>,
    /// Of each node.
    labels: Vec<Labels>,
    /// What each has on disk of those that were removed.
    pub(crate) kept_removed: BTreeMap<Index, BTreeMap<NodeId, Proof>>,
    /// What each process has, as the cores report it.
    pub(crate) memory_bytes: u64,
    /// What leaves a node that starts from now on.
    pub(crate) move_bytes_per_s: Option<u64>,
    /// And with whom each talks, as they count.
    pub(crate) talks: BTreeMap<Pid, Talks>,
    /// In a larger world each node hears of few others at a time.
    knows_all_max: usize,
    /// In a larger world links are made on need.
    pub(crate) links_kept: usize,
    /// Who is called is linked at once.
    pub(crate) connects: bool,
    /// Ends of links that the other end has closed.
    half_closed: BTreeSet<(Index, Index)>,
    incarnations: u64,
    requests: u64,
}

impl World {
    /// So many nodes of one core, all linked.
    pub(crate) fn new(count: usize) -> World {
        World::labelled(vec![Labels::default(); count])
    }

    /// The same, of nodes that take them to be too many to know all.
    pub(crate) fn of_many(count: usize) -> World {
        World::made(vec![Labels::default(); count], 0)
    }

    /// A node for each of these, with these labels.
    pub(crate) fn labelled(labels: Vec<Labels>) -> World {
        World::made(labels, KNOWS_ALL_MAX)
    }

    fn made(labels: Vec<Labels>, knows_all_max: usize) -> World {
        let count = labels.len();
        let mut world = World {
            labels,
            kept_removed: BTreeMap::new(),
            now: Time::default(),
            hosts: Vec::new(),
            links: BTreeMap::new(),
            codes_sent: 0,
            seek_messages: 0,
            entry_messages: 0,
            offers: BTreeMap::new(),
            memory_bytes: 1 << 20,
            move_bytes_per_s: None,
            talks: BTreeMap::new(),
            knows_all_max,
            links_kept: LINKS_KEPT,
            connects: false,
            half_closed: BTreeSet::new(),
            incarnations: 0,
            requests: 0,
        };
        for index in 0..count {
            world.hosts.push(None);
            world.start(index);
        }
        world.link_all();
        world
    }

    /// One node more.
    pub(crate) fn link_newcomer(&mut self) {
        self.labels.push(Labels::default());
        self.hosts.push(None);
        self.start(self.hosts.len() - 1);
        self.link_all();
    }

    /// Starts a node's OS process (again).
    pub(crate) fn start(&mut self, index: Index) {
        self.incarnations += 1;
        let incarnation = Incarnation(self.incarnations);
        let config = Config {
            node: id(index),
            incarnation,
            name: name(index),
            address: format!("10.0.0.{index}:1"),
            cores: 1,
            labels: self.labels.get(index).cloned().unwrap_or_default(),
            balancing: true,
            knows_all_max: self.knows_all_max,
            links_kept: self.links_kept,
            link_idle: LINK_IDLE,
            silent_after: SILENT_AFTER,
            move_bytes_per_s: self.move_bytes_per_s,
            removed: self.kept_removed.get(&index).cloned().unwrap_or_default(),
        };
        self.hosts[index] = Some(Host {
            node: Node::new(config),
            incarnation,
            running: BTreeSet::new(),
            frozen: BTreeSet::new(),
            freezing: BTreeMap::new(),
            arriving: BTreeMap::new(),
            codes: BTreeSet::new(),
            awaited: BTreeSet::new(),
            reports: VecDeque::new(),
            responses: BTreeMap::new(),
            told: Vec::new(),
            adopted: BTreeMap::new(),
            orphans: BTreeSet::new(),
            is_silent: false,
            surveys: VecDeque::new(),
            deadlocks: Vec::new(),
            log: Vec::new(),
            silent: Vec::new(),
            nameless: Vec::new(),
            called: Vec::new(),
            removed_by: None,
            strays: Strays::default(),
            brought: Vec::new(),
            refused: Vec::new(),
        });
    }

    /// Ends a node's OS process at once. The others see their links break.
    pub(crate) fn kill(&mut self, index: Index) {
        self.hosts[index] = None;
        for other in 0..self.hosts.len() {
            self.cut(index, other);
        }
    }

    /// Those with which a node has links.
    pub(crate) fn linked(&self, index: Index) -> BTreeSet<Index> {
        self.links.keys().filter(|(own, _)| *own == index).map(|(_, other)| *other).collect()
    }

    pub(crate) fn link_all(&mut self) {
        for a in 0..self.hosts.len() {
            for b in a + 1..self.hosts.len() {
                self.link(a, b);
            }
        }
    }

    pub(crate) fn link(&mut self, a: Index, b: Index) {
        if self.links.contains_key(&(a, b)) || self.hosts[a].is_none() || self.hosts[b].is_none() {
            return;
        }
        for (from, to) in [(a, b), (b, a)] {
            self.links.insert((from, to), VecDeque::new());
        }
        for (own, other) in [(a, b), (b, a)] {
            let Some(host) = &self.hosts[other] else { continue };
            let peer = Peer {
                node: id(other),
                incarnation: host.incarnation,
                name: name(other),
                address: format!("10.0.0.{other}:1"),
                labels: self.labels.get(other).cloned().unwrap_or_default(),
                parts: true,
            };
            let parked = self.host(own).strays.linked(id(other));
            self.tell(own, Event::LinkUp(peer));
            parked.into_iter().for_each(|packet| self.packet(other, packet, true));
        }
    }

    pub(crate) fn cut(&mut self, a: Index, b: Index) {
        for (own, other) in [(a, b), (b, a)] {
            if self.links.remove(&(own, other)).is_some() {
                self.seek_without(own, other);
                self.tell(own, Event::LinkDown(id(other)));
            }
        }
    }

    /// A link is closed from here: nothing is heard any more, and the other end hears all that was said.
    fn hang_up(&mut self, own: Index, other: Index) {
        if self.half_closed.remove(&(own, other)) {
            self.seek_without(own, other);
            return self.tell(own, Event::LinkParted(id(other)));
        }
        let Some(said) = self.links.remove(&(own, other)) else { return };
        self.links.remove(&(other, own));
        self.half_closed.insert((other, own));
        self.seek_without(own, other);
        self.tell(own, Event::LinkParted(id(other)));
        for message in said {
            self.hears(own, other, message);
        }
        if self.half_closed.remove(&(other, own)) {
            self.seek_without(other, own);
            self.tell(other, Event::LinkDown(id(own)));
        }
    }

    /// Starts a process whose origin is attached to the node.
    pub(crate) fn spawn(&mut self, index: Index, number: u64) -> Pid {
        self.begin(index, description(number, id(index)))
    }

    /// The same, of this one.
    pub(crate) fn begin(&mut self, index: Index, description: Description) -> Pid {
        let pid = description.pid;
        let host = self.host(index);
        host.codes.insert(description.code);
        host.running.insert(pid);
        self.tell(index, Event::Started(description));
        pid
    }

    pub(crate) fn host(&mut self, index: Index) -> &mut Host {
        self.hosts[index].as_mut().expect("the node is up")
    }

    pub(crate) fn tell(&mut self, index: Index, event: Event) {
        let Some(host) = &mut self.hosts[index] else { return };
        let mut actions = Vec::new();
        host.node.handle(self.now, event, &mut actions);
        for action in actions {
            self.act(index, action);
        }
        while let Some(event) = self.hosts[index].as_mut().and_then(|host| host.surveys.pop_front())
        {
            self.tell(index, event);
        }
    }

    pub(crate) fn ask(&mut self, index: Index, request: Request) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.tell(index, Event::Request { id, request });
        id
    }

    fn act(&mut self, index: Index, action: Action) {
        let Some(host) = &mut self.hosts[index] else { return };
        match action {
            Action::Send { to, message } => {
                if let Message::Offer { luggage, .. } = &message {
                    *self.offers.entry(luggage.process.pid).or_default() += 1;
                }
                if let Message::WantCode { code } = message {
                    host.awaited.insert(code);
                }
                self.send(index, to, message);
            }
            Action::Say { to, word } => {
                let to = (0..self.hosts.len()).find(|other| id(*other) == to);
                if let Some(host) = to.and_then(|to| self.hosts[to].as_mut()) {
                    host.reports.push_back(Event::Word { from: id(index), word });
                }
            }
            Action::Connect(addresses) => {
                host.called.extend(addresses.iter().cloned());
                let at = |other: &Index| addresses.contains(&format!("10.0.0.{other}:1"));
                let others: Vec<Index> = (0..self.hosts.len()).filter(at).collect();
                if self.connects {
                    others.into_iter().for_each(|other| self.link(index, other));
                }
            }
            Action::Hint { to, entries } => {
                let message = Message::Entries(entries);
                let event = Event::Message { from: id(index), message };
                if let Some(other) = self.hosts[to.0 as usize].as_mut() {
                    other.reports.push_back(event);
                }
            }
            Action::HangUp(node) => self.hang_up(index, node.0 as usize),
            Action::ForgetNames(node) => host.nameless.push(node),
            Action::WantCode(code) => host.reports.push_back(match host.codes.contains(&code) {
                true => Event::CodeReady(code),
                false => Event::CodeMissing(code),
            }),
            Action::ForgetCode(code) => {
                host.awaited.remove(&code);
            }
            Action::SendCode { to, code } => {
                self.codes_sent += 1;
                let content = Content::Code(code);
                self.send(index, to, Message::Bulk { stream: 0, content, lane: None });
            }
            Action::PreCopy { migration, .. } => {
                let copied = PreCopied { rounds: 1, bytes: self.memory_bytes };
                host.reports.push_back(Event::PreCopied { migration, copied });
            }
            Action::StopCopying(migration) => {
                host.reports.retain(|report| {
                    !matches!(report, Event::PreCopied { migration: of, .. } if *of == migration)
                });
            }
            Action::Freeze { pid, migration } => {
                // Whether it has ended meanwhile is seen when the report comes.
                host.strays.stands_still(pid);
                if host.running.remove(&pid) {
                    host.freezing.insert(migration, pid);
                    host.reports.push_back(Event::Frozen { migration, image_bytes: 1 });
                }
            }
            Action::SendImage { to, migration, .. } => {
                let content = Content::Image(migration);
                self.send(index, to, Message::Bulk { stream: 0, content, lane: None });
            }
            Action::Resume(pid) => {
                assert!(host.frozen.remove(&pid), "{pid} is not frozen here");
                host.running.insert(pid);
                self.comes(index, pid);
            }
            Action::Discard { pid, to } => {
                assert!(host.frozen.remove(&pid), "{pid} is not frozen here");
                self.went(index, pid, to);
            }
            Action::Expect { migration, luggage, .. } => {
                host.arriving.insert(migration, luggage.process.pid);
                host.reports.push_back(Event::RoomMade(migration));
            }
            Action::Activate { migration, pid } => {
                assert_eq!(host.arriving.remove(&migration), Some(pid), "it has come");
                host.running.insert(pid);
                self.comes(index, pid);
            }
            Action::Drop(migration) => {
                host.arriving.remove(&migration);
            }
            Action::Kill(pid) => {
                if host.running.remove(&pid) {
                    host.reports.push_back(Event::Ended { pid, end: End::Killed });
                }
            }
            Action::NodeGone(_) => {}
            Action::NodeSilent(node) => host.silent.push(node),
            Action::Remove(nodes) => {
                self.kept_removed.insert(index, host.node.removed().clone());
                for other in nodes.into_iter().map(|node| node.0 as usize) {
                    while self.deliver(index, other) {}
                    self.cut(index, other);
                }
            }
            Action::WasRemoved { by } => host.removed_by = Some(by),
            Action::OriginGone(pid) => {
                host.orphans.insert(pid);
            }
            Action::Adopt { pid, root, .. } => {
                assert!(host.adopted.insert(pid, root).is_none(), "{pid} has one origin");
            }
            Action::TellOrigin { pid, end } => host.told.push((pid, end)),
            Action::Respond { id, response } => {
                assert!(host.responses.insert(id, response).is_none(), "one answer a question");
            }
            Action::Survey { .. } if host.is_silent => {}
            Action::Survey { survey, pids } => {
                let known = |pid: &Pid| host.running.contains(pid);
                let doings = pids.into_iter().filter(known).map(|pid| (pid, Doing::Ready));
                let doings = doings.collect();
                host.surveys.push_back(Event::Surveyed { survey, doings });
            }
            Action::TellDeadlock { pid, text } => host.deadlocks.push((pid, text)),
            Action::Log(line) => host.log.push(line),
        }
    }

    pub(crate) fn send(&mut self, from: Index, to: NodeId, message: Message) {
        match message {
            Message::Seek { .. } | Message::Sought(_) => self.seek_messages += 1,
            Message::Entries(_) => self.entry_messages += 1,
            _ => {}
        }
        if let Some(queue) = self.links.get_mut(&(from, to.0 as usize)) {
            queue.push_back(message);
        }
    }

    /// Delivers the oldest message of a direction. `false`: there is none.
    pub(crate) fn deliver(&mut self, from: Index, to: Index) -> bool {
        let message = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front);
        let Some(message) = message else { return false };
        self.hears(from, to, message);
        true
    }

    fn hears(&mut self, from: Index, to: Index, message: Message) {
        match message {
            Message::Bulk { content: Content::Code(code), .. } => {
                if self.host(to).awaited.remove(&code) {
                    self.host(to).codes.insert(code);
                    self.tell(to, Event::CodeReady(code));
                }
            }
            Message::Bulk { content: Content::Image(migration), .. } => {
                if self.host(to).arriving.contains_key(&migration) {
                    self.host(to).reports.push_back(Event::Prepared(migration));
                }
            }
            Message::Seek { pid, question } => self.sought(to, from, pid, question),
            Message::Sought(sought) => self.found(to, from, sought),
            message => self.tell(to, Event::Message { from: id(from), message }),
        }
    }

    /// Lets a host report the next thing it has done. `false`: there is none.
    pub(crate) fn report(&mut self, index: Index) -> bool {
        let report = self.hosts[index].as_mut().and_then(Host::next_report);
        report.map(|event| self.tell(index, event)).is_some()
    }

    /// Time passes; the cores report that everything that runs has run meanwhile.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        for index in 0..self.hosts.len() {
            let Some(host) = &self.hosts[index] else { continue };
            let sample = |pid: &Pid| Sample {
                pid: *pid,
                core: 0,
                cpu: self.now.0,
                // Who calls another node waits most of the time.
                runnable: self.talks.get(pid).is_none_or(|talks| talks.away_node.is_none()),
                asleep: false,
                memory_bytes: self.memory_bytes,
                talks: self.talks.get(pid).copied().unwrap_or_default(),
            };
            let samples = host.running.iter().map(sample).collect();
            self.tell(index, Event::Samples(samples));
            self.tell(index, Event::Tick);
            self.seek_no_longer(index);
        }
    }

    /// Delivers and reports everything that is under way, until nothing is.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let directions: Vec<(Index, Index)> = self.links.keys().copied().collect();
            let mut moved = false;
            for (from, to) in directions {
                moved |= self.deliver(from, to);
            }
            for index in 0..self.hosts.len() {
                moved |= self.report(index);
            }
            if !moved {
                return;
            }
        }
        panic!("the nodes never fall silent");
    }

    /// Settles, and lets so many ticks pass.
    pub(crate) fn live(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.pass(Duration::from_millis(100));
            self.settle();
        }
    }

    /// Where a process runs. At most one node may say so.
    pub(crate) fn place(&self, pid: Pid) -> Option<Index> {
        let runs = |host: &Option<Host>| host.as_ref().is_some_and(|h| h.running.contains(&pid));
        let places: Vec<Index> =
            (0..self.hosts.len()).filter(|index| runs(&self.hosts[*index])).collect();
        assert!(places.len() <= 1, "{pid} runs on {places:?}");
        places.first().copied()
    }
}

/// A process of one of three programs.
pub(crate) fn description(number: u64, origin: NodeId) -> Description {
    Description {
        pid: Pid::new(number, number),
        command: vec!["program".into()],
        code: [number as u8 % 3; 32],
        origin,
        started_unix_seconds: 0,
        memory_bytes_max: 1 << 30,
        memory_bytes_needed: 0,
        canonical_nan: false,
        kin: None,
    }
}

pub(crate) fn id(index: Index) -> NodeId {
    NodeId(index as u128)
}

pub(crate) fn name(index: Index) -> String {
    format!("node{index}")
}
