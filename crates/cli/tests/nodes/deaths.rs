//! Nodes are killed in the middle of migrations: a program is there once, or whoever waits for it is told.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::ExitStatusExt as _;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::program::Program;
use crate::support::{Cluster, Moments, text, until};

/// How often somebody is killed, and in which span of time after the beginning of a move, milliseconds.
const KILLS: usize = 10;
const SPAN: u64 = 60;

#[test]
fn a_target_that_dies_leaves_the_program_at_its_source() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let mut moments = Moments(0x2545_f491_4f6c_dd1d);
    let mut program = Program::dialogue(&cluster, "a");
    for _ in 0..KILLS {
        let pid = program.pid();
        program.say();
        assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
        program.say();
        let moving = cluster.begin_move("a", &pid, "b");
        // The moment of the disturbance.
        thread::sleep(moments.next(SPAN));
        cluster.node("b").kill();
        let moved = moving.wait_with_output().unwrap();
        if moved.status.success() {
            // It had moved, and is gone with its node.
            program.ends_with(76, "node b, which ran the process, is gone");
            assert!(program.expected().starts_with(&program.said.text()));
            program = Program::dialogue(&cluster, "a");
        } else {
            let line = text(&moved.stderr);
            assert!(line.starts_with("peri: "), "{line}");
            // It goes on without anybody's help: the two nodes are of one machine.
            assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
            assert_eq!(cluster.row("a", &pid).unwrap().node.as_deref(), Some("a"));
        }
        cluster.up_again("b", "a");
        cluster.until_linked();
    }
    let pid = program.pid();
    cluster.migrate("a", &pid, "b");
    program.say();
    assert!(program.answers());
    program.finish(&cluster);
}

#[test]
fn a_source_that_dies_leaves_the_program_once_or_not_at_all() {
    let mut cluster = Cluster::of(&["origin", "s", "t"]);
    let mut moments = Moments(0x9e37_79b9_7f4a_7c15);
    for _ in 0..KILLS {
        let mut program = Program::dialogue(&cluster, "origin");
        let pid = program.pid();
        program.say();
        cluster.migrate("t", &pid, "s");
        assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
        program.say();
        let moving = cluster.begin_move("t", &pid, "t");
        // The moment of the disturbance.
        thread::sleep(moments.next(SPAN));
        cluster.node("s").kill();
        drop(moving.wait_with_output());
        program.say();
        if program.answers() {
            // Whole answers may have come from the process before it was lost: its end tells.
            until(&|| cluster.logs(), |_| {
                let row = cluster.row("origin", &pid);
                row.is_some_and(|row| row.node.as_deref() == Some("t"))
                    || program.child.try_wait().unwrap().is_some()
            });
        }
        if program.child.try_wait().unwrap().is_some() {
            program.ends_with(76, "node s, which ran the process, is gone");
            assert!(program.expected().starts_with(&program.said.text()));
            assert!(cluster.row("origin", &pid).is_none());
        } else {
            program.finish(&cluster);
        }
        cluster.up_again("s", "origin");
        cluster.until_linked();
    }
}

/// It says nothing and its connections stand, as if its machine had lost its power or its network.
#[test]
fn a_silent_node_is_noticed_and_taken_back_with_what_it_runs() {
    let gave_up = "others had given this node up; it has told them that it lives";
    let mut cluster = silent_and_back(Cluster::of(&[]), None);
    assert_eq!(cluster.node("a").said("node b answers nobody, or has left"), 1);
    cluster.node("b").until_said(gave_up);
}

/// Nobody has to notice its silence, which would take ten minutes here.
#[test]
fn a_node_that_is_terminated_says_goodbye() {
    let mut cluster = Cluster::new();
    for name in ["a", "b"] {
        let mut words = cluster.join.clone();
        if words.is_empty() {
            words.push("up".to_owned());
        }
        words.extend(["--unreachable-after", "600s"].map(str::to_owned));
        cluster.up_with(name, &words);
    }
    cluster.until_linked();
    cluster.node("b").signal(Signal::TERM);
    assert_eq!(cluster.node("b").ended().signal(), Some(Signal::TERM.as_raw()));
    cluster.node("a").until_said("node b answers nobody, or has left");
}

/// Where a node has no datagrams links alone tell, and as soon.
#[test]
fn without_datagrams_links_tell_of_silence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let taken = UdpSocket::bind(address).unwrap();
    drop(listener);
    let mut cluster = silent_and_back(Cluster::of(&[]), Some(address));
    drop(taken);
    let node = cluster.node("a");
    assert_eq!(node.said(&format!("no datagrams at {address}")), 1);
    assert_eq!(node.said("node b answers nobody, or has left"), 0);
}

fn silent_and_back(mut cluster: Cluster, listen: Option<SocketAddr>) -> Cluster {
    // Only the one that looks for the other: it is b's program that would be told that its origin's node is silent.
    for (name, after) in [("a", "900ms"), ("b", "30s")] {
        let mut words = cluster.join.clone();
        if words.is_empty() {
            words.push("up".to_owned());
            words.extend(listen.iter().flat_map(|at| ["--listen".to_owned(), at.to_string()]));
        }
        words.extend(["--unreachable-after", after].map(str::to_owned));
        cluster.up_with(name, &words);
    }
    cluster.until_linked();
    let mut program = Program::dialogue(&cluster, "a");
    cluster.migrate("a", &program.pid(), "b");
    program.say();
    assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
    let stopped = Pid::from_raw(cluster.node("b").number().try_into().unwrap()).unwrap();
    kill_process(stopped, Signal::STOP).unwrap();
    program.say();
    let node = cluster.node("a");
    until(&|| node.log(), |_| node.said("node b is silent: who waits for it is told") == 1);
    assert!(node.said("the link to node b is gone: it has been silent for 0.6 s") > 0);
    kill_process(stopped, Signal::CONT).unwrap();
    cluster.until_linked();
    assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
    program.finish(&cluster);
    cluster
}
