//! Who is signed in: rows of the notebook, found by the hash of their secret.

use crate::{chain::hexadecimal, error::DatabaseError, notebook::Notebook};
use piccolo_bus_schema::{
    ids::UnixSeconds,
    session::{Open, SecretHash, Session, SessionKind},
};

const KIND: &str = "session";
/// A browser that was quiet for this long is signed out (seconds).
const IDLE: u64 = 12 * 3600;
/// And after this long in any case.
const LONGEST: u64 = 30 * 24 * 3600;
/// Last use is written at most this often: not every click is a disk write.
const TOUCH: u64 = 60;
/// A token without an end is listed as ending then.
const FOREVER: u64 = 253_402_300_799;

#[derive(serde::Serialize, serde::Deserialize)]
struct Row {
    session: Session,
    hash: SecretHash,
}

/// Opens a session.
pub(crate) fn open(
    notebook: &Notebook,
    open: Open,
    id: String,
    now: UnixSeconds,
) -> Result<Session, DatabaseError> {
    let mut session = Session {
        id,
        kind: open.kind,
        from: open.from,
        created_at: now,
        last_used_at: now,
        expires_at: now,
    };
    session.expires_at = end(&session);
    let row = Row {
        session: session.clone(),
        hash: open.secret_hash,
    };
    notebook.put(KIND, &hexadecimal(&row.hash.0), &row, now)?;
    Ok(session)
}

/// The live session of a secret.
pub(crate) fn check(
    notebook: &Notebook,
    hash: &SecretHash,
    now: UnixSeconds,
) -> Result<Option<Session>, DatabaseError> {
    let name = hexadecimal(&hash.0);
    let Some(mut row) = notebook.get::<Row>(KIND, &name)? else {
        return Ok(None);
    };
    if end(&row.session) <= now {
        notebook.remove(KIND, &name)?;
        return Ok(None);
    }
    if now.0 >= row.session.last_used_at.0 + TOUCH {
        row.session.last_used_at = now;
        row.session.expires_at = end(&row.session);
        notebook.put(KIND, &name, &row, now)?;
    }
    Ok(Some(row.session))
}

/// All live sessions.
pub(crate) fn list(notebook: &Notebook, now: UnixSeconds) -> Result<Vec<Session>, DatabaseError> {
    let rows = notebook.all::<Row>(KIND)?;
    Ok(rows
        .into_iter()
        .map(|row| row.session)
        .filter(|session| end(session) > now)
        .collect())
}

/// Ends the session of an id; false when there is none.
pub(crate) fn close(notebook: &Notebook, id: &str) -> Result<bool, DatabaseError> {
    for row in notebook.all::<Row>(KIND)? {
        if row.session.id == id {
            return notebook.remove(KIND, &hexadecimal(&row.hash.0));
        }
    }
    Ok(false)
}

/// Ends all browsers' sessions; with `tokens`, API tokens too.
pub(crate) fn end_all(notebook: &Notebook, tokens: bool) -> Result<(), DatabaseError> {
    if tokens {
        return notebook.clear(KIND);
    }
    for row in notebook.all::<Row>(KIND)? {
        if let SessionKind::Browser { .. } = row.session.kind {
            notebook.remove(KIND, &hexadecimal(&row.hash.0))?;
        }
    }
    Ok(())
}

fn end(session: &Session) -> UnixSeconds {
    match &session.kind {
        SessionKind::Browser { .. } => {
            UnixSeconds((session.created_at.0 + LONGEST).min(session.last_used_at.0 + IDLE))
        }
        SessionKind::Token { expires_at, .. } => expires_at.unwrap_or(UnixSeconds(FOREVER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Key;
    use piccolo_bus_schema::lock::Client;

    #[test]
    fn a_session_lives_while_it_is_used_and_thirty_days_at_most() {
        let directory = tempfile::tempdir().expect("a directory");
        let notebook = Notebook::open(directory.path(), &Key::generate()).expect("a notebook");
        let hash = SecretHash([7; 32]);
        let kind = SessionKind::Browser {
            user_agent: "test".into(),
        };
        let request = Open {
            secret_hash: hash.clone(),
            kind,
            from: Client::Local,
        };
        open(&notebook, request, "id".into(), UnixSeconds(0)).expect("a session");
        let mut now = 0;
        while now < LONGEST - IDLE {
            now += IDLE - 1;
            assert!(
                check(&notebook, &hash, UnixSeconds(now))
                    .expect("a look")
                    .is_some(),
                "{now}"
            );
        }
        assert!(
            check(&notebook, &hash, UnixSeconds(LONGEST))
                .expect("a look")
                .is_none()
        );
        assert!(
            !close(&notebook, "id").expect("a look"),
            "an ended session is gone"
        );
    }
}
