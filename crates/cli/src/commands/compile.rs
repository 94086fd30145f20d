//! `peri compile`: what being migratable costs a program before it runs.
//!
//! Compiles it plain and migratable, without the disk cache and on one thread, so that the figures mean work and not
//! luck. What it costs while it runs is `peri bench overhead`.

use crate::exit::{Code, End, Failure, Result};
use crate::output::{Align, Format, Table};
use crate::{place, program};
use peripatos_engine::{CodeKind, LoadOptions, Settings};
use peripatos_instrument::{Options, Program, Stats};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// Compiles a program and tells what being migratable costs it.
#[derive(Debug, clap::Args)]
pub(crate) struct Compile {
    /// The program
    #[arg(value_name = "PROG.wasm")]
    program: PathBuf,
    /// How to print the figures
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// One way of compiling.
#[derive(Clone, Copy, Serialize)]
struct Build {
    instrument_ms: f64,
    compile_ms: f64,
    machine_code_bytes: usize,
}

/// All figures, as JSON has them.
#[derive(Serialize)]
struct Figures {
    program: String,
    original_bytes: usize,
    functions: u32,
    instrumented_functions: u32,
    sites: u32,
    call_checks: u32,
    loop_polls: u32,
    entry_polls: u32,
    plain: Build,
    migratable: Build,
    compile_ratio: f64,
    code_ratio: f64,
}

pub(crate) fn run(options: &Compile) -> Result<End> {
    let wasm = program::read(&options.program)?;
    let name = options.program.display().to_string();
    let refused = |error: peripatos_instrument::Error| Failure::new(Code::NotProgram, &name, error);
    let program = Program::analyse(&wasm, Options::default()).map_err(refused)?;
    let (_, stats) = program.hot_module().map_err(refused)?;
    let plain = build(&name, &wasm, CodeKind::Plain)?;
    let migratable = build(&name, &wasm, CodeKind::Hot)?;
    let figures = figures(name, wasm.len(), stats, plain, migratable);
    options.output.show(&figures, || render(&figures))?;
    Ok(End::SUCCESS)
}

fn build(name: &str, wasm: &Arc<[u8]>, kind: CodeKind) -> Result<Build> {
    let runtime =
        place::with_settings(Settings { parallel_compilation: false, ..Settings::default() })?;
    let code = runtime
        .load(wasm.clone(), LoadOptions { kind })
        .map_err(|error| program::load_failure(name, &error))?;
    let timings = code.timings();
    Ok(Build {
        instrument_ms: timings.instrument.as_secs_f64() * 1e3,
        compile_ms: timings.compile.as_secs_f64() * 1e3,
        machine_code_bytes: code.size().machine_code_bytes,
    })
}

fn figures(
    program: String,
    original_bytes: usize,
    stats: Stats,
    plain: Build,
    migratable: Build,
) -> Figures {
    Figures {
        program,
        original_bytes,
        functions: stats.functions,
        instrumented_functions: stats.instrumented_functions,
        sites: stats.sites,
        call_checks: stats.call_checks,
        loop_polls: stats.loop_polls,
        entry_polls: stats.entry_polls,
        plain,
        migratable,
        compile_ratio: (migratable.instrument_ms + migratable.compile_ms)
            / plain.compile_ms.max(f64::EPSILON),
        code_ratio: migratable.machine_code_bytes as f64 / plain.machine_code_bytes.max(1) as f64,
    }
}

fn render(figures: &Figures) -> String {
    let right = Align::Right;
    let mut table =
        Table::new(&[("", Align::Left), ("PLAIN", right), ("MIGRATABLE", right), ("RATIO", right)]);
    let (plain, migratable) = (figures.plain, figures.migratable);
    table.row(vec![
        "compile, one thread (ms)".into(),
        format!("{:.1}", plain.compile_ms),
        format!("{:.1}", migratable.instrument_ms + migratable.compile_ms),
        format!("{:.2}", figures.compile_ratio),
    ]);
    table.row(vec![
        "  of it rewriting (ms)".into(),
        "-".into(),
        format!("{:.1}", migratable.instrument_ms),
        "".into(),
    ]);
    table.row(vec![
        "machine code (bytes)".into(),
        plain.machine_code_bytes.to_string(),
        migratable.machine_code_bytes.to_string(),
        format!("{:.2}", figures.code_ratio),
    ]);
    format!(
        "{}: {} bytes, {} functions, {} of them instrumented\n{} sites: {} checks after calls, {} polls in loops, {} at entries\n\n{}",
        figures.program,
        figures.original_bytes,
        figures.functions,
        figures.instrumented_functions,
        figures.sites,
        figures.call_checks,
        figures.loop_polls,
        figures.entry_polls,
        table.render(),
    )
}
