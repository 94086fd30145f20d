//! `peri down`: ends a node.

use crate::cluster::{At, failure};
use crate::exit::{End, Result, say};

/// Ends a node; what runs there moves to others first.
#[derive(Debug, clap::Args)]
pub(crate) struct Down {
    #[command(flatten)]
    at: At,
    /// At once, with all that runs there
    #[arg(long)]
    now: bool,
}

pub(crate) fn run(options: &Down) -> Result<End> {
    let mut client = options.at.connect()?;
    let name = client.name().to_owned();
    client.down(options.now).map_err(|error| failure(&name, &error))?;
    say(format_args!("node {name} is down"));
    Ok(End::SUCCESS)
}
