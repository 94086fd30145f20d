//! Rules about one Rust source file: its length, its module documentation, and `unsafe`.

use super::Finding;
use super::tree::File;

/// Past this many lines a file holds two things.
const LINES_MAX: usize = 600;

/// Files that may be longer, each with its reason beside it.
const LONG_FILES: [&str; 0] = [];

/// What may hold `unsafe` code: the crate that runs machine code, and the imports of guests in Rust.
const UNSAFE_PLACES: [&str; 2] = ["crates/engine/", "guest/rust/src/"];

pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let rust = files.iter().filter(|file| file.is_rust());
    rust.flat_map(|file| {
        length(file).into_iter().chain(documentation(file)).chain(unsafe_code(file))
    })
    .collect()
}

fn length(file: &File) -> Option<Finding> {
    let lines = file.text.lines().count();
    let allowed = lines <= LINES_MAX || LONG_FILES.contains(&file.path.as_str());
    (!allowed).then(|| Finding {
        path: file.path.clone(),
        line: 0,
        what: format!("{lines} lines, more than {LINES_MAX}: look for the second thing in it"),
    })
}

fn documentation(file: &File) -> Option<Finding> {
    let module = file.path.contains("/src/") && !file.path.ends_with("/tests.rs");
    let documented = file.text.starts_with("//!");
    (module && !documented).then(|| Finding {
        path: file.path.clone(),
        line: 1,
        what: "a module opens with //!: what it is, its invariants, what it does not do".into(),
    })
}

fn unsafe_code(file: &File) -> Vec<Finding> {
    if UNSAFE_PLACES.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let forms = ["{", "fn ", "impl ", "extern "].map(|after| ["unsafe", after].join(" "));
    let allow = ["allow(", "unsafe_code)"].concat();
    file.lines()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .filter(|(_, line)| forms.iter().any(|form| line.contains(form)) || line.contains(&allow))
        .map(|(line, _)| Finding {
            path: file.path.clone(),
            line,
            what: format!("unsafe code lives in {} only", UNSAFE_PLACES.join(" and ")),
        })
        .collect()
}
