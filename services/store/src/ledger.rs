//! The control database: sealed records, chained commits.
//!
//! ```text
//!   commits(revision, epoch, checksum)        one row a commit
//!   changes(revision, position, repository, row, hash)   what it changed: hashes of sealed records
//!   records(repository, row, revision, sealed)           the present
//! ```
//!
//! Rows are named by a keyed hash, so the file does not tell names. A record is sealed with its
//! repository, row and revision as associated data: it can't be swapped or replayed.

use crate::{
    chain::{self, Checksum, GENESIS, Link, hexadecimal},
    error::DatabaseError,
    files,
    seal::Key,
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// One change to make.
pub(crate) enum Edit {
    Put {
        repository: &'static str,
        name: String,
        plain: zeroize::Zeroizing<Vec<u8>>,
    },
    Delete {
        repository: &'static str,
        name: String,
    },
}

/// Where the ledger stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) revision: u64,
    pub(crate) epoch: u64,
    pub(crate) checksum: Checksum,
}

/// A record as read.
pub(crate) struct Entry<T> {
    pub(crate) revision: u64,
    pub(crate) value: T,
}

/// What verification found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) head: Head,
    pub(crate) records: u64,
}

/// The open database and its keys.
pub(crate) struct Ledger {
    connection: Connection,
    records: Key,
    names: Key,
    mark: HighWater,
}

impl Ledger {
    /// Opens, and verifies everything.
    pub(crate) fn open(directory: &Path, data_key: &Key) -> Result<(Self, Proof), DatabaseError> {
        let path = directory.join("control.db");
        let connection = connect(&path)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS commits(
                revision INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, checksum BLOB NOT NULL);
             CREATE TABLE IF NOT EXISTS changes(
                revision INTEGER NOT NULL, position INTEGER NOT NULL, repository TEXT NOT NULL,
                row TEXT NOT NULL, hash BLOB, PRIMARY KEY(revision, position)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS records(
                repository TEXT NOT NULL, row TEXT NOT NULL, revision INTEGER NOT NULL,
                sealed BLOB NOT NULL, PRIMARY KEY(repository, row)) WITHOUT ROWID;",
        )?;
        let ledger = Self {
            connection,
            records: data_key.derive("piccolo control records 1"),
            names: data_key.derive("piccolo control names 1"),
            mark: HighWater::new(directory, data_key),
        };
        let proof = ledger.verify()?;
        ledger.mark.check(&proof.head)?;
        // A crash between commit and mark leaves the mark behind: it follows here.
        ledger.mark.advance(&proof.head)?;
        Ok((ledger, proof))
    }

    /// The last commit.
    pub(crate) fn head(&self) -> Result<Head, DatabaseError> {
        let row = self
            .connection
            .query_row(
                "SELECT revision, epoch, checksum FROM commits ORDER BY revision DESC LIMIT 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Checksum>(2)?)),
            )
            .optional()?;
        let (revision, epoch, checksum): (i64, i64, Checksum) = row.unwrap_or((0, 0, GENESIS));
        Ok(Head {
            revision: unsigned(revision),
            epoch: unsigned(epoch),
            checksum,
        })
    }

