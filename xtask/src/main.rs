//! The front door of the project: everything a developer does beyond `cargo build` and `cargo test`.
//!
//! `cargo xtask` needs no installing. What a step needs from outside (cargo-fuzz, a wasm target) is looked for and
//! named when it is missing; nothing here downloads anything.

mod bench;
mod chaos;
mod check;
mod date;
mod fuzz;
mod guests;
mod peers;
mod shell;
mod sim;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  chaos [--seed S] [--minutes M | --seconds N] [--loopback] [--peri FILE]
                 a mixed load on four real nodes, in network namespaces, that are killed, paused, emptied and cut off by a
                 seed (1; 3 minutes): what is not right has to be accounted for
  check          the fast path before a commit: format, clippy, quick tests, tidy
  tidy           reads the tree and holds the rules that no compiler knows
  bench          measures everything with the release build; keeps a dated record in benches/
  bench peers    the same workloads in Erlang, Go and a Rust library, as far as they are installed
  bench spread   how work is spread over two nodes, here and by Erlang, Open MPI, Ray and Dask, as far as they are
                 installed (PYTHON: an interpreter that has the last two)
  fuzz [SECS]    each fuzz target for a bounded time (default 60 seconds)
  sim [--minutes M | --hours H | --seed N | --large] [--kernels | --nodes] [--trace]
                 simulates kernels and nodes that talk, move, part and crash, with growing seeds (default: 5 minutes),
                 and such as do something wrong
  guests [NAME]  rebuilds the committed guests where a wasm toolchain is installed
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["chaos", rest @ ..] => chaos::run(rest),
        ["check"] => check::run(),
        ["tidy"] => tidy::run(),
        ["bench"] => bench::run(),
        ["bench", "peers", rest @ ..] => peers::run(rest),
        ["bench", "spread", rest @ ..] => peers::spread::run(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["sim", rest @ ..] => sim::run(rest),
        ["guests", rest @ ..] => guests::run(rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        unknown => Err(anyhow::anyhow!("no such command: {}\n\n{HELP}", unknown.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
