//! The data key on its way through a crash: a memfd that piccolod keeps.

use crate::seal::Key;
use piccolo_runtime::descriptors;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::fd::OwnedFd,
    sync::Arc,
};
use zeroize::Zeroizing;

/// Its name with piccolod.
pub(crate) const NAME: &str = "unlock-key";

/// A key that waits with piccolod. Sealed against growing and shrinking, writable, so that a lock
/// can wipe every copy of the descriptor at once.
#[derive(Clone)]
pub(crate) struct Deposit {
    file: Arc<File>,
}

impl Deposit {
    /// Leaves the key with piccolod.
    pub(crate) fn make(key: &Key) -> io::Result<Self> {
        let memfd = memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(memfd);
        file.write_all(key.expose())?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let deposit = Self {
            file: Arc::new(file),
        };
        // Without a supervisor there is nobody to leave it with; a crash then locks.
        if let Err(error) = descriptors::deposit(NAME, &deposit.file) {
            tracing::info!(%error, "the key is not kept over a crash");
        }
        Ok(deposit)
    }

    /// Takes back what an earlier life left; `None` when it was wiped.
    pub(crate) fn take_back(descriptor: OwnedFd) -> io::Result<Option<(Self, Key)>> {
        let mut file = File::from(descriptor);
        let mut bytes = Zeroizing::new([0; 32]);
        file.rewind()?;
        file.read_exact(bytes.as_mut_slice())?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        Ok(Some((
            Self {
                file: Arc::new(file),
            },
            Key::from_bytes(*bytes),
        )))
    }

    /// Wipes the bytes, whoever holds the descriptor, then takes it away from piccolod.
    pub(crate) fn wipe(&self) -> io::Result<()> {
        let mut file: &File = &self.file;
        file.rewind()?;
        file.write_all(&[0; 32])?;
        if let Err(error) = descriptors::withdraw(NAME) {
            tracing::info!(%error, "the wiped key stays with the supervisor");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wiped_key_does_not_come_back_through_any_descriptor() {
        let key = Key::generate();
        let deposit = Deposit::make(&key).expect("a deposit");
        let copy = |deposit: &Deposit| OwnedFd::from(deposit.file.try_clone().expect("a copy"));
        let (_, back) = Deposit::take_back(copy(&deposit))
            .expect("readable")
            .expect("the key");
        assert_eq!(back.expose(), key.expose());
        let other = copy(&deposit);
        deposit.wipe().expect("wiped");
        assert!(Deposit::take_back(other).expect("readable").is_none());
    }
}
