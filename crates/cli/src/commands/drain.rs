//! `peri drain`, `peri cordon` and `peri uncordon`: what a node takes, and whether it keeps what it has.

use crate::cluster::{self, At, failure};
use crate::commands::migrate::time;
use crate::exit::{Code, End, Failure, Result, say};
use peripatos_cluster::NodeId;
use peripatos_cluster::message::{Command, RowOfNode};
use peripatos_host::node::NodeClient;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// A node tells its load ten times a second.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After so long it has said that it is being drained, unless somebody has called it off.
const BEGIN_WAIT_MAX: Duration = Duration::from_secs(5);
/// How often a command that waits says what it waits for.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Empties a node: what runs there moves to others, and it takes and starts nothing. Waits until it is empty.
#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    at: At,
    /// Let it take and start processes again
    #[arg(long, conflicts_with_all = ["no_wait", "within"])]
    off: bool,
    /// Do not wait
    #[arg(long)]
    no_wait: bool,
    /// Wait so long at most: 30s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "no_wait")]
    within: Option<Duration>,
    /// The node, as `peri nodes` shows it
    node: String,
}

/// Lets a node take nothing from others; what runs there stays, and what is started there.
#[derive(Debug, clap::Args)]
pub(crate) struct Cordon {
    #[command(flatten)]
    at: At,
    /// The node, as `peri nodes` shows it
    node: String,
}

/// Lets a node take processes again, after `peri cordon`.
#[derive(Debug, clap::Args)]
pub(crate) struct Uncordon {
    #[command(flatten)]
    at: At,
    /// The node, as `peri nodes` shows it
    node: String,
}

pub(crate) fn drain(options: &Drain) -> Result<End> {
    let mut client = options.at.connect()?;
    let node = cluster::node(&mut client, &options.node)?;
    let command = Command::Drain { on: !options.off };
    client.command(node.node, command).map_err(|error| failure(&options.node, &error))?;
    if options.off || options.no_wait {
        return Ok(End::SUCCESS);
    }
    say_move_rate(&node);
    let begun = Instant::now();
    let had = until_empty(&mut client, node.node, options.within)
        .map_err(|error| Failure::new(error.code(), &node.name, error))?;
    let left = match had {
        0 => "nothing ran there".to_owned(),
        1 => "one process has left".to_owned(),
        had => format!("{had} processes have left"),
    };
    let took = begun.elapsed().as_secs_f64();
    say(format_args!("node {} is empty after {took:.1} s: {left}", node.name));
    Ok(End::SUCCESS)
}

pub(crate) fn cordon(options: &Cordon) -> Result<End> {
    set_cordoned(&options.at, &options.node, true)
}

pub(crate) fn uncordon(options: &Uncordon) -> Result<End> {
    set_cordoned(&options.at, &options.node, false)
}

fn set_cordoned(at: &At, name: &str, on: bool) -> Result<End> {
    let mut client = at.connect()?;
    let node = cluster::node(&mut client, name)?.node;
    client.command(node, Command::Cordon { on }).map_err(|error| failure(name, &error))?;
    Ok(End::SUCCESS)
}

/// Why a node that is being drained is not empty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotEmpty {
    Unreachable,
    NobodyTakes(Count),
    /// With what these ask of a node, as options.
    NobodySuits(Count, String),
    Late(Count),
    CalledOff,
    Unknown(String),
}

impl NotEmpty {
    pub(crate) fn code(&self) -> Code {
        match self {
            NotEmpty::Unreachable | NotEmpty::Unknown(_) => Code::NoNode,
            NotEmpty::NobodyTakes(_)
            | NotEmpty::NobodySuits(..)
            | NotEmpty::Late(_)
            | NotEmpty::CalledOff => Code::Refused,
        }
    }
}

impl fmt::Display for NotEmpty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotEmpty::Unreachable => f.write_str("it cannot be reached any more"),
            NotEmpty::NobodyTakes(count) => {
                write!(
                    f,
                    "no other node takes what runs there ({count}); it goes as soon as one does"
                )
            }
            NotEmpty::NobodySuits(count, asked) => {
                write!(
                    f,
                    "no other node that takes any suits {count} ({asked}); they go as soon as one does"
                )
            }
            NotEmpty::Late(count) => {
                write!(f, "{count} to go still; the node goes on emptying itself")
            }
            NotEmpty::CalledOff => f.write_str("somebody lets it take processes again"),
            NotEmpty::Unknown(error) => f.write_str(error),
        }
    }
}

