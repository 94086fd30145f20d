//! Programs walk by themselves, stay where somebody puts them, and leave a node that is to be emptied.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::program::Program;
use crate::support::{Cluster, Row, guest, text, until};

/// How many processes each of the two nodes runs, as the first one lists them.
fn spread(cluster: &Cluster) -> (usize, usize) {
    let rows = cluster.ps_at("a");
    let at = |node: &str| rows.iter().filter(|row| row.node.as_deref() == Some(node)).count();
    (at("a"), at("b"))
}

fn until_spread(cluster: &Cluster, expected: (usize, usize)) {
    until(&|| format!("{:?}{}", spread(cluster), cluster.logs()), |_| spread(cluster) == expected);
}

/// As the first node lists it.
fn state_of(cluster: &Cluster, node: &str) -> String {
    let nodes = cluster.nodes_at("a").into_iter();
    nodes.filter(|row| row.node == node).map(|row| row.state).collect()
}

/// A node that is told to end, as a machine is that goes down, sends its processes away first.
/// Whoever names no node does not have to know which one is being emptied.
#[test]
fn a_program_is_not_refused_because_the_nearest_node_is_being_emptied() {
    let cluster = Cluster::of(&["a", "b"]);
    let words = ["run", &guest("lua"), "-e", "print('here')"];
    let runs = |there: &Cluster, says: Option<&str>| {
        let output = there.output(words);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "here\n");
        let errors = text(&output.stderr);
        assert!(says.map_or(errors.is_empty(), |says| errors.contains(says)), "{errors}");
    };
    // Which of the two is asked nobody has said.
    cluster.done(["drain", "a"]);
    let logs = cluster.done(["run", "--detach", &guest("lua"), "-e", "print('here')"]);
    assert!(logs.contains("/b/"), "{logs}");
    cluster.done(words);
    cluster.done(["drain", "b", "--no-wait"]);
    let refused = cluster.output(words);
    assert_eq!(refused.status.code(), Some(77));
    let why = text(&refused.stderr);
    assert!(why.contains("is being emptied (peri drain --off"), "{why}");

    // Nor is it if the other one is another user's, or another machine's.
    let mut other = Cluster::new();
    other.join = cluster.join.clone();
    other.up("c");
    until(&|| other.logs(), |_| other.output(["drain", "--off", "a"]).status.success());
    other.done(["drain", "c"]);
    runs(&other, Some("node c is being emptied: it starts at node a"));
    other.done(["drain", "--off", "c"]);
    runs(&other, None);
}

#[test]
fn what_runs_on_a_node_that_is_told_to_end_goes_on_elsewhere() {
    let mut cluster = Cluster::new();
    cluster.up_with("a", &["up", "--drain-within", "1s"].map(str::to_owned));
    cluster.up("b");
    cluster.until_linked();
    let program = Program::endless(&cluster, "a");
    let pid = program.pid();
    until(&|| cluster.logs(), |_| cluster.output(["migrate", &pid, "b"]).status.success());
    cluster.node("b").signal(Signal::TERM);
    let status = cluster.node("b").ended();
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{}", cluster.logs());
    assert_eq!(spread(&cluster), (1, 0));
    // The last one has nobody to send it to, and waits for somebody as long as it may.
    let begun = Instant::now();
    cluster.node("a").signal(Signal::TERM);
    cluster.node("a").ended();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{}", cluster.logs());
    assert!(cluster.logs().contains("no other node takes"), "{}", cluster.logs());
    drop(program);
}

/// Who has told a node to end and does not want to wait says it again.
#[test]
fn a_second_signal_ends_a_node_that_is_being_emptied() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.done(["cordon", "b"]);
    let program = Program::endless(&cluster, "a");
    program.pid();
    let node = cluster.node("a");
    node.signal(Signal::TERM);
    node.until_said("to leave before this node ends");
    // One that comes too soon is taken for the first.
    until(&|| "it goes on".into(), |_| {
        node.signal(Signal::INT);
        node.has_ended()
    });
    assert_eq!(node.ended().signal(), Some(Signal::INT.as_raw()));
}

