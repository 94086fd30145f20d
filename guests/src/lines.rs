//! Reads standard input line by line and writes to several files in turn, then reads them back.
//!
//! usage: lines DIRECTORY
//! Each line goes to `DIRECTORY/even.txt` or `odd.txt` by its length, is appended to `all.txt`, and is
//! answered on standard output: what is done twice or not at all shows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let directory = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".into()));
    let mut halves =
        [File::create(directory.join("even.txt"))?, File::create(directory.join("odd.txt"))?];
    let all_path = directory.join("all.txt");
    let mut all = OpenOptions::new().create(true).append(true).read(true).open(&all_path)?;

    let mut output = io::stdout().lock();
    for (number, line) in io::stdin().lock().lines().enumerate() {
        let line = line?;
        writeln!(halves[line.len() % 2], "{number} {line}")?;
        writeln!(all, "{line}")?;
        writeln!(output, "{number}: {}", line.chars().rev().collect::<String>())?;
    }

    all.seek(SeekFrom::Start(0))?;
    let mut text = String::new();
    all.read_to_string(&mut text)?;
    writeln!(output, "all: {} lines, {} bytes", text.lines().count(), text.len())?;
    drop(halves);

    for name in ["even.txt", "odd.txt"] {
        let lines = BufReader::new(File::open(directory.join(name))?).lines().count();
        writeln!(
            output,
            "{name}: {lines} lines, {} bytes",
            fs::metadata(directory.join(name))?.len()
        )?;
    }
    fs::rename(directory.join("odd.txt"), directory.join("renamed.txt"))?;
    let mut names: Vec<String> = fs::read_dir(&directory)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    writeln!(output, "directory: {}", names.join(" "))
}
