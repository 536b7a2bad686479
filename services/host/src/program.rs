//! Other people's programs: found in fixed directories, run with an empty environment, a deadline
//! and a bounded ear.

use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, ftruncate, memfd_create, seek};
use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{io::AsyncWriteExt, process::Command};
use zeroize::Zeroizing;

/// Where programs are looked for, whatever this process's own PATH says.
const DIRECTORIES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is kept of a program's words; the listing of a full firewall table has some 40 KiB.
const EAR: u64 = 256 * 1024;

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("{name} is not installed")]
    Missing { name: &'static str },
    #[error("start {name}")]
    Start {
        name: &'static str,
        source: io::Error,
    },
    #[error("{name} did not end within {limit:?}")]
    Timeout { name: &'static str, limit: Duration },
}

/// A program that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// The last line it complained with, without colours, for a sentence.
    pub(crate) fn complaint(&self) -> String {
        let line = self.stderr.lines().rfind(|line| !line.trim().is_empty());
        plain(line.unwrap_or("it gave no reason"))
    }
}

/// Finds a program in the fixed directories.
pub(crate) fn find(name: &'static str) -> Result<PathBuf, ProgramError> {
    let candidates = DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(name));
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or(ProgramError::Missing { name })
}

/// Runs a program to its end, or kills it at the limit. What it daemonizes is left alone.
///
/// Its output goes to sealed memory files instead of pipes: a daemon that keeps its stderr can
/// neither block on it, nor grow it, nor die of it when this process ends.
pub(crate) async fn run(
    name: &'static str,
    arguments: &[&str],
    input: Option<Zeroizing<Vec<u8>>>,
    limit: Duration,
) -> Result<Finished, ProgramError> {
    let start = |source| ProgramError::Start { name, source };
    let program = find(name)?;
    let (stdout, stderr) = (ear().map_err(start)?, ear().map_err(start)?);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .process_group(0)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(stdout.try_clone().map_err(start)?)
        .stderr(stderr.try_clone().map_err(start)?);
    let mut child = command.spawn().map_err(start)?;
    // The command keeps a copy of each descriptor it was given.
    drop(command);
    let pipe = child.stdin.take();
    let ending = async {
        if let (Some(mut pipe), Some(input)) = (pipe, input) {
            // A program that ends without reading says why by its exit code.
            let _ = pipe.write_all(&input).await;
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(limit, ending).await;
    let Ok(status) = ended else {
        if let Err(error) = child.kill().await {
            tracing::warn!(name, %error, "program can't be killed");
        }
        return Err(ProgramError::Timeout { name, limit });
    };
    Ok(Finished {
        code: status.map_err(start)?.code(),
        stdout: heard(&stdout).map_err(start)?,
        stderr: heard(&stderr).map_err(start)?,
    })
}

/// A memory file that can't grow past [`EAR`].
fn ear() -> io::Result<File> {
    let file = memfd_create("words", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, EAR)?;
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(File::from(file))
}

/// What was written so far: the position is shared with the writer.
fn heard(file: &File) -> io::Result<String> {
    let length = seek(file, SeekFrom::Current(0))?.min(EAR);
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| ErrorKind::FileTooLarge)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line without terminal colours and control characters, at most 300 characters.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.trim().chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else if !character.is_control() {
            text.push(character);
        }
    }
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_program_reads_its_input_and_is_heard() {
        let input = Zeroizing::new(b"words".to_vec());
        let cat = run("cat", &[], Some(input), SOON).await.expect("cat runs");
        assert!(cat.is_success());
        assert_eq!(cat.stdout, "words");
    }

    #[tokio::test]
    async fn a_program_sees_none_of_our_environment() {
        let env = run("env", &[], None, SOON).await.expect("env runs");
        let names: Vec<_> = env
            .stdout
            .lines()
            .filter_map(|line| line.split('=').next())
            .collect();
        assert!(
            names
                .iter()
                .all(|name| ["PATH", "LC_ALL", "PWD"].contains(name)),
            "{names:?}"
        );
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed_at_its_limit() {
        let error = run("sleep", &["600"], None, Duration::from_millis(50)).await;
        assert!(matches!(error, Err(ProgramError::Timeout { .. })));
    }

    #[tokio::test]
    async fn a_flood_of_words_is_cut_not_kept() {
        let head = run("head", &["-c", "1000000", "/dev/zero"], None, SOON)
            .await
            .expect("head runs");
        assert!(head.stdout.len() as u64 <= EAR);
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = run("no-such-program", &[], None, SOON)
            .await
            .expect_err("missing");
        assert_eq!(error.to_string(), "no-such-program is not installed");
    }

    #[test]
    fn a_complaint_is_the_last_line_without_colours() {
        let finished = Finished {
            code: Some(6),
            stdout: String::new(),
            stderr: "first\n\u{1b}[31mInvalid \u{1b}[0mcipherdir\n\n".to_owned(),
        };
        assert_eq!(finished.complaint(), "Invalid cipherdir");
    }
}
