//! A program that is carried to and fro with open files, a stream in use and clocks does what it does undisturbed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::program::Program;
use crate::support::{Cluster, guest, text, until};

/// Moves of one program.
const MOVES: usize = 24;

fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

/// Line `number` of what the program reads: the lengths differ, so each file gets its share.
fn line(number: usize) -> String {
    format!("{} {}\n", number, "x".repeat(number % 7))
}

#[test]
fn files_and_standard_input_in_use_go_along() {
    let cluster = Cluster::of(&["a", "b"]);
    let [moved, plain] = ["moved", "plain"].map(|name| {
        let directory = cluster.work().join(name);
        fs::create_dir(&directory).unwrap();
        directory
    });
    let dir = format!("{}::/d", moved.display());
    let words = ["run", "--at", "a", "--dir", &dir, &guest("lines"), "/d"];
    let mut program = Program::start(&cluster, "a", cluster.peri(words));
    let pid = program.pid();
    let mut input = String::new();
    let mut send = |program: &mut Program, count: usize| {
        for _ in 0..count {
            let next = line(input.lines().count());
            program.write(&next);
            input.push_str(&next);
        }
        input.clone()
    };
    for round in 0..MOVES {
        // Some lines are under way while it moves; every other time it waits for one.
        let sent = send(&mut program, if round % 2 == 0 { 3 } else { 20 });
        if round % 2 == 0 {
            let answered = program.said.clone();
            until(&|| cluster.logs(), |_| answered.text().lines().count() == sent.lines().count());
        }
        // Every node passes it on to where the process is.
        let asked = if round % 3 == 0 { "b" } else { "a" };
        cluster.migrate(asked, &pid, if round % 2 == 0 { "b" } else { "a" });
    }
    let row = cluster.until_at("a", &pid, "a");
    assert_eq!(row.moves as usize, MOVES);
    let input = send(&mut program, 1);
    drop(program.child.stdin.take());
    assert!(program.ended().success(), "{}{}", program.errors.text(), cluster.logs());

    let given = cluster.work().join("input");
    fs::write(&given, input).unwrap();
    let dir = format!("{}::/d", plain.display());
    let mut undisturbed = cluster.peri(["run", "--local", "--plain", "--dir", &dir]);
    undisturbed.args([&guest("lines"), "/d"]).stdin(fs::File::open(given).unwrap());
    let undisturbed = undisturbed.output().unwrap();
    assert!(undisturbed.status.success());
    program.until_output(&text(&undisturbed.stdout));
    assert_eq!(files(&moved), files(&plain));
}

/// Works, writes and looks at its clocks and descriptors without ever waiting.
const BUSY: &str = "
local out, seen = assert(io.open('/d/out.txt', 'w')), 0
local again = assert(io.open('/d/out.txt', 'r'))
local began = os.time()
for round = 1, ROUNDS do
  local sum = 0
  for i = 1, 40000 do sum = (sum * 31 + i) % 1000003 end
  out:write(round, ' ', sum, '\\n') out:flush()
  seen = seen + #again:read('a')
  assert(os.time() >= began, 'clocks go on')
  assert(out:seek() == again:seek(), 'offsets')
  io.write(round, ' ') io.flush()
end
print(seen, out:seek('end'))
io.stderr:write('end\\n')
os.exit(7)
";

#[test]
fn a_busy_program_is_moved_at_any_moment() {
    // On a busy machine it may have ended before it has moved often: then it has more to do.
    let enough = [1_500, 6_000, 24_000].into_iter().any(|rounds| moves_while_busy(rounds) >= 3);
    assert!(enough, "it has ended before it had moved three times");
}

/// How often a program was moved that is as busy as that, and does what it does where it stays.
fn moves_while_busy(rounds: u32) -> usize {
    let cluster = Cluster::of(&["a", "b"]);
    let busy = BUSY.replace("ROUNDS", &rounds.to_string());
    let [moved, plain] = ["moved", "plain"].map(|name| {
        let directory = cluster.work().join(name);
        fs::create_dir(&directory).unwrap();
        format!("{}::/d", directory.display())
    });
    let words = ["run", "--at", "b", "--dir", &moved, &guest("lua"), "-e", &busy];
    let mut program = Program::start(&cluster, "b", cluster.peri(words));
    let pid = program.pid();
    let mut moves = 0;
    until(&|| cluster.logs(), |attempt| {
        let to = if attempt % 2 == 0 { "a" } else { "b" };
        let output = cluster.output(["migrate", &pid, to]);
        moves += usize::from(output.status.success());
        program.child.try_wait().unwrap().is_some()
    });
    program.ends_with(7, "end");

    let words = ["run", "--local", "--plain", "--dir", &plain, &guest("lua"), "-e", &busy];
    let undisturbed = cluster.output(words);
    assert_eq!(undisturbed.status.code(), Some(7), "{}", text(&undisturbed.stderr));
    program.until_output(&text(&undisturbed.stdout));
    assert_eq!(files(&cluster.work().join("moved")), files(&cluster.work().join("plain")));
    moves
}

/// Fills some megabytes, waits for its input's end, and says what they add up to.
const LARGE: &str = "
local words, seed = {}, 1
for at = 1, 300000 do
  seed = (seed * 1103515245 + 12345) % 2147483648
  words[at] = tostring(seed)
