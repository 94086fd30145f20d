//! The `peri run` of a program that is elsewhere: it goes, and the program learns of it.

use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use crate::program::Program;
use crate::support::{Cluster, guest, until};

#[test]
fn a_program_whose_origin_was_killed_sees_errors_wherever_it_is() {
    let mut cluster = Cluster::of(&["a", "b"]);
    for node in ["a", "b"] {
        let mut program = Program::dialogue(&cluster, "a");
        let pid = program.pid();
        program.say();
        assert!(program.answers());
        if node != "a" {
            cluster.migrate("a", &pid, node);
        }
        cluster.until_row("a", &pid, |row| {
            row.node.as_deref() == Some(node) && row.state == "waiting"
        });
        program.child.kill().unwrap();
        program.ended();
        // Its read has failed, and it works for ever; it can still be moved and ended.
        let row = cluster.until_row("b", &pid, |row| row.state == "running");
        let worked = |more: u64| {
            cluster.until_row("b", &pid, |now| {
                now.state == "running" && now.cpu_ms > row.cpu_ms + more
            });
        };
        worked(100);
        cluster.migrate("b", &pid, if node == "a" { "b" } else { "a" });
        worked(300);
        cluster.done(["kill", &pid]);
        until(&|| cluster.logs(), |_| cluster.ps_at("a").is_empty());
    }

    // The origin's node ends, and its machine still knows the other one's.
    let mut program = Program::dialogue(&cluster, "a");
    let pid = program.pid();
    cluster.migrate("a", &pid, "b");
    cluster.node("a").kill();
    program.ends_with(76, "what became of the process is not known");
    cluster.until_row("b", &pid, |row| row.state == "running");
    cluster.done(["kill", "--at", "b", &pid]);
    until(&|| cluster.logs(), |_| cluster.ps_at("b").is_empty());
}

#[test]
fn an_interrupted_origin_ends_its_program_on_the_other_node() {
    let cluster = Cluster::of(&["a", "b"]);
    let busy = Program::endless(&cluster, "a");
    let waiting = Program::dialogue(&cluster, "a");
    for (mut program, signal) in [(busy, Signal::INT), (waiting, Signal::TERM)] {
        let pid = program.pid();
        // The balancer may have moved it already.
        let there = cluster.until_row("a", &pid, |row| row.state != "moving");
        if there.node.as_deref() == Some("a") {
            // Or does in this moment.
            cluster.output(["migrate", "--at", "a", &pid, "b"]);
            cluster.until_at("a", &pid, "b");
        }
        kill_process(Pid::from_child(&program.child), signal).unwrap();
        assert_eq!(program.ended().signal(), Some(signal.as_raw()));
        // By the time that the command has ended, so has the program.
        assert!(cluster.row("b", &pid).is_none(), "{}", cluster.logs());
    }
}

#[test]
fn a_pipe_that_nobody_reads_ends_the_program() {
    let cluster = Cluster::of(&["a"]);
    let words = ["run", "--at", "a", &guest("lua"), "-e", "while true do print('y') end"];
    let mut child = cluster.peri(words).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::PIPE.as_raw()));
    assert!(cluster.ps_at("a").is_empty());
}
