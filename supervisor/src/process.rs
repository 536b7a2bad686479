//! One process of a unit: started with everything it is given, watched until its end.

use crate::{
    fleet::UnitId,
    notify::{Notice, NotifySocket},
    unit::Exit,
};
use command_fds::{CommandFdExt, FdMapping, FdMappingCollision};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid},
};
use std::{
    io,
    os::{
        fd::{OwnedFd, RawFd},
        unix::{
            fs::PermissionsExt,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tokio::{
    net::unix::pipe,
    sync::{mpsc, oneshot},
};

/// SD_LISTEN_FDS_START.
const FIRST_DESCRIPTOR: RawFd = 3;
/// Notices of a dead process still listened to: what it said with its last breath.
const LAST_WORDS: usize = 64;
/// Enough descriptors for an edge with thousands of connections; the default of 1024 is not.
const DESCRIPTORS: u64 = 65_536;

/// Everything a process is given.
pub(crate) struct Blueprint<'a> {
    pub(crate) unit: UnitId,
    pub(crate) binary: &'a Path,
    pub(crate) environment: Vec<(String, String)>,
    /// Handed over from descriptor 3 on, in this order.
    pub(crate) descriptors: Vec<(String, OwnedFd)>,
    pub(crate) notify_path: &'a Path,
}

/// What a process did.
#[derive(Debug)]
pub(crate) enum ProcessEvent {
    Noticed {
        unit: UnitId,
        pid: Pid,
        notices: Vec<Notice>,
    },
    /// Somebody else wrote to its socket.
    Impostor { unit: UnitId, sender: Option<Pid> },
    /// It is a zombie; [`Process::reap`] takes its exit.
    Ended { unit: UnitId, pid: Pid },
}

/// A process could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("{} is not an executable file", .0.display())]
    NotExecutable(PathBuf),
    #[error("notify socket {}", .0.display())]
    Notify(PathBuf, #[source] io::Error),
    #[error("pipes")]
    Pipes(#[source] io::Error),
    #[error("descriptors")]
    Descriptors(#[from] FdMappingCollision),
    #[error("start {}", .0.display())]
    Start(PathBuf, #[source] io::Error),
}

/// A process that lives or waits to be reaped.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    child: Child,
    /// For the attendant to hear of the end, once.
    ended: Option<oneshot::Sender<()>>,
    /// Open as long as we live: the child sees the end of its stdin when we die.
    _lease: OwnedFd,
}

/// What all processes of this machine's services share, set once for ourselves and inherited:
/// files for the owner only, no core dumps (they would hold keys), room for connections, and the
/// role of parent for what daemonizes.
pub fn prepare_process() -> io::Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(
        Resource::RLIMIT_NOFILE,
        soft.max(hard.min(DESCRIPTORS)),
        hard,
    )?;
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

impl Process {
    /// Starts a process. Its output is read from the returned pipe; what it does is told to
    /// `events`.
    pub(crate) fn spawn(
        blueprint: Blueprint<'_>,
        events: mpsc::Sender<ProcessEvent>,
    ) -> Result<(Self, pipe::Receiver), SpawnError> {
        let binary = blueprint.binary;
        // Seen before the fork: a child that can't exec might report it on a descriptor that was
        // handed over.
        if !is_executable(binary) {
            return Err(SpawnError::NotExecutable(binary.to_owned()));
        }
        let socket = NotifySocket::bind(blueprint.notify_path)
            .map_err(|error| SpawnError::Notify(blueprint.notify_path.to_owned(), error))?;
        let (lease, lease_end) = pipe().map_err(SpawnError::Pipes)?;
        let (output_end, output) = pipe().map_err(SpawnError::Pipes)?;
        let stdout = output.try_clone().map_err(SpawnError::Pipes)?;
        let output_end = pipe::Receiver::from_owned_fd(output_end).map_err(SpawnError::Pipes)?;

        let mut command = Command::new(binary);
        command
            .env_clear()
            .envs(blueprint.environment)
            .envs(listen_variables(&blueprint.descriptors))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(lease))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(output))
            .fd_mappings(mappings(blueprint.descriptors))?;
        let child = command
            .spawn()
            .map_err(|error| SpawnError::Start(binary.to_owned(), error))?;
        let (ended, end) = oneshot::channel();
        let process = Self {
            pid: Pid::from_child(&child),
            child,
            ended: Some(ended),
            _lease: lease_end,
        };
        tokio::spawn(attend(blueprint.unit, process.pid, end, socket, events));
        Ok((process, output_end))
    }

    pub(crate) const fn pid(&self) -> Pid {
        self.pid
    }

    /// Asks the process to stop.
    pub(crate) fn terminate(&self) {
        report(kill_process(self.pid, Signal::TERM), self.pid);
    }

    /// Ends the process and everything of its group. What daemonized into a session of its own,
    /// such as a file system, is not part of it.
    pub(crate) fn kill_group(&self) {
        report(kill_process_group(self.pid, Signal::KILL), self.pid);
    }

    /// Looks whether the process has ended, without taking its exit. To be called on SIGCHLD; the
    /// attendant then listens to the last words and reports [`ProcessEvent::Ended`].
    pub(crate) fn look(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let lives = matches!(waitid(WaitId::Pid(self.pid), options), Ok(None));
        if !lives && let Some(ended) = self.ended.take() {
            // The attendant is gone only when the loop is.
            let _ = ended.send(());
        }
    }

    /// Ends what is left of the group and takes the exit of the process. To be called once it has
    /// ended: until then its pid, and so its group's number, can't be used anew.
    pub(crate) fn reap(mut self) -> io::Result<Exit> {
        self.kill_group();
        let status = self.child.wait()?;
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or_default()),
        })
    }
}

