//! `peri sim`: how a cluster too large to be tried would balance its load, simulated.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use peripatos_cluster::limits::PROCESSES_MAX;
use peripatos_sim::balance::{self, Config, Outcome, Report, Workload};

use crate::bench::sample::{Metric, table};
use crate::commands::migrate::time;
use crate::exit::{Code, End, Failure, Result, say};
use crate::output::{Align, Format, Table, print};

/// Simulates the balance of a large cluster, on virtual time, with the code that ships, and compares it with other schemes.
#[derive(Debug, clap::Args)]
pub(crate) struct Sim {
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=20_000))]
    nodes: u32,
    /// Processes, on all of them
    #[arg(long, value_name = "M", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=PROCESSES_MAX as i64))]
    processes: u32,
    /// What they do
    #[arg(long, value_enum, default_value_t = Name(Workload::Skewed))]
    workload: Name,
    /// What is random follows from this
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How much time passes in the simulation
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "30s")]
    span: Duration,
    /// How to print the figures
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// Draw imbalance, moves and bytes over time, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// A workload on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name(Workload);

impl clap::ValueEnum for Name {
    fn value_variants<'a>() -> &'a [Name] {
        const ALL: [Name; 8] = [
            Name(Workload::Skewed),
            Name(Workload::Pareto),
            Name(Workload::Bursts),
            Name(Workload::Wandering),
            Name(Workload::Talkers),
            Name(Workload::Unequal),
            Name(Workload::Churn),
            Name(Workload::Oscillating),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()).help(self.0.describe()))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

pub(crate) fn run(options: &Sim) -> Result<End> {
    if options.span < Duration::from_secs(1) || options.span > Duration::from_secs(3_600) {
        return Err(Failure::new(Code::Usage, "--for", "from 1s to 60m"));
    }
    let config = Config {
        nodes: options.nodes as usize,
        processes: options.processes as usize,
        workload: options.workload.0,
        seed: options.seed,
        span: options.span,
    };
    let report =
        balance::simulate(config, |scheme| say(format_args!("simulating {}", scheme.name())));
    if let Some(path) = &options.plot {
        let written = std::fs::write(path, balance::plot(&report));
        written.map_err(|error| Failure::new(Code::Storage, path.display(), error))?;
    }
    let metrics = metrics(&report);
    if options.output == Format::Table {
        let shown = print(&format!("{}\n", schemes(&report)));
        shown.map_err(|error| Failure::new(Code::Storage, "standard output", error))?;
    }
    options.output.show(&metrics, || table(&metrics))?;
    Ok(End::SUCCESS)
}

/// What each scheme comes to.
fn schemes(report: &Report) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("SCHEME", Align::Left),
        ("EVEN AFTER", right),
        ("GAP", right),
        ("TIME TAKEN", right),
        ("APART", right),
        ("MOVES", right),
        ("MOVES/S/100 NODES", right),
    ]);
    for outcome in &report.outcomes {
        let even = outcome.rounds_to_even().map(|rounds| format!("{rounds:.1} rounds"));
        table.row(vec![
            outcome.scheme.name().to_owned(),
            even.unwrap_or_else(|| "-".to_owned()),
            format!("{:.1} %", 100.0 * outcome.gap()),
            format!("{:.3}", outcome.strain()),
            format!("{:.1} %", 100.0 * outcome.apart()),
            outcome.moves().to_string(),
            format!("{:.2}", outcome.last_moves_a_second()),
        ]);
    }
    let ideal = ["ideal", "0.0 rounds", "0.0 %", "1.000", "0.0 %", "-", "-"];
    table.row(ideal.map(str::to_owned).to_vec());
    table.render()
}

fn metrics(report: &Report) -> Vec<Metric> {
    let own = report.own();
    let one = |name: &str, unit, value: f64| Metric::derived(format!("sim.{name}"), unit, value, 1);
    let [all, last, most] = own.bytes_a_second().map(|bytes| bytes + report.membership_bytes);
    // What never was is no number in JSON.
    let rounds = |rounds: Option<f64>| rounds.unwrap_or(f64::NAN);
    let mut metrics = vec![
        one("gap", "ratio", own.gap()),
        one("rounds_to_5pct", "rounds", rounds(own.rounds_to_even())),
        one("promised_rounds_to_5pct", "rounds", rounds(own.rounds_to_promised())),
        one("moves_ratio", "ratio", if own.fewest == 0 { f64::NAN } else { own.moves_ratio() }),
        one("moves_per_s_per_100_nodes", "moves/s", own.last_moves_a_second()),
        one("bytes_per_node_s", "B/s", all),
        one("bytes_per_node_s.last", "B/s", last),
        one("bytes_per_node_s.most", "B/s", most),
        one("bytes_per_node_s.membership", "B/s", report.membership_bytes),
        one("time_taken", "ratio", own.strain()),
        one("apart", "ratio", own.apart()),
    ];
    for outcome in report.outcomes.iter().skip(1) {
        metrics.extend(of_rival(outcome));
    }
    metrics
}

fn of_rival(outcome: &Outcome) -> [Metric; 3] {
    let name = outcome.scheme.name().replace(' ', "_");
    let one =
        |what: &str, unit, value| Metric::derived(format!("sim.{name}.{what}"), unit, value, 1);
    [
        one("gap", "ratio", outcome.gap()),
        one("time_taken", "ratio", outcome.strain()),
        one("moves", "moves", outcome.moves() as f64),
    ]
}
