//! `peri nodes`: the machines of the cluster.

use crate::cluster::{At, failure};
use crate::exit::{End, Result};
use crate::output::{Align, Format, Table};
use peripatos_cluster::message::RowOfNode;
use serde::Serialize;

/// Lists the nodes of the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Nodes {
    #[command(flatten)]
    at: At,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// One node in JSON.
#[derive(Serialize)]
struct Row {
    node: String,
    id: String,
    address: String,
    state: &'static str,
    asked: bool,
    labels: Vec<String>,
    cores: u32,
    /// What a core does in a second, of what one of the reference does: less while others use the CPUs.
    speed: f64,
    runnable: u32,
    processes: u32,
    /// None: as many as can be.
    move_bytes_per_s: Option<u64>,
}

pub(crate) fn run(options: &Nodes) -> Result<End> {
    let mut client = options.at.connect()?;
    let mut nodes = client.nodes().map_err(|error| failure("nodes", &error))?;
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let rows: Vec<Row> = nodes.iter().map(row).collect();
    options.output.show(&rows, || table(&nodes))?;
    Ok(End::SUCCESS)
}

fn row(node: &RowOfNode) -> Row {
    Row {
        node: node.name.clone(),
        id: node.node.to_string(),
        address: node.address.clone(),
        state: state(node),
        asked: node.own,
        labels: node.labels.texts(),
        cores: node.cores,
        speed: speed(node),
        runnable: node.runnable,
        processes: node.processes,
        move_bytes_per_s: node.move_bytes_per_s,
    }
}

fn speed(node: &RowOfNode) -> f64 {
    f64::from(node.speed_permille) / 1e3
}

fn state(node: &RowOfNode) -> &'static str {
    match node {
        RowOfNode { reachable: false, .. } => "unreachable",
        RowOfNode { draining: true, .. } => "draining",
        RowOfNode { cordoned: true, .. } => "cordoned",
        _ => "up",
    }
}

fn table(nodes: &[RowOfNode]) -> String {
    let (left, right) = (Align::Left, Align::Right);
    let mut table = Table::new(&[
        ("NODE", left),
        ("ADDRESS", left),
        ("STATE", left),
        ("CORES", right),
        ("SPEED", right),
        ("RUNNABLE", right),
        ("PROCESSES", right),
        ("LABELS", left),
    ]);
    for node in nodes {
        // Nothing is known of the load of a node that cannot be asked.
        let number = |value: u32| if node.reachable { value.to_string() } else { "-".to_owned() };
        table.row(vec![
            node.name.clone(),
            node.address.clone(),
            state(node).into(),
            number(node.cores),
            if node.reachable { format!("{:.2}", speed(node)) } else { "-".to_owned() },
            number(node.runnable),
            number(node.processes),
            node.labels.texts().join(" "),
        ]);
    }
    table.render()
}
