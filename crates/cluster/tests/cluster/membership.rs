//! Membership: what it takes from others, and what it says when. How members find each other dead is simulated (`crates/sim`).

use std::net::SocketAddr;
use std::time::Duration;

use peripatos_cluster::limits::{
    ANNOUNCE_AGAIN_MAX, GOSSIP_BYTES_MAX, MEMBERS_MAX, NODE_NAME_BYTES_MAX,
};
use peripatos_cluster::membership::{Member, MemberError, Membership, Output, Timing};
use peripatos_cluster::{Incarnation, NodeId, Time};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn member(number: u128, at: &str) -> Member {
    let name = format!("n{number}");
    let made = Member::new(NodeId(number), Incarnation(number as u64 + 1), address(at), &name);
    made.expect("a good name and address")
}

fn begin(own: Member) -> Membership {
    Membership::new(own, Timing::of(Duration::from_secs(3)), Time::default(), 1)
}

/// The datagrams among these, and where they go.
fn sent(out: &[Output]) -> Vec<(SocketAddr, Vec<u8>)> {
    let sent = out.iter().filter_map(|output| match output {
        Output::Send { to, bytes } => Some((*to, bytes.clone())),
        _ => None,
    });
    sent.collect()
}

fn ups(out: &[Output]) -> Vec<&Member> {
    let ups = out.iter().filter_map(|output| match output {
        Output::Up { member, .. } => Some(member),
        _ => None,
    });
    ups.collect()
}

#[test]
fn members_that_cannot_be_are_refused() {
    let check = |at: &str, name: &str, expected: Option<MemberError>| {
        let made = Member::new(NodeId(1), Incarnation(1), address(at), name);
        assert_eq!(made.err(), expected, "{at} {name}");
    };
    let longest = "a".repeat(NODE_NAME_BYTES_MAX);
    check("10.0.0.1:7000", &longest, None);
    check("0.0.0.0:7000", "a", None);
    check("10.0.0.1:0", "a", Some(MemberError::Address));
    check("224.0.0.1:7000", "a", Some(MemberError::Address));
    check("255.255.255.255:7000", "a", Some(MemberError::Address));
    check("[ff02::1]:7000", "a", Some(MemberError::Address));
    for name in ["", "a b", "ä", "a\n", &format!("{longest}a")] {
        check("10.0.0.1:7000", name, Some(MemberError::Name));
    }
}

/// A node that listens at all of its addresses is reached at the one that its datagrams come from.
#[test]
fn an_unspecified_address_is_the_one_that_was_seen() {
    let (own, all) = (member(1, "10.0.0.1:7000"), member(2, "0.0.0.0:7002"));
    let mut one = begin(own.clone());
    let mut two = begin(all);
    let (mut out, now) = (Vec::new(), Time::default());
    two.linked(now, own, &mut out);
    let (to, bytes) = sent(&out).remove(0);
    assert_eq!(to, address("10.0.0.1:7000"));
    let mut out = Vec::new();
    one.datagram(now, address("10.0.0.2:40000"), &bytes, &mut out).unwrap();
    assert_eq!(ups(&out)[0].address(), address("10.0.0.2:7002"));
    assert_eq!(sent(&out)[0].0, address("10.0.0.2:7002"), "it is answered there");
    // What one says of the other is what others are to use.
    let mut three = begin(member(3, "10.0.0.3:7000"));
    let announced = {
        let mut out = Vec::new();
        three.linked(now, one.own().clone(), &mut out);
        sent(&out).remove(0).1
    };
    let mut out = Vec::new();
    one.datagram(now, address("10.0.0.3:7000"), &announced, &mut out).unwrap();
    let mut heard = Vec::new();
    three.datagram(now, address("10.0.0.1:7000"), &sent(&out)[0].1, &mut heard).unwrap();
    let two = ups(&heard).into_iter().find(|member| member.node() == NodeId(2)).cloned();
    assert_eq!(two.map(|member| member.address()), Some(address("10.0.0.2:7002")));
}

