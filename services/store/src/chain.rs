//! The chain over commits: verifiable without the key. Pure.
//!
//! `digest` = SHA-256 over a commit's changes in order, each as repository ‖ 0 ‖ row ‖ 0 ‖ hash of the
//! sealed record (32 zero bytes for a deletion).
//! `checksum` = SHA-256(previous checksum ‖ revision ‖ epoch ‖ digest), big-endian numbers.

use sha2::{Digest, Sha256};

pub(crate) type Checksum = [u8; 32];

/// Before the first commit.
pub(crate) const GENESIS: Checksum = [0; 32];

/// One change as the chain sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) repository: String,
    pub(crate) row: String,
    /// SHA-256 of the sealed record, `None` for a deletion.
    pub(crate) hash: Option<Checksum>,
}

pub(crate) fn hash(sealed: &[u8]) -> Checksum {
    Sha256::digest(sealed).into()
}

pub(crate) fn checksum(previous: &Checksum, revision: u64, epoch: u64, links: &[Link]) -> Checksum {
    let mut digest = Sha256::new();
    for link in links {
        digest.update(link.repository.as_bytes());
        digest.update([0]);
        digest.update(link.row.as_bytes());
        digest.update([0]);
        digest.update(link.hash.unwrap_or(GENESIS));
    }
    Sha256::new()
        .chain_update(previous)
        .chain_update(revision.to_be_bytes())
        .chain_update(epoch.to_be_bytes())
        .chain_update(digest.finalize())
        .finalize()
        .into()
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_commit_is_in_its_checksum() {
        let link = |row: &str, hash| Link {
            repository: "apps".into(),
            row: row.into(),
            hash,
        };
        let base = checksum(&GENESIS, 1, 1, &[link("a", Some([1; 32]))]);
        assert_ne!(base, checksum(&[1; 32], 1, 1, &[link("a", Some([1; 32]))]));
        assert_ne!(base, checksum(&GENESIS, 2, 1, &[link("a", Some([1; 32]))]));
        assert_ne!(base, checksum(&GENESIS, 1, 2, &[link("a", Some([1; 32]))]));
        assert_ne!(base, checksum(&GENESIS, 1, 1, &[link("b", Some([1; 32]))]));
        assert_ne!(base, checksum(&GENESIS, 1, 1, &[link("a", None)]));
    }
}
