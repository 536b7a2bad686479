//! The local database: this node's own sealed rows, and the audit log with its chain.

use crate::{
    chain::{Checksum, GENESIS, hexadecimal},
    error::DatabaseError,
    ledger::{connect, encode},
    seal::Key,
};
use piccolo_bus_schema::{ids::UnixSeconds, local::AuditEntry};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Audit entries kept.
const AUDIT_KEPT: i64 = 20_000;
/// Audit entries in one answer.
const AUDIT_ANSWER: i64 = 500;

/// The open database and its keys.
pub(crate) struct Notebook {
    connection: Connection,
    rows: Key,
    names: Key,
}

impl Notebook {
    /// Opens; a row that does not open later is reported by whoever reads it.
    pub(crate) fn open(directory: &Path, data_key: &Key) -> Result<Self, DatabaseError> {
        let connection = connect(&directory.join("local.db"))?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS rows(
                kind TEXT NOT NULL, name TEXT NOT NULL, sealed BLOB NOT NULL, at INTEGER NOT NULL,
                PRIMARY KEY(kind, name)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS audit(
                sequence INTEGER PRIMARY KEY, checksum BLOB NOT NULL, sealed BLOB NOT NULL);",
        )?;
        let notebook = Self {
            connection,
            rows: data_key.derive("piccolo local rows 1"),
            names: data_key.derive("piccolo local names 1"),
        };
        notebook.verify_audit()?;
        Ok(notebook)
    }

    /// Does several things in one transaction, or none of them.
    pub(crate) fn in_one<T>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let transaction = self.connection.unchecked_transaction()?;
        let done = work(self)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Writes a row.
    pub(crate) fn put<T: Serialize>(
        &self,
        kind: &str,
        name: &str,
        value: &T,
        at: UnixSeconds,
    ) -> Result<(), DatabaseError> {
        let row = self.row(kind, name);
        let sealed = self.rows.seal(&encode(value)?, &context(kind, &row));
        self.connection.execute(
            "INSERT INTO rows(kind, name, sealed, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET sealed = excluded.sealed, at = excluded.at",
            params![kind, row, sealed, i64::try_from(at.0).unwrap_or(i64::MAX)],
        )?;
        Ok(())
    }

    /// Removes a row; false when there was none.
    pub(crate) fn remove(&self, kind: &str, name: &str) -> Result<bool, DatabaseError> {
        let row = self.row(kind, name);
        let removed = self.connection.execute(
            "DELETE FROM rows WHERE kind = ?1 AND name = ?2",
            [kind, row.as_str()],
        )?;
        Ok(removed > 0)
    }

    /// Removes all rows of a kind.
    pub(crate) fn clear(&self, kind: &str) -> Result<(), DatabaseError> {
        self.connection
            .execute("DELETE FROM rows WHERE kind = ?1", [kind])?;
        Ok(())
    }

    /// Keeps the newest rows of a kind.
    pub(crate) fn keep_newest(&self, kind: &str, kept: u32) -> Result<(), DatabaseError> {
        self.connection.execute(
            "DELETE FROM rows WHERE kind = ?1 AND name NOT IN
                (SELECT name FROM rows WHERE kind = ?1 ORDER BY at DESC LIMIT ?2)",
            params![kind, kept],
        )?;
        Ok(())
    }

