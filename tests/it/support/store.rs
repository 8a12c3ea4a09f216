//! What the proxy keeps under its data directory, looked at and altered behind its back.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value;

use super::image::{sha256, sha512};
use super::proxy::Proxy;

/// Every file under `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return found;
    };
    for entry in entries {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

impl Proxy {
    /// The files that are content under its final name: named by the hex of a digest.
    pub(crate) fn content_files(&self) -> Vec<PathBuf> {
        let mut found = files(&self.data_dir());
        found.retain(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            (name.len() == 64 || name.len() == 128) && hex::decode(name).is_ok()
        });
        found
    }

    /// The file that holds the content with this digest, if it is stored.
    pub(crate) fn content_file(&self, digest: &str) -> Option<PathBuf> {
        let hex = hex_of(digest);
        self.content_files()
            .into_iter()
            .find(|path| path.file_name().unwrap().to_str() == Some(hex))
    }

    /// Waits until the content with this digest is stored, for ten seconds at most.
    pub(crate) async fn wait_until_stored(&self, digest: &str) {
        for _ in 0..200 {
            if self.content_file(digest).is_some() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{digest} is not stored");
    }

    /// What it logged as lines: standard output, standard error, and files of lines.
    pub(crate) fn lines(&self) -> String {
        let mut lines = self.log();
        for path in files(&self.data_dir()) {
            let extension = path.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some("jsonl" | "ndjson" | "log")) {
                lines.push_str(&fs::read_to_string(path).unwrap());
            }
        }
        lines
    }

    /// Everything stored under a digest has that digest.
    #[track_caller]
    pub(crate) fn assert_content_is_right(&self) {
        for path in self.content_files() {
            let bytes = fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let digest = if name.len() == 64 {
                sha256(&bytes)
            } else {
                sha512(&bytes)
            };
            assert!(digest.ends_with(name), "{} holds {digest}", path.display());
        }
    }

    /// The database of a proxy that is not running.
    pub(crate) fn database(&self) -> Connection {
        let found: Vec<PathBuf> = files(&self.data_dir())
            .into_iter()
            .filter(|path| {
                let extension = path.extension().and_then(|extension| extension.to_str());
                matches!(extension, Some("sqlite" | "sqlite3" | "db"))
            })
            .collect();
        assert_eq!(found.len(), 1, "one database: {found:?}");
        Connection::open(&found[0]).unwrap()
    }

    /// Everywhere in the database, in every column of every row, writes `after` for `before`; returns the rows changed.
    pub(crate) fn forge(&self, before: &str, after: &str) -> usize {
        let database = self.database();
        // An attacker with the file is not bound by constraints.
        database
            .execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;")
            .unwrap();
        let mut changed = 0;
        for (table, column) in columns(&database) {
            changed += forge_column(&database, &table, &column, before, after);
        }
        changed
    }

    /// Adds to every table a copy of each row that mentions `before`, with `after` in its place; returns the rows added.
    pub(crate) fn forge_copies(&self, before: &str, after: &str) -> usize {
        let database = self.database();
        database
            .execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;")
            .unwrap();
        tables(&database)
            .iter()
            .map(|table| copy_rows(&database, table, before, after))
            .sum()
    }
}

fn tables(database: &Connection) -> Vec<String> {
    let mut statement = database
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

fn columns(database: &Connection) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for table in tables(database) {
        let mut statement = database
            .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))
            .unwrap();
        let names = statement
            .query_map([], |row| row.get::<_, String>(0))
            .unwrap();
        found.extend(names.map(|name| (table.clone(), name.unwrap())));
    }
    found
}

fn forge_column(
    database: &Connection,
    table: &str,
    column: &str,
    before: &str,
    after: &str,
) -> usize {
    let mut statement = database
        .prepare(&format!("SELECT DISTINCT \"{column}\" FROM \"{table}\""))
        .unwrap();
    let values: Vec<Value> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut changed = 0;
    for value in values {
        if let Some(forged) = forge_value(&value, before, after) {
            changed += database
                .execute(
                    &format!("UPDATE OR REPLACE \"{table}\" SET \"{column}\" = ?1 WHERE \"{column}\" = ?2"),
                    rusqlite::params![forged, value],
                )
                .unwrap();
        }
    }
    changed
}

fn copy_rows(database: &Connection, table: &str, before: &str, after: &str) -> usize {
    let mut statement = database
        .prepare(&format!("SELECT * FROM \"{table}\""))
        .unwrap();
    let width = statement.column_count();
    let rows: Vec<Vec<Value>> = statement
        .query_map([], |row| (0..width).map(|at| row.get(at)).collect())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let marks = vec!["?"; width].join(", ");
    let insert = format!("INSERT OR REPLACE INTO \"{table}\" VALUES ({marks})");
    let mut added = 0;
    for row in rows {
        let forged: Vec<Option<Value>> = row
            .iter()
            .map(|value| forge_value(value, before, after))
            .collect();
        if forged.iter().any(Option::is_some) {
            let row = row
                .into_iter()
                .zip(forged)
                .map(|(value, forged)| forged.unwrap_or(value));
            added += database
                .execute(&insert, rusqlite::params_from_iter(row))
                .unwrap();
        }
    }
    added
}

/// The value with the digest replaced, in text or in binary, if it is in there.
fn forge_value(value: &Value, before: &str, after: &str) -> Option<Value> {
    let (before_hex, after_hex) = (hex_of(before), hex_of(after));
    match value {
        Value::Text(text) if text.contains(before_hex) => {
            Some(Value::Text(text.replace(before_hex, after_hex)))
        }
        Value::Blob(bytes) => {
            let forged = replace(bytes, before_hex.as_bytes(), after_hex.as_bytes());
            let before = hex::decode(before_hex).unwrap();
            let after = hex::decode(after_hex).unwrap();
            let forged = replace(&forged, &before, &after);
            (forged != *bytes).then_some(Value::Blob(forged))
        }
        Value::Text(_) | Value::Null | Value::Integer(_) | Value::Real(_) => None,
    }
}

fn hex_of(digest: &str) -> &str {
    digest.split_once(':').unwrap().1
}

fn replace(bytes: &[u8], before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut result = bytes.to_vec();
    let mut at = 0;
    while at + before.len() <= result.len() {
        if result[at..].starts_with(before) {
            result.splice(at..at + before.len(), after.iter().copied());
            at += after.len();
        } else {
            at += 1;
        }
    }
    result
}