    /// Makes all edits in one transaction, or none; the new head.
    pub(crate) fn commit(&mut self, edits: Vec<Edit>, epoch: u64) -> Result<Head, DatabaseError> {
        let head = self.head()?;
        let revision = head.revision + 1;
        let (records, names) = (self.records.clone(), self.names.clone());
        let transaction = self.connection.transaction()?;
        let mut links = Vec::with_capacity(edits.len());
        for edit in edits {
            links.push(apply(&transaction, edit, revision, &records, &names)?);
        }
        let checksum = chain::checksum(&head.checksum, revision, epoch, &links);
        transaction.execute(
            "INSERT INTO commits(revision, epoch, checksum) VALUES (?1, ?2, ?3)",
            params![signed(revision), signed(epoch), checksum],
        )?;
        for (position, link) in (0_i64..).zip(&links) {
            transaction.execute(
                "INSERT INTO changes(revision, position, repository, row, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    signed(revision),
                    position,
                    link.repository,
                    link.row,
                    link.hash
                ],
            )?;
        }
        transaction.commit()?;
        let head = Head {
            revision,
            epoch,
            checksum,
        };
        // The commit stands: a mark that can't be moved now follows at the next one.
        if let Err(error) = self.mark.advance(&head) {
            tracing::error!(%error, "the high-water mark stays behind");
        }
        Ok(head)
    }

    /// All records of a repository, in no order.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        repository: &str,
    ) -> Result<Vec<Entry<T>>, DatabaseError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT row, revision, sealed FROM records WHERE repository = ?1")?;
        let rows = statement.query_map([repository], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, Vec<u8>>(2)?,
            ))
        })?;
        rows.map(|row| {
            let (row, revision, sealed) = row?;
            self.open_record(repository, &row, unsigned(revision), &sealed)
        })
        .collect()
    }

    /// One record by its name.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        repository: &str,
        name: &str,
    ) -> Result<Option<Entry<T>>, DatabaseError> {
        let row = row_name(&self.names, repository, name);
        let found = self
            .connection
            .query_row(
                "SELECT revision, sealed FROM records WHERE repository = ?1 AND row = ?2",
                [repository, &row],
                |found| Ok((found.get::<_, i64>(0)?, found.get::<_, Vec<u8>>(1)?)),
            )
            .optional()?;
        found
            .map(|(revision, sealed)| {
                self.open_record(repository, &row, unsigned(revision), &sealed)
            })
            .transpose()
    }

    fn open_record<T: DeserializeOwned>(
        &self,
        repository: &str,
        row: &str,
        revision: u64,
        sealed: &[u8],
    ) -> Result<Entry<T>, DatabaseError> {
        let damaged = |why| DatabaseError::Damaged {
            repository: repository.to_owned(),
            record: row.to_owned(),
            why,
        };
        let plain = self
            .records
            .open(sealed, &context(repository, row, revision))
            .map_err(|_| damaged("its seal is broken"))?;
        let value = rmp_serde::from_slice(&plain).map_err(|_| damaged("it can't be read"))?;
        Ok(Entry { revision, value })
    }

    /// Verifies the chain, that each record is the last one the chain speaks of, and every seal.
    pub(crate) fn verify(&self) -> Result<Proof, DatabaseError> {
        let head = self.verify_chain()?;
        let mut statement = self.connection.prepare(
            "SELECT r.repository, r.row, r.revision, r.sealed,
                (SELECT c.hash FROM changes c WHERE c.repository = r.repository AND c.row = r.row
                 ORDER BY c.revision DESC, c.position DESC LIMIT 1) FROM records r",
        )?;
        let mut rows = statement.query([])?;
        let mut records = 0;
        while let Some(row) = rows.next()? {
            let (repository, name): (String, String) = (row.get(0)?, row.get(1)?);
            let (revision, sealed): (i64, Vec<u8>) = (row.get(2)?, row.get(3)?);
            let expected: Option<Checksum> = row.get(4)?;
            let damaged = |why| DatabaseError::Damaged {
                repository: repository.clone(),
                record: name.clone(),
                why,
            };
            if expected != Some(chain::hash(&sealed)) {
                return Err(damaged("it is not the one that was committed"));
            }
            self.records
                .open(&sealed, &context(&repository, &name, unsigned(revision)))
                .map_err(|_| damaged("its seal is broken"))?;
            records += 1;
        }
        self.verify_count(records)?;
        Ok(Proof { head, records })
    }

    /// A record that was removed from the table is missed by the chain.
    fn verify_count(&self, found: u64) -> Result<(), DatabaseError> {
        let expected: i64 = self.connection.query_row(
            "SELECT count(*) FROM (SELECT c.hash AS hash FROM changes c WHERE NOT EXISTS (
                SELECT 1 FROM changes n WHERE n.repository = c.repository AND n.row = c.row
                AND (n.revision, n.position) > (c.revision, c.position)))
             WHERE hash IS NOT NULL",
            [],
            |row| row.get(0),
        )?;
        if unsigned(expected) == found {
            return Ok(());
        }
        Err(DatabaseError::Damaged {
            repository: "control".to_owned(),
            record: format!("({found} of {expected})"),
            why: "records are missing",
        })
    }

    fn verify_chain(&self) -> Result<Head, DatabaseError> {
        let mut head = Head {
            revision: 0,
            epoch: 0,
            checksum: GENESIS,
        };
        let mut commits = self
            .connection
            .prepare("SELECT revision, epoch, checksum FROM commits ORDER BY revision")?;
        let mut rows = commits.query([])?;
        while let Some(row) = rows.next()? {
            let (revision, epoch) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
            let checksum: Checksum = row.get(2).map_err(|_| DatabaseError::Chain(revision))?;
            let expected = chain::checksum(&head.checksum, revision, epoch, &self.links(revision)?);
            if revision != head.revision + 1 || checksum != expected {
                return Err(DatabaseError::Chain(revision));
            }
            head = Head {
                revision,
                epoch,
                checksum,
            };
        }
        Ok(head)
    }

    fn links(&self, revision: u64) -> Result<Vec<Link>, DatabaseError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT repository, row, hash FROM changes WHERE revision = ?1 ORDER BY position",
        )?;
        let rows = statement.query_map([signed(revision)], |row| {
            Ok(Link {
                repository: row.get(0)?,
                row: row.get(1)?,
                hash: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Leaves nothing of deleted records in the write-ahead log or in free pages.
    pub(crate) fn scrub(&self) -> Result<(), DatabaseError> {
        self.connection
            .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok(())
    }
}

/// Opens a database the way both are: WAL, every commit on disk before it is answered, deleted
/// content overwritten.
pub(crate) fn connect(path: &Path) -> Result<Connection, DatabaseError> {
    let failed = |source| DatabaseError::Open {
        path: path.to_owned(),
        source,
    };
    let connection = Connection::open(path).map_err(failed)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
             PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON;",
        )
        .map_err(failed)?;
    Ok(connection)
}

fn apply(
    transaction: &Transaction<'_>,
    edit: Edit,
    revision: u64,
    records: &Key,
    names: &Key,
) -> Result<Link, DatabaseError> {
    match edit {
        Edit::Put {
            repository,
            name,
            plain,
        } => {
            let row = row_name(names, repository, &name);
            let sealed = records.seal(&plain, &context(repository, &row, revision));
            transaction.execute(
                "INSERT INTO records(repository, row, revision, sealed) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET revision = excluded.revision, sealed = excluded.sealed",
                params![repository, row, signed(revision), sealed],
            )?;
            Ok(Link {
                repository: repository.to_owned(),
                row,
                hash: Some(chain::hash(&sealed)),
            })
        }
        Edit::Delete { repository, name } => {
            let row = row_name(names, repository, &name);
            transaction.execute(
                "DELETE FROM records WHERE repository = ?1 AND row = ?2",
                [repository, row.as_str()],
            )?;
            Ok(Link {
                repository: repository.to_owned(),
                row,
                hash: None,
            })
        }
    }
}

/// Encodes a record as it is sealed.
pub(crate) fn encode<T: Serialize>(
    value: &T,
) -> Result<zeroize::Zeroizing<Vec<u8>>, DatabaseError> {
    rmp_serde::to_vec_named(value)
        .map(zeroize::Zeroizing::new)
        .map_err(|_| DatabaseError::Encode)
}

/// 128 bits of a keyed hash.
fn row_name(names: &Key, repository: &str, name: &str) -> String {
    let digest = Sha256::new()
        .chain_update(names.expose())
        .chain_update(repository.as_bytes())
        .chain_update([0])
        .chain_update(name.as_bytes())
        .finalize();
    hexadecimal(&digest[..16])
}

fn context(repository: &str, row: &str, revision: u64) -> Vec<u8> {
    format!("{repository}\0{row}\0{revision}").into_bytes()
}

/// SQLite's integers are signed; ours stay far below the border.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The sealed note of the newest revision seen: an older copy put back by accident is noticed.
struct HighWater {
    path: PathBuf,
    key: Key,
}

const MARK_CONTEXT: &[u8] = b"piccolo high-water mark 1";

impl HighWater {
    fn new(directory: &Path, data_key: &Key) -> Self {
        Self {
            path: directory.join("highwater"),
            key: data_key.derive("piccolo high-water mark 1"),
        }
    }

    fn check(&self, head: &Head) -> Result<(), DatabaseError> {
        let Some(sealed) = files::read(&self.path).map_err(DatabaseError::HighWater)? else {
            return Ok(());
        };
        let plain = self
            .key
            .open(&sealed, MARK_CONTEXT)
            .map_err(|_| DatabaseError::HighWaterDamaged)?;
        let bytes: [u8; 8] = plain
            .as_slice()
            .try_into()
            .map_err(|_| DatabaseError::HighWaterDamaged)?;
        let expected = u64::from_be_bytes(bytes);
        if head.revision < expected {
            return Err(DatabaseError::Older {
                found: head.revision,
                expected,
            });
        }
        Ok(())
    }

    fn advance(&self, head: &Head) -> Result<(), DatabaseError> {
        let sealed = self.key.seal(&head.revision.to_be_bytes(), MARK_CONTEXT);
        files::replace(&self.path, &sealed).map_err(DatabaseError::HighWater)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn put(name: &str, value: &str) -> Edit {
        let plain = encode(&(name, value)).expect("a record");
        Edit::Put {
            repository: "apps",
            name: name.to_owned(),
            plain,
        }
    }

    fn open(directory: &Path, key: &Key) -> Result<Ledger, DatabaseError> {
        Ledger::open(directory, key).map(|(ledger, _)| ledger)
    }

    #[test]
    fn an_older_database_put_back_is_noticed() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = Key::generate();
        let mut ledger = open(directory.path(), &key).expect("a ledger");
        ledger.commit(vec![put("a", "1")], 1).expect("a commit");
        ledger.scrub().expect("one file");
        let old = std::fs::read(directory.path().join("control.db")).expect("a copy");
        ledger.commit(vec![put("a", "2")], 1).expect("a commit");
        drop(ledger);
        for name in ["control.db-wal", "control.db-shm"] {
            let _ = std::fs::remove_file(directory.path().join(name));
        }
        std::fs::write(directory.path().join("control.db"), old).expect("the old copy");
        let outcome = open(directory.path(), &key).map(|_| ());
        assert!(
            matches!(
                outcome,
                Err(DatabaseError::Older {
                    found: 1,
                    expected: 2
                })
            ),
            "{outcome:?}"
        );
    }

    #[test]
    fn a_swapped_or_removed_record_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = Key::generate();
        let mut ledger = open(directory.path(), &key).expect("a ledger");
        ledger
            .commit(vec![put("a", "1"), put("b", "2")], 1)
            .expect("a commit");
        ledger
            .connection
            .execute_batch(
                "UPDATE records SET sealed = (SELECT sealed FROM records r WHERE r.row != records.row)
                 WHERE row = (SELECT min(row) FROM records);",
            )
            .expect("a swap");
        assert!(matches!(
            ledger.verify(),
            Err(DatabaseError::Damaged { .. })
        ));
        ledger
            .connection
            .execute_batch("DELETE FROM records WHERE row = (SELECT min(row) FROM records);")
            .expect("a removal");
        assert!(matches!(
            ledger.verify(),
            Err(DatabaseError::Damaged { .. })
        ));
    }

    #[test]
    fn another_key_opens_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut ledger = open(directory.path(), &Key::generate()).expect("a ledger");
        ledger.commit(vec![put("a", "1")], 1).expect("a commit");
        drop(ledger);
        assert!(open(directory.path(), &Key::generate()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_ledger_is_a_map_that_survives_reopening(
            commits in proptest::collection::vec(
                proptest::collection::vec(("[a-d]", proptest::option::of("[x-z]{0,9}")), 1..4), 1..12,
            ),
        ) {
            let directory = tempfile::tempdir().expect("a directory");
            let key = Key::generate();
            let mut model = BTreeMap::new();
            let mut ledger = open(directory.path(), &key).expect("a ledger");
            for (index, commit) in commits.iter().enumerate() {
                let edits = commit.iter().map(|(name, value)| match value {
                    Some(value) => {
                        model.insert(name.clone(), value.clone());
                        put(name, value)
                    }
                    None => {
                        model.remove(name);
                        Edit::Delete { repository: "apps", name: name.clone() }
                    }
                });
                let edits = edits.collect();
                let head = ledger.commit(edits, 7).expect("a commit");
                prop_assert_eq!(head.revision, u64::try_from(index).expect("small") + 1);
            }
            drop(ledger);
            let ledger = open(directory.path(), &key).expect("a sound ledger");
            let found: BTreeMap<String, String> = ledger
                .read::<(String, String)>("apps")
                .expect("records")
                .into_iter()
                .map(|entry| entry.value)
                .collect();
            prop_assert_eq!(found, model);
        }
    }
}
