//! Messages of nodes, as they lie in the frames of a link: what a node makes of them, whoever has said them.

use std::collections::BTreeMap;
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_abi::device::Ahead;
use peripatos_cluster::membership::Member as Known;
use peripatos_cluster::message::{
    Answer, Command, Content, Description, End, Entry, FailureKind, Hold, Kin, Lane, LaneCipher,
    LoadSample, Luggage, Member, Message, MigrationId, MoveCost, MoveCosts, Sighting, Sought, Wire,
};
use peripatos_cluster::promises::{Promise, Redemption};
use peripatos_cluster::{
    Action, Config, Departure, Event, Identity, Incarnation, Labels, Node, NodeId, OwnProof, Peer,
    Placement, Proof, Removal, Request, RequestId, Time,
};

const OWN: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);

pub(crate) fn seconds(seconds: u64) -> Time {
    Time(Duration::from_secs(seconds))
}

/// One of a cluster so large that nodes do not know all others. It has processes, one of which is on its way to the node that it
/// has a link to; it knows of one more.
pub(crate) fn node() -> Node {
    let mut node = Node::new(Config {
        node: OWN,
        incarnation: Incarnation(1),
        name: "own".to_owned(),
        address: "10.0.0.1:7000".to_owned(),
        cores: 1,
        move_bytes_per_s: None,
        labels: Labels::default(),
        balancing: true,
        knows_all_max: 0,
        links_kept: 2,
        link_idle: Duration::from_secs(1),
        silent_after: Duration::from_secs(1),
        removed: BTreeMap::new(),
    });
    let peer = Peer {
        node: PEER,
        incarnation: Incarnation(2),
        name: "peer".to_owned(),
        address: "10.0.0.2:7000".to_owned(),
        labels: Labels::default(),
        parts: true,
    };
    let address = "10.0.0.3:7000".parse().expect("an address");
    let other = Known::new(NodeId(3), Incarnation(3), address, "other").expect("a member");
    let command = Command::Migrate { pid: pid(1), to: PEER, hold: Hold::For(500) };
    let events = [
        Event::LinkUp(peer),
        Event::MemberUp(other),
        Event::Started(process(1, OWN, None)),
        Event::Started(process(2, OWN, Some(2))),
        Event::Born(process(3, OWN, Some(2))),
        Event::Born(process(4, PEER, Some(9))),
        Event::Request { id: RequestId(1), request: Request::Command { node: OWN, command } },
    ];
    let mut out = Vec::new();
    events.into_iter().for_each(|event| node.handle(Time::default(), event, &mut out));
    node
}

fn pid(number: u64) -> Pid {
    Pid::new(number, number)
}

fn process(number: u64, origin: NodeId, root: Option<u64>) -> Description {
    let kin = root.map(|root| Kin {
        root: pid(root),
        parent: pid(root),
        programs: vec![("child".to_owned(), [9; 32])],
        processes_max: 10,
        messages_bytes_max: 1 << 20,
        cpu_permille_max: Some(500),
        name_prefix: "a/".to_owned(),
        placement: Placement::default(),
        devices: None,
        device_process: pid(99),
        handler: false,
    });
    Description {
        pid: pid(number),
        command: vec!["program".to_owned(), "argument".to_owned()],
        code: [7; 32],
        origin,
        started_unix_seconds: 1_700_000_000,
        memory_bytes_max: 1 << 30,
        memory_bytes_needed: 1 << 20,
        canonical_nan: false,
        kin,
    }
}

