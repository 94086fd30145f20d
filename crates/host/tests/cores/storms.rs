//! Many short processes, and many threads that run, freeze, kill and wake them at random: whatever meets
//! whatever, each process that was taken is followed by one event, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use peripatos_abi::Pid;
use peripatos_host::cores::{CoreEvent, Cores, ProcessEnd};

use crate::desk::{Desk, Dice, Office, ROUNDS, asking};
use crate::support::{Node, PATIENCE, Programs};

/// Processes of a storm; each thread that spawns takes its part of them.
const PROCESSES: u64 = 200;
/// How many wishes that are accepted each of the threads that disturb makes.
const DISTURBANCES: usize = 2000;

#[test]
fn a_storm_on_one_core() {
    storm(1);
}

#[test]
fn a_storm_on_two_cores() {
    storm(2);
}

#[test]
fn a_storm_on_four_cores() {
    storm(4);
}

/// What was asked of a process, noted before it is.
#[derive(Default)]
struct Asked {
    freeze: AtomicBool,
    kill: AtomicBool,
}

fn storm(count: usize) {
    let (code, office) = (asking(), Office::new(PROCESSES));
    let asked: Vec<Asked> = (0..PROCESSES).map(|_| Asked::default()).collect();
    let (sender, events) = channel();
    let cores = Cores::start(count, move |event| drop(sender.send(event))).unwrap();
    let (mut exited, mut killed) = (0, 0);
    thread::scope(|scope| {
        let (code, office, asked, cores) = (&code, &office, &asked, &cores);
        let _closing = Closing(office);
        for part in 0..2 {
            scope.spawn(move || {
                for number in (part..PROCESSES).step_by(2) {
                    cores.run(Desk::spawn(code, number, office, true)).unwrap();
                    // However the threads get their turns, some meet this.
                    match number % 8 {
                        0 => kill(cores, asked, number),
                        1..4 => freeze(cores, asked, number),
                        _ => true,
                    };
                }
            });
            scope.spawn(move || office.serve(part));
            scope.spawn(move || disturb(cores, asked, office, 77 + part));
        }
        while exited + killed < PROCESSES {
            match events.recv_timeout(PATIENCE).unwrap() {
                CoreEvent::Stopped { process, .. } => {
                    let asked = &asked[process.pid().number() as usize];
                    assert!(asked.freeze.load(Ordering::SeqCst));
                    cores.run(process).unwrap();
                }
                CoreEvent::Ended { pid, end: ProcessEnd::Killed, .. } => {
                    assert!(asked[pid.number() as usize].kill.load(Ordering::SeqCst));
                    killed += 1;
                }
                CoreEvent::Ended { pid, end: ProcessEnd::Exited(ROUNDS), .. } => {
                    assert_eq!(office.answered(pid), u64::from(ROUNDS));
                    exited += 1;
                }
                event => panic!("{event:?}"),
            }
        }
    });
    assert!(cores.sample().is_empty() && events.try_recv().is_err());
    drop(cores);
    assert!(events.try_recv().is_err());
    assert_eq!(office.desks(), 0);
}

/// Closes the office, also if the test fails: its threads would be waited for.
struct Closing<'a>(&'a Office);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Freezes, sometimes kills or samples, whoever it may be, as long as the office is open.
fn disturb(cores: &Cores, asked: &[Asked], office: &Office, seed: u64) {
    let (mut dice, mut left) = (Dice(seed), DISTURBANCES);
    while left > 0 && !office.is_closed() {
        let number = dice.roll(PROCESSES);
        let accepted = match dice.roll(64) {
            0 => kill(cores, asked, number),
            1 => cores.sample().is_sorted_by_key(|sample| sample.pid),
            _ => freeze(cores, asked, number),
        };
        left -= usize::from(accepted);
        thread::yield_now();
    }
}

/// Whether it was there.
fn kill(cores: &Cores, asked: &[Asked], number: u64) -> bool {
    asked[number as usize].kill.store(true, Ordering::SeqCst);
    cores.kill(Pid::new(number, 7)).is_ok()
}

/// Whether it was there.
fn freeze(cores: &Cores, asked: &[Asked], number: u64) -> bool {
    asked[number as usize].freeze.store(true, Ordering::SeqCst);
    cores.freeze(Pid::new(number, 7)).is_ok()
}

/// Nothing of any process is left when the drop is over, wherever they were: running, ready, waiting, or on
/// their way from core to core.
#[test]
fn cores_may_be_dropped_in_a_storm() {
    let code = asking();
    for count in [1, 2, 4] {
        let office = Office::new(PROCESSES);
        let ended = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&ended);
        let cores = Cores::start(count, move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let cores = cores.unwrap();
        thread::scope(|scope| {
            let office = &office;
            let _closing = Closing(office);
            for seed in 0..2 {
                scope.spawn(move || office.serve(seed));
            }
            for number in 0..PROCESSES {
                cores.run(Desk::spawn(&code, number, office, true)).unwrap();
            }
            drop(cores);
            assert_eq!(office.desks(), 0);
            let before = ended.load(Ordering::SeqCst);
            while office.grant_one() {}
            assert_eq!(ended.load(Ordering::SeqCst), before);
        });
    }
}

/// One process waits on the core on which another one never does; the other core is idle. When it can go on,
/// one of the two moves.
#[test]
fn who_wakes_at_a_busy_core_does_not_wait_while_another_is_idle() {
    let programs = Programs::new();
    let (code, office) = (asking(), Office::new(2));
    let mut node = Node::new(2);
    let process = Desk::spawn(&code, 1, &office, false);
    let pid = process.pid();
    node.cores.run(process).unwrap();
    node.wait_until(pid, |sample| !sample.runnable);
    let mut busy = node.spawn(&programs.counting, 2);
    node.wait_for_progress(busy.pid);
    for round in 1..=u64::from(ROUNDS) {
        let apart = node.sample(pid).core != node.sample(busy.pid).core;
        assert_eq!(apart, round > 1);
        assert!(office.grant_one());
        node.wait_for(|_| (office.answered(pid) == round).then_some(()));
        if round < u64::from(ROUNDS) {
            node.wait_until(pid, |sample| !sample.runnable);
        }
    }
    let end = node.end(pid);
    assert!(matches!(end, ProcessEnd::Exited(ROUNDS)), "{end:?}");
    busy.finish();
    node.exits(busy.pid);
    busy.check_count();
}
