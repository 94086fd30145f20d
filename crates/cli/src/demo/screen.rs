//! What the demo shows: a table that changes in place on a terminal, plain lines anywhere else.

use super::{Event, Price, Walk};
use crate::guests::ALL;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;

/// Up one line to its start, and clear to the end of a line.
const UP: &str = "\x1b[1A\r";
const CLEAR: &str = "\x1b[K";

pub(super) struct Screen {
    live: bool,
    rows: Vec<String>,
}

impl Screen {
    pub(super) fn new(second: u32) -> Screen {
        let live = stdout().is_terminal();
        put(&format!(
            "Real programs, unmodified but for the compiler's checks. Each is frozen three times in mid-computation;\n\
             its image is carried between OS process 1 ({}) and OS process 2 ({second}), each on its own core.\n\n\
             {:<8} {:<22} {:<13} {:>9} {:>16} {:>11}  output\n",
            std::process::id(),
            "program",
            "what",
            "ran in",
            "image",
            "longest freeze",
            "to running",
        ));
        let rows =
            ALL.iter().map(|guest| format!("{:<8} {:<22}", guest.name, guest.what)).collect();
        let screen = Screen { live, rows };
        if live {
            put(&"\n".repeat(ALL.len()));
            screen.draw();
        }
        screen
    }

    pub(super) fn compiling(&mut self, index: usize) {
        self.change(index, "compiling");
    }

    pub(super) fn show(&mut self, index: usize, event: Event) {
        let text = match event {
            Event::Undisturbed => "undisturbed run".to_owned(),
            Event::At(place, turn) => format!("{} (runs in {place})", track(turn)),
        };
        self.change(index, &text);
    }

    pub(super) fn done(&mut self, index: usize, walk: &Walk) {
        let image = walk.moves.iter().map(|one| one.image_bytes).max().unwrap_or(0);
        let stop = walk.moves.iter().map(|one| one.stop_us).max().unwrap_or(0);
        let standstill = walk.moves.iter().map(|one| one.standstill_us).max().unwrap_or(0);
        let text = format!(
            "{:<13} {:>6.2} MB {:>13} us {:>8.1} ms  {}",
            track(walk.moves.len() as u32),
            image as f64 / 1e6,
            stop,
            standstill as f64 / 1e3,
            if walk.identical { "identical" } else { "DIFFERS" },
        );
        self.change(index, &text);
        if !self.live {
            put(&format!("{}\n", self.rows[index]));
        }
    }

    pub(super) fn pricing(&self) {
        put("\nmeasuring the price on this machine ...\n");
    }

    pub(super) fn summary(&self, walks: &[Walk], price: &[Price], took: Duration) {
        if self.live {
            put(&format!("{UP}{CLEAR}"));
        }
        put(&format!(
            "{:<8} {:>22} {:>22}   (1.00: plain wasmtime)\n",
            "price", "migratable", "epoch interruption"
        ));
        for one in price {
            put(&format!("{:<8} {:>22.2} {:>22.2}\n", one.name, one.migratable, one.epoch));
        }
        let moves: Vec<_> = walks.iter().flat_map(|walk| &walk.moves).collect();
        let bytes: usize = moves.iter().map(|one| one.image_bytes).sum();
        let mut stops: Vec<u64> = moves.iter().map(|one| one.stop_us).collect();
        stops.sort_unstable();
        let median = stops.get(stops.len() / 2).copied().unwrap_or(0);
        let identical = walks.iter().filter(|walk| walk.identical).count();
        put(&format!(
            "\n{} programs moved {} times ({:.1} MB of images); a freeze took {median} us at the median, {} us at most.\n\
             Output identical to the undisturbed run: {identical} of {}. All in {:.0} s.\n",
            walks.len(),
            moves.len(),
            bytes as f64 / 1e6,
            stops.last().copied().unwrap_or(0),
            walks.len(),
            took.as_secs_f64(),
        ));
    }

    fn change(&mut self, index: usize, text: &str) {
        let guest = &ALL[index];
        self.rows[index] = format!("{:<8} {:<22} {text}", guest.name, guest.what);
        if self.live {
            self.draw();
        }
    }

    fn draw(&self) {
        let mut text = UP.repeat(self.rows.len());
        for row in &self.rows {
            text.push_str(&format!("{row}{CLEAR}\n"));
        }
        put(&text);
    }
}

/// `1 → 2 → 1`: where a program has been after so many moves.
fn track(moves: u32) -> String {
    let places: Vec<&str> = (0..=moves).map(|turn| if turn % 2 == 0 { "1" } else { "2" }).collect();
    places.join(" → ")
}

/// A terminal that is gone ends the demo by its signal; nothing else can be done about it here.
fn put(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
