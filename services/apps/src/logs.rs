//! The last lines of each app, in memory only: no app log lies on a disk.

use piccolo_bus_schema::{app::LogLine, ids::AppName};
use piccolo_runtime::clock;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// Lines kept per app.
const LINES: usize = 1000;
/// Bytes kept per app.
const BYTES: usize = 256 << 10;
/// Longest line; more of it is cut.
const LINE: usize = 8 << 10;

/// All rings; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Logs {
    rings: Arc<Mutex<HashMap<AppName, Ring>>>,
}

#[derive(Default)]
struct Ring {
    next: u64,
    bytes: usize,
    lines: VecDeque<LogLine>,
    partial: String,
}

impl Logs {
    /// Adds output as it comes; lines end at newlines.
    pub(crate) fn add(&self, app: &AppName, output: &[u8]) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings
            .entry(app.clone())
            .or_default()
            .add(&String::from_utf8_lossy(output));
    }

    /// The last `tail` lines after a sequence number, oldest first.
    pub(crate) fn read(&self, app: &AppName, tail: usize, after: u64) -> Vec<LogLine> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ring) = rings.get(app) else {
            return Vec::new();
        };
        let newer = ring.lines.iter().filter(|line| line.sequence > after);
        let skip = newer.clone().count().saturating_sub(tail.min(LINES));
        newer.skip(skip).cloned().collect()
    }

    /// Forgets an app.
    pub(crate) fn forget(&self, app: &AppName) {
        self.rings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(app);
    }
}

impl Ring {
    fn add(&mut self, text: &str) {
        for piece in text.split_inclusive('\n') {
            self.partial.push_str(piece);
            if piece.ends_with('\n') || self.partial.len() >= LINE {
                let line = std::mem::take(&mut self.partial);
                self.push(line.trim_end_matches(['\r', '\n']));
            }
        }
    }

    fn push(&mut self, line: &str) {
        let text: String = line
            .chars()
            .filter(|c| !c.is_control() || *c == '\t')
            .collect();
        self.next += 1;
        self.bytes += text.len();
        self.lines.push_back(LogLine {
            sequence: self.next,
            at: clock::now(),
            text,
        });
        while self.lines.len() > LINES || self.bytes > BYTES {
            match self.lines.pop_front() {
                Some(old) => self.bytes -= old.text.len(),
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_and_numbered() {
        let logs = Logs::default();
        let app: AppName = "demo".parse().expect("a name");
        for number in 0..1500 {
            logs.add(&app, format!("line {number}\n").as_bytes());
        }
        logs.add(&app, b"half");
        let lines = logs.read(&app, 10, 0);
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[9].text, "line 1499");
        assert_eq!(logs.read(&app, 5000, 0).len(), 1000);
        assert_eq!(logs.read(&app, 10, 1498).len(), 2);
        logs.add(&app, &vec![b'x'; 1 << 20]);
        assert!(
            logs.read(&app, 5000, 0)
                .iter()
                .map(|line| line.text.len())
                .sum::<usize>()
                <= BYTES
        );
    }
}