/// Messages of nearly all kinds, about what the node has and what it has not.
pub(crate) fn valid() -> Vec<Vec<u8>> {
    let sample = LoadSample {
        cores: 1,
        speed_permille: 1_000,
        runnable: 3,
        demand_permille: 3_000,
        memory_free_bytes: 1 << 33,
        processes: 3,
        draining: false,
        cordoned: false,
        move_bytes_per_s: Some(1 << 20),
        stuck: 0,
    };
    let own = MigrationId { source: OWN, incarnation: Incarnation(1), number: 1 };
    let migration = MigrationId { source: PEER, incarnation: Incarnation(2), number: 1 };
    let luggage = Luggage {
        process: process(20, PEER, Some(20)),
        moves: 1,
        costs: MoveCosts::default(),
        cpu_ms: 10_000,
        memory_bytes: 5 << 20,
        demand_permille: 1_000,
        demand_permille_max: Some(2_000),
        hold: Some(Hold::For(500)),
        orphaned: false,
    };
    let cost = MoveCost { freeze_us: 1, total_us: 2, image_bytes: 3, copied_bytes: 4, rounds: 1 };
    let lane = Lane { name: [1; 16], key: [2; 32], cipher: LaneCipher::Aes128Gcm };
    let sought = |sighting| Message::Sought(Sought { pid: pid(5), question: 1, sighting });
    let failed = End::Failed { kind: FailureKind::Trap, message: "trap".to_owned() };
    let member = Member { node: NodeId(4), address: "10.0.0.4:7000".to_owned() };
    let command = Command::Migrate { pid: pid(2), to: PEER, hold: Hold::UntilReleased };
    let promises = vec![Promise { maker: PEER, permille: 250, left: Duration::from_secs(20) }];
    let messages = vec![
        Message::Load(sample),
        Message::Members(vec![member]),
        Message::Removed(vec![Removal { node: NodeId(5), proof: Proof::default() }]),
        Message::Left(vec![Departure {
            node: NodeId(6),
            incarnation: Incarnation(1),
            proof: OwnProof::default(),
        }]),
        Message::Unserved { pid: pid(1), requests: 2 },
        Message::Part,
        Message::Parted,
        Message::Stay,
        Message::Identity(Identity::Issuer { issues: true, generation: 1 }),
        Message::Events { request: 1, of: Some(pid(2).bits()) },
        Message::Happened { request: 1, told: Vec::new(), standing: None },
        Message::Ask(sample),
        Message::Nothing,
        Message::Redeem { sample, redemption: Redemption { permille: 1_000, before: Some(500) } },
        Message::Instead { promises },
        Message::Kept { permille: 250 },
        Message::Offer { migration, luggage },
        Message::Refused { migration: own, reason: "no".to_owned() },
        Message::WantCode { code: [7; 32] },
        Message::Ready { migration: own },
        Message::Abort { migration },
        Message::Prepared { migration: own },
        Message::Commit { migration },
        Message::Query { migration },
        Message::Outcome { migration: own, committed: true },
        Message::Closed { migration, cost: Some(cost) },
        Message::Bulk { stream: 1, content: Content::Image(migration), lane: Some(lane) },
        Message::Wire(Wire { lane, back: lane, own_core: 0, peer_core: 1 }),
        Message::Request { pid: pid(2), sequence: 1, ahead: Ahead::default(), request: vec![1; 9] },
        Message::Reply { pid: pid(4), sequence: 1, reply: vec![1; 9] },
        Message::Arrived { pid: pid(2), moves: 1 },
        Message::Born(process(21, OWN, Some(2))),
        Message::Names(vec![(b"name".to_vec(), Some(pid(20).bits())), (b"none".to_vec(), None)]),
        Message::NameLost { name: b"name".to_vec(), owner: pid(1), loser: pid(2) },
        Message::Entries(vec![Entry { pid: pid(20), moves: 1, here: true }]),
        Message::Seek { pid: pid(2), question: 1 },
        sought(Sighting::Here),
        sought(Sighting::Perhaps(NodeId(3))),
        Message::HaveYou { pid: pid(4) },
        Message::HaveNot { pid: pid(2) },
        Message::Ended { pid: pid(3), end: failed },
        Message::EndHeard { pid: pid(4) },
        Message::OriginGone { pid: pid(4) },
        Message::Deadlock { circle: vec![pid(2), pid(3)], len: 2 },
        Message::List { request: 1 },
        Message::Listed { request: 1, processes: Vec::new() },
        Message::Command { request: 1, command },
        Message::Command { request: 2, command: Command::Kill { pid: pid(2) } },
        Message::Command { request: 3, command: Command::Drain { on: true } },
        Message::Answer { request: 1, answer: Answer::Done },
    ];
    messages.iter().map(|one| postcard::to_stdvec(one).expect("it has a form")).collect()
}

pub(crate) fn check(bytes: &[u8]) {
    let Ok(message) = postcard::from_bytes::<Message>(bytes) else { return };
    let again = postcard::to_stdvec(&message).expect("it has a form");
    assert_eq!(postcard::from_bytes::<Message>(&again).as_ref(), Ok(&message));
    for from in [PEER, NodeId(3), NodeId(77)] {
        let (mut node, mut out) = (node(), Vec::new());
        for _ in 0..2 {
            let message = message.clone();
            node.handle(seconds(1), Event::Message { from, message }, &mut out);
        }
        goes_on(&mut node, &mut out);
    }
}

/// Its host does what it wants done, or cannot, and time passes.
pub(crate) fn goes_on(node: &mut Node, out: &mut Vec<Action>) {
    for second in 2..40 {
        for action in std::mem::take(out) {
            if let Some(event) = done(action) {
                node.handle(seconds(second), event, out);
            }
        }
        node.handle(seconds(second), Event::Tick, out);
        assert!(out.len() < 1_000, "it does not stop: {:?}", &out[..10]);
    }
    node.handle(seconds(60), Event::LinkDown(PEER), out);
    let gone = Event::Gone { node: PEER, incarnation: Incarnation(2) };
    node.handle(seconds(61), gone, out);
    (62..70).for_each(|second| node.handle(seconds(second), Event::Tick, out));
}

fn done(action: Action) -> Option<Event> {
    Some(match action {
        Action::WantCode(code) => Event::CodeReady(code),
        Action::Freeze { migration, .. } => Event::Frozen { migration, image_bytes: 100 },
        Action::Expect { migration, .. } => Event::RoomMade(migration),
        Action::Kill(pid) => Event::Ended { pid, end: End::Killed },
        Action::Survey { survey, .. } => Event::Surveyed { survey, doings: Vec::new() },
        _ => return None,
    })
}
