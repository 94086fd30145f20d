//! Words that must not be in the tree: work left undone, and paths of somebody's machine.

use super::Finding;
use super::tree::File;

/// A forbidden text. Written in two halves so that this file does not find itself.
struct Word {
    text: [&'static str; 2],
    why: &'static str,
    rust_only: bool,
}

const WORDS: [Word; 10] = [
    Word { text: ["todo", "!("], why: "work left undone", rust_only: true },
    Word { text: ["unimplemented", "!("], why: "work left undone", rust_only: true },
    Word { text: ["dbg", "!("], why: "a trace left behind", rust_only: true },
    Word { text: ["FIX", "ME"], why: "work left undone", rust_only: false },
    Word { text: ["XX", "X:"], why: "work left undone", rust_only: false },
    Word { text: ["#[igno", "re"], why: "a test switched off", rust_only: true },
    Word { text: ["/ro", "ot/"], why: "a path of one machine", rust_only: false },
    Word { text: ["/wo", "rk/"], why: "a path of one machine", rust_only: false },
    Word { text: ["/ho", "me/"], why: "a path of one machine", rust_only: false },
    Word { text: ["/Use", "rs/"], why: "a path of one machine", rust_only: false },
];

pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for word in &WORDS {
        let text = word.text.concat();
        for file in files.iter().filter(|file| !word.rust_only || file.is_rust()) {
            findings.extend(file.lines().filter(|(_, line)| line.contains(&text)).map(
                |(line, _)| Finding {
                    path: file.path.clone(),
                    line,
                    what: format!("`{text}`: {}", word.why),
                },
            ));
        }
    }
    findings
}
