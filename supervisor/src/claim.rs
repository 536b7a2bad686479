//! The directories a piccolod works in, and the claim to be the only one there.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

const LOCK_FILE: &str = "piccolod.lock";

/// The directories can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("create {}", .0.display())]
    Create(PathBuf, #[source] io::Error),
    #[error("lock {}", .0.display())]
    Lock(PathBuf, #[source] io::Error),
    #[error(
        "{} is in use by the piccolod with process id {holder}; stop that one first, or choose \
         another directory",
        path.display()
    )]
    Taken { path: PathBuf, holder: String },
    #[error("remove stale sockets from {}", .0.display())]
    Stale(PathBuf, #[source] io::Error),
}

/// Both directories are ours while this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    _state: File,
    _runtime: File,
}

impl Claim {
    /// Makes the directories, locks them, and removes what a dead predecessor left.
    pub(crate) fn take(state_dir: &Path, runtime_dir: &Path) -> Result<Self, ClaimError> {
        directory(state_dir)?;
        let state = lock(state_dir)?;
        directory(runtime_dir)?;
        let runtime = lock(runtime_dir)?;
        directory(&state_dir.join("logs"))?;
        for name in ["bus", "notify"] {
            directory(&runtime_dir.join(name))?;
            remove_stale(&runtime_dir.join(name))?;
        }
        remove_stale(runtime_dir)?;
        Ok(Self {
            _state: state,
            _runtime: runtime,
        })
    }
}

/// Mode 0700, whatever it was before.
fn directory(path: &Path) -> Result<(), ClaimError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
        .map_err(|error| ClaimError::Create(path.to_owned(), error))
}

fn lock(directory: &Path) -> Result<File, ClaimError> {
    let path = directory.join(LOCK_FILE);
    let failed = |error| ClaimError::Lock(path.clone(), error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(failed)?;
            return Err(ClaimError::Taken {
                path: directory.to_owned(),
                holder: holder.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}

/// Removes sockets, and the hidden directories in which a service keeps its private ones.
fn remove_stale(directory: &Path) -> Result<(), ClaimError> {
    let stale = |error| ClaimError::Stale(directory.to_owned(), error);
    for entry in fs::read_dir(directory).map_err(stale)? {
        let entry = entry.map_err(stale)?;
        let kind = entry.file_type().map_err(stale)?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if kind.is_socket() {
            fs::remove_file(entry.path()).map_err(stale)?;
        } else if kind.is_dir() && hidden {
            fs::remove_dir_all(entry.path()).map_err(stale)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_claim_names_the_first_one_and_stale_sockets_are_gone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (state, run) = (dir.path().join("state"), dir.path().join("run"));
        let first = Claim::take(&state, &run).expect("free");
        let socket = run.join("bus").join("store.commands");
        drop(std::os::unix::net::UnixListener::bind(&socket).expect("bound"));
        let error = Claim::take(&state, &run).expect_err("taken");
        assert!(error.to_string().contains(&std::process::id().to_string()));
        assert!(socket.exists(), "nothing is removed without the lock");
        drop(first);
        let _second = Claim::take(&state, &run).expect("free again");
        assert!(!socket.exists());
        let mode = fs::metadata(&run)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn two_state_directories_can_not_share_a_runtime_directory() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let run = dir.path().join("run");
        let _first = Claim::take(&dir.path().join("a"), &run).expect("free");
        let error = Claim::take(&dir.path().join("b"), &run).expect_err("taken");
        assert!(matches!(error, ClaimError::Taken { path, .. } if path == run));
    }
}
