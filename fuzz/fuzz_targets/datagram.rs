//! Bytes that claim to be a datagram of a node: as it comes, sealed, and as who has the token might have filled it.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use peripatos_cluster::limits::GOSSIP_BYTES_MAX;
use peripatos_cluster::membership::{Member, Membership, Output, Timing};
use peripatos_cluster::{Incarnation, NodeId, Time};
use peripatos_host::link::{DatagramOpener, DatagramSealer, Token, gossip_secret};

const EPOCH: u32 = 500_000;

fuzz_target!(|bytes: &[u8]| {
    let token: Token = "a".repeat(52).parse().expect("a token");
    let secret = gossip_secret(&token);
    let mut opener = DatagramOpener::new(&[secret], NodeId(1), Incarnation(1));
    assert!(opener.open(EPOCH, bytes).is_err(), "nobody has sealed that");
    let mut sealer = DatagramSealer::new(&secret, NodeId(2), Incarnation(2));
    if let Some(sealed) = sealer.seal(EPOCH, bytes) {
        assert_eq!(opener.open(EPOCH, &sealed).as_deref(), Ok(bytes));
    }

    let own = Member::new(NodeId(1), Incarnation(1), "10.0.0.1:7000".parse().expect("one"), "a");
    let timing = Timing::of(Duration::from_secs(3));
    let mut membership = Membership::new(own.expect("a member"), timing, Time::default(), 1);
    let from = "10.0.0.2:7000".parse().expect("one");
    let (mut out, mut now) = (Vec::new(), Time::default());
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
});
