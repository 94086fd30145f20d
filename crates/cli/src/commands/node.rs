//! `peri node remove`: a node is let into the cluster no more.

use crate::cluster::{self, At, failure};
use crate::exit::{End, Result, say};
use peripatos_cluster::NodeId;
use peripatos_cluster::message::Command;
use peripatos_host::node::NodeClient;
use std::time::Duration;

/// What is done about one node of the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Node {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Remove(Remove),
}

/// Removes a node for good: all nodes cut their links with it and take it no more; it ends when it hears of it.
///
/// Ask a node that has the cluster's token: it signs for that, and others believe nobody else. One that does not have it says which do.
///
/// What runs there counts as gone, as with `peri forget`. The cluster gets a new token, for that node may have the old one, and
/// could join with it as another node.
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    at: At,
    /// Keep the token: nobody has that machine who is not to have it
    #[arg(long)]
    keep_token: bool,
    /// The node, as `peri nodes` shows it; or its whole id, if it is not listed any more
    node: String,
}

pub(crate) fn run(options: &Node) -> Result<End> {
    match &options.command {
        Action::Remove(options) => remove(options),
    }
}

fn remove(options: &Remove) -> Result<End> {
    let mut client = options.at.connect()?;
    let (node, name) = listed_or_id(&mut client, &options.node)?;
    let asked = client.node();
    let done = client.command(asked, Command::Remove { node });
    done.map_err(|error| failure(&options.node, &error))?;
    say(format_args!("node {name} ({node}) was removed from the cluster"));
    if !options.keep_token {
        client.rotate_token(Duration::ZERO, false).map_err(|error| failure("token", &error))?;
        say(
            "the token was rotated, and the one before is accepted no more; `peri token show` prints it",
        );
    }
    Ok(End::SUCCESS)
}

/// A node that is listed, or any by its id; and what it is called.
fn listed_or_id(client: &mut NodeClient, text: &str) -> Result<(NodeId, String)> {
    match (cluster::node(client, text), text.parse()) {
        (Ok(row), _) => Ok((row.node, row.name)),
        (Err(_), Ok(id)) => Ok((id, format!("{id:#}"))),
        (Err(error), Err(_)) => Err(error),
    }
}
