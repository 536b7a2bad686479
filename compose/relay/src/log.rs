//! Log lines leave through a thread of their own: a full pipe behind stderr must not stop the
//! tasks that carry bytes. What does not fit is counted and the count is written later.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// A burst of this many lines waits; more are dropped.
const QUEUE: usize = 4096;
/// The last lines have this long to leave when the process ends.
const FLUSH: Duration = Duration::from_millis(200);

enum Entry {
    Line(Vec<u8>),
    /// Answered when everything before has been written.
    Flush(SyncSender<()>),
}

/// Writes one log line per call, without ever waiting.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Entry::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits a moment for the last lines when dropped, at the end of `main`.
#[must_use = "dropping it at once ends nothing, but the last lines may be lost"]
pub struct LogGuard(SyncSender<Entry>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if self.0.try_send(Entry::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

/// Starts logging to stderr; `RUST_LOG` chooses how much, `info` if it does not. Call once.
pub fn start() -> LogGuard {
    let (queue, entries) = sync_channel(QUEUE);
    let lines = Lines {
        queue: queue.clone(),
        lost: Arc::default(),
    };
    let lost = Arc::clone(&lines.lost);
    thread::spawn(move || write_all(&entries, &lost, &mut io::stderr()));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || lines.clone())
        .with_ansi(false)
        .with_target(false)
        .init();
    LogGuard(queue)
}

fn write_all(entries: &Receiver<Entry>, lost: &AtomicU64, sink: &mut impl Write) {
    for entry in entries {
        // A broken stderr is no reason to stop serving.
        match entry {
            Entry::Line(line) => {
                let _ = sink.write_all(&line);
            }
            Entry::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            count => {
                let _ = writeln!(sink, "WARN log lines lost count={count}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_loses_lines_and_says_how_many() {
        let (queue, entries) = sync_channel(1);
        let mut lines = Lines {
            queue,
            lost: Arc::default(),
        };
        for line in ["first\n", "second\n", "third\n"] {
            lines.write_all(line.as_bytes()).unwrap();
        }
        let lost = Arc::clone(&lines.lost);
        drop(lines);
        let mut written = Vec::new();
        write_all(&entries, &lost, &mut written);
        assert_eq!(written, b"first\nWARN log lines lost count=2\n");
    }
}
