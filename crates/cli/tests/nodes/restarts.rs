//! Programs whose node is lost, and that are started again.

use rustix::process::Signal;

use crate::program::Program;
use crate::support::{Cluster, Row, guest, text, until};

/// Answers each line with how many there were.
const COUNTS: &str = "
local lines = 0
for line in io.lines() do
  lines = lines + 1
  print(lines .. ' ' .. line) io.flush()
end
";

pub(crate) fn counting(cluster: &Cluster, restart: &str) -> Program {
    let words = ["run", "--at", "a", "--restart", restart, &guest("lua"), "-e", COUNTS];
    let program = Program::start(cluster, "a", cluster.peri(words));
    cluster.migrate("a", &program.pid(), "b");
    program
}

/// Writes a line; it must be answered so.
#[track_caller]
pub(crate) fn answers(cluster: &Cluster, program: &mut Program, line: &str, expected: &str) {
    program.write(line);
    let (said, errors) = (program.said.clone(), program.errors.clone());
    let seen = || format!("{}{}{}", said.text(), errors.text(), cluster.logs());
    until(&seen, |_| said.text().ends_with(expected));
}

#[track_caller]
pub(crate) fn until_restarted(cluster: &Cluster, program: &Program, times: usize) {
    let errors = program.errors.clone();
    let seen = || format!("{}{}", errors.text(), cluster.logs());
    let line = format!(" is lost: started again as {}-", program.pid());
    until(&seen, |_| errors.text().matches(&line).count() == times);
}

#[track_caller]
pub(crate) fn ends_well(mut program: Program) {
    drop(program.child.stdin.take());
    assert_eq!(program.ended().code(), Some(0), "{}", program.errors.text());
}

#[test]
fn a_program_whose_node_dies_is_started_again() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let mut program = counting(&cluster, "on-node-loss");
    for times in 1..=2 {
        answers(&cluster, &mut program, "x\n", "1 x\n");
        answers(&cluster, &mut program, "y\n", "2 y\n");
        cluster.node("b").kill();
        until_restarted(&cluster, &program, times);
        assert!(program.errors.text().contains("node b is lost"), "{}", program.errors.text());
        if times == 1 {
            cluster.up_again("b", "a");
            cluster.until_linked();
            cluster.migrate("a", &program.pid(), "b");
        }
    }
    answers(&cluster, &mut program, "z\n", "1 z\n");
    ends_well(program);
}

#[test]
fn only_who_accepts_two_copies_is_started_again_while_its_node_is_silent() {
    let mut cluster = Cluster::new();
    let words = ["up", "--unreachable-after", "900ms"].map(str::to_owned);
    cluster.up_with("a", &words);
    cluster.up("b");
    cluster.until_linked();
    let mut cautious = counting(&cluster, "on-node-loss");
    let mut bold = counting(&cluster, "unfenced");
    for program in [&mut cautious, &mut bold] {
        answers(&cluster, program, "x\n", "1 x\n");
    }
    cluster.node("b").signal(Signal::STOP);
    until_restarted(&cluster, &bold, 1);
    answers(&cluster, &mut bold, "y\n", "1 y\n");
    assert_eq!(cautious.errors.text().matches("started again").count(), 0);

    // What is left of it on the other node ends when that is back.
    cluster.node("b").signal(Signal::CONT);
    cluster.until_linked();
    let of = |program: &Program| -> Vec<Row> {
        let rows = cluster.ps_at("a").into_iter();
        rows.filter(|row| row.pid.starts_with(&format!("{}-", program.pid()))).collect()
    };
    until(&|| cluster.logs(), |_| of(&bold).len() == 1 && of(&cautious).len() == 1);
    answers(&cluster, &mut bold, "z\n", "2 z\n");
    answers(&cluster, &mut cautious, "y\n", "2 y\n");
    ends_well(bold);

    // A node that is called lost is.
    cluster.node("b").signal(Signal::STOP);
    cluster.until_cut("a", "b");
    cluster.done(["forget", "--at", "a", "b"]);
    until_restarted(&cluster, &cautious, 1);
    answers(&cluster, &mut cautious, "z\n", "1 z\n");
    ends_well(cautious);
    cluster.node("b").signal(Signal::CONT);
}

#[test]
fn who_is_not_to_be_started_again_ends() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let mut program = counting(&cluster, "never");
    cluster.node("b").kill();
    program.ends_with(76, "node b, which ran the process, is gone");
    let local = cluster.output(["run", "--local", "--restart", "unfenced", &guest("lua")]);
    assert_eq!(local.status.code(), Some(2), "{}", text(&local.stderr));
}
