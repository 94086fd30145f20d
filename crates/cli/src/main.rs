//! `peri`: runs WebAssembly programs as processes that can be frozen anywhere in their computation, moved and thawed.
//!
//! One command a file in [`commands`]. What they share stands beside them; nothing here decides what the crates below
//! decide. Invariants: a command that fails says why on one line that begins with `peri: ` and ends with a documented
//! code ([`exit`]); however it ends, nothing is left behind ([`leftovers`]).

mod attached;
mod bench;
mod cluster;
mod commands;
mod console;
mod cpu_max;
mod cpus;
mod demo;
mod detached;
mod directories;
mod exit;
mod family;
mod guests;
mod image_file;
mod leftovers;
mod output;
mod pids;
mod place;
mod private_nodes;
mod program;
mod restart;
mod secret;
mod session;
mod signals;
mod size;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use exit::End;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// glibc's gives buffers back to the operating system and takes them again, piece after piece of a moving process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs WebAssembly programs that can be frozen anywhere, moved, and thawed.
#[derive(Debug, Parser)]
#[command(name = "peri", version, after_long_help = exit::table(), max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(commands::up::Up),
    Down(commands::down::Down),
    Nodes(commands::nodes::Nodes),
    Node(commands::node::Node),
    Token(commands::token::TokenOf),
    Run(commands::run::Run),
    Call(commands::call::Call),
    Ps(commands::ps::Ps),
    Migrate(commands::migrate::Migrate),
    Pin(commands::migrate::Pin),
    Unpin(commands::migrate::Unpin),
    Kill(commands::migrate::Kill),
    Balance(commands::balance::Balance),
    Explain(commands::explain::Explain),
    Events(commands::explain::Events),
    Drain(commands::drain::Drain),
    Cordon(commands::drain::Cordon),
    Uncordon(commands::drain::Uncordon),
    Forget(commands::migrate::Forget),
    Freeze(commands::freeze::Freeze),
    Thaw(commands::thaw::Thaw),
    Compile(commands::compile::Compile),
    Bench(bench::Bench),
    Sim(commands::sim::Sim),
    Doctor(commands::doctor::Doctor),
    Demo(demo::Demo),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misunderstood(&error),
    };
    if let Err(error) = signals::watch() {
        return exit::report(&exit::Failure::new(exit::Code::Internal, "signals", error));
    }
    let ended = match &arguments.command {
        Command::Up(options) => commands::up::run(options),
        Command::Down(options) => commands::down::run(options),
        Command::Nodes(options) => commands::nodes::run(options),
        Command::Node(options) => commands::node::run(options),
        Command::Token(options) => commands::token::run(options),
        Command::Migrate(options) => commands::migrate::migrate(options),
        Command::Balance(options) => commands::balance::run(options),
        Command::Explain(options) => commands::explain::explain(options),
        Command::Events(options) => commands::explain::events(options),
        Command::Pin(options) => commands::migrate::pin(options),
        Command::Unpin(options) => commands::migrate::unpin(options),
        Command::Kill(options) => commands::migrate::kill(options),
        Command::Drain(options) => commands::drain::drain(options),
        Command::Cordon(options) => commands::drain::cordon(options),
        Command::Uncordon(options) => commands::drain::uncordon(options),
        Command::Forget(options) => commands::migrate::forget(options),
        Command::Run(options) => commands::run::run(options),
        Command::Freeze(options) => commands::freeze::run(options),
        Command::Thaw(options) => commands::thaw::run(options),
        Command::Call(options) => commands::call::run(options),
        Command::Ps(options) => commands::ps::run(options),
        Command::Compile(options) => commands::compile::run(options),
        Command::Bench(options) => bench::run(options),
        Command::Sim(options) => commands::sim::run(options),
        Command::Demo(options) => demo::run(options),
        Command::Doctor(options) => commands::doctor::run(options),
    };
    match ended {
        Ok(End::Exit(code)) => ExitCode::from(code),
        Ok(End::Signal(signal)) => signals::end_by(signal),
        Err(failure) => exit::report(&failure),
    }
}

/// A wrong command line: clap says what is wrong; the likeliest mistake, a program without `run`, gets its own answer.
fn misunderstood(error: &clap::Error) -> ExitCode {
    let first = std::env::args_os().nth(1).unwrap_or_default();
    if error.kind() == ErrorKind::InvalidSubcommand && names_a_program(&first) {
        let name = first.to_string_lossy();
        let cause = format!("not a command; to run it: peri run {name}");
        return exit::report(&exit::Failure::new(exit::Code::Usage, name, cause));
    }
    error.exit()
}

fn names_a_program(argument: &OsString) -> bool {
    let path = Path::new(argument);
    path.extension().is_some_and(|extension| extension == "wasm") || path.is_file()
}
