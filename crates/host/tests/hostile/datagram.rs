//! Datagrams of nodes: as they come, sealed; and as who has the cluster's secret might have filled them, with samples and promises.

use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::limits::GOSSIP_BYTES_MAX;
use peripatos_cluster::membership::{Member, Membership, Output, Timing};
use peripatos_cluster::message::{Entry, Sighting, Sought};
use peripatos_cluster::promises::{Promise, Word};
use peripatos_cluster::{Action, Datagram, Event, Incarnation, Lookup, Node, NodeId, Time};
use peripatos_host::link::{DatagramOpener, DatagramSealer, Token, gossip_secret};

const EPOCH: u32 = 500_000;
const FROM: &str = "10.0.0.2:7000";

/// One of each kind.
pub(crate) fn valid() -> Vec<Vec<u8>> {
    let samples = crate::message::node().samples(Time::default(), 500);
    let own = Datagram::of_membership(&samples, &[]);
    let Ok(Datagram::Membership { heard, .. }) = Datagram::read(&own) else { panic!("{own:?}") };
    let load = heard[0].load;
    let promises = vec![
        Promise { maker: NodeId(2), permille: 1_000, left: Duration::from_secs(2) },
        Promise { maker: NodeId(3), permille: 250, left: Duration::from_secs(20) },
    ];
    let words = [Word::Ask { number: 1, load }, Word::Answer { number: 1, load, promises }];
    let pid = Pid::new(5, 5);
    let lookups = [
        Lookup::Seek { pid, question: 1 },
        Lookup::Sought(Sought { pid, question: 1, sighting: Sighting::Here }),
        Lookup::Entries(vec![Entry { pid, moves: 1, here: true }]),
    ];
    let mut all: Vec<Vec<u8>> = words.iter().map(Datagram::of_word).collect();
    all.extend(lookups.iter().map(Datagram::of_lookup));
    for bytes in said() {
        all.push(Datagram::of_membership(&samples, &bytes));
        all.push(Datagram::of_membership(&[0], &bytes));
    }
    all
}

/// What a member says that knows others.
fn said() -> Vec<Vec<u8>> {
    let mut membership = membership();
    let mut out = Vec::new();
    let others = (2..6).map(|node| {
        let address = format!("10.0.0.{node}:7000").parse().expect("an address");
        Member::new(NodeId(node), Incarnation(1), address, "b").expect("a member")
    });
    membership.learn(Time::default(), others, &mut out);
    for _ in 0..20 {
        let now = membership.next_deadline();
        membership.handle(now, &mut out);
    }
    let bytes = |output| if let Output::Send { bytes, .. } = output { Some(bytes) } else { None };
    out.into_iter().filter_map(bytes).collect()
}

fn membership() -> Membership {
    let own =
        Member::new(NodeId(1), Incarnation(1), "10.0.0.1:7000".parse().expect("an address"), "a");
    let timing = Timing::of(Duration::from_secs(3));
    Membership::new(own.expect("a member"), timing, Time::default(), 1)
}

pub(crate) fn check(bytes: &[u8]) {
    sealed(bytes);
    match Datagram::read(bytes) {
        Ok(Datagram::Membership { heard, bytes }) => {
            gossip(bytes);
            node_hears(|from| Event::Loads { from, heard: heard.clone() });
        }
        Ok(Datagram::Word(word)) => {
            let again = Datagram::of_word(&word);
            assert_eq!(Datagram::read(&again), Ok(Datagram::Word(word.clone())));
            node_hears(|from| Event::Word { from, word: word.clone() });
        }
        Ok(Datagram::Lookup(lookup)) => {
            let again = Datagram::of_lookup(&lookup);
            assert_eq!(Datagram::read(&again), Ok(Datagram::Lookup(lookup)));
        }
        Err(_) => {}
    }
}

fn sealed(bytes: &[u8]) {
    let token: Token = "a".repeat(52).parse().expect("a token");
    let secret = gossip_secret(&token);
    let mut opener = DatagramOpener::new(&[secret], NodeId(1), Incarnation(1));
    assert!(opener.open(EPOCH, bytes).is_err(), "nobody has sealed that");
    let mut sealer = DatagramSealer::new(&secret, NodeId(2), Incarnation(2));
    if let Some(sealed) = sealer.seal(EPOCH, bytes) {
        assert_eq!(opener.open(EPOCH, &sealed).as_deref(), Ok(bytes));
    }
}

fn gossip(bytes: &[u8]) {
    let from = FROM.parse().expect("an address");
    let (mut membership, mut out, mut now) = (membership(), Vec::new(), Time::default());
    // One that is known may say it, or one that is not.
    for _ in 0..2 {
        let _ = membership.datagram(now, from, bytes, &mut out);
        for _ in 0..10 {
            now = membership.next_deadline();
            membership.handle(now, &mut out);
        }
        let other = Member::new(NodeId(2), Incarnation(2), from, "b").expect("a member");
        membership.learn(now, std::iter::once(other), &mut out);
    }
    for output in out {
        if let Output::Send { to, bytes } = output {
            assert!(bytes.len() <= GOSSIP_BYTES_MAX && to.port() != 0 && !to.ip().is_unspecified());
        }
    }
}

/// A node with more work than it wants hears it from a member with a link, from one without, and from nobody's; and goes on.
fn node_hears(event: impl Fn(NodeId) -> Event) {
    let mut node = crate::message::node();
    let mut out = Vec::new();
    for from in [2, 3, 77] {
        let now = crate::message::seconds(1);
        node.handle(now, event(NodeId(from)), &mut out);
        node.handle(now, event(NodeId(from)), &mut out);
    }
    crate::message::goes_on(&mut node, &mut out);
    says_what_fits(&mut node, &out);
}

fn says_what_fits(node: &mut Node, out: &[Action]) {
    for action in out {
        if let Action::Say { word, .. } = action {
            let bytes = Datagram::of_word(word);
            assert!(bytes.len() <= GOSSIP_BYTES_MAX);
            assert!(Datagram::read(&bytes).is_ok(), "what it says can be read");
        }
    }
    let samples = node.samples(crate::message::seconds(100), 300);
    assert!(samples.len() <= 300);
    assert!(Datagram::read(&Datagram::of_membership(&samples, &[])).is_ok());
}
