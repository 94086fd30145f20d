//! `peri balance`: whether processes are moved for the sake of the balance.

use crate::cluster::{At, failure};
use crate::exit::{End, Result, say};
use peripatos_cluster::message::Command;

/// Has all nodes balance their load, which they do unless they are told not to; or has them stop.
#[derive(Debug, clap::Args)]
pub(crate) struct Balance {
    #[command(flatten)]
    at: At,
    /// What they are to do
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Give and take processes where that saves time
    On,
    /// Leave processes where they are; what was asked for by hand, or by a drain, is done nevertheless
    Off,
    /// Look at once, also at processes that have just moved
    Now,
}

pub(crate) fn run(options: &Balance) -> Result<End> {
    let command = match options.what {
        What::On => Command::Balance { on: true },
        What::Off => Command::Balance { on: false },
        What::Now => Command::BalanceNow,
    };
    let mut client = options.at.connect()?;
    let nodes = client.nodes().map_err(|error| failure("nodes", &error))?;
    for node in &nodes {
        if node.reachable {
            let done = client.command(node.node, command.clone());
            done.map_err(|error| failure(&node.name, &error))?;
        } else {
            say(format_args!("node {} cannot be reached, and was not told", node.name));
        }
    }
    Ok(End::SUCCESS)
}
