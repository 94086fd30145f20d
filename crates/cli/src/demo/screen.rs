//! What the demo shows while it runs: a table that changes in place on a terminal, plain lines anywhere else.

use super::nodes::NAMES;
use rustix::termios::tcgetwinsize;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;

/// Up one line to its start.
const UP: &str = "\x1b[1A\r";
/// Clear the line.
const CLEAR: &str = "\x1b[2K";
/// How wide the bar is that shows where a program is, and how far.
const BAR: usize = 11;
/// Columns and lines that the table needs; on a smaller terminal there are plain lines.
const COLUMNS_MIN: u16 = 80;
const LINES_BESIDE_ROWS: u16 = 6;

/// One program.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) alone: Option<Duration>,
    pub(super) state: State,
    /// Which node runs it, as an index.
    pub(super) place: Option<usize>,
    pub(super) cpu: Duration,
    /// Which part of its work is done.
    pub(super) progress: f64,
    pub(super) moves: u32,
    /// Moves whose costs are known.
    pub(super) freezes: u32,
    pub(super) freeze_us_max: u64,
    pub(super) carried_bytes: u64,
}

/// How a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    /// It runs undisturbed, in the demo itself.
    Alone,
    Starting,
    Running,
    Waiting,
    Moving,
    /// It has ended as the undisturbed run did.
    Identical,
    Differs,
}

impl State {
    pub(super) fn text(self) -> &'static str {
        match self {
            State::Ready => "",
            State::Alone => "alone",
            State::Starting => "starting",
            State::Running => "running",
            State::Waiting => "waiting",
            State::Moving => "moving",
            State::Identical => "identical",
            State::Differs => "DIFFERS",
        }
    }

    pub(super) fn is_over(self) -> bool {
        matches!(self, State::Identical | State::Differs)
    }
}

impl Row {
    pub(super) fn new(name: &'static str) -> Row {
        Row {
            name,
            alone: None,
            state: State::Ready,
            place: None,
            cpu: Duration::ZERO,
            progress: 0.0,
            moves: 0,
            freezes: 0,
            freeze_us_max: 0,
            carried_bytes: 0,
        }
    }

    fn text(&self) -> String {
        let dash = || "-".to_owned();
        let bar = |place| match self.place {
            Some(here) if here == place && !self.state.is_over() => bar(self.progress),
            _ => String::new(),
        };
        let milliseconds = (self.freezes > 0).then_some(self.freeze_us_max as f64 / 1e3);
        format!(
            "{:<7} {:>5}  {:<BAR$}  {:<BAR$}  {:<9} {:>5}  {:>5}  {:>14}",
            self.name,
            self.alone.map_or_else(dash, seconds),
            bar(0),
            bar(1),
            self.state.text(),
            seconds(self.cpu),
            self.moves,
            milliseconds.map_or_else(dash, |time| format!("{time:.1} ms")),
        )
    }
}

/// The table, and a line below it that says what is going on.
pub(super) struct Screen {
    live: bool,
    /// How many lines of the table stand there already.
    drawn: usize,
    note: String,
}

impl Screen {
    pub(super) fn new(rows: &[Row]) -> Screen {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let fits = tcgetwinsize(stdout()).is_ok_and(|size| {
            size.ws_col >= COLUMNS_MIN
                && usize::from(size.ws_row) >= rows.len() + usize::from(LINES_BESIDE_ROWS)
        });
        let live = stdout().is_terminal() && !dumb && fits;
        Screen { live, drawn: 0, note: String::new() }
    }

    /// Shows how the programs are.
    pub(super) fn draw(&mut self, rows: &[Row]) {
        if !self.live {
            return;
        }
        let mut text = UP.repeat(self.drawn);
        let lines = table(rows).into_iter().chain([String::new(), self.note.clone()]);
        self.drawn = 0;
        for line in lines {
            text.push_str(&format!("{CLEAR}{line}\n"));
            self.drawn += 1;
        }
        put(&text);
    }

    /// Says what is going on, `at` so long after the start.
    pub(super) fn note(&mut self, at: Duration, text: &str) {
        self.note = format!("{:>5}  {text}", seconds(at));
        if !self.live {
            put(&format!("{}\n", self.note));
        }
    }

    /// Says what a table shows by itself.
    pub(super) fn tell(&mut self, at: Duration, text: &str) {
        if !self.live {
            put(&format!("{:>5}  {text}\n", seconds(at)));
        }
    }

    /// The table stays as it is; what follows comes below it.
    pub(super) fn leave(&mut self, rows: &[Row]) {
        if self.live {
            self.draw(rows);
            put(&format!("{UP}{CLEAR}"));
        } else {
            put(&format!("\n{}\n\n", table(rows).join("\n")));
        }
    }

    /// Something that takes a moment; what is said next takes its place.
    pub(super) fn meanwhile<T>(&self, text: &str, work: impl FnOnce() -> T) -> T {
        put(&format!("{text}\n"));
        let done = work();
        if self.live {
            put(&format!("{UP}{CLEAR}"));
        }
        done
    }
}

fn table(rows: &[Row]) -> Vec<String> {
    let header = format!(
        "{:<7} {:>5}  {:<BAR$}  {:<BAR$}  {:<9} {:>5}  {:>5}  {:>14}",
        "program", "alone", NAMES[0], NAMES[1], "", "CPU", "moves", "longest freeze",
    );
    [header].into_iter().chain(rows.iter().map(Row::text)).collect()
}

/// `####.......`: how far a program is.
fn bar(progress: f64) -> String {
    let full = ((progress * BAR as f64) as usize).min(BAR);
    "#".repeat(full) + &".".repeat(BAR - full)
}

/// `3.2s`.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

/// A terminal that is gone ends the demo by its signal; nothing else can be done about it here.
pub(super) fn put(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_a_terminal() {
        let mut row = Row::new("interp");
        row.alone = Some(Duration::from_millis(99_900));
        row.state = State::Identical;
        row.freezes = 1;
        row.freeze_us_max = 9_999_999;
        let lines = table(&[row]);
        assert!(lines.iter().all(|line| line.len() < usize::from(COLUMNS_MIN)), "{lines:?}");
        assert_eq!(lines[0].len(), lines[1].len());
        assert_eq!([bar(0.0), bar(0.5), bar(2.0)], ["...........", "#####......", "###########"]);
    }
}
