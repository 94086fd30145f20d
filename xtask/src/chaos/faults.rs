//! Faults as they happen: each is begun, lasts its time, and is undone.

use super::network::Cables;
use super::plan::{DISTURBED_MAX, Fault, Planned};
use super::world::{World, until};
use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// So often `peri down` is tried before nobody waits any more, a second apart.
const DOWN_TRIES: usize = 8;
/// So long `peri drain` and `peri down` may take here.
const LEAVE: Duration = Duration::from_secs(90);

/// Carries out a plan: each fault at its time, on a thread of its own. Returns when all of them are undone. To come back takes
/// some machines longer than was planned: what would be too much then is left out.
pub(super) fn carry_out(world: &World, plan: &[Planned]) {
    let disturbed = &Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for planned in plan {
            thread::sleep(planned.at.saturating_sub(world.journal.now()));
            let Some(taken) = Disturbed::take(disturbed, planned) else {
                world.journal.say(&format!("left out: {}", planned.fault));
                continue;
            };
            scope.spawn(move || {
                let _while_it_lasts = taken;
                if let Err(error) = happen(world, planned) {
                    let name = world.name(planned.machine);
                    world.journal.odd(format!("{} of node {name}: {error:#}", planned.fault));
                }
            });
        }
    });
}

/// The machines of a fault, while it lasts.
struct Disturbed<'a> {
    all: &'a Mutex<BTreeSet<usize>>,
    own: Vec<usize>,
}

impl<'a> Disturbed<'a> {
    /// `None`: one of them is disturbed already, or too many others are.
    fn take(all: &'a Mutex<BTreeSet<usize>>, planned: &Planned) -> Option<Disturbed<'a>> {
        let own: Vec<usize> = planned.machines().collect();
        let mut set = all.lock().unwrap_or_else(PoisonError::into_inner);
        if set.len() + own.len() > DISTURBED_MAX || own.iter().any(|one| set.contains(one)) {
            return None;
        }
        set.extend(&own);
        Some(Disturbed { all, own })
    }
}

impl Drop for Disturbed<'_> {
    fn drop(&mut self) {
        let mut set = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        set.retain(|one| !self.own.contains(one));
    }
}

fn happen(world: &World, planned: &Planned) -> Result<()> {
    let Planned { lasts, machine, fault, .. } = *planned;
    let (journal, name) = (&world.journal, world.name(machine));
    let cables = || world.network.cables().context("no cables");
    match fault {
        Fault::Kill => {
            journal.begins(&name, "kill -9", true);
            world.kill(machine);
            thread::sleep(lasts);
            world.start(machine)?;
            journal.ends(&name, "back after kill -9");
        }
        Fault::Replace => {
            journal.begins(&name, "kill -9, for good", true);
            world.kill(machine);
            thread::sleep(lasts);
            world.replace(machine);
            let forgotten = forget(world, &name);
            world.start(machine)?;
            forgotten?;
            journal.ends(&name, &format!("replaced by node {}", world.name(machine)));
        }
        Fault::Pause => {
            journal.begins(&name, "pause", false);
            world.signal(machine, Signal::STOP);
            thread::sleep(lasts);
            world.signal(machine, Signal::CONT);
            journal.ends(&name, "goes on after a pause");
        }
        Fault::Drain => {
            journal.begins(&name, "drain", false);
            let within = format!("{}s", LEAVE.as_secs() / 2);
            let drain = world.ask(machine, &["drain", &name, "--within", &within], LEAVE)?;
            journal.note(&format!("drain: {}{}", drain.errors.trim(), drain.out.trim()));
            thread::sleep(lasts);
            world.ask(machine, &["drain", "--off", &name], LEAVE)?;
            journal.ends(&name, "takes processes again after a drain");
        }
        Fault::Terminate => {
            journal.begins(&name, "SIGTERM", true);
            world.signal(machine, Signal::TERM);
            come_back(world, machine, lasts, &name)?;
        }
        Fault::Down => {
            journal.begins(&name, "peri down", true);
            down(world, machine, &name)?;
            come_back(world, machine, lasts, &name)?;
        }
        Fault::Cut => {
            let cables = cables()?;
            during(world, &[machine], "cable pulled", lasts, cables, |cables, machine, on| {
                if on { cables.pull(machine) } else { cables.plug(machine) }
            })?;
        }
        Fault::Split { with } => {
            let cables = cables()?;
            let both = [machine, with];
            during(world, &both, "on a network of their own", lasts, cables, Cables::apart)?;
        }
        Fault::Mute => {
            let cables = cables()?;
            during(world, &[machine], "cannot be heard", lasts, cables, |cables, machine, on| {
                if on { cables.mute(machine) } else { cables.clear(machine) }
            })?;
        }
        Fault::BadLine => {
            let cables = cables()?;
            during(world, &[machine], "bad line", lasts, cables, |cables, machine, on| {
                if on { cables.worsen(machine) } else { cables.clear(machine) }
            })?;
        }
    }
    Ok(())
}

/// Something with cables, which is undone afterwards.
fn during(
    world: &World,
    machines: &[usize],
    what: &str,
    lasts: Duration,
    cables: &Cables,
    set: impl Fn(&Cables, usize, bool) -> Result<()>,
) -> Result<()> {
    for machine in machines {
        world.journal.begins(&world.name(*machine), what, false);
        set(cables, *machine, true)?;
    }
    thread::sleep(lasts);
    for machine in machines {
        set(cables, *machine, false)?;
        world.journal.ends(&world.name(*machine), &format!("no more: {what}"));
    }
    Ok(())
}

/// Ends a node as an operator does who has some time: when those that were started there have ended, or else now.
fn down(world: &World, machine: usize, name: &str) -> Result<()> {
    world.ask(machine, &["drain", name, "--no-wait"], LEAVE)?;
    for _ in 0..DOWN_TRIES {
        let said = world.ask(machine, &["down", "--at", name], LEAVE)?;
        world.journal.note(&format!("down: {}", said.errors.trim()));
        if said.code == Some(0) {
            return Ok(());
        }
        thread::sleep(Duration::from_secs(1));
    }
    world.ask(machine, &["down", "--now", "--at", name], LEAVE).map(|_| ())
}

/// A node that was told to end does, and joins again.
fn come_back(world: &World, machine: usize, lasts: Duration, name: &str) -> Result<()> {
    world.ended(machine)?;
    world.journal.say(&format!("has left: node {name}"));
    thread::sleep(lasts);
    world.start(machine)?;
    world.journal.ends(name, "joins again");
    Ok(())
}

/// An operator says that a node is gone. Errors: nobody takes his word.
fn forget(world: &World, name: &str) -> Result<()> {
    let mut last = String::new();
    let taken = until(|| {
        let mut taken = false;
        for machine in world.running() {
            let Ok(said) = world.ask(machine, &["forget", name], LEAVE) else { continue };
            world.journal.note(&format!("forget {name}: {}", said.errors.trim()));
            taken |= said.code == Some(0);
            last = said.errors;
        }
        taken
    });
    ensure!(taken, "it is not forgotten: {last}");
    Ok(())
}