/// So many processes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Count(u32);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 process"),
            count => write!(f, "{count} processes"),
        }
    }
}

/// Empties this user's own node within a time, before it ends. What has not left by then ends with it.
pub(crate) fn before_end(socket: &Path, within: Duration) {
    let Ok(mut client) = NodeClient::connect(socket) else { return };
    empty(&mut client, within);
    // It says goodbye: without that the others would find out by its silence.
    let _ = client.down(true);
}

fn empty(client: &mut NodeClient, within: Duration) {
    let Ok(nodes) = client.nodes() else { return };
    let Some(own) = nodes.iter().find(|row| row.own) else { return };
    // A node that has never met another one has nobody to wait for; one that has left may be back.
    if own.processes == 0
        || nodes.len() == 1 && own.left == 0
        || client.command(own.node, Command::Drain { on: true }).is_err()
    {
        return;
    }
    say(format_args!("{} to leave before this node ends", Count(own.processes)));
    say_move_rate(own);
    match until_empty(client, own.node, Some(within)) {
        Ok(_) => say("the node is empty"),
        Err(error) => say(format_args!("the node ends, and what runs there with it: {error}")),
    }
}

/// That it may take its time.
fn say_move_rate(node: &RowOfNode) {
    if let Some(rate) = node.move_bytes_per_s {
        let mb = rate as f64 / 1e6;
        say(format_args!(
            "what leaves node {} shares {mb:.1} MB/s (peri up --move-rate)",
            node.name
        ));
    }
}

