//! `peri bench`: what users want to measure on their own machines.

mod balance;
mod cluster;
pub(crate) mod freeze;
mod ipc;
mod migrate;
mod nodes;
pub(crate) mod overhead;
pub(crate) mod process;
pub(crate) mod sample;
mod savina;
mod scratch;
mod spawn;

use crate::exit::{Code, End, Failure, Result, say};
use crate::guests::{ALL, Guest};
use crate::output::Format;
use crate::program;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Measures on this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// What being migratable costs while it is not used: run time, compile time, code size
    Overhead {
        #[command(flatten)]
        common: Common,
        /// A program to measure in place of the built-in ones, and its arguments; it gets no directories and no input
        #[arg(value_name = "PROG.wasm [ARGS", trailing_var_arg = true)]
        command: Vec<OsString>,
    },
    /// What freezing and thawing take: stop, copy, continue, and the speed after it
    Freeze {
        #[command(flatten)]
        common: Common,
    },
    /// What a message and its reply take
    Ipc {
        #[command(flatten)]
        figures: Figures,
        /// Only the metrics of these names, or that begin so
        #[arg(long, value_name = "METRIC")]
        only: Vec<String>,
    },
    /// The other end of what messages between nodes are measured against
    #[command(hide = true)]
    TcpEcho,
    /// What a process takes to be spawned, to be there and to be woken
    Spawn {
        #[command(flatten)]
        figures: Figures,
        /// How many are to be there at a time
        #[arg(long, value_name = "N", default_value_t = CROWD)]
        processes: u32,
    },
    /// Workloads that are known from other systems, on all cores: items a second
    Savina {
        #[command(flatten)]
        figures: Figures,
        /// Only the metrics of these names, or that begin so
        #[arg(long, value_name = "METRIC")]
        only: Vec<String>,
    },
    /// The dining philosophers, on all cores: meals a second
    Philosophers {
        #[command(flatten)]
        figures: Figures,
        /// Only the metrics of these names, or that begin so
        #[arg(long, value_name = "METRIC")]
        only: Vec<String>,
    },
    /// What moving between two nodes of this machine takes, and how work finds an idle one
    Migrate {
        #[command(flatten)]
        figures: Figures,
    },
    /// How well work is spread over two nodes of this machine
    Balance {
        #[command(flatten)]
        figures: Figures,
        /// Only the metrics of these names, or that begin so
        #[arg(long, value_name = "METRIC")]
        only: Vec<String>,
    },
    /// What it takes for a node to join and to be drained
    Cluster {
        #[command(flatten)]
        figures: Figures,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    figures: Figures,
    /// Only the built-in programs of these names
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Figures {
    /// How to print the figures
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// Rounds that are measured; fewer than 11 are for trying out
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
}

/// Rounds behind every median.
const ROUNDS: usize = 11;
/// Processes that are there at a time, unless the user says otherwise: more than memory mappings allow to be awake.
const CROWD: u32 = 100_000;

pub(crate) fn run(options: &Bench) -> Result<End> {
    let progress = |name: &str| say(format_args!("measuring {name}"));
    let (metrics, format) = match &options.what {
        What::Overhead { common, command } => {
            let guests = match command.split_first() {
                None => with_arguments(&chosen(&common.only)?),
                Some((path, _)) => vec![foreign(path, command)?],
            };
            let figures = &common.figures;
            (overhead::measure(&guests, figures.rounds.max(1), progress)?, figures.output)
        }
        What::Freeze { common } => {
            let (guests, figures) = (chosen(&common.only)?, &common.figures);
            (freeze::measure(&guests, figures.rounds.max(1), progress)?, figures.output)
        }
        What::Ipc { figures, only } => {
            (ipc::measure(figures.rounds.max(1), only, progress)?, figures.output)
        }
        What::TcpEcho => {
            let echoed = ipc::echo();
            return echoed
                .map(|()| End::SUCCESS)
                .map_err(|error| Failure::new(Code::Internal, "tcp-echo", error));
        }
        What::Spawn { figures, processes } => {
            (spawn::measure(figures.rounds.max(1), *processes, progress)?, figures.output)
        }
        What::Savina { figures, only } => {
            (savina::measure(figures.rounds.max(1), only, progress)?, figures.output)
        }
        What::Philosophers { figures, only } => {
            (savina::philosophers(figures.rounds.max(1), only, progress)?, figures.output)
        }
        What::Migrate { figures } => {
            (migrate::measure(figures.rounds.max(1), progress)?, figures.output)
        }
        What::Balance { figures, only } => {
            (balance::measure(figures.rounds.max(1), only, progress)?, figures.output)
        }
        What::Cluster { figures } => {
            (cluster::measure(figures.rounds.max(1), progress)?, figures.output)
        }
    };
    format.show(&metrics, || sample::table(&metrics))?;
    Ok(End::SUCCESS)
}

/// What is measured did not do what it should.
fn failed(cause: &str) -> Failure {
    Failure::new(Code::Internal, "bench", cause)
}

/// A program in the text format.
fn assembled(name: &'static str, text: &str) -> Result<Guest> {
    let wasm = wat::parse_str(text).map_err(|error| Failure::new(Code::Internal, name, error))?;
    // A few, once in the life of this command.
    Ok(Guest::foreign(name, wasm.leak()))
}

fn chosen(only: &[String]) -> Result<Vec<Guest>> {
    if let Some(unknown) = only.iter().find(|name| ALL.iter().all(|guest| guest.name != **name)) {
        let names: Vec<&str> = ALL.iter().map(|guest| guest.name).collect();
        return Err(Failure::new(
            Code::Usage,
            unknown,
            format!("no built-in program; there are {}", names.join(", ")),
        ));
    }
    Ok(ALL
        .into_iter()
        .filter(|guest| only.is_empty() || only.iter().any(|name| name == guest.name))
        .collect())
}

fn with_arguments(guests: &[Guest]) -> Vec<(Guest, Vec<Vec<u8>>)> {
    guests.iter().map(|guest| (*guest, guest.arguments())).collect()
}

/// A program of the user's.
fn foreign(path: &OsString, command: &[OsString]) -> Result<(Guest, Vec<Vec<u8>>)> {
    let wasm = program::read(Path::new(path))?;
    let name = Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // Measured once in the life of this command: it may as well live as long as the built-in ones.
    let guest = Guest::foreign(name.leak(), wasm.to_vec().leak());
    Ok((guest, command.iter().map(|arg| arg.as_bytes().to_vec()).collect()))
}
