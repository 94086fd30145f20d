//! A node that says nothing any more: its OS process is stopped, so that its connections stand and nobody answers.

use super::super::assembled;
use super::super::ipc::in_hexadecimal;
use super::super::nodes::{Nodes, id, processes, wait_for};
use super::super::sample::{Metric, Samples};
use crate::exit::Result;
use peripatos_cluster::message::RowState;
use std::thread;
use std::time::{Duration, Instant};

/// Receives, and never replies.
const DEAF: &str = include_str!("deaf.wat");
/// Sends a message, and ends when it hears of it: with 0 if nobody knows what has become of it.
const ASKER: &str = include_str!("asker.wat");
/// By then the receiver has the message.
const UNDER_WAY: Duration = Duration::from_millis(300);

/// From the moment in which a node falls silent until a process hears so of another node that waits for a reply from there.
pub(super) fn measure(rounds: usize) -> Result<Metric> {
    let (deaf, asker) = (assembled("deaf", DEAF)?, assembled("asker", ASKER)?);
    let mut samples = Samples::default();
    for _ in 0..rounds {
        let mut nodes = Nodes::still()?;
        nodes.start("one")?;
        nodes.start("two")?;
        let mut client = nodes.client("one")?;
        let two = id(&mut client, "two")?;
        // Its origin is at the node that will be silent, too: nobody else has to do with it.
        let server = nodes.run("two", &deaf, &[])?;
        let caller = nodes.run("one", &asker, &[&in_hexadecimal(server.pid)])?;
        wait_for("a send to another node", || {
            let all = processes(&mut client)?;
            let waits = |pid, at_two| {
                all.iter().any(|row| {
                    let here = (row.node == two) == at_two;
                    row.process.pid == pid && here && row.state == RowState::Waiting
                })
            };
            Ok((waits(caller.pid, false) && waits(server.pid, true)).then_some(()))
        })?;
        thread::sleep(UNDER_WAY);
        nodes.stop("two")?;
        let stopped = Instant::now();
        let (heard, _) = caller.finish()?;
        samples.push((heard - stopped).as_secs_f64());
        nodes.kill("two")?;
        // Its node is not there any more.
        drop(server);
    }
    Ok(Metric::of("death.detected_s", "s", &samples))
}
