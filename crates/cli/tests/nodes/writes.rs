//! Files that a program writes from another node than its origin's: it goes on before they are written.

use rustix::process::Signal;
use std::fs;
use std::process::Command;

use crate::program::Program;
use crate::support::{Cluster, guest, until};

/// Writes line after line, each by itself, into one file and now and then into another one, until there is a third. Says how many.
const SCRIBE: &str = "
local one = assert(io.open('/data/one', 'w')) one:setvbuf('no')
local two = assert(io.open('/data/two', 'a')) two:setvbuf('no')
local lines = 0
while lines % 500 ~= 0 or not io.open('/data/stop') do
  lines = lines + 1
  assert(one:write('line ' .. lines .. '\\n'))
  if lines % 3 == 0 then assert(two:write('third ' .. lines .. '\\n')) end
  if lines % 100 == 0 then assert(one:seek('end') >= 8 * lines // 2) end
end
assert(one:close()) assert(two:close())
print(lines)
";

/// Runs this in Lua on `a`, with a directory, in a shell that may make no file longer than so many half kilobytes.
fn lua(cluster: &Cluster, script: &str, blocks_max: Option<u32>) -> Program {
    let directory = format!("{}::/data", cluster.work().display());
    let words = ["run", "--at", "a", "--dir", &directory, &guest("lua"), "-e", script];
    let command = match blocks_max {
        None => cluster.peri(words),
        Some(blocks) => {
            // Whose signal is ignored, a write fails.
            let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
            let mut shell = Command::new("sh");
            shell.args(["-c", &limited, env!("CARGO_BIN_EXE_peri")]).args(words);
            cluster.here(shell)
        }
    };
    Program::begin(command)
}

#[test]
fn a_program_that_is_moved_while_it_writes_writes_each_byte_once() {
    let cluster = Cluster::of(&["a", "b", "c"]);
    let program = lua(&cluster, SCRIBE, None);
    let pid = program.pid();
    let file = |name: &str| fs::read_to_string(cluster.work().join(name)).unwrap_or_default();
    let mut home = "a";
    for node in ["b", "c", "b", "a", "c"] {
        let before = file("one").len();
        until(&|| cluster.logs(), |_| file("one").len() > before);
        cluster.until_row("a", &pid, |row| row.node.as_deref() == Some(home));
        cluster.migrate("a", &pid, node);
        home = node;
    }
    fs::write(cluster.work().join("stop"), "").unwrap();
    let mut program = program;
    let status = program.ended();
    assert!(status.success(), "{status} {}{}", program.errors.text(), cluster.logs());
    let lines: u64 = program.said.text().trim().parse().unwrap();
    let one: String = (1..=lines).map(|line| format!("line {line}\n")).collect();
    let two: String = (1..=lines / 3).map(|line| format!("third {}\n", 3 * line)).collect();
    assert!(file("one") == one && file("two") == two, "{}", cluster.logs());
}

#[test]
fn a_full_disk_is_told_to_the_program_or_to_its_user() {
    let cluster = Cluster::of(&["a", "b"]);
    // The first write waits, and the origin says that the next one need not.
    let writes = "
        local file = assert(io.open('/data/full', 'w')) file:setvbuf('no')
        assert(file:write('a'))
        local good, _, number = file:write(('x'):rep(2000)) assert(good)
    ";
    let size = || fs::metadata(cluster.work().join("full")).unwrap().len();
    let says = "/data/full was not written whole: file too large";
    // Nobody asks: not even by closing it; or by that alone, and does not look.
    for end in ["os.exit(0)", "file:close() os.exit(0)", "os.exit(5)"] {
        lua(&cluster, &format!("{writes} {end}"), Some(1)).ends_with(74, says);
        assert_eq!(size(), 512, "{end}");
    }
    // It is told, and says so itself.
    let again = "repeat good, _, number = file:write('more') until not good";
    for asks in ["_, _, number = file:close()", again] {
        let script = format!("{writes} {asks} assert(number == 22) os.exit(6)");
        let mut program = lua(&cluster, &script, Some(1));
        assert_eq!(program.ended().code(), Some(6), "{asks}: {}", program.errors.text());
        assert_eq!(size(), 512, "{asks}");
    }
    // What there is room for.
    let mut program = lua(&cluster, &format!("{writes} assert(file:close())"), Some(10));
    assert_eq!(program.ended().code(), Some(0), "{}", program.errors.text());
    assert_eq!(size(), 2001);
}

/// The node says nothing, and its connections stand.
#[test]
fn what_an_origin_that_falls_silent_has_not_heard_is_told() {
    let mut cluster = Cluster::of(&["a"]);
    let mut words = cluster.join.clone();
    words.extend(["--unreachable-after", "900ms"].map(str::to_owned));
    cluster.up_with("b", &words);
    cluster.until_linked();
    let work = cluster.work();
    let file = |name: &str| fs::read_to_string(work.join(name)).unwrap_or_default();

    // A program that goes on writing is told itself,
    let script = "
        local file = assert(io.open('/data/lines', 'w')) file:setvbuf('no')
        local lines, good, _, number = 0
        repeat
          lines = lines + 1
          local line = 'line ' .. lines
          good, _, number = file:write(line .. (' '):rep(1000 - #line))
        until not good
        local function say(what) return io.write(what) and io.flush() end
        repeat until say('error ' .. number .. '\\n')
    ";
    let mut program = lua(&cluster, script, None);
    let pid = program.pid();
    until(&|| cluster.logs(), |_| !file("lines").is_empty());
    cluster.migrate("a", &pid, "b");
    let before = file("lines").len();
    until(&|| cluster.logs(), |_| file("lines").len() > before);
    cluster.node("a").signal(Signal::STOP);
    // It has written as much as may be outstanding; and is told.
    cluster.until_row("b", &pid, |row| row.state == "waiting");
    cluster.until_row("b", &pid, |row| row.state == "running");
    cluster.node("a").signal(Signal::CONT);
    cluster.until_linked();
    let status = program.ended();
    assert!(status.success(), "{status} {}{}", program.errors.text(), cluster.logs());
    // Of standard output, too, it may have tried again what had been done.
    let said = program.said.text();
    assert!(said.starts_with("error 29\n") && said.replace("error 29\n", "").is_empty(), "{said}");
    let lines = file("lines");
    let expected: String =
        (1..=lines.len() / 1000).map(|line| format!("line {line:<995}")).collect();
    assert!(lines == expected, "{}", cluster.logs());
}

#[test]
fn what_a_program_had_written_that_ended_while_its_origin_was_silent_is_told() {
    let mut cluster = Cluster::of(&["a"]);
    let mut words = cluster.join.clone();
    // It writes a second after the origin has stopped, and is not told by then.
    words.extend(["--unreachable-after", "5s"].map(str::to_owned));
    cluster.up_with("b", &words);
    cluster.until_linked();
    let work = cluster.work();
    let file = || fs::read_to_string(work.join("two")).unwrap_or_default();
    let script = "
        local file = assert(io.open('/data/two', 'w')) file:setvbuf('no')
        while not io.open('/data/go') do end
        file:write('one\\n')
        local sum = 0
        for i = 1, 40000000 do sum = sum + i end
        file:write('two\\n')
        os.exit(0)
    ";
    let mut program = lua(&cluster, script, None);
    cluster.until_row("a", &program.pid(), |row| row.node.as_deref() == Some("a"));
    cluster.migrate("a", &program.pid(), "b");
    fs::write(work.join("go"), "").unwrap();
    until(&|| cluster.logs(), |_| file() == "one\n");
    cluster.node("a").signal(Signal::STOP);
    until(&|| cluster.logs(), |_| cluster.ps_at("b").is_empty());
    cluster.node("a").signal(Signal::CONT);
    program.ends_with(70, "its last 4 bytes of output to files may be lost");
    // They were on their way, and come late.
    until(&|| cluster.logs(), |_| file() == "one\ntwo\n");
}
