//! The chaos test: a mixed load on four real nodes, while they are killed, paused, emptied, replaced, and cut off from each
//! other, at random by a seed. In the end everything has come out right, or was lost with a node that died.
//!
//! [`plan`] says what goes wrong and when, [`faults`] does it, on the machines of [`world`], which a [`network`] joins; [`load`]
//! runs [`work`] meanwhile, [`twice`] looks whether something runs twice, [`journal`] keeps what has happened, [`accounts`]
//! judges each piece, [`report`] tells. What it cannot see: the order of threads and packets is not the seed's, so a run that
//! has found something may find nothing the next time. `crates/sim` is for that.

mod accounts;
mod faults;
mod journal;
mod load;
mod network;
mod plan;
mod random;
mod report;
mod twice;
mod work;
mod world;

use crate::shell::{cargo, root, step};
use anyhow::{Context as _, Result, bail, ensure};
use journal::Journal;
use load::Load;
use network::Network;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use work::Works;
use world::{Holdings, MACHINES, World};

/// How long a run takes if nobody says otherwise.
const RUN: Duration = Duration::from_secs(180);
/// So long pieces may take to end when everything is whole again, on a machine that is busy with other things.
const LAST_PIECES: Duration = Duration::from_secs(300);
/// Descriptors and threads that a node may hold more than before: wires to the other nodes, threads that are idle and go.
const FILES_MORE: usize = 24;
const THREADS_MORE: usize = 8;

/// What the command line says.
struct Options {
    seed: u64,
    run: Duration,
    loopback: bool,
    peri: Option<PathBuf>,
}

/// `args`: as the help of `cargo xtask` says. Errors: something is not accounted for; the report has said what.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let options = Options::parse(args)?;
    let peri = match &options.peri {
        Some(peri) => fs::canonicalize(peri).with_context(|| format!("{}", peri.display()))?,
        None => built()?,
    };
    let logs = root().join(format!("target/chaos/seed-{}", options.seed));
    if logs.exists() {
        fs::remove_dir_all(&logs)?;
    }
    fs::create_dir_all(logs.join("work"))?;
    let works = Works::prepare(&peri, &logs.join("work"))?;
    let network = Network::new(MACHINES, options.loopback)?;
    if let Network::Loopback { why, .. } = &network {
        println!("on the loopback interface, where no cable can be pulled: {why}");
    }
    let plan = plan::plan(options.seed, options.run, MACHINES, network.cables().is_some());
    let journal = Arc::new(Journal::new(&logs.join("events.log"))?);
    println!("seed {}, {} s, {} faults", options.seed, options.run.as_secs(), plan.len());

    let world = Arc::new(World::new(peri, network, journal.clone())?);
    world::watch_signals(&world)?;
    (0..MACHINES).try_for_each(|machine| world.start(machine))?;
    world.until_linked()?;
    let before = most(&world)?;
    journal.restart();
    let load = Load::new(&world, &works, options.seed);
    let watched = AtomicBool::new(false);
    thread::scope(|scope| {
        load.begin(scope);
        scope.spawn(|| twice::watch(&world, &watched));
        faults::carry_out(&world, &plan);
        thread::sleep(options.run.saturating_sub(journal.now()));
        journal.say("the load ends");
        load.end();
        if let Err(error) = world.until_linked() {
            journal.odd(format!("{error:#}"));
        }
        let begun = Instant::now();
        while load.is_running() && begun.elapsed() < LAST_PIECES {
            thread::sleep(Duration::from_millis(100));
        }
        load.give_up();
        watched.store(true, Ordering::Relaxed);
    });
    let pieces = load.into_pieces();
    journal.note("all pieces have ended");
    let left = world.until_empty();
    if let Some(first) = left.first() {
        journal.odd(format!("{} processes are left, the first is {first:?}", left.len()));
        left.iter().for_each(|row| journal.note(&format!("is left: {row:?}")));
    }
    journal.note("nothing runs");
    for (name, held) in leaks(&world, before) {
        journal.odd(format!("node {name} holds {held:?}, and before {before:?}"));
    }
    journal.note("nobody holds more than before");
    drop(world);
    let is_good = report::print(&pieces, &journal);
    println!("seed {}, logs in {}", options.seed, logs.display());
    ensure!(is_good, "seed {}: not everything is accounted for", options.seed);
    Ok(())
}

/// The most that a node holds.
fn most(world: &World) -> Result<Holdings> {
    let mut most = Holdings::default();
    for machine in 0..MACHINES {
        let held = world.holdings(machine)?;
        most.files = most.files.max(held.files);
        most.threads = most.threads.max(held.threads);
        most.memory_bytes = most.memory_bytes.max(held.memory_bytes);
    }
    Ok(most)
}

/// Nodes that, after a while, still hold more than they should where nothing runs.
fn leaks(world: &World, before: Holdings) -> Vec<(String, Holdings)> {
    let mut leaks = Vec::new();
    world::until(|| {
        let held = (0..MACHINES)
            .map(|machine| (world.name(machine), world.holdings(machine).unwrap_or_default()));
        let held: Vec<(String, Holdings)> = held.collect();
        world.journal.note(&format!("before {before:?}, now {held:?}"));
        leaks = held
            .into_iter()
            .filter(|(_, held)| {
                held.files > before.files + FILES_MORE
                    || held.threads > before.threads + THREADS_MORE
            })
            .collect();
        leaks.is_empty()
    });
    leaks
}

/// The binary, built now.
fn built() -> Result<PathBuf> {
    step("build", cargo().args(["build", "--release", "--locked", "-p", "peri"]))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    Ok(Path::new(&target).join("release/peri"))
}

impl Options {
    fn parse(args: &[&str]) -> Result<Options> {
        let mut options = Options { seed: 1, run: RUN, loopback: false, peri: None };
        let mut args = args.iter();
        while let Some(name) = args.next() {
            if *name == "--loopback" {
                options.loopback = true;
                continue;
            }
            let value =
                *args.next().with_context(|| format!("{name}: no such option, or no value"))?;
            let number = || value.parse::<u64>().with_context(|| format!("{name} {value}"));
            match *name {
                "--seed" => options.seed = number()?,
                "--minutes" => options.run = Duration::from_secs(60 * number()?),
                "--seconds" => options.run = Duration::from_secs(number()?),
                "--peri" => options.peri = Some(value.into()),
                unknown => bail!("chaos knows no {unknown}"),
            }
        }
        Ok(options)
    }
}