/// A program whose memory no node has is not started, and one that says what it needs is known to.
#[test]
fn a_program_that_needs_memory_is_started_where_it_is() {
    let mut cluster = Cluster::new();
    cluster.up("a");
    let lua = guest("lua");
    let refused = ["run", "--memory", "900T", "--memory-max", "1000T", &lua];
    let refused = cluster.output(refused);
    assert_eq!(refused.status.code(), Some(77), "{}", text(&refused.stderr));
    let why = "it needs 943718400 MiB of memory, and no node that may run it has so much left";
    assert!(text(&refused.stderr).contains(why), "{}", text(&refused.stderr));
    let refused = cluster.output(["run", "--memory", "2G", "--memory-max", "1G", &lua]);
    assert_eq!(refused.status.code(), Some(2));
    let why = "--memory: is more than it may use: 1024 MiB (--memory-max)";
    assert!(text(&refused.stderr).contains(why), "{}", text(&refused.stderr));
    let words = ["run", "--memory", "24M", &lua, "-e", "while true do end"].map(str::to_owned);
    let program = Program::start(&cluster, "a", cluster.peri(words));
    let pid = program.pid();
    let explained = || text(&cluster.output(["explain", &pid]).stdout);
    until(&explained, |_| explained().contains(" MB of 25.2 MB that it will need."));
}

