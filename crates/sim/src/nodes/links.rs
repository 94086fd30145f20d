//! Links: made again and again, until they break.

use peripatos_cluster::message::{Content, Message, Sought};
use peripatos_cluster::{Event as Told, Lookup};
use peripatos_kernel::limits::PACKET_NS_MAX;
use peripatos_kernel::{NameLost, Packet};

use super::{Input, Item, Link, id_of, index_of, time};
use crate::config::{MS, SECOND};
use crate::event::Event;
use crate::world::World;

impl World {
    /// Two nodes call each other, if they have no link; and try again later.
    pub(crate) fn dial(&mut self, one: usize, other: usize) {
        let again = self.random.within(200 * MS..2 * SECOND);
        if self.is_sparse() && self.live_link(one, other).is_some() {
            return;
        }
        self.events.plan(self.now + again, Event::Dial(one, other));
        self.call_node(one, other);
    }

    /// A node calls another one, if they have no link.
    pub(crate) fn call_node(&mut self, one: usize, other: usize) {
        let alive = self.nodes[one].alive && self.nodes[other].alive;
        if !alive || !self.reaches(one, other) || self.live_link(one, other).is_some() {
            return;
        }
        if self.is_refused(one, other) || self.is_refused(other, one) {
            return;
        }
        let now = self.now;
        let (later, delay) = (self.random.within(MS / 10..20 * MS), self.random.below(2));
        let (first, second) = if delay == 0 { (one, other) } else { (other, one) };
        let cluster = self.cluster();
        cluster.links_made += 1;
        let number = cluster.links_made;
        let ends = [one, other];
        let incarnations = ends.map(|end| cluster.hosts[end].incarnation);
        let last = [now; 2];
        let mut link =
            Link { ends, incarnations, broken: None, drains: false, closing: false, last };
        link.last[usize::from(link.ends[1] == second)] = now + later;
        cluster.links.insert(number, link);
        self.events.plan(now + later, Event::LinkUp(second, number));
        self.link_up(first, number);
    }

    /// Whether a node does not take another one, since its lease has expired.
    fn is_refused(&mut self, by: usize, node: usize) -> bool {
        let hosts = &self.cluster().hosts;
        hosts[by].node.is_expired(id_of(node), hosts[node].incarnation)
    }

    /// The link between two nodes that has not broken.
    fn live_link(&self, one: usize, other: usize) -> Option<u64> {
        let links = self.cluster.as_ref()?.links.iter();
        let between = |link: &Link| link.ends.contains(&one) && link.ends.contains(&other);
        let mut live =
            links.filter(|(_, link)| link.broken.is_none() && !link.closing && between(link));
        live.next().map(|(number, _)| *number)
    }

    /// A link stands, at this end.
    pub(crate) fn link_up(&mut self, end: usize, number: u64) {
        let cluster = self.cluster();
        let Some(link) = cluster.links.get(&number).filter(|link| link.broken.is_none()) else {
            return;
        };
        let peer = if link.ends[0] == end { link.ends[1] } else { link.ends[0] };
        if cluster.hosts[end].standing.contains_key(&peer) {
            // The old one was dead, and this end has not noticed yet.
            self.drop_link(end, peer);
        }
        let now = self.now;
        self.trace.note(now, &[30, end as u64, peer as u64, number], || {
            format!("n{end} is linked with n{peer}")
        });
        let sparse = self.is_sparse();
        let cluster = self.cluster();
        let known = cluster.peer(peer);
        let host = &mut cluster.hosts[end];
        host.standing.insert(peer, number);
        host.lost.remove(&peer);
        host.parted.remove(&peer);
        host.met.insert(peer);
        host.silenced.remove(&peer);
        if sparse {
            host.names_due.insert(peer);
        } else {
            host.names.forget_node(id_of(peer).0);
        }
        let parked = host.strays.linked(id_of(peer));
        // What others have not been told of the changes, this one is told with all the rest.
        let own = host.names.own();
        if sparse || !own.is_empty() {
            self.say(end, peer, Item::message(Message::Names(super::names::on_wire(own))));
        }
        for packet in parked {
            self.talk(end, peer, &packet);
        }
        self.tell(end, Told::LinkUp(known));
        self.gossip_of_linked(end, peer);
        self.look_at_trouble();
    }