end
print('filled')
local line = io.read('L')
local sum = 0
for at = 1, #words do sum = (sum * 31 + tonumber(words[at])) % 1000000007 end
print(line, sum)
";

/// Both ends of a link take their turn in opening the lane.
#[test]
fn a_large_process_goes_by_a_lane() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let command = cluster.peri(["run", "--at", "a", &guest("lua"), "-e", LARGE]);
    let mut program = Program::start(&cluster, "a", command);
    let (pid, said) = (program.pid(), program.said.clone());
    until(&|| cluster.logs(), |_| said.text().contains("filled"));
    let mut files = 0;
    for round in 0..6 {
        if round == 2 {
            // All that it opens for its work is open.
            files = cluster.node("a").holds().files;
        }
        cluster.migrate("a", &pid, if round % 2 == 0 { "b" } else { "a" });
    }
    assert!(cluster.row("a", &pid).unwrap().memory_bytes > Some(8 << 20));
    let node = cluster.node("a");
    until(&|| node.log(), |_| node.holds().files <= files);
    assert!(!cluster.logs().contains("could not be sent"), "{}", cluster.logs());
    program.write("end");
    drop(program.child.stdin.take());
    assert!(program.ended().success(), "{}{}", program.errors.text(), cluster.logs());
    program.until_output("filled\nend\t790533437\n");
}

/// A node with a move rate says so when it is drained, and what leaves it arrives whole.
#[test]
fn what_leaves_a_node_with_a_move_rate_takes_its_time() {
    let mut cluster = Cluster::new();
    cluster.up_with("a", &["up", "--move-rate", "4MB/s"].map(str::to_owned));
    cluster.up("b");
    cluster.until_linked();
    let command = cluster.peri(["run", "--at", "a", &guest("lua"), "-e", LARGE]);
    let mut program = Program::start(&cluster, "a", command);
    let (pid, said) = (program.pid(), program.said.clone());
    until(&|| cluster.logs(), |_| said.text().contains("filled"));
    let drained = cluster.output(["drain", "--at", "b", "a"]);
    assert!(drained.status.success(), "{}{}", text(&drained.stderr), cluster.logs());
    let says = text(&drained.stderr);
    assert!(says.contains("what leaves node a shares 4.0 MB/s (peri up --move-rate)"), "{says}");
    // From the other one it goes as fast as it can.
    cluster.done(["drain", "--at", "b", "--off", "a"]);
    cluster.migrate("b", &pid, "a");
    program.write("end");
    drop(program.child.stdin.take());
    assert!(program.ended().success(), "{}{}", program.errors.text(), cluster.logs());
    program.until_output("filled\nend\t790533437\n");
    let refused = cluster.output(["up", "--move-rate", "100"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
}

/// 8 MiB, half of which it writes to here and there, so often.
const fn writer(turns: &str) -> [&str; 4] {
    ["8", turns, "4", "2000"]
}

/// While it writes it is copied, wherever pages can be tracked, and moves as often as it can. (One that is about to end may move as it is.)
#[test]
fn a_large_program_is_copied_while_it_runs() {
    // On a busy machine it may have ended before it has moved often: then it has more to do.
    let enough = ["500", "2000", "8000"].into_iter().any(|turns| copies_of(writer(turns)) >= 3);
    assert!(enough, "it has ended before it had moved three times");
}

/// See [`copies`].
fn copies_of(words: [&str; 4]) -> usize {
    let cluster = Cluster::of(&["a", "b"]);
    let program = Program::guest(&cluster, "a", "ballast", &words);
    let mut plain = cluster.peri(["run", "--local", "--plain", &guest("ballast")]);
    plain.args(words);
    copies(&cluster, program, &mut plain)
}

/// How often a program moved that was copied before (or at all, where none can be), and said what `plain` says where it stays.
pub(crate) fn copies(cluster: &Cluster, mut program: Program, plain: &mut Command) -> usize {
    let (pid, said) = (program.pid(), program.said.clone());
    // Then it has written to most of its pages, and the node knows how large its memory is a moment later.
    until(&|| cluster.logs(), |_| said.text().len() > 20);
    let (mut moves, mut copied) = (0, 0);
    until(&|| cluster.logs(), |attempt| {
        let to = if attempt % 2 == 0 { "b" } else { "a" };
        let output = cluster.output(["migrate", &pid, to]);
        moves += usize::from(output.status.success());
        copied += usize::from(text(&output.stderr).contains("before, while it ran"));
        program.child.try_wait().unwrap().is_some()
    });
    assert!(program.ended().success(), "{}{}", program.errors.text(), cluster.logs());
    let doctor = text(&cluster.output(["doctor"]).stdout);
    let tracked =
        doctor.lines().any(|line| line.starts_with("ok") && line.contains("page tracking"));
    assert!(tracked || copied == 0, "{copied} of {moves} moves{}", cluster.logs());
    let plain = plain.output().unwrap();
    assert!(plain.status.success(), "{}", text(&plain.stderr));
    program.until_output(&text(&plain.stdout));
    if tracked { copied } else { moves }
}
