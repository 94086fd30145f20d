//! The dining philosophers: forks, tables and philosophers are processes, and any number of them.
//!
//! What each has to do is in its module: [`hall`] (this process), [`table`], [`waiter`], [`philosopher`], and `fork.rs`,
//! which is a program of its own. No deadlock: everybody takes the fork with the lower number first. No starvation: forks
//! and places are given in the order in which they were asked for.

mod etiquette;
mod hall;
mod philosopher;
mod ring;
mod services;
mod table;
mod total;
mod waiter;

use std::process::ExitCode;
use std::time::Duration;

use hall::Setting;
use peripatos::{Error, register, spawn_fn};
use services::HallClient;

const USAGE: &str = "\
usage: philosophers N [--tables T] [--plates P] [--waiters W] [--seconds S] [--meals M]
           N philosophers dine, at T tables (1) of P plates each (as many as philosophers), for S seconds (5)
           or until each has had M meals. W waiters (2) lay each table: as many as there are cores is best.
           Commands are read from standard input meanwhile.
       philosophers COMMAND
           tells those who are dining: add N, remove N, tables +N, tables -N, plates +N, plates -N, report, stop
It spawns `fork`: peri run --with fork.wasm philosophers.wasm ...";

/// The name of the hall.
const HALL: &str = "philosophers/hall";

#[peripatos::main]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(setting) = setting(&args) {
        return dine(setting);
    }
    match HallClient::lookup(HALL).map(|hall| command(&hall, &args.join(" "))) {
        Ok(true) => ExitCode::SUCCESS,
        Err(error) if !args.is_empty() => {
            eprintln!("nobody dines here: {error}");
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn setting(args: &[String]) -> Option<Setting> {
    let (philosophers, options) = args.split_first()?;
    let philosophers: u32 = philosophers.parse().ok()?;
    let (mut tables, mut plates, mut waiters) = (1, None, 2);
    let (mut seconds, mut meals) = (None, u64::MAX);
    for option in options.chunks(2) {
        let [name, value] = option else { return None };
        match name.as_str() {
            "--tables" => tables = value.parse().ok().filter(|tables| *tables > 0)?,
            "--plates" => plates = Some(value.parse().ok()?),
            "--waiters" => waiters = value.parse().ok().filter(|waiters| *waiters > 0)?,
            "--seconds" => seconds = Some(value.parse().ok()?),
            "--meals" => meals = value.parse().ok()?,
            _ => return None,
        }
    }
    let plates = plates.unwrap_or_else(|| philosophers.div_ceil(tables)).max(2);
    let time = match seconds {
        // As long as it takes.
        None if meals < u64::MAX => Duration::from_secs(u64::from(u32::MAX)),
        seconds => Duration::try_from_secs_f64(seconds.unwrap_or(5.0)).ok()?,
    };
    Some(Setting { philosophers, tables, plates, waiters, time, meals })
}

fn dine(setting: Setting) -> ExitCode {
    // Those who give commands are no part of it.
    let total =
        register(HALL).and_then(|()| spawn_fn(console, &())).and_then(|_| hall::run(setting));
    match total {
        Ok(total) => {
            println!("{total}");
            if !total.agrees() {
                eprintln!("the counts do not agree");
            }
            if !total.is_just() {
                eprintln!("somebody has had nothing");
            }
            ExitCode::from(u8::from(!(total.agrees() && total.is_just())))
        }
        Err(error) => {
            eprintln!("philosophers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads commands from standard input.
fn console(_: ()) {
    let Ok(hall) = HallClient::lookup(HALL) else { return };
    for line in std::io::stdin().lines().map_while(Result::ok) {
        if !line.is_empty() && !command(&hall, &line) {
            eprintln!("no such command: {line}");
        }
    }
}

/// Gives the hall a command. `false`: it is none.
fn command(hall: &HallClient, text: &str) -> bool {
    let mut words = text.split_whitespace();
    let (name, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let done: Result<(), Error> = match (name, number.parse::<i32>()) {
        ("add", Ok(number)) if number > 0 => hall.add(number.unsigned_abs()),
        ("remove", Ok(number)) if number > 0 => hall.remove(number.unsigned_abs()),
        ("tables", Ok(change)) => hall.tables(change),
        ("plates", Ok(change)) => hall.plates(change),
        ("report", _) => hall.report().map(|report| println!("{report}")),
        ("stop", _) => hall.stop(),
        _ => return false,
    };
    if let Err(error) = done {
        eprintln!("{text}: {error}");
    }
    true
}
