//! What is shown: aligned tables and sentences for people, JSON for programs.

use crate::Failure;
use serde_json::Value;
use std::io::{self, Write};

/// Stdout and stderr. A reader that has gone away is no reason to fail.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    json: bool,
}

impl Screen {
    /// `json`: print documents as they are.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// A result.
    pub(crate) fn say(&self, text: &str) {
        let _ = writeln!(io::stdout().lock(), "{}", text.trim_end());
    }

    /// A document as JSON, or what it means.
    pub(crate) fn show(&self, document: &Value, text: impl FnOnce() -> String) {
        if self.json {
            self.say(&format!("{document:#}"));
        } else {
            self.say(&text());
        }
    }

    /// What is under way: for people, beside the result.
    pub(crate) fn progress(&self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Why it failed.
    pub fn complain(&self, failure: &Failure) {
        let text = match failure {
            Failure::Refused { json, .. } if self.json && !json.is_empty() => json.clone(),
            other => format!("piccoloctl: {other}"),
        };
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// Rows under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|&text| text.to_owned()).collect()],
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(printable).collect());
    }

    /// The table, or a sentence when it has no rows.
    pub(crate) fn or(self, empty: &str) -> String {
        if self.rows.len() == 1 {
            return empty.to_owned();
        }
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// What a device says must not move the cursor of whoever reads it.
pub(crate) fn printable(text: String) -> String {
    if text.chars().any(char::is_control) {
        text.replace(|c: char| c.is_control(), " ")
    } else {
        text
    }
}

/// `1 d 3 h`, `12 s`: two units are enough.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `12.3 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const STEP: f64 = 1024.0;
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut size = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < STEP {
            let decimals = usize::from(unit != "B");
            return format!("{size:.decimals$} {unit}");
        }
        size /= STEP;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_the_letters() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["blüte".to_owned(), "ready".to_owned()]);
        table.row(["a".to_owned(), "\u{1b}[31mdown".to_owned()]);
        assert_eq!(
            table.or(""),
            "NAME   STATE\nblüte  ready\na       [31mdown\n"
        );
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(12_900_000), "12.3 MiB");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(90_000), "1 d 1 h");
    }
}