fn report(outcome: Result<(), Errno>, pid: Pid) {
    match outcome {
        // Nobody left is what was wanted.
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => {
            tracing::warn!(pid = pid.as_raw_nonzero().get(), %error, "signal not delivered");
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// LISTEN_FDS and LISTEN_FDNAMES of sd_listen_fds(3). LISTEN_PID is left out: it can't be known
/// before the fork, and the cleared environment makes it needless.
fn listen_variables(descriptors: &[(String, OwnedFd)]) -> Vec<(&'static str, String)> {
    if descriptors.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = descriptors.iter().map(|(name, _)| name.as_str()).collect();
    vec![
        ("LISTEN_FDS", descriptors.len().to_string()),
        ("LISTEN_FDNAMES", names.join(":")),
    ]
}

fn mappings(descriptors: Vec<(String, OwnedFd)>) -> Vec<FdMapping> {
    let numbered = descriptors.into_iter().zip(FIRST_DESCRIPTOR..);
    numbered
        .map(|((_, parent_fd), child_fd)| FdMapping {
            parent_fd,
            child_fd,
        })
        .collect()
}

/// Passes on what the process says, and last that it has ended. In this order: a descriptor
/// deposited just before a crash is kept.
async fn attend(
    unit: UnitId,
    pid: Pid,
    mut end: oneshot::Receiver<()>,
    socket: NotifySocket,
    events: mpsc::Sender<ProcessEvent>,
) {
    let event = |datagram: crate::notify::Datagram| {
        if datagram.sender == Some(pid) {
            let notices = datagram.notices;
            ProcessEvent::Noticed { unit, pid, notices }
        } else {
            let sender = datagram.sender;
            ProcessEvent::Impostor { unit, sender }
        }
    };
    loop {
        let said = tokio::select! {
            said = socket.receive() => said,
            _ = &mut end => break,
        };
        match said {
            Ok(datagram) => {
                if events.send(event(datagram)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(unit, %error, "the notify socket can't be read any more");
                let _ = (&mut end).await;
                break;
            }
        }
    }
    for datagram in std::iter::from_fn(|| socket.try_receive()).take(LAST_WORDS) {
        if events.send(event(datagram)).await.is_err() {
            return;
        }
    }
    // The receiver is gone only when the supervisor itself has ended.
    let _ = events.send(ProcessEvent::Ended { unit, pid }).await;
}
