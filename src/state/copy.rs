//! What decisions are made from, copied out of a database that may be in use.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{Error, FILE, schema};

/// What decisions are made from. The log is none of it, so that a copy does not say who pulled what.
const TABLES: [&str; 5] = ["evidence", "manifests", "parents", "tags", "asked_tags"];

/// Copies evidence, media types, hints and tags from the state under `from` into the state under `into`.
///
/// It is made where there is none; rows that are in both are replaced. All is read at one moment, and nothing is written
/// under `from`, where a proxy may be running. Afterwards the copy is one file, which can be read where nobody may write.
///
/// Waits for the disk.
///
/// # Errors
/// When there is no state under `from`, a proxy has decided with that under `into`, either database fails, or one is of
/// a newer version.
pub fn copy(from: &Path, into: &Path) -> Result<(), Error> {
    let source = from.join(FILE);
    // Attaching would make a new one.
    drop(schema::open_read_only(&source)?);
    std::fs::create_dir_all(into)?;
    let copy = schema::open(&into.join(FILE))?;
    let has_decided: bool =
        copy.query_row("SELECT EXISTS (SELECT 1 FROM decisions)", [], |row| {
            row.get(0)
        })?;
    if has_decided {
        return Err(Error::InUse(into.to_path_buf()));
    }
    attach(&copy, &source)?;
    copy_tables(&copy)?;
    copy.execute_batch("DETACH source")?;
    // In the other mode a reader makes files beside it.
    copy.pragma_update(None, "journal_mode", "DELETE")?;
    Ok(())
}

/// Attaches the database for reading. Its version is what [`schema::open_read_only`] has just seen: a migration changes
/// none of these tables.
fn attach(copy: &Connection, source: &Path) -> Result<(), Error> {
    let path = std::fs::canonicalize(source)?;
    let not_a_path = |()| Error::Absent(PathBuf::from(source));
    let mut url = url::Url::from_file_path(path).map_err(not_a_path)?;
    url.set_query(Some("mode=ro"));
    copy.execute("ATTACH DATABASE ?1 AS source", [url.as_str()])?;
    Ok(())
}

fn copy_tables(copy: &Connection) -> Result<(), Error> {
    let transaction = copy.unchecked_transaction()?;
    for table in TABLES {
        let is_there: bool = transaction.query_row(
            "SELECT EXISTS (SELECT 1 FROM source.sqlite_master WHERE type = 'table' AND name = ?1)",
            [table],
            |row| row.get(0),
        )?;
        // An earlier version may lack it.
        if is_there {
            transaction.execute_batch(&format!(
                "INSERT OR REPLACE INTO main.{table} SELECT * FROM source.{table}"
            ))?;
        }
    }
    transaction.commit()?;
    Ok(())
}
