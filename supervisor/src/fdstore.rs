//! Descriptors that units deposited: they outlive the process and return to that unit only.

use std::os::fd::OwnedFd;

/// Descriptors one unit may deposit: a listener for each public port an edge may ever have.
const LIMIT: usize = 512;

/// The descriptors of one unit, oldest first. A name holds one descriptor.
#[derive(Debug, Default)]
pub(crate) struct FdStore {
    kept: Vec<(String, OwnedFd)>,
}

/// The store of a unit is full.
#[derive(Debug, thiserror::Error)]
#[error("descriptor {name:?} is not kept: {LIMIT} are kept for this unit already")]
pub(crate) struct Full {
    name: String,
}

impl FdStore {
    /// Keeps a descriptor; the one of the same name is closed.
    pub(crate) fn deposit(&mut self, name: String, descriptor: OwnedFd) -> Result<(), Full> {
        if let Some(kept) = self.kept.iter_mut().find(|(known, _)| *known == name) {
            kept.1 = descriptor;
        } else if self.kept.len() >= LIMIT {
            return Err(Full { name });
        } else {
            self.kept.push((name, descriptor));
        }
        Ok(())
    }

    /// Closes a descriptor.
    pub(crate) fn withdraw(&mut self, name: &str) {
        self.kept.retain(|(known, _)| known != name);
    }

    /// All of them, for the next process.
    pub(crate) fn duplicates(&self) -> std::io::Result<Vec<(String, OwnedFd)>> {
        let duplicate = |(name, kept): &(String, OwnedFd)| Ok((name.clone(), kept.try_clone()?));
        self.kept.iter().map(duplicate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, os::fd::AsRawFd};

    fn descriptor() -> OwnedFd {
        OwnedFd::from(File::open("/dev/null").expect("it is there"))
    }

    #[test]
    fn a_name_holds_the_descriptor_deposited_last() {
        let mut store = FdStore::default();
        store.deposit("key".to_owned(), descriptor()).expect("kept");
        let second = descriptor();
        let number = second.as_raw_fd();
        store.deposit("key".to_owned(), second).expect("kept");
        assert_eq!(store.kept.len(), 1);
        assert_eq!(store.kept[0].1.as_raw_fd(), number);
        store.withdraw("key");
        assert!(store.duplicates().expect("none to clone").is_empty());
    }
}
