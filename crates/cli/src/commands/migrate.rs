//! `peri migrate`: moves a process to another node, and what else is asked of one process or node.

use crate::cluster::{self, At, failure};
use crate::exit::{Code, End, Failure, Result, say};
use peripatos_cluster::message::{Answer, Command, Hold, MoveCost};
use std::time::Duration;

/// Moves a process to another node, where it stays until `peri unpin`, or for a time.
#[derive(Debug, clap::Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    at: At,
    /// How long it stays there: 30s, 10m, 2h; else until it is released
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    hold: Option<Duration>,
    /// The process, as `peri ps` shows it
    pid: String,
    /// The node, as `peri nodes` shows it
    node: String,
}

/// Has a process stay on the node where it runs, until `peri unpin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pin {
    #[command(flatten)]
    at: At,
    /// The process, as `peri ps` shows it
    pid: String,
}

/// Lets a process that was pinned, or moved by hand, be moved by the balancer again.
#[derive(Debug, clap::Args)]
pub(crate) struct Unpin {
    #[command(flatten)]
    at: At,
    /// The process, as `peri ps` shows it
    pid: String,
}

/// Ends a process, wherever it runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Kill {
    #[command(flatten)]
    at: At,
    /// The process, as `peri ps` shows it
    pid: String,
}

/// Says that a node that cannot be reached is gone for good, and with it all that ran there.
///
/// Processes that are in doubt because of it go on where they stand. If it was not gone after all, they may exist twice.
///
/// Ask a node that has the cluster's token: it signs for that, and others believe nobody else. Of one that does not have it only that node
/// itself forgets, and it says which do.
#[derive(Debug, clap::Args)]
pub(crate) struct Forget {
    #[command(flatten)]
    at: At,
    /// The node, as `peri nodes` shows it
    node: String,
}

pub(crate) fn migrate(options: &Migrate) -> Result<End> {
    let mut client = options.at.connect()?;
    let (pid, at) = cluster::process(&mut client, &options.pid)?;
    let to = cluster::node(&mut client, &options.node)?;
    let hold = options.hold.map_or(Hold::UntilReleased, |time| Hold::For(time.as_millis() as u64));
    let command = Command::Migrate { pid, to: to.node, hold };
    match client.command(at, command).map_err(|error| failure(&options.pid, &error))? {
        Answer::Moved(cost) => say(format_args!("{pid:#} runs on {} now; {}", to.name, told(cost))),
        Answer::Done | Answer::Refused(_) => {
            return Err(Failure::new(Code::Internal, "node", "it did not say what it did"));
        }
    }
    Ok(End::SUCCESS)
}

/// What a move has taken, in words.
fn told(cost: MoveCost) -> String {
    let MoveCost { freeze_us, total_us, image_bytes, copied_bytes, rounds } = cost;
    let (ms, mb) = (|us| us as f64 / 1e3, |bytes| bytes as f64 / 1e6);
    let mut text = format!(
        "it stood still for {:.1} ms, {:.2} MB were carried",
        ms(freeze_us),
        mb(image_bytes)
    );
    if rounds > 0 {
        let rounds = if rounds == 1 { "1 round".to_owned() } else { format!("{rounds} rounds") };
        text += &format!(
            ", and {:.2} MB in {rounds} before, while it ran; {:.0} ms in all",
            mb(copied_bytes),
            ms(total_us)
        );
    }
    text
}

pub(crate) fn pin(options: &Pin) -> Result<End> {
    of_process(&options.at, &options.pid, |pid| Command::Pin { pid })
}

pub(crate) fn unpin(options: &Unpin) -> Result<End> {
    of_process(&options.at, &options.pid, |pid| Command::Unpin { pid })
}

pub(crate) fn kill(options: &Kill) -> Result<End> {
    of_process(&options.at, &options.pid, |pid| Command::Kill { pid })
}

pub(crate) fn forget(options: &Forget) -> Result<End> {
    let mut client = options.at.connect()?;
    let node = cluster::node(&mut client, &options.node)?.node;
    let everywhere = client.nodes().map_err(|error| failure("node", &error))?;
    // Each that knows it has to be told, also if one before it says no.
    let (mut done, mut told) = (Ok(End::SUCCESS), Vec::new());
    for other in everywhere.iter().filter(|other| other.reachable && other.node != node) {
        // The node that is asked signs for it.
        match client.command(other.node, Command::Forget { node, proof: None }) {
            Ok(_) => told.push(other.name.as_str()),
            Err(error) => done = Err(failure(&options.node, &error)),
        }
    }
    if done.is_err() && !told.is_empty() {
        say(format_args!("it was forgotten by {} only", told.join(", ")));
    }
    done
}

fn of_process(
    at: &At,
    text: &str,
    command: impl FnOnce(peripatos_abi::Pid) -> Command,
) -> Result<End> {
    let mut client = at.connect()?;
    let (pid, node) = cluster::process(&mut client, text)?;
    client.command(node, command(pid)).map_err(|error| failure(text, &error))?;
    Ok(End::SUCCESS)
}

/// `500ms`, `30s`, `10m`, `2h`.
pub(crate) fn time(text: &str) -> std::result::Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| "a time looks like 30s, 10m or 2h".to_owned())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time looks like 30s, 10m or 2h".to_owned()),
    };
    Ok(Duration::from_millis(number.saturating_mul(milliseconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check = |text: &str, milliseconds: Option<u64>| {
            assert_eq!(time(text).ok(), milliseconds.map(Duration::from_millis), "{text}");
        };
        check("500ms", Some(500));
        check("30s", Some(30_000));
        check("10m", Some(600_000));
        check("2h", Some(7_200_000));
        for wrong in ["", "30", "s", "3d", "-1s", "1.5h"] {
            check(wrong, None);
        }
    }
}
