//! Processes of two nodes that talk, each node with one core of its own.
//!
//! Callers are started where the server is and moved away: what is moved by hand stays where it is. They note when each
//! batch was done; before the last one has moved, and after the first one has ended, it does not count.

use super::SHORT;
use super::pair::{ECHO_SERVER, PING, WARM_UP};
use crate::bench::nodes::{Nodes, Running, id};
use crate::bench::{assembled, failed};
use crate::cluster::failure;
use crate::exit::Result;
use peripatos_abi::Pid;
use peripatos_cluster::message::{Answer, Command, Hold};
use std::time::{SystemTime, UNIX_EPOCH};

/// Until a caller begins, milliseconds; a quarter more for each other one: all are to have moved.
const PAUSE_MS: usize = 200;

/// When each batch of a caller was done, nanoseconds of one clock.
type Laps = Vec<u64>;

/// Nanoseconds a round trip of one caller, of each batch.
pub(super) fn round_trips(batches: usize, calls: usize) -> Result<Vec<f64>> {
    let (laps, since) = talk(1, batches, calls)?;
    let laps: Vec<u64> = laps.concat().into_iter().filter(|at| *at >= since).collect();
    let laps = laps.get(WARM_UP..).unwrap_or_default();
    if laps.len() < 2 {
        return Err(failed("too few batches"));
    }
    Ok(laps.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / calls as f64).collect())
}

/// Calls a second of so many callers at once.
pub(super) fn calls_per_second(callers: usize, batches: usize, calls: usize) -> Result<f64> {
    let (laps, since) = talk(callers, batches, calls)?;
    let per_second = rate(&laps, since).ok_or_else(|| failed("too few batches"))?;
    Ok(per_second * calls as f64)
}

/// Batches a second while all callers were at it, and none before this time. `None`: too few.
fn rate(laps: &[Laps], since: u64) -> Option<f64> {
    // Each begins when it has paused: the first laps are their beginnings.
    let since = laps.iter().map(|laps| laps.first().copied()).max()??.max(since);
    let until = laps.iter().map(|laps| laps.last().copied()).min()??;
    let within = |at: &&u64| (since + 1..=until).contains(*at);
    let count = laps.iter().flatten().filter(within).count();
    (count >= 2 * laps.len()).then(|| count as f64 * 1e9 / (until - since) as f64)
}

/// Lets callers talk: their laps, and since when all of them have moved.
fn talk(callers: usize, batches: usize, calls: usize) -> Result<(Vec<Laps>, u64)> {
    let mut nodes = Nodes::still()?;
    nodes.start("one")?;
    nodes.start("two")?;
    let mut client = nodes.client("one")?;
    let [one, two] = [id(&mut client, "one")?, id(&mut client, "two")?];
    let server = nodes.run("two", &assembled("echo", ECHO_SERVER)?, &[])?;
    let pid = in_hexadecimal(server.pid);
    let numbers =
        [batches, calls, SHORT, PAUSE_MS + callers * PAUSE_MS / 4].map(|number| number.to_string());
    let ping = assembled("ping", PING)?;
    let args = [&pid, &numbers[0], &numbers[1], &numbers[2], &numbers[3]].map(String::as_str);
    let args = [&args[..], &["0"]].concat();
    let running: Result<Vec<Running>> =
        (0..callers).map(|_| nodes.run("two", &ping, &args)).collect();
    let running = running?;
    for caller in &running {
        let command = Command::Migrate { pid: caller.pid, to: one, hold: Hold::UntilReleased };
        let answer = client.command(two, command).map_err(|error| failure("migrate", &error))?;
        if !matches!(answer, Answer::Moved { .. }) {
            return Err(failed("a caller was not moved"));
        }
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.map_or(0, |since| since.as_nanos() as u64);
    let laps: Result<Vec<Laps>> = running.into_iter().map(laps_of).collect();
    server.kill()?;
    Ok((laps?, since))
}

fn laps_of(caller: Running) -> Result<Laps> {
    let (_, written) = caller.finish()?;
    let (laps, _) = written.as_chunks::<8>();
    Ok(laps.iter().map(|lap| u64::from_le_bytes(*lap)).collect())
}

/// As `ping.wat` takes it.
pub(in crate::bench) fn in_hexadecimal(pid: Pid) -> String {
    pid.bits().to_le_bytes().map(|byte| format!("{byte:02x}")).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_while_all_are_at_it() {
        let second = 1_000_000_000;
        let every = |from: u64, to: u64| (from..=to).map(|at| at * second / 10).collect::<Laps>();
        // One batch each tenth of a second, from two callers, of whom one begins and ends later.
        let laps = [every(50, 150), every(100, 200)];
        assert_eq!(rate(&laps, 0), Some(20.0));
        assert_eq!(rate(&laps, 12 * second), Some(20.0));
        // Nor what lies before: a pause is not slow.
        assert_eq!(rate(&laps, 149 * second / 10), None);
        assert_eq!(rate(&[], 0), None);
        assert_eq!(rate(&[vec![]], 0), None);
    }
}
