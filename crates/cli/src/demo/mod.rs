//! `peri demo`: the main job, live, in under a minute and with nothing but this binary.
//!
//! Real programs run undisturbed first, each on a core of its own, for what they print and how long they take. Then the
//! demo starts two nodes of one core each on this machine, joined over TCP as those of two machines are, and all the
//! programs on the first of them. They walk to the idle one by themselves, back when it is emptied, and over again; what
//! they print must be the same, byte for byte. Then philosophers dine, and are carried to and fro while they talk to
//! their tables and forks ([`dinner`]). At last the price of being migratable is measured on the spot.
//!
//! The order is [`run`]; [`show`] is the walk, [`screen`] what is seen of it.

mod dinner;
mod nodes;
mod price;
mod programs;
mod screen;
mod show;
mod summary;
mod visit;

use crate::exit::{Code as ExitCode, End, Result};
use crate::place;
use nodes::Nodes;
use peripatos_engine::Backend;
use programs::Program;
use screen::{Row, Screen, State, put};
use std::time::Instant;

/// Shows real programs walking between two nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// A tenth of the work, a short dinner, and no price
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(options: &Demo) -> Result<End> {
    let started = Instant::now();
    let runtime = place::runtime(Backend::Native, false)?;
    let programs = Program::all(options.quick);
    let mut rows: Vec<Row> = programs.iter().map(|program| Row::new(program.name())).collect();
    let nodes = Nodes::start()?;
    put(&format!(
        "Two nodes of one core each, linked over TCP and TLS: OS processes {}\n\
         and {}. Real programs, unmodified but for the compiler's checks:\n{}\n\n",
        nodes.os_processes[0],
        nodes.os_processes[1],
        Program::list(&programs),
    ));
    let mut screen = Screen::new(&rows);
    screen.note(started.elapsed(), "first each program runs undisturbed, without any node");
    screen.draw(&rows);
    let alone = programs::alone(&runtime, &programs, |index, run| {
        rows[index].alone = run.map(|run| run.time);
        rows[index].state = if run.is_some() { State::Ready } else { State::Alone };
        screen.draw(&rows);
    })?;
    let outcome = show::run(&nodes, &programs, &alone, &mut rows, &mut screen)?;
    screen.leave(&rows);
    put(&summary::of_show(&rows, &alone, &outcome));
    let text =
        "dinner   philosophers dine on both nodes, and are carried to and fro while they talk ...";
    let dinner = screen.meanwhile(text, || dinner::serve(&nodes, options.quick))?;
    drop(nodes);
    put(&summary::of_dinner(&dinner));
    if !options.quick {
        let text = "price    being measured on this machine ...";
        put(&summary::of_price(&screen.meanwhile(text, price::measure)?));
    }
    put(&format!("All in {:.0} s.\n", started.elapsed().as_secs_f64()));
    let identical = rows.iter().all(|row| row.state == State::Identical);
    Ok(if identical && dinner.is_good {
        End::SUCCESS
    } else {
        End::Exit(ExitCode::Internal.number())
    })
}
