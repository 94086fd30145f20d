//! `peri demo`: the main job, live, in under a minute and with nothing but this binary.
//!
//! Each built-in program runs once undisturbed. Then it walks: it runs in this OS process, is frozen in
//! mid-computation, its image is carried to a second OS process on another core, goes on there, is frozen again, comes
//! back, goes over once more and ends. Its output must be that of the undisturbed run, byte for byte. At last the price
//! of being migratable is measured on the spot, beside wasmtime's own epoch interruption.

mod place;
mod screen;
mod second;
mod wire;

use crate::bench::overhead::{Engines, compare};
use crate::bench::process::{Guarded, load};
use crate::exit::{Code as ExitCode, End, Failure, Result};
use crate::guests::{ALL, Guest};
use crate::place as engine_place;
use peripatos_engine::{Backend, Code, CodeKind, Runtime};
use place::{Stay, arrive, stay};
use screen::Screen;
use second::Second;
use std::collections::HashMap;
use std::time::Instant;

/// Shows real programs walking between two OS processes.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// The second OS process of a demo (started by the first)
    #[arg(long, hide = true)]
    second: bool,
}

/// Stretches that a program's run is cut into; between two of them it moves.
const STRETCHES: u32 = 4;
/// The core that this OS process runs programs on, counted among those it may use.
const CORE: usize = 0;
/// Programs on which the price is measured, with less work than they do by default, and how often each is run in each
/// variant. `peri bench overhead` does all, and longer.
const PRICED: [&[&str]; 3] = [&["fib", "35"], &["interp", "30000"], &["perft", "4"]];
const PRICE_ROUNDS: usize = 5;

/// One move: what it took, microseconds.
#[derive(Clone, Copy, Debug)]
struct Move {
    image_bytes: usize,
    /// From the request until the process stood still: the freeze itself.
    stop_us: u64,
    /// From the request until it ran elsewhere: freeze, copy out, carry, copy in, continuations.
    standstill_us: u64,
}

/// What came of one program's walk.
struct Walk {
    moves: Vec<Move>,
    identical: bool,
}

pub(crate) fn run(options: &Demo) -> Result<End> {
    let runtime = engine_place::runtime(Backend::Native, false)?;
    if options.second {
        second::serve(&runtime)?;
        return Ok(End::SUCCESS);
    }
    let started = Instant::now();
    let mut second = Second::start()?;
    let mut screen = Screen::new(second.os_process);
    let mut codes = HashMap::new();
    let mut walks = Vec::new();
    for (index, guest) in ALL.iter().enumerate() {
        screen.compiling(index);
        let code = load(&runtime, guest, CodeKind::Hot)?;
        second.prepare(index)?;
        codes.insert(code.hash(), code.clone());
        walks.push(walk(&runtime, &codes, &code, guest, &mut second, |event| {
            screen.show(index, event)
        })?);
        screen.done(index, &walks[index]);
    }
    drop(second);
    screen.pricing();
    let price = price()?;
    screen.summary(&walks, &price, started.elapsed());
    let identical = walks.iter().all(|walk| walk.identical);
    Ok(if identical { End::SUCCESS } else { End::Exit(ExitCode::Internal.number()) })
}

/// What the screen is told about a program under way.
#[derive(Clone, Copy, Debug)]
enum Event {
    Undisturbed,
    /// It runs in this place, 1 or 2, for the n-th stretch.
    At(usize, u32),
}

/// Runs a program undisturbed, then walks it to and fro, and compares.
fn walk(
    runtime: &Runtime,
    codes: &HashMap<[u8; 32], Code>,
    code: &Code,
    guest: &Guest,
    second: &mut Second,
    mut show: impl FnMut(Event),
) -> Result<Walk> {
    show(Event::Undisturbed);
    let started = Instant::now();
    let undisturbed = stay(Guarded::spawn(runtime, code, guest.arguments())?, None, CORE)?;
    let stretch = started.elapsed() / STRETCHES;
    if undisturbed.end != Err(0) {
        return Err(Failure::new(ExitCode::Internal, guest.name, "the undisturbed run failed"));
    }

    show(Event::At(1, 0));
    let mut last = stay(Guarded::spawn(runtime, code, guest.arguments())?, Some(stretch), CORE)?;
    let mut output = last.output;
    let mut moves = Vec::new();
    for turn in 1..STRETCHES {
        // A program that got done early has nothing left to move.
        let Ok(image) = last.end else { break };
        let (image_bytes, left) = (image.len(), last.times);
        let limit = (turn + 1 < STRETCHES).then_some(stretch);
        let (carried, stayed) = if turn % 2 == 1 {
            show(Event::At(2, turn));
            second.run(&image, limit)?
        } else {
            show(Event::At(1, turn));
            let started = Instant::now();
            let guarded = arrive(runtime, codes, &image)?;
            (started.elapsed(), stay(guarded, limit, CORE)?)
        };
        let standstill_us =
            left.stop_us + left.capture_us + carried.as_micros() as u64 + stayed.times.continue_us;
        moves.push(Move { image_bytes, stop_us: left.stop_us, standstill_us });
        output.extend_from_slice(&stayed.output);
        last = Stay { output: Vec::new(), ..stayed };
    }
    Ok(Walk {
        identical: last.end == Err(0) && output == undisturbed.output && !moves.is_empty(),
        moves,
    })
}

/// Cost of being migratable, and of epoch interruption, as ratios to plain wasmtime.
struct Price {
    name: &'static str,
    migratable: f64,
    epoch: f64,
}

fn price() -> Result<Vec<Price>> {
    let engines = Engines::new(true)?;
    let mut prices = Vec::new();
    for args in PRICED {
        let Some(guest) = ALL.iter().find(|guest| guest.name == args[0]) else { continue };
        let args = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        let compared = compare(&engines, guest, args, PRICE_ROUNDS)?;
        let (migratable, epoch) = (compared.migratable.median(), compared.epoch.median());
        prices.push(Price { name: guest.name, migratable, epoch });
    }
    Ok(prices)
}
