//! What commands list: a table for people, JSON for programs.

use crate::exit::{Code, Failure, Result};
use serde::Serialize;
use std::io::{self, Write as _};

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns, for people.
    #[default]
    Table,
    /// JSON, for programs.
    Json,
}

impl Format {
    /// Shows a list on standard output; `table` is the same for people.
    pub(crate) fn show(self, list: &impl Serialize, table: impl FnOnce() -> String) -> Result<()> {
        let text = match self {
            Format::Json => serde_json::to_string_pretty(list).map(|json| json + "\n"),
            Format::Table => Ok(table()),
        };
        let shown = text.map_err(io::Error::other).and_then(|text| print(&text));
        shown.map_err(|error| Failure::new(Code::Storage, "standard output", error))
    }
}

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Columns of text, as wide as their widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: one cell a column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "one cell a column");
        self.rows.push(cells);
    }

    pub(crate) fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.columns[column].0.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let header = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut text = String::new();
        for row in [&header].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(&self.columns) {
                match align {
                    Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                    Align::Right => line.push_str(&format!("{cell:>width$}  ")),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Writes text to standard output; a closed pipe ends the command by its signal, other failures are the caller's.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("NAME", Align::Left), ("MS", Align::Right)]);
        table.row(vec!["fib".into(), "1.5".into()]);
        table.row(vec!["matmul".into(), "10.0".into()]);
        assert_eq!(table.render(), "NAME      MS\nfib      1.5\nmatmul  10.0\n");
    }
}
