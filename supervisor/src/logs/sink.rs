//! A writer that may be slow or stuck, on a thread of its own behind a bounded queue.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

/// Lines that wait for the writer: some seconds of a chatty service, at most 4 MiB.
const QUEUE: usize = 512;
/// The writers format and write; they recurse nowhere.
const STACK: usize = 128 * 1024;

/// A line of a unit.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) unit: &'static str,
    pub(super) line: Arc<str>,
}

enum Job {
    Write(Entry),
    Flush(SyncSender<()>),
}

/// The sending half. Clones feed the same writer.
#[derive(Clone)]
pub(super) struct Sink {
    queue: SyncSender<Job>,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

impl Sink {
    /// Starts the writer's thread. It ends with the last clone.
    pub(super) fn start(
        name: &str,
        mut write: impl FnMut(&Entry) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || work(&jobs, &lost, &mut write))?;
        Ok(Self { queue, dropped })
    }

    /// Queues a line, or drops it when the queue is full.
    pub(super) fn push(&self, entry: Entry) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Job::Write(entry)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was queued is written, at most so long.
    pub(super) fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let (done, written) = sync_channel(1);
        let mut job = Job::Flush(done);
        while let Err(TrySendError::Full(refused)) = self.queue.try_send(job) {
            if Instant::now() >= until {
                return;
            }
            job = refused;
            std::thread::sleep(Duration::from_millis(5));
        }
        // Late is as good as never: we are about to exit.
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn work(jobs: &Receiver<Job>, dropped: &AtomicU64, write: &mut impl FnMut(&Entry)) {
    for job in jobs {
        match job {
            Job::Write(entry) => {
                let lost = dropped.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let line = format!("{lost} log lines were dropped: this log was too slow");
                    write(&Entry {
                        unit: super::OURSELVES,
                        line: Arc::from(line),
                    });
                }
                write(&entry);
            }
            Job::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, mpsc};

    #[test]
    fn a_stuck_writer_blocks_nobody_and_what_was_lost_is_counted() {
        let (release, gate) = mpsc::channel::<()>();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let mut gate = Some(gate);
        let sink = Sink::start("stuck", move |entry| {
            if let Some(gate) = gate.take() {
                let _ = gate.recv();
            }
            written.lock().expect("whole").push(entry.line.to_string());
        })
        .expect("a thread");
        for number in 0..QUEUE * 2 {
            let line = Arc::from(number.to_string());
            sink.push(Entry {
                unit: "store",
                line,
            });
        }
        release.send(()).expect("the writer waits");
        sink.flush(Duration::from_secs(10));
        sink.push(Entry {
            unit: "store",
            line: Arc::from("last"),
        });
        sink.flush(Duration::from_secs(10));
        let lines = lines.lock().expect("whole");
        assert_eq!(lines.last().map(String::as_str), Some("last"));
        assert!(
            lines.iter().any(|line| line.contains("were dropped")),
            "{lines:?}"
        );
        assert!(lines.len() < QUEUE * 2);
    }
}