    /// One row.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<T>, DatabaseError> {
        let row = self.row(kind, name);
        let sealed: Option<Vec<u8>> = self
            .connection
            .query_row(
                "SELECT sealed FROM rows WHERE kind = ?1 AND name = ?2",
                [kind, row.as_str()],
                |found| found.get(0),
            )
            .optional()?;
        sealed
            .map(|sealed| self.open_row(kind, &row, &sealed))
            .transpose()
    }

    /// All rows of a kind, newest first.
    pub(crate) fn all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, DatabaseError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT name, sealed FROM rows WHERE kind = ?1 ORDER BY at DESC")?;
        let rows = statement.query_map([kind], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        rows.map(|row| {
            let (row, sealed) = row?;
            self.open_row(kind, &row, &sealed)
        })
        .collect()
    }

    fn open_row<T: DeserializeOwned>(
        &self,
        kind: &str,
        row: &str,
        sealed: &[u8],
    ) -> Result<T, DatabaseError> {
        let damaged = |why| DatabaseError::Damaged {
            repository: format!("local {kind}"),
            record: row.to_owned(),
            why,
        };
        let plain = self
            .rows
            .open(sealed, &context(kind, row))
            .map_err(|_| damaged("its seal is broken"))?;
        rmp_serde::from_slice(&plain).map_err(|_| damaged("it can't be read"))
    }

    fn row(&self, kind: &str, name: &str) -> String {
        let digest = Sha256::new()
            .chain_update(self.names.expose())
            .chain_update(kind.as_bytes())
            .chain_update([0])
            .chain_update(name.as_bytes())
            .finalize();
        hexadecimal(&digest[..16])
    }

    /// Appends to the audit log.
    pub(crate) fn audit(&self, mut entry: AuditEntry) -> Result<(), DatabaseError> {
        let (sequence, checksum) = self.audit_head()?;
        entry.sequence = sequence + 1;
        let at = i64::try_from(entry.sequence).unwrap_or(i64::MAX);
        let sealed = self
            .rows
            .seal(&encode(&entry)?, &context("audit", &at.to_string()));
        let next: Checksum = Sha256::new()
            .chain_update(checksum)
            .chain_update(&sealed)
            .finalize()
            .into();
        self.connection.execute(
            "INSERT INTO audit(sequence, checksum, sealed) VALUES (?1, ?2, ?3)",
            params![at, next, sealed],
        )?;
        self.connection.execute(
            "DELETE FROM audit WHERE sequence <= ?1",
            [at.saturating_sub(AUDIT_KEPT)],
        )?;
        Ok(())
    }

    fn audit_head(&self) -> Result<(u64, Checksum), DatabaseError> {
        let head = self
            .connection
            .query_row(
                "SELECT sequence, checksum FROM audit ORDER BY sequence DESC LIMIT 1",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)),
            )
            .optional()?;
        let (sequence, checksum) = head.unwrap_or((0, GENESIS));
        Ok((u64::try_from(sequence).unwrap_or(0), checksum))
    }

    /// Entries after a sequence number, oldest first.
    pub(crate) fn audit_after(&self, after: u64) -> Result<Vec<AuditEntry>, DatabaseError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence, sealed FROM audit WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
        )?;
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let rows = statement.query_map([after, AUDIT_ANSWER], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        rows.map(|row| {
            let (sequence, sealed) = row?;
            self.open_row("audit", &sequence.to_string(), &sealed)
        })
        .collect()
    }

    /// The chain over what is kept: an altered or removed entry in the middle is noticed.
    fn verify_audit(&self) -> Result<(), DatabaseError> {
        let mut statement = self
            .connection
            .prepare("SELECT sequence, checksum, sealed FROM audit ORDER BY sequence")?;
        let mut rows = statement.query([])?;
        let mut previous: Option<(i64, Checksum)> = None;
        while let Some(row) = rows.next()? {
            let (sequence, checksum): (i64, Checksum) = (row.get(0)?, row.get(1)?);
            let sealed: Vec<u8> = row.get(2)?;
            let before = match previous {
                Some((last, before)) if last + 1 == sequence => Some(before),
                Some(_) => None,
                None if sequence == 1 => Some(GENESIS),
                // The oldest that is kept: what it followed is gone on purpose.
                None => {
                    previous = Some((sequence, checksum));
                    continue;
                }
            };
            let expected: Option<Checksum> = before.map(|before| {
                Sha256::new()
                    .chain_update(before)
                    .chain_update(&sealed)
                    .finalize()
                    .into()
            });
            if expected != Some(checksum) {
                return Err(DatabaseError::Damaged {
                    repository: "audit".to_owned(),
                    record: sequence.to_string(),
                    why: "it does not fit the chain",
                });
            }
            previous = Some((sequence, checksum));
        }
        Ok(())
    }
}

fn context(kind: &str, row: &str) -> Vec<u8> {
    format!("{kind}\0{row}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(action: &str) -> AuditEntry {
        AuditEntry {
            sequence: 0,
            at: UnixSeconds(1),
            actor: "operator".into(),
            action: action.into(),
            subject: String::new(),
            outcome: "done".into(),
        }
    }

    #[test]
    fn rows_and_audit_survive_reopening_and_tampering_is_noticed() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = Key::generate();
        let notebook = Notebook::open(directory.path(), &key).expect("a notebook");
        notebook
            .put("port", "demo", &35_000_u16, UnixSeconds(1))
            .expect("a row");
        for action in ["a", "b", "c"] {
            notebook.audit(entry(action)).expect("an entry");
        }
        drop(notebook);
        let notebook = Notebook::open(directory.path(), &key).expect("a notebook");
        assert_eq!(
            notebook.get::<u16>("port", "demo").expect("a row"),
            Some(35_000)
        );
        let actions = notebook.audit_after(1).expect("entries");
        assert_eq!(
            actions
                .iter()
                .map(|e| e.action.as_str())
                .collect::<Vec<_>>(),
            ["b", "c"]
        );
        notebook
            .connection
            .execute("DELETE FROM audit WHERE sequence = 2", [])
            .expect("a removal");
        drop(notebook);
        assert!(Notebook::open(directory.path(), &key).is_err());
    }

    #[test]
    fn only_the_newest_rows_are_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let notebook = Notebook::open(directory.path(), &Key::generate()).expect("a notebook");
        for at in 0..10_u64 {
            notebook
                .put("job", &at.to_string(), &at, UnixSeconds(at))
                .expect("a row");
        }
        notebook.keep_newest("job", 3).expect("kept");
        assert_eq!(notebook.all::<u64>("job").expect("rows"), [9, 8, 7]);
    }
}
