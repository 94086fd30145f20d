//! Golden tests: what the pass writes for small programs, to the letter.
//!
//! Each file in `golden/` holds a program, after it what came of it. Lines of the program:
//! `;; pass: count-down` sets an option; `;; sites: 3 5` asks for a continuation of those sites too.
//! `BLESS=1 cargo test -p peripatos-instrument --test golden` writes the results anew.

use std::fmt::Write as _;
use std::path::Path;

use peripatos_instrument::{Options, Program, SiteId};

const HEADER: &str = ";; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden\n";
const RESULT: &str =
    "\n;; ---------------------------------------------------------------- result\n";

#[test]
fn golden() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let bless = std::env::var_os("BLESS").is_some();
    let mut differing = vec![];
    let entries = std::fs::read_dir(&directory).expect("the directory is there");
    let mut paths = entries.map(|entry| entry.expect("readable").path()).collect::<Vec<_>>();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("readable");
        let text = text.strip_prefix(HEADER).unwrap_or(&text);
        let program = text.split(RESULT).next().unwrap_or_default();
        let wanted = format!("{HEADER}{program}{RESULT}{}", result(program));
        if bless {
            std::fs::write(&path, wanted).expect("writable");
        } else if std::fs::read_to_string(&path).expect("readable") != wanted {
            differing.push(format!("{}:\n{wanted}", path.display()));
        }
    }
    assert!(differing.is_empty(), "the pass writes something else now:\n{}", differing.join("\n"));
}

/// What comes of a program, as text.
fn result(text: &str) -> String {
    let count_down = text.contains(";; pass: count-down");
    let sites = text.lines().find_map(|line| line.strip_prefix(";; sites: "));
    let sites = sites.into_iter().flat_map(|line| line.split(' '));
    let sites = sites.map(|site| SiteId(site.parse().expect("a number"))).collect::<Vec<_>>();
    let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let rewritten = Program::analyse(&wasm, Options { count_down })
        .and_then(|program| program.hot_module().map(|hot| (program, hot)));
    let (program, (hot, stats)) = match rewritten {
        Ok(rewritten) => rewritten,
        Err(error) => return format!("\n;; {error}\n"),
    };
    let mut result = format!(
        "\n;; {} functions, {} of them instrumented; {} sites; polls: {} calls, {} loops, {} entries\n{}",
        stats.functions,
        stats.instrumented_functions,
        stats.sites,
        stats.call_checks,
        stats.loop_polls,
        stats.entry_polls,
        print(&hot)
    );
    if !sites.is_empty() {
        let continuation = program.continuation(&sites).expect("sites of this program");
        let sizes = program.frame_sizes(&sites).expect("sites of this program");
        let _ = write!(result, "\n;; continuation of {sites:?}, frames of {sizes:?} bytes\n");
        result += &print(&continuation.wasm);
    }
    result
}

/// As text, once it is known to be valid.
fn print(wasm: &[u8]) -> String {
    let mut validator = wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all());
    let text = wasmprinter::print_bytes(wasm).expect("it can be printed");
    validator.validate_all(wasm).unwrap_or_else(|error| panic!("invalid: {error}\n{text}"));
    text
}