/// Waits until a node that is being drained has no process any more: how many it had.
pub(crate) fn until_empty(
    client: &mut NodeClient,
    node: NodeId,
    within: Option<Duration>,
) -> std::result::Result<u32, NotEmpty> {
    let begun = Instant::now();
    let (mut had, mut said_at, mut begins) = (0, begun, true);
    loop {
        let nodes = client.nodes().map_err(|error| NotEmpty::Unknown(error.to_string()))?;
        let look = look(&nodes, node)?;
        match gives_up(&look, within.map(|within| begun.elapsed() >= within)) {
            Some(NotEmpty::NobodySuits(count, _)) => {
                return Err(NotEmpty::NobodySuits(count, asked(client, node)));
            }
            Some(error) => return Err(error),
            None => {}
        }
        match look {
            Look::Empty => return Ok(had),
            // What it said last was said before.
            Look::NotYet if begins && begun.elapsed() < BEGIN_WAIT_MAX => {}
            Look::NotYet => return Err(NotEmpty::CalledOff),
            Look::Has(count) | Look::NobodyTakes(count) | Look::NobodySuits(count) => {
                begins = false;
                had = had.max(count);
                if said_at.elapsed() >= SAY_EVERY {
                    said_at = Instant::now();
                    say(format_args!("{} to go", Count(count)));
                }
            }
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Look {
    Empty,
    /// It has not said yet that it is being drained.
    NotYet,
    Has(u32),
    /// It has so many, and there is no other node that takes any.
    NobodyTakes(u32),
    /// It has so many, and they suit no other node that takes any.
    NobodySuits(u32),
}

/// Why there is no more waiting for this. `is_late`: whether the time is over that it may take; `None`: it may take any.
fn gives_up(look: &Look, is_late: Option<bool>) -> Option<NotEmpty> {
    match *look {
        Look::Has(count) if is_late == Some(true) => Some(NotEmpty::Late(Count(count))),
        // Until the time is over another node may come, or be uncordoned: where all are restarted in turn it will.
        Look::NobodyTakes(count) if is_late != Some(false) => {
            Some(NotEmpty::NobodyTakes(Count(count)))
        }
        Look::NobodySuits(count) if is_late != Some(false) => {
            Some(NotEmpty::NobodySuits(Count(count), String::new()))
        }
        _ => None,
    }
}

fn look(nodes: &[RowOfNode], node: NodeId) -> std::result::Result<Look, NotEmpty> {
    let row = nodes.iter().find(|row| row.node == node && row.reachable);
    let row = row.ok_or(NotEmpty::Unreachable)?;
    if !row.draining {
        return Ok(Look::NotYet);
    }
    let takes = |row: &RowOfNode| row.reachable && !row.draining && !row.cordoned && row.cores > 0;
    match row.processes {
        0 => Ok(Look::Empty),
        count if !nodes.iter().any(takes) => Ok(Look::NobodyTakes(count)),
        count if row.stuck >= count => Ok(Look::NobodySuits(count)),
        count => Ok(Look::Has(count)),
    }
}

/// What the processes of a node ask of the nodes that run them: each thing once. All ask for memory.
fn asked(client: &mut NodeClient, node: NodeId) -> String {
    let rows = client.processes().map(|listing| listing.processes).unwrap_or_default();
    let kin = rows.into_iter().filter(|row| row.node == node).filter_map(|row| row.process.kin);
    let asked: BTreeSet<String> = kin.map(|kin| kin.placement.to_string()).collect();
    let mut asked: Vec<String> = asked.into_iter().filter(|asked| !asked.is_empty()).collect();
    asked.push("the memory that they have or need".to_owned());
    asked.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use peripatos_cluster::Labels;

    #[test]
    fn a_node_is_empty_when_it_says_so_itself_and_is_being_drained() {
        let row = |node: u128, draining, processes| RowOfNode {
            node: NodeId(node),
            name: "n".to_owned(),
            address: String::new(),
            own: false,
            reachable: true,
            draining,
            cordoned: false,
            labels: Labels::default(),
            cores: 1,
            speed_permille: 1_000,
            runnable: 0,
            processes,
            move_bytes_per_s: None,
            stuck: 2,
            left: 0,
        };
        let other = row(2, false, 7);
        let check = |rows: &[RowOfNode], expected| assert_eq!(look(rows, NodeId(1)), expected);
        check(&[row(1, false, 0), other.clone()], Ok(Look::NotYet));
        check(&[row(1, true, 3), other.clone()], Ok(Look::Has(3)));
        check(&[row(1, true, 2), other.clone()], Ok(Look::NobodySuits(2)));
        check(&[row(1, true, 0), other.clone()], Ok(Look::Empty));
        check(&[row(1, true, 0)], Ok(Look::Empty));
        check(std::slice::from_ref(&other), Err(NotEmpty::Unreachable));
        let gone = RowOfNode { reachable: false, ..row(1, true, 0) };
        check(&[gone, other.clone()], Err(NotEmpty::Unreachable));
        let nobody = || Ok(Look::NobodyTakes(3));
        check(&[row(1, true, 3)], nobody());
        for closed in [
            RowOfNode { draining: true, ..other.clone() },
            RowOfNode { cordoned: true, ..other.clone() },
            RowOfNode { reachable: false, ..other.clone() },
        ] {
            check(&[row(1, true, 3), closed], nobody());
        }
    }

    #[test]
    fn whoever_has_a_time_waits_for_a_node_that_takes_something() {
        let check = |look, is_late, expected| assert_eq!(gives_up(&look, is_late), expected);
        for is_late in [None, Some(false), Some(true)] {
            check(Look::Empty, is_late, None);
            check(Look::NotYet, is_late, None);
        }
        check(Look::Has(3), None, None);
        check(Look::Has(3), Some(false), None);
        check(Look::Has(3), Some(true), Some(NotEmpty::Late(Count(3))));
        let nobody = || Some(NotEmpty::NobodyTakes(Count(3)));
        check(Look::NobodyTakes(3), None, nobody());
        check(Look::NobodyTakes(3), Some(false), None);
        check(Look::NobodyTakes(3), Some(true), nobody());
        let unsuited = || Some(NotEmpty::NobodySuits(Count(3), String::new()));
        check(Look::NobodySuits(3), None, unsuited());
        check(Look::NobodySuits(3), Some(false), None);
        check(Look::NobodySuits(3), Some(true), unsuited());
    }
}
