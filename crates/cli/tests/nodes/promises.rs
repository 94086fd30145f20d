//! Nodes that take themselves to be too many to know each other's loads: these go in datagrams, and promises settle who gets what.

use crate::program::Program;
use crate::support::{Cluster, until};

/// How many processes each node runs.
fn spread(cluster: &Cluster, names: &[&str]) -> Vec<usize> {
    let rows = cluster.ps_at(names[0]);
    let at = |node: &&str| rows.iter().filter(|row| row.node.as_deref() == Some(*node)).count();
    names.iter().map(at).collect()
}

#[test]
fn what_is_all_on_one_node_is_spread_by_promises() {
    let names = ["a", "b", "c"];
    let mut cluster = Cluster::that_balances();
    for name in names {
        let join = cluster.join.clone();
        let mut words = if join.is_empty() { vec!["up".to_owned()] } else { join };
        // Datagrams go out as often as where silence is told after the usual time.
        words.extend(["--knows-all-max", "0", "--unreachable-after", "3s"].map(str::to_owned));
        cluster.up_with(name, &words);
    }
    cluster.until_linked();
    let programs: Vec<Program> = (0..6).map(|_| Program::endless(&cluster, "a")).collect();
    let seen = || format!("{:?}{}", spread(&cluster, &names), cluster.logs());
    until(&seen, |_| spread(&cluster, &names) == [2, 2, 2]);
    drop(programs);
}
