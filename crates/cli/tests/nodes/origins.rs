//! The `peri run` of a program that is elsewhere: it goes, and the program learns of it.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::program::Program;
use crate::support::{Cluster, guest, until};

/// Reads lines, and has each in its file and on its standard output. While it gets EIO it tries again, asks the clock, and
/// tries to write, too.
const PERSISTENT: &str = "
local file = assert(io.open('/data/lines.txt', 'w'))
file:setvbuf('no')
local errors = 0
while true do
  local line, problem, number = io.read('L')
  if line then
    assert(file:write(line)) assert(io.write(line)) assert(io.flush())
  elseif number == 29 then
    errors = errors + 1
    assert(os.time() > 1600000000)
    if errors == 1 then
      local good, _, number = file:write('never')
      assert(not good and number == 29)
    end
  else
    assert(not problem, problem)
    break
  end
end
print(errors > 0 and 'there were errors' or 'no error')
";

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

/// The node says nothing and its connections stand; the `peri run` itself goes on.
#[test]
fn a_program_whose_origins_node_is_silent_sees_errors_until_it_is_back() {
    let mut cluster = Cluster::of(&["a"]);
    let mut words = cluster.join.clone();
    words.extend(["--unreachable-after", "900ms"].map(str::to_owned));
    cluster.up_with("b", &words);
    cluster.until_linked();
    let directory = format!("{}::/data", cluster.work().display());
    let words = ["run", "--at", "a", "--dir", &directory, &guest("lua"), "-e", PERSISTENT];
    let mut program = Program::start(&cluster, "a", cluster.peri(words));
    let pid = program.pid();
    let (said, errors) = (program.said.clone(), program.errors.clone());
    cluster.migrate("a", &pid, "b");
    program.write("one\n");
    until(&|| format!("{}{}", errors.text(), cluster.logs()), |_| said.text() == "one\n");
    cluster.until_row("b", &pid, |row| row.state == "waiting");
    cluster.node("a").signal(Signal::STOP);
    // It goes on although its read waits at the origin, and no reply can come.
    cluster.until_row("b", &pid, |row| row.state == "running");
    cluster.node("a").signal(Signal::CONT);
    cluster.until_linked();
    until(&|| errors.text(), |_| errors.text().contains("failed with EIO"));
    cluster.until_row("b", &pid, |row| row.state == "waiting");
    // A line that comes before its next read goes to the one that failed, and is lost: one later is not.
    let mut typed = 0;
    while !said.text().contains("two") {
        typed += 1;
        assert!(typed <= 10, "{}{}{}", said.text(), errors.text(), cluster.logs());
        program.write("two\n");
        (0..100).take_while(|_| !said.text().contains("two")).for_each(|_| {
            thread::sleep(Duration::from_millis(20));
        });
    }
    drop(program.child.stdin.take());
    assert_eq!(program.ended().code(), Some(0), "{}{}", program.errors.text(), cluster.logs());
    let file = fs::read_to_string(cluster.work().join("lines.txt")).unwrap();
    let seen = file.strip_prefix("one\n").expect("the first line").len() / "two\n".len();
    assert!((1..=typed).contains(&seen), "{typed} typed: {file}");
    assert_eq!(file, format!("one\n{}", "two\n".repeat(seen)));
    program.until_output(&format!("{file}there were errors\n"));
    // Whoever sees an output that is not whole is told why, at once or in parts.
    let told =
        "requests of the program failed with EIO: node b, on which it ran, could not reach node a";
    until(&|| errors.text(), |_| errors.text().contains(told));
}
