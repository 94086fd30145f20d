//! How `peri` ends: the exit codes, and the one line that says why. This is the place where they are documented:
//! `peri help` prints [`table`], and docs/exit-codes.md holds the same text (a test compares them).

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

/// Why `peri` itself failed, as an exit code. A program's own code is passed through and may coincide with one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Usage,
    DamagedImage,
    Unreadable,
    NoNode,
    NoProcess,
    Internal,
    Resources,
    Storage,
    Frozen,
    Lost,
    Refused,
    Fenced,
    NotProgram,
    UnknownImport,
    Trap,
    Killed,
    StackOverflow,
}

const CODES: [(Code, u8, &str); 17] = [
    (Code::Usage, 2, "the command line is wrong"),
    (Code::DamagedImage, 65, "the image is damaged, cut short, or of another version"),
    (Code::Unreadable, 66, "a file or directory that was named cannot be read or opened"),
    (Code::NoNode, 68, "no such node, or none that answers"),
    (Code::NoProcess, 69, "no such process, or it cannot be frozen"),
    (Code::Internal, 70, "peri itself failed"),
    (Code::Resources, 71, "out of memory, or this machine lacks something that is needed"),
    (
        Code::Storage,
        74,
        "writing failed: disk full, no permission; or what the program had written failed behind it",
    ),
    (Code::Frozen, 75, "the process was frozen by `peri freeze` and goes on elsewhere"),
    (
        Code::Lost,
        76,
        "the node that ran the process is gone, or what became of the process is not known",
    ),
    (Code::Refused, 77, "the node said no"),
    (
        Code::Fenced,
        78,
        "`peri up`: the node could not renew its lease in etcd, and has ended with all that ran on it",
    ),
    (Code::NotProgram, 126, "not a WebAssembly program, or one that cannot be made freezable"),
    (Code::UnknownImport, 127, "the program imports what nobody offers"),
    (Code::Trap, 134, "the program trapped"),
    (Code::Killed, 137, "the process was ended by `peri kill`, or with one that it was linked to"),
    (Code::StackOverflow, 139, "the program's stack overflowed"),
];

impl Code {
    pub(crate) fn number(self) -> u8 {
        CODES.iter().find(|(code, ..)| *code == self).map_or(1, |(_, number, _)| *number)
    }
}

/// The table of exit codes, for `peri help` and the documentation.
pub(crate) fn table() -> String {
    let mut text = String::from(
        "Exit codes of `peri run` and `peri thaw`: the program's own, or\n    128+N  ended by signal N (130: Ctrl-C, 141: broken pipe, 143: terminated)\n",
    );
    for (_, number, meaning) in CODES {
        text.push_str(&format!("    {number:<5}  {meaning}\n"));
    }
    text
}

/// A failure with its exit code: `peri: what: cause`, on one line.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    message: String,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// `what` failed because of `cause`. Lines after the first are dropped, control characters shown as spaces.
    pub(crate) fn new(code: Code, what: impl fmt::Display, cause: impl fmt::Display) -> Failure {
        let whole = format!("{what}: {cause}");
        let line = whole.lines().next().unwrap_or_default();
        let message = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Failure { code, message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A command's end, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this exit code.
    Exit(u8),
    /// By this signal, as the operating system counts them.
    Signal(i32),
}

impl End {
    pub(crate) const SUCCESS: End = End::Exit(0);
}

/// Says something on standard error, as one line at once: other commands may be writing there too.
pub(crate) fn say(what: impl fmt::Display) {
    let line = format!("peri: {what}\n");
    // Where nobody listens there is nobody to tell.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Says why on standard error, and gives the code.
pub(crate) fn report(failure: &Failure) -> ExitCode {
    say(failure);
    ExitCode::from(failure.code.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_all_there() {
        for (index, (code, number, _)) in CODES.iter().enumerate() {
            assert_eq!(*code as usize, index, "the table is in the order of the enum");
            assert_eq!(code.number(), *number);
            assert!(CODES[..index].iter().all(|(_, other, _)| other < number));
        }
    }

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::new(Code::Internal, "a", "b\tc\nd");
        assert_eq!(failure.to_string(), "a: b c");
    }

    #[test]
    fn the_documentation_says_the_same() {
        assert!(include_str!("../../../docs/exit-codes.md").contains(&table()));
    }
}