/// A program that prefers a node goes there, and it is said that this is why.
#[test]
fn a_program_goes_where_it_prefers_to_be() {
    let mut cluster = Cluster::that_balances();
    cluster.up("a");
    let words = cluster.join.iter().map(String::as_str).chain(["--label", "gpu=yes"]);
    let words: Vec<String> = words.map(str::to_owned).collect();
    cluster.up_with("b", &words);
    cluster.until_linked();
    let endless = [guest("lua"), "-e".to_owned(), "while true do end".to_owned()];
    let words = ["run", "--at", "a", "--prefer", "gpu=yes"].map(str::to_owned);
    let program =
        Program::start(&cluster, "a", cluster.peri(words.into_iter().chain(endless.clone())));
    cluster.until_at("a", &program.pid(), "b");
    let why = cluster.output(["explain", "--at", "a", &program.pid()]);
    assert!(text(&why.stdout).contains(" as it prefers "), "{}", text(&why.stdout));
    // What is only preferred may be missing.
    let done = cluster.output(["run", "--at", "a", "--prefer", "gpu=no", &endless[0], "-e", ""]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let here = cluster.output(["run", "--local", "--prefer", "gpu=yes", &endless[0]]);
    assert_eq!(here.status.code(), Some(2), "{}", text(&here.stderr));
}

/// Programs, whether they talk or not, go to nodes with the labels that they ask for, and stay there.
#[test]
fn a_program_runs_where_the_labels_are_that_it_asks_for() {
    let mut cluster = Cluster::that_balances();
    cluster.up("a");
    let words = cluster.join.iter().map(String::as_str).chain(["--label", "gpu=yes"]);
    let words: Vec<String> = words.map(str::to_owned).collect();
    cluster.up_with("b", &words);
    cluster.until_linked();
    let endless = [guest("lua"), "-e".to_owned(), "while true do end".to_owned()];
    let start = |options: &[&str]| {
        let words = ["run", "--at", "a"].iter().chain(options).map(|word| (*word).to_owned());
        Program::start(&cluster, "a", cluster.peri(words.chain(endless.iter().cloned())))
    };
    let there: Vec<Program> = (0..3).map(|_| start(&["--on", "gpu=yes"])).collect();
    let here = start(&["--not-on", "gpu=yes"]);
    for program in &there {
        cluster.until_at("a", &program.pid(), "b");
    }
    let refused = cluster.output(["migrate", "--at", "a", &here.pid(), "b"]);
    assert_eq!(refused.status.code(), Some(77));
    assert!(text(&refused.stderr).contains("--not-on gpu=yes"), "{}", text(&refused.stderr));
    // Three are on one node, and the other one has one: as it would not be without labels.
    cluster.until_row("a", &here.pid(), |row| row.cpu_ms > 1_000);
    assert_eq!(spread(&cluster), (1, 3));
    let refused = cluster.output(["run", "--on", "gpu=no", &endless[0]]);
    assert_eq!(refused.status.code(), Some(77));
    assert!(
        text(&refused.stderr).contains("no node suits --on gpu=no"),
        "{}",
        text(&refused.stderr)
    );
    let stuck = cluster.output(["drain", "b"]);
    assert_eq!(stuck.status.code(), Some(77));
    let why = "suits 3 processes (--on gpu=yes, ";
    assert!(text(&stuck.stderr).contains(why), "{}", text(&stuck.stderr));
    cluster.done(["drain", "--off", "b"]);
    let wrong = cluster.output(["run", "--on", "gpu", &endless[0]]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("KEY=VALUE"), "{}", text(&wrong.stderr));
}

#[test]
fn four_programs_settle_two_and_two() {
    let cluster = Cluster::that_balances().with(&["a", "b"]);
    let programs: Vec<Program> =
        (0..4).map(|_| Program::guest(&cluster, "a", "fib", &["42"])).collect();
    until_spread(&cluster, (2, 2));
    for mut program in programs {
        assert!(program.ended().success(), "{}", program.errors.text());
        program.until_output("fib 42 = 267914296\n");
    }
}

#[test]
fn what_somebody_puts_somewhere_stays_and_a_drained_node_is_emptied() {
    let mut cluster = Cluster::that_balances().with(&["a", "b"]);
    let (first, second) = (Program::endless(&cluster, "a"), Program::endless(&cluster, "a"));
    let (one, two) = (first.pid(), second.pid());
    // The balancer may move one at the same moment; then it is on its way already.
    let put = |cluster: &Cluster, pid: &str, extra: &[&str]| {
        until(&|| cluster.logs(), |_| {
            let there = cluster.until_row("a", pid, |row| row.state == "running");
            let to =
                if there.node.as_deref() == Some("b") { ["a", "b"].as_slice() } else { &["b"] };
            to.iter().all(|node| {
                let words = ["migrate", pid, node].into_iter().chain(extra.iter().copied());
                cluster.output(words).status.success()
            })
        });
    };
    put(&cluster, &one, &[]);
    put(&cluster, &two, &[]);
    // They run on there together, though the other node is idle.
    let start = cluster.row("a", &one).unwrap().cpu_ms;
    let stays = |row: &Row| {
        assert_eq!((row.node.as_deref(), row.pinned), (Some("b"), true));
        row.cpu_ms > start + 1_000
    };
    cluster.until_row("a", &one, stays);
    assert_eq!(spread(&cluster), (0, 2));

    cluster.done(["unpin", &one]);
    cluster.until_at("b", &one, "a");
    assert!(cluster.row("a", &two).unwrap().pinned);

    // One that is held for a time only goes back by itself.
    put(&cluster, &one, &["--for", "1500ms"]);
    let held = cluster.row("a", &one).unwrap();
    assert!(held.pinned || held.node.as_deref() == Some("a"), "{held:?}");
    let back = cluster.until_at("a", &one, "a");
    assert!(!back.pinned && back.moves > held.moves, "{back:?}");

    // A node that is being emptied gives away also what is held there.
    let emptied = cluster.output(["drain", "b"]);
    assert!(emptied.status.success(), "{}", text(&emptied.stderr));
    assert!(text(&emptied.stderr).contains("node b is empty"), "{}", text(&emptied.stderr));
    assert_eq!(spread(&cluster), (2, 0));
    assert_eq!(state_of(&cluster, "b"), "draining");
    let refused = cluster.output(["migrate", &one, "b"]);
    assert_eq!(refused.status.code(), Some(77));
    assert!(text(&refused.stderr).contains("being emptied"), "{}", text(&refused.stderr));
    let refused = cluster.output(["run", "--at", "b", &guest("fib"), "1"]);
    assert_eq!(refused.status.code(), Some(77));
    assert!(text(&refused.stderr).contains("being emptied"), "{}", text(&refused.stderr));
    // Nobody is left who could take what the other one has.
    let stuck = cluster.output(["drain", "a"]);
    assert_eq!(stuck.status.code(), Some(77));
    assert!(text(&stuck.stderr).contains("no other node takes"), "{}", text(&stuck.stderr));
    cluster.done(["drain", "--off", "a"]);
    cluster.done(["drain", "--off", "b"]);
    until_spread(&cluster, (1, 1));

    // A cordoned node keeps what it has, and takes nothing.
    cluster.done(["cordon", "b"]);
    until(&|| cluster.logs(), |_| state_of(&cluster, "b") == "cordoned");
    let kept = cluster.ps_at("a").into_iter().find(|row| row.node.as_deref() == Some("b")).unwrap();
    let other = if kept.pid == one { &two } else { &one };
    let refused = cluster.output(["migrate", other, "b"]);
    assert_eq!(refused.status.code(), Some(77));
    assert!(text(&refused.stderr).contains("peri uncordon"), "{}", text(&refused.stderr));
    assert_eq!(spread(&cluster), (1, 1));
    cluster.done(["uncordon", "b"]);
    until(&|| cluster.logs(), |_| state_of(&cluster, "b") == "up");

    // A node through which programs reach their files stays, though others could take the processes.
    let refused = cluster.output(["down", "--at", "a"]);
    assert_eq!(refused.status.code(), Some(77));
    assert!(text(&refused.stderr).contains("through this node"), "{}", text(&refused.stderr));

    // A node that ends sends everything away first.
    cluster.done(["down", "--at", "b"]);
    assert!(cluster.node("b").ended().success());
    assert_eq!(spread(&cluster), (2, 0));
    let refused = cluster.output(["down", "--at", "a"]);
    assert_eq!(refused.status.code(), Some(77));
    assert!(text(&refused.stderr).contains("no other node"), "{}", text(&refused.stderr));

    let (mut first, mut second) = (first, second);
    cluster.done(["kill", &one]);
    first.ends_with(137, "ended by somebody");
    cluster.done(["down", "--now", "--at", "a"]);
    assert!(cluster.node("a").ended().success());
    second.ends_with(76, "the node has ended");
}

/// Two programs on one of two nodes: one goes, and it is said why.
#[test]
fn a_move_is_explained_with_what_was_weighed() {
    let mut cluster = Cluster::that_balances();
    cluster.up("a");
    let programs = [Program::endless(&cluster, "a"), Program::endless(&cluster, "a")];
    let pids = [programs[0].pid(), programs[1].pid()];
    // Pinned, they stay.
    pids.iter().for_each(|pid| drop(cluster.done(["pin", pid])));
    cluster.up("b");
    cluster.until_linked();
    cluster.until_row("a", &pids[0], |row| row.pinned && row.cpu_ms > 500);
    let said = cluster.done(["explain", "--at", "a", &pids[0]]);
    assert!(said.contains("runs on node a") && said.contains("pinned"), "{said}");
    cluster.done(["balance", "off"]);
    pids.iter().for_each(|pid| drop(cluster.done(["unpin", pid])));
    let said = cluster.done(["explain", &pids[0]]);
    assert!(said.contains("peri balance on") && said.contains("Node b would get it"), "{said}");
    assert_eq!(spread(&cluster), (2, 0));
    cluster.done(["balance", "on"]);
    until_spread(&cluster, (1, 1));
    let events = cluster.done(["events", "--output", "json"]);
    let events: serde_json::Value = serde_json::from_str(&events).unwrap();
    let moved = events.as_array().unwrap().iter().find(|one| one["what"] == "moved").unwrap();
    assert_eq!([&moved["from"], &moved["to"], &moved["why"]], ["a", "b", "balance"]);
    assert!(moved["terms"]["gain"].as_f64() > Some(0.0), "{moved}");
    let moved = moved["pid"].as_str().unwrap();
    let said = cluster.done(["explain", "--at", "b", moved]);
    assert!(said.contains("runs on node b") && said.contains("moved, stood still"), "{said}");
    let unknown = cluster.output(["explain", "p1@0"]);
    assert_eq!(unknown.status.code(), Some(69));
    assert_eq!(cluster.output(["balance", "maybe"]).status.code(), Some(2));
}
