//! Rotated log files, `<unit>.log` the newest, `<unit>.log.7` the oldest.

use super::sink::Entry;
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Size of one file.
const FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Files of one unit: 64 MiB in all.
const FILES: u32 = 8;

/// The files of all units.
#[derive(Debug)]
pub(super) struct LogFiles {
    directory: PathBuf,
    open: HashMap<&'static str, LogFile>,
    file_bytes: u64,
}

#[derive(Debug)]
struct LogFile {
    file: File,
    size: u64,
}

impl LogFiles {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            open: HashMap::new(),
            file_bytes: FILE_BYTES,
        }
    }

    /// Appends a line. A full disk loses lines and nothing else: the next line tries again.
    pub(super) fn write(&mut self, entry: &Entry) {
        if let Err(error) = self.append(entry) {
            let known = self.open.remove(entry.unit).is_some();
            if known {
                let path = self.path(entry.unit, 0);
                eprintln!("piccolod: {} can't be written: {error}", path.display());
            }
        }
    }

    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut log = match self.open.remove(entry.unit) {
            Some(log) if log.size >= self.file_bytes => {
                drop(log);
                self.rotate(entry.unit)?;
                self.open(entry.unit)?
            }
            Some(log) => log,
            None => self.open(entry.unit)?,
        };
        let mut line = Vec::with_capacity(entry.line.len() + 1);
        line.extend_from_slice(entry.line.as_bytes());
        line.push(b'\n');
        let outcome = log.file.write_all(&line);
        log.size += u64::try_from(line.len()).unwrap_or(u64::MAX);
        self.open.insert(entry.unit, log);
        outcome
    }

    fn open(&self, unit: &str) -> io::Result<LogFile> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.path(unit, 0))?;
        let size = file.metadata()?.len();
        Ok(LogFile { file, size })
    }

    fn rotate(&self, unit: &str) -> io::Result<()> {
        for age in (1..FILES).rev() {
            match fs::rename(self.path(unit, age - 1), self.path(unit, age)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, unit: &str, age: u32) -> PathBuf {
        self.directory.join(match age {
            0 => format!("{unit}.log"),
            _ => format!("{unit}.log.{age}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn entry(line: &str) -> Entry {
        Entry {
            unit: "store",
            line: Arc::from(line),
        }
    }

    #[test]
    fn files_rotate_and_never_more_than_eight_are_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut files = LogFiles::new(dir.path());
        files.file_bytes = 1;
        for number in 0..20 {
            files.write(&entry(&number.to_string()));
        }
        let count = fs::read_dir(dir.path()).expect("it is there").count();
        assert_eq!(count, 8);
        let read = |name| fs::read_to_string(dir.path().join(name)).expect("it is there");
        assert_eq!(read("store.log"), "19\n");
        assert_eq!(read("store.log.7"), "12\n");
    }

    #[test]
    fn a_failing_disk_loses_lines_and_recovers() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let logs = dir.path().join("logs");
        let mut files = LogFiles::new(&logs);
        files.write(&entry("lost"));
        fs::create_dir(&logs).expect("made");
        files.write(&entry("kept"));
        let text = fs::read_to_string(logs.join("store.log")).expect("it is there");
        assert_eq!(text, "kept\n");
    }
}
