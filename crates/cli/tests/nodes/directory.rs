//! The directory of where processes are, as another node sees it.

use peripatos_abi::Pid;
use peripatos_cluster::message::{Entry, Message, Sighting, Sought};

use crate::fake::Fake;
use crate::program::Program;
use crate::support::Cluster;
use crate::talking::{COUNTER, CUSTOMER, assembled, exits, run};

/// Spawns sixty of itself; all wait.
const NEST: &str = r#"
    (func (export "peripatos_spawned") (drop (call $receive (i64.const -1))))
    (func (export "_start")
        (local $count i32)
        (loop $next
            (call $done (call $spawn (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 32)))
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $count) (i32.const 60))))
        (drop (call $receive (i64.const -1))))"#;

/// What a node answers who asks where a process is.
fn asks(fake: &mut Fake, pid: Pid, number: u64) -> Sighting {
    fake.say(&Message::Seek { pid, question: number });
    fake.hears(|said| match said {
        Message::Sought(Sought { pid: of, question, sighting }) if of == pid => {
            (question == number).then_some(sighting)
        }
        _ => None,
    })
}

#[test]
fn a_keeper_is_told_of_births_and_ends() {
    let cluster = Cluster::of(&["a"]);
    let mut keeper = Fake::join(&cluster, "keeper");
    let nest = run(&cluster, "a", "nest", NEST, &[]);
    // That none of 61 falls to one of two nodes does not happen.
    let told = keeper.hears(|said| match said {
        Message::Entries(entries) => Some(entries),
        _ => None,
    });
    assert!(told.iter().all(|entry| entry.here && entry.moves == 0), "{told:?}");
    let pid = told[0].pid;
    assert_eq!(asks(&mut keeper, pid, 7), Sighting::Here);
    cluster.done(["kill", "--at", "a", &nest.pid()]);
    keeper.hears(|said| match said {
        Message::Entries(entries) => {
            entries.iter().any(|entry| entry.pid == pid && !entry.here).then_some(())
        }
        _ => None,
    });
    // It is answered for where it has ended.
    assert_eq!(asks(&mut keeper, pid, 8), Sighting::Here);
    assert_eq!(asks(&mut keeper, Pid::new(1 << 40, 7), 9), Sighting::NotHere);
}

#[test]
fn a_keeper_tells_who_asks_as_long_as_it_is_linked_with_who_told() {
    let cluster = Cluster::of(&["a"]);
    let (mut owner, mut asker) = (Fake::join(&cluster, "owner"), Fake::join(&cluster, "asker"));
    let pid = Pid::new(99, 0x1234_5678);
    owner.say(&Message::Entries(vec![Entry { pid, moves: 0, here: true }]));
    owner.is_heard();
    let Sighting::Perhaps(node) = asks(&mut asker, pid, 1) else { panic!("it knows nothing") };
    assert_eq!(format!("{node:#}"), owner.id_short());
    owner.hang_up();
    cluster.until_cut("a", "owner");
    assert_eq!(asks(&mut asker, pid, 2), Sighting::NotHere);
}

#[test]
fn a_directory_of_lies_loses_no_message() {
    let cluster = Cluster::of(&["a", "b"]);
    // It is the keeper of some, and answers nothing.
    let mut liar = Fake::join(&cluster, "liar");
    let counters = run(&cluster, "b", "counter", COUNTER, &[]);
    let pid = cluster.row("b", &counters.pid()).unwrap().pid.parse().unwrap();
    liar.say(&Message::Entries(vec![Entry { pid, moves: 1_000, here: true }]));
    liar.is_heard();
    // As the liar answers nothing, a list takes its time: the customer may be gone by then.
    let customer = assembled(&cluster, "customer", CUSTOMER);
    let customer = Program::begin(cluster.peri(["run", "--at", "a", &customer]));
    cluster.migrate("a", &counters.pid(), "a");
    cluster.migrate("a", &counters.pid(), "b");
    exits(&cluster, customer, 42);
}
