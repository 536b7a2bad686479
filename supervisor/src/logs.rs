//! The log lines of all units: kept in a ring each, followed by whoever asks, written to rotated
//! files and to our own stderr.
//!
//! ```text
//!   child's stderr ──pipe──► reader task ──► ring ──► followers (lag is told, not waited for)
//!                                       ├──► files   } a thread each behind a bounded queue:
//!                                       └──► stderr  } full means dropped and counted
//! ```

mod file;
mod lines;
mod sink;

use self::{
    file::LogFiles,
    lines::Splitter,
    sink::{Entry, Sink},
};
use std::{
    collections::{HashMap, VecDeque},
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::unix::pipe, sync::broadcast};

/// Lines kept per unit ...
const RING_LINES: usize = 500;
/// ... and their bytes: a few stack traces must not weigh megabytes.
const RING_BYTES: usize = 256 * 1024;
/// Lines a follower may lag behind.
const FOLLOWER_LAG: usize = 256;
/// How much is read of a pipe at once.
const CHUNK: usize = 8 * 1024;

/// Under which our own lines are kept.
pub(crate) const OURSELVES: &str = "piccolod";

/// All logs. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    rings: Arc<Mutex<HashMap<&'static str, Ring>>>,
    files: Sink,
    stderr: Sink,
}

#[derive(Debug)]
struct Ring {
    lines: VecDeque<Arc<str>>,
    bytes: usize,
    followers: broadcast::Sender<Arc<str>>,
}

/// The lines there are, and those to come.
pub(crate) type Followed = (Vec<Arc<str>>, broadcast::Receiver<Arc<str>>);

impl Logs {
    /// Starts the writers. `directory` must exist.
    pub(crate) fn start(
        directory: &Path,
        units: impl Iterator<Item = &'static str>,
    ) -> io::Result<Self> {
        let mut files = LogFiles::new(directory);
        let files = Sink::start("log-files", move |entry| files.write(entry))?;
        let stderr = Sink::start("log-stderr", write_to_stderr)?;
        let names = units.chain([OURSELVES]);
        let rings = names.map(|name| (name, Ring::new())).collect();
        Ok(Self {
            rings: Arc::new(Mutex::new(rings)),
            files,
            stderr,
        })
    }

    /// Takes a line. Never waits.
    pub(crate) fn push(&self, unit: &'static str, line: &str) {
        let line: Arc<str> = Arc::from(line);
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ring) = rings.get_mut(unit) {
            ring.push(Arc::clone(&line));
        }
        drop(rings);
        self.files.push(Entry {
            unit,
            line: Arc::clone(&line),
        });
        self.stderr.push(Entry { unit, line });
    }

    /// The last lines of a unit, oldest first; `None` when there is no such unit.
    pub(crate) fn tail(&self, unit: &str, count: usize) -> Option<Vec<Arc<str>>> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings.get(unit).map(|ring| ring.tail(count))
    }

    /// The same, and a subscription that continues without a gap.
    pub(crate) fn follow(&self, unit: &str, count: usize) -> Option<Followed> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = rings.get(unit)?;
        Some((ring.tail(count), ring.followers.subscribe()))
    }

    /// Reads a child's output to its end, which may come after the child's: what it left behind
    /// may still hold the pipe.
    pub(crate) async fn read(self, unit: &'static str, mut output: pipe::Receiver) {
        let mut splitter = Splitter::default();
        let mut chunk = [0; CHUNK];
        loop {
            match output.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => splitter.feed(&chunk[..read], |line| self.push(unit, line)),
            }
        }
        splitter.finish(|line| self.push(unit, line));
    }

    /// Waits until everything taken so far is written, or the limit has passed.
    pub(crate) fn flush(&self, limit: Duration) {
        self.files.flush(limit);
        self.stderr.flush(limit);
    }
}

impl Ring {
    fn new() -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            followers: broadcast::Sender::new(FOLLOWER_LAG),
        }
    }

    fn push(&mut self, line: Arc<str>) {
        self.bytes += line.len();
        // An error means that nobody follows.
        let _ = self.followers.send(Arc::clone(&line));
        self.lines.push_back(line);
        while self.lines.len() > RING_LINES || self.bytes > RING_BYTES {
            match self.lines.pop_front() {
                Some(oldest) => self.bytes -= oldest.len(),
                None => break,
            }
        }
    }

    fn tail(&self, count: usize) -> Vec<Arc<str>> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).cloned().collect()
    }
}

/// Our own lines unchanged, those of children behind their unit's name.
fn write_to_stderr(entry: &Entry) {
    let mut stderr = io::stderr().lock();
    // There is nowhere to complain to.
    let _ = if entry.unit == OURSELVES {
        writeln!(stderr, "{}", entry.line)
    } else {
        writeln!(stderr, "{}: {}", entry.unit, entry.line)
    };
}

/// Takes our own events as lines: writing to a blocked stderr must not stop the loop.
#[derive(Clone, Debug)]
pub(crate) struct OwnLines(pub(crate) Logs);

impl Write for OwnLines {
    /// One event is one call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        self.0.push(OURSELVES, text.trim_end());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_last_lines_and_is_bounded_in_lines_and_bytes() {
        let mut ring = Ring::new();
        for number in 0..RING_LINES + 10 {
            ring.push(Arc::from(number.to_string()));
        }
        assert_eq!(ring.lines.len(), RING_LINES);
        assert_eq!(&*ring.tail(1)[0], (RING_LINES + 9).to_string());
        for _ in 0..RING_LINES {
            ring.push(Arc::from("x".repeat(8 * 1024)));
        }
        assert!(ring.bytes <= RING_BYTES);
        assert_eq!(
            ring.bytes,
            ring.lines.iter().map(|line| line.len()).sum::<usize>()
        );
    }
}
