//! Datagrams between nodes that balance as where there are too many to know them all, in every fourth run: samples and words about
//! promises, late, lost and repeated.

use peripatos_cluster::promises::Word;
use peripatos_cluster::{Datagram, Event as Told};

use super::{id_of, time};
use crate::config::MS;
use crate::event::Event;
use crate::random::Random;
use crate::world::World;

/// Room for samples.
const ROOM: usize = 200;

/// It has numbers of its own: runs without are as they were. Whom nodes may ask they know by gossip.
pub(super) fn of(seed: u64) -> Option<Random> {
    seed.is_multiple_of(4).then(|| Random::new(seed ^ 0xda7a_6a35))
}

impl World {
    /// Now and then a node tells another one of loads.
    pub(super) fn tell_samples(&mut self, node: usize) {
        let (now, nodes) = (time(self.now), self.nodes.len());
        let Some(random) = &mut self.cluster().datagrams else { return };
        let (to, tells) = (random.below(nodes), random.permille(300));
        if tells && to != node {
            let samples = self.cluster().hosts[node].node.samples(now, ROOM);
            self.send_datagram(node, to, Datagram::of_membership(&samples, &[]));
        }
    }

    pub(super) fn say_in_datagram(&mut self, node: usize, to: usize, word: &Word) {
        self.send_datagram(node, to, Datagram::of_word(word));
    }

    /// It comes once, or twice, or not.
    fn send_datagram(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let now = self.now;
        let Some(random) = &mut self.cluster().datagrams else { return };
        let copies = if random.permille(50) { 0 } else { 1 + usize::from(random.permille(50)) };
        let times: Vec<u64> = (0..copies).map(|_| now + random.within(MS / 10..20 * MS)).collect();
        for at in times {
            self.events.plan(at, Event::Datagram(from, to, bytes.clone()));
        }
    }

    pub(crate) fn datagram_comes(&mut self, from: usize, to: usize, bytes: &[u8]) {
        if !self.nodes[to].alive {
            return;
        }
        let (sender, from) = (from, id_of(from));
        match Datagram::read(bytes) {
            Ok(Datagram::Membership { heard, .. }) => self.tell(to, Told::Loads { from, heard }),
            Ok(Datagram::Word(word)) => self.tell(to, Told::Word { from, word }),
            Ok(Datagram::Lookup(lookup)) => self.lookup_comes(sender, to, lookup),
            Err(error) => panic!("what a node has written cannot be read: {error}"),
        }
    }
}
