//! Tables, migrations, and how a connection is set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{CWD, OFlags};

use super::Error;
use crate::private;

/// One script per version, in order; `user_version` counts those that were run.
///
/// Digests, names and times are text, so that the tables can be read with the `sqlite3` program; `decisions.time` is
/// nanoseconds since 1970 because it is compared. `parents.hint` grows with every hint.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE evidence (
        repository TEXT NOT NULL, digest TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (repository, digest)
    );
    CREATE TABLE manifests (
        repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, confirmed_at TEXT NOT NULL,
        PRIMARY KEY (repository, digest)
    ) WITHOUT ROWID;
    CREATE TABLE parents (
        repository TEXT NOT NULL, child TEXT NOT NULL, parent TEXT NOT NULL, hint INTEGER NOT NULL,
        PRIMARY KEY (repository, child, parent)
    ) WITHOUT ROWID;
    CREATE TABLE tags (
        repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, resolved_at TEXT NOT NULL,
        PRIMARY KEY (repository, tag)
    ) WITHOUT ROWID;
    CREATE TABLE confirmed_blobs (
        repository TEXT NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY (repository, digest)
    ) WITHOUT ROWID;
    CREATE TABLE decisions (
        row INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, time INTEGER NOT NULL, repository TEXT NOT NULL,
        digest TEXT, decision TEXT NOT NULL, kind TEXT, count INTEGER NOT NULL, body TEXT NOT NULL
    );
    CREATE INDEX decisions_by_repository ON decisions (repository, id);
    CREATE INDEX decisions_by_digest ON decisions (digest, id);
    CREATE INDEX decisions_by_kind ON decisions (kind, id) WHERE kind IS NOT NULL;
    CREATE TABLE decision_policies (
        policy TEXT NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (policy, row)
    ) WITHOUT ROWID;
    CREATE INDEX decision_policies_by_row ON decision_policies (row);
    CREATE TABLE decision_signers (
        signer TEXT NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (signer, row)
    ) WITHOUT ROWID;
    CREATE INDEX decision_signers_by_row ON decision_signers (row);
", "
    CREATE TABLE asked_tags (
        repository TEXT NOT NULL, digest TEXT NOT NULL, tag TEXT NOT NULL,
        PRIMARY KEY (repository, digest, tag)
    ) WITHOUT ROWID;
", "
    CREATE TABLE changes (
        row INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL
    );
    CREATE INDEX changes_by_thing ON changes (kind, name, row);
", "
    CREATE TABLE decision_clients (
        row INTEGER NOT NULL, address TEXT NOT NULL, identity TEXT NOT NULL, user_agent TEXT,
        count INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (row, address, identity)
    ) WITHOUT ROWID;
    CREATE INDEX decision_clients_by_address ON decision_clients (address, row);
    CREATE INDEX decision_clients_by_identity ON decision_clients (identity, row);
", "
    -- Earlier versions took the word of any host for a blob that another one had delivered. So these rows prove nothing.
    DELETE FROM confirmed_blobs;
    CREATE TABLE delivered_blobs (
        host TEXT NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY (host, digest)
    ) WITHOUT ROWID;
", "
    -- 0 for decisions; 1 for refusals that are about no decision, and 2 for those of clients with a name. Each part of the
    -- log has bounds of its own, so that nobody can replace decisions with refusals.
    ALTER TABLE decisions ADD COLUMN part INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX decisions_by_part ON decisions (part, row);
    CREATE TABLE log_parts (part INTEGER PRIMARY KEY, records INTEGER NOT NULL, bytes INTEGER NOT NULL);
    INSERT INTO log_parts SELECT 0, count(*), coalesce(sum(octet_length(body)), 0) FROM decisions;
    INSERT INTO log_parts VALUES (1, 0, 0), (2, 0, 0);
    CREATE TRIGGER decision_added AFTER INSERT ON decisions BEGIN
        UPDATE log_parts SET records = records + 1, bytes = bytes + octet_length(new.body) WHERE part = new.part;
    END;
    CREATE TRIGGER decision_removed AFTER DELETE ON decisions BEGIN
        UPDATE log_parts SET records = records - 1, bytes = bytes - octet_length(old.body) WHERE part = old.part;
    END;
"];

/// How long to wait for another process (a backup, the `sqlite3` program) that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a connection to the database at `path`, creating or migrating it if need be.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    // SQLite gives the files beside it the mode of this one.
    drop(private::make_file(CWD, path, OFlags::RDWR)?);
    let opening = |source| Error::Open {
        path: path.to_owned(),
        source,
    };
    let mut connection = connect(path).map_err(opening)?;
    let found = migrate(&mut connection).map_err(opening)?;
    refuse_newer(path, found)?;
    Ok(connection)
}

/// Opens a connection to the database at `path` as it is. Nothing in the database is changed.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, Error> {
    if !path.is_file() {
        let directory = path.parent().unwrap_or(path);
        return Err(Error::Absent(directory.to_owned()));
    }
    let connect = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        prepare(&connection)?;
        let found = version(&connection, "main")?;
        Ok((connection, found))
    };
    let (connection, found) = connect().map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })?;
    refuse_newer(path, found)?;
    Ok(connection)
}

/// A newer program's database would be misread.
pub(super) fn refuse_newer(path: &Path, found: i64) -> Result<(), Error> {
    let known = known_version();
    if found > known {
        return Err(Error::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(())
}

/// The version of an open database: `main`, or the name that it is attached as.
pub(super) fn version(connection: &Connection, schema: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA {schema}.user_version"), (), |row| {
        row.get(0)
    })
}

/// Writes the version once more, which is the smallest write there is.
pub(super) fn write_version(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "user_version", known_version())
}

/// Looks at all pages, and tells whether they fit together.
pub(super) fn is_sound(connection: &Connection) -> rusqlite::Result<bool> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    Ok(found == "ok")
}

/// The version that this program writes.
pub(super) fn known_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    prepare(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A decision is durable before the first byte of what it admits leaves, also when the power fails.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A row somebody garbled must not be run as part of a view or trigger.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Runs the scripts not yet run, and tells the version found before.
fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction, "main")?;
    let done = usize::try_from(found).unwrap_or(0);
    let missing = MIGRATIONS.get(done..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(found);
    }
    for script in missing {
        transaction.execute_batch(script)?;
    }
    transaction.pragma_update(None, "user_version", known_version())?;
    transaction.commit()?;
    Ok(found)
}