/// Who is linked counts as alive when it has said something, and is told of us until then.
#[test]
fn who_is_linked_is_told_of_us_until_it_answers() {
    let mut one = begin(member(1, "10.0.0.1:7000"));
    let silent = member(2, "10.0.0.2:7000");
    let (mut out, mut now) = (Vec::new(), Time::default());
    one.linked(now, silent.clone(), &mut out);
    let until = Time(Duration::from_secs(600));
    while now < until {
        now = one.next_deadline();
        one.handle(now, &mut out);
    }
    assert!(ups(&out).is_empty());
    let calls = sent(&out).len();
    let least = 600 / ANNOUNCE_AGAIN_MAX.as_secs() as usize;
    assert!((least..least + 10).contains(&calls), "it was called {calls} times");
    one.unlinked(silent.node());
    let mut out = Vec::new();
    while now < Time(Duration::from_secs(1200)) {
        now = one.next_deadline();
        one.handle(now, &mut out);
    }
    assert_eq!(out, []);
}

/// Whatever comes: it is refused, or understood, and the longest names have room.
#[test]
fn foreign_bytes_are_refused() {
    let name = "n".repeat(NODE_NAME_BYTES_MAX);
    let long = |number: u128| {
        let at = format!("[2001:db8::{number:x}]:65535");
        Member::new(NodeId(number), Incarnation(u64::MAX), address(&at), &name).unwrap()
    };
    let mut one = begin(long(1));
    let (mut out, mut now) = (Vec::new(), Time::default());
    one.learn(now, (2..100).map(long), &mut out);
    while now < Time(Duration::from_secs(5)) {
        now = one.next_deadline();
        one.handle(now, &mut out);
    }
    let datagrams = sent(&out);
    assert!(datagrams.iter().all(|(_, bytes)| bytes.len() <= GOSSIP_BYTES_MAX));
    let (to, longest) = datagrams.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    assert!(longest.len() > GOSSIP_BYTES_MAX / 2, "it tells of those that are down");
    let receiver = (2..100).map(long).find(|member| member.address() == *to).unwrap();
    let from = address("[2001:db8::1]:65535");
    let take = |bytes: &[u8]| {
        let (mut two, mut out) = (begin(receiver.clone()), Vec::new());
        let taken = two.datagram(now, from, bytes, &mut out);
        taken.map(|()| ups(&out).len())
    };
    assert!(take(longest).unwrap() > 0, "what is whole is understood");
    for length in 0..longest.len() {
        // Cut behind the header it is one without updates, which is as good.
        let _ = take(&longest[..length]);
        let mut one_is_wrong = longest.clone();
        one_is_wrong[length] ^= 0x55;
        let _ = take(&one_is_wrong);
    }
    take(&longest[..20]).unwrap_err();
    take(&longest[..longest.len() - 1]).unwrap_err();
    take(&[]).unwrap_err();
    take(&vec![0; GOSSIP_BYTES_MAX + 1]).unwrap_err();
}

#[test]
fn there_are_never_too_many() {
    let mut one = begin(member(0, "10.0.0.1:7000"));
    let (mut out, now) = (Vec::new(), Time::default());
    let many = (1..=MEMBERS_MAX as u128 + 5).map(|number| member(number, "10.0.0.2:7000"));
    one.learn(now, many, &mut out);
    assert_eq!(one.alive_len(), MEMBERS_MAX);
    // One more announces itself, and one that is known.
    for (number, answered) in [(MEMBERS_MAX as u128 + 9, false), (7, true)] {
        let mut other = begin(member(number, "10.0.0.3:7000"));
        let mut out = Vec::new();
        other.linked(now, one.own().clone(), &mut out);
        let bytes = sent(&out).remove(0).1;
        let mut out = Vec::new();
        one.datagram(now, address("10.0.0.3:7000"), &bytes, &mut out).unwrap();
        assert_eq!(!sent(&out).is_empty(), answered);
        assert_eq!(one.alive_len(), MEMBERS_MAX);
    }
}
