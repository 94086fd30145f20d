//! `peri token`: the cluster's secret, and a new one.

use crate::cluster::{At, failure};
use crate::commands::migrate::time;
use crate::exit::{Code, End, Failure, Result, say};
use crate::output;
use peripatos_host::link::Token;
use std::time::Duration;

/// The cluster's token: shows it, draws a new one, gives it to a node that was away.
#[derive(Debug, clap::Args)]
pub(crate) struct TokenOf {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Show(Show),
    Rotate(Rotate),
    Use(Use),
}

/// Prints the token by which nodes join.
#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    at: At,
}

/// Draws a new token, tells it to all nodes that can be reached, and prints it.
///
/// Ask a node that has the token; one that does not have it says which do.
///
/// A node that is away for longer than the token before is accepted must be given the new one: `peri token use`.
#[derive(Debug, clap::Args)]
struct Rotate {
    #[command(flatten)]
    at: At,
    /// How long the token before is accepted, too: 30s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1h", conflicts_with = "now")]
    grace: Duration,
    /// The token before is accepted no more, or, in a large cluster, until all nodes have heard; commands of other machines are cut off
    #[arg(long)]
    now: bool,
}

/// Gives a node the token that was drawn while it was away.
#[derive(Debug, clap::Args)]
struct Use {
    #[command(flatten)]
    at: At,
    /// The token in force, as `peri token show` prints it on another node
    new: String,
}

pub(crate) fn run(options: &TokenOf) -> Result<End> {
    match &options.command {
        Action::Show(Show { at }) => {
            let token = at.connect()?.token().map_err(|error| failure("token", &error))?;
            print(&token)?;
        }
        Action::Rotate(Rotate { at, grace, now }) => {
            let grace = if *now { Duration::ZERO } else { *grace };
            let token = at.connect()?.rotate_token(grace, *now);
            let (token, accepted) = token.map_err(|error| failure("token", &error))?;
            print(&token)?;
            let before = match accepted.as_secs() {
                0 => "is accepted no more".to_owned(),
                seconds if *now => {
                    format!("is accepted for another {seconds} s, until all nodes have heard")
                }
                seconds => format!("is accepted for another {seconds} s"),
            };
            say(format_args!("the token before {before}"));
        }
        Action::Use(Use { at, new }) => {
            let token = new.parse().map_err(|error| Failure::new(Code::Usage, "token", error))?;
            at.connect()?.use_token(&token).map_err(|error| failure("token", &error))?;
        }
    }
    Ok(End::SUCCESS)
}

fn print(token: &Token) -> Result<()> {
    let printed = output::print(&format!("{token}\n"));
    printed.map_err(|error| Failure::new(Code::Storage, "standard output", error))
}