    /// A link breaks. Each end notices it when it does.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        let Some(number) = self.live_link(one, other) else { return };
        let (now, drains, silent) =
            (self.now, self.random.permille(500), self.random.permille(300));
        self.trace.note(now, &[31, one as u64, other as u64, number], || {
            format!("the link of n{one} and n{other} breaks; drains: {drains}")
        });
        let cluster = self.cluster();
        if let Some(link) = cluster.links.get_mut(&number) {
            (link.broken, link.drains) = (Some(now), drains);
        }
        self.ledger.trouble = Some(u64::MAX);
        for end in [one, other] {
            let most = if silent { 6 * SECOND } else { 100 * MS };
            let after = self.random.within(MS..most);
            self.events.plan(now + after, Event::LinkDown(end, number));
        }
    }

    /// An end notices that a link is broken.
    pub(crate) fn link_down(&mut self, end: usize, number: u64) {
        let host = &self.cluster().hosts[end];
        let peer = host.standing.iter().find(|(_, standing)| **standing == number);
        if let Some(peer) = peer.map(|(peer, _)| *peer) {
            self.drop_link(end, peer);
        }
        self.forget_link(number);
        self.look_at_trouble();
    }

    /// A link that stands at no end is over.
    pub(super) fn forget_link(&mut self, number: u64) {
        let cluster = self.cluster();
        let stands = cluster.hosts.iter().any(|host| host.standing.values().any(|n| *n == number));
        if !stands {
            cluster.links.remove(&number);
        }
    }

    fn drop_link(&mut self, end: usize, peer: usize) {
        let now = self.now;
        self.trace.note(now, &[32, end as u64, peer as u64], || {
            format!("n{end} sees that its link with n{peer} is broken")
        });
        let cluster = self.cluster();
        let host = &mut cluster.hosts[end];
        let Some(number) = host.standing.get(&peer).copied() else { return };
        let (mut dialled, mut broke) = (false, true);
        if let Some(link) = cluster.links.get(&number) {
            (dialled, broke) = (link.ends[0] == end, !link.closing);
            host.lost.insert(peer, link.incarnations[usize::from(link.ends[1] == peer)]);
        }
        self.take_link(end, peer);
        self.tell(end, Told::LinkDown(id_of(peer)));
        if broke {
            self.gossip_of_unlinked(end, peer);
        }
        if dialled && self.is_sparse() {
            self.dial(end, peer);
        }
    }

    /// An end has no link any more, for whatever reason.
    pub(super) fn take_link(&mut self, end: usize, peer: usize) {
        let now = self.now;
        let host = &mut self.cluster().hosts[end];
        host.standing.remove(&peer);
        host.awaited.retain(|_, from| *from != peer);
        // Images that have not come whole.
        let cut = host.expected.extract_if(.., |id, _| id.source == id_of(peer));
        let cut: Vec<_> = cut.map(|(id, _)| id).collect();
        for id in cut {
            self.input(end, Input::Thawed(id, false));
        }
        self.strays(end, |strays, here, out| strays.unlinked(time(now), id_of(peer), here, out));
    }

    /// A node says something to another one; nobody hears it, if there is no link.
    pub(crate) fn say(&mut self, from: usize, to: usize, item: Item) {
        let said = self.now;
        self.say_at(from, to, item, said);
    }

    /// Something is said just before the link breaks.
    pub(super) fn say_last(&mut self, from: usize, to: usize, item: Item) {
        let said = self.now.saturating_sub(1);
        self.say_at(from, to, item, said);
    }

    fn say_at(&mut self, from: usize, to: usize, item: Item, said: u64) {
        let (mut delay, now) = (self.delay(), self.now);
        if self.nodes[from].slow || self.nodes[to].slow {
            delay += self.random.within(0..50 * MS);
        }
        let bulk = matches!(item, Item::Code(_) | Item::Image(..));
        if bulk {
            delay += self.random.within(MS..50 * MS);
            if !self.calm && self.random.permille(50) {
                delay += self.random.within(0..3 * SECOND);
            }
        }
        let Some(cluster) = self.cluster.as_mut() else { return };
        let Some(number) = cluster.hosts[from].standing.get(&to).copied() else { return };
        let Some(link) = cluster.links.get_mut(&number) else { return };
        if link.broken.is_some() {
            return;
        }
        let last = &mut link.last[usize::from(link.ends[1] == to)];
        let at = (now + delay).max(*last);
        // What is long comes in pieces beside what is short, or over a lane.
        if !bulk {
            *last = at;
        }
        self.events.plan(at, Event::Heard(to, number, said, Box::new(item)));
    }

    /// Something reaches the other end of a link, if it still stands there.
    pub(crate) fn heard(&mut self, to: usize, number: u64, said: u64, item: Item) {
        let cluster = self.cluster();
        let Some(link) = cluster.links.get(&number) else { return };
        let from = if link.ends[0] == to { link.ends[1] } else { link.ends[0] };
        let lost = link.broken.is_some_and(|at| !link.drains || said >= at);
        if lost || cluster.hosts[to].standing.get(&from) != Some(&number) {
            return;
        }
        match item {
            Item::Message(message) => {
                if !matches!(*message, Message::Load(_)) {
                    let now = self.now;
                    self.trace.note(now, &[33, from as u64, to as u64], || {
                        format!("n{to} hears of n{from}: {message:?}")
                    });
                }
                if matches!(*message, Message::Seek { .. } | Message::Sought(_)) {
                    self.cluster().hosts[to].used.insert(from);
                }
                self.hears(to, from, *message);
            }
            Item::Talk(bytes) => {
                self.cluster().hosts[to].used.insert(from);
                let packet: Packet = postcard::from_bytes(&bytes).expect("it was made here");
                match packet.check() {
                    Ok(()) => self.bring_here(to, packet),
                    Err(error) => self.violated("limits", format!("{error}: {packet:?}")),
                }
            }
            Item::Code(code) => {
                if self.cluster().hosts[to].awaited.remove(&code).is_some() {
                    self.input(to, Input::Compiled(code));
                }
            }
            Item::Image(migration, bytes, names) => self.image_came(to, migration, &bytes, names),
        }
    }

    pub(super) fn hears(&mut self, to: usize, from: usize, message: Message) {
        let now = self.now;
        let id = id_of(from);
        match message {
            Message::Seek { pid, question } => {
                let on_core = self.core_of(to, pid).map(|_| true);
                let strays = &self.cluster().hosts[to].strays;
                let here = on_core.or_else(|| strays.has(time(now), id, pid));
                if let Some(sighting) = self.cluster().hosts[to].node.sighting(pid, here) {
                    let sought = Sought { pid, question, sighting };
                    if self.cluster().hosts[to].standing.contains_key(&from) {
                        self.say(to, from, Item::message(Message::Sought(sought)));
                    } else {
                        self.send_lookup(to, from, &Lookup::Sought(sought));
                    }
                }
            }
            Message::Sought(sought) => {
                self.strays(to, |strays, here, out| {
                    strays.found(time(now), id, sought, here, out);
                });
            }
            Message::Names(names) => {
                let names = names.into_iter();
                let changes =
                    names.map(|(name, pid)| (name, pid.map(peripatos_abi::Pid::from_bits)));
                let host = &mut self.cluster().hosts[to];
                if host.names_due.remove(&from) {
                    host.names.forget_node(id.0);
                }
                host.names.heard(id.0, changes.collect());
                self.named(to);
            }
            Message::NameLost { name, owner, loser } => {
                let lost = NameLost { name, owner, loser };
                self.cluster().hosts[to].names.heard_lost(id.0, lost);
                self.named(to);
            }
            Message::Bulk { content: Content::Code(_) | Content::Image(_), .. } => {}
            message => {
                if let Message::Members(members) = &message {
                    let others = members.iter().filter(|member| member.node != id_of(to));
                    let others: Vec<_> = others.map(|member| member.node).collect();
                    let strays = &mut self.cluster().hosts[to].strays;
                    others.into_iter().for_each(|node| strays.heard_of(time(now), node));
                }
                self.tell(to, Told::Message { from: id, message });
            }
        }
    }

    /// A packet for another node. `false`: there is no link to it.
    pub(crate) fn talk(&mut self, from: usize, to: usize, packet: &Packet) -> bool {
        if !self.cluster().hosts[from].standing.contains_key(&to) {
            return false;
        }
        self.cluster().hosts[from].used.insert(to);
        let faults = self.config.faults;
        if !self.calm && self.random.permille(faults.loss) {
            return true;
        }
        let bytes = postcard::to_stdvec(packet).expect("a packet has a form");
        if !self.calm && self.random.permille(faults.twice) {
            let late = self.random.permille(faults.late);
            let delay = if late { self.random.within(SECOND..PACKET_NS_MAX) } else { self.delay() };
            let number = self.cluster().hosts[from].standing[&to];
            let item = Item::Talk(bytes.clone());
            self.events.plan(self.now + delay, Event::Heard(to, number, self.now, Box::new(item)));
        }
        self.say(from, to, Item::Talk(bytes));
        true
    }

    /// Which node that is, if it is one.
    pub(crate) fn node_index(&self, node: u128) -> Option<usize> {
        let index = index_of(peripatos_cluster::NodeId(node.max(1)));
        Some(index).filter(|index| node > 0 && *index < self.nodes.len())
    }

    /// Whether everybody is linked with everybody, and knows who is gone.
    pub(crate) fn look_at_trouble(&mut self) {
        if self.ledger.trouble != Some(u64::MAX) || self.parted.is_some() {
            return;
        }
        let alive: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].alive).collect();
        let now = time(self.now);
        let doubts = alive.iter().any(|one| self.cluster().hosts[*one].strays.is_doubtful(now));
        let Some(cluster) = self.cluster.as_ref().filter(|_| !doubts) else { return };
        let whole = alive.iter().all(|one| {
            let host = &cluster.hosts[*one];
            let known = |other: &usize| {
                let incarnation = cluster.hosts[*other].incarnation;
                self.is_sparse() && host.up.get(other) == Some(&incarnation)
            };
            let linked = |other: &usize| {
                let link = host.standing.get(other).and_then(|number| cluster.links.get(number));
                link.is_some_and(|link| link.broken.is_none())
            };
            host.lost.is_empty()
                && alive.iter().all(|other| one == other || linked(other) || known(other))
        });
        if whole {
            self.ledger.trouble = Some(self.now);
        }
    }

    /// A node hears that an OS process of another one has ended.
    pub(crate) fn told_gone(
        &mut self,
        at: usize,
        node: usize,
        incarnation: peripatos_cluster::Incarnation,
    ) {
        let sparse = self.is_sparse() && self.nodes[at].alive;
        let host = &mut self.cluster().hosts[at];
        if host.standing.contains_key(&node) {
            // It believes that there is a link: it is not asked for.
            return self.events.plan(self.now + SECOND, Event::Gone(at, node, incarnation));
        }
        let was = host.lost.get(&node).or(host.parted.get(&node)).copied();
        let heard = host.heard_last.get(&node).is_none_or(|last| *last == incarnation);
        let unmet = at != node && was.is_none() && heard && sparse;
        if unmet && host.up.get(&node) == Some(&incarnation) {
            // It has not heard yet that it is dead.
            return self.events.plan(self.now + SECOND, Event::Gone(at, node, incarnation));
        }
        if was == Some(incarnation) || unmet {
            host.lost.remove(&node);
            host.parted.remove(&node);
            let now = self.now;
            self.trace.note(now, &[34, at as u64, node as u64], || {
                format!("n{at} hears that n{node} is gone")
            });
            self.tell(at, Told::Gone { node: id_of(node), incarnation });
            self.look_at_trouble();
        }
    }
}
