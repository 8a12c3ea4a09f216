//! Changes of policies, roots and keys as rows: the whole record as JSON, beside it what can be asked for.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, Transaction, params_from_iter};

use crate::decision_log::{Change, ChangeQuery};

use super::database::unwritable;

/// Changes that are kept; the oldest go first.
const CHANGES_MAX: i64 = 100_000;

pub(super) fn insert(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    let body = serde_json::to_string(change).map_err(unwritable)?;
    let mut insert = transaction
        .prepare_cached("INSERT INTO changes (id, kind, name, body) VALUES (?1, ?2, ?3, ?4)")?;
    let row = insert.insert((
        change.id.to_bytes(),
        change.kind.as_str(),
        change.name.as_deref().unwrap_or_default(),
        body,
    ))?;
    transaction
        .prepare_cached("DELETE FROM changes WHERE row <= ?1")?
        .execute([row - CHANGES_MAX])?;
    Ok(())
}

/// Those that match, newest first. Rows that cannot be read are passed over.
pub(super) fn select(
    connection: &Connection,
    query: &ChangeQuery,
) -> rusqlite::Result<Vec<Change>> {
    let mut sql = "SELECT body FROM changes WHERE 1".to_owned();
    let mut values: Vec<Value> = Vec::new();
    if let Some(kind) = query.kind {
        sql.push_str(" AND kind = ?");
        values.push(kind.as_str().to_owned().into());
    }
    if let Some(name) = &query.name {
        sql.push_str(" AND name = ?");
        values.push(name.clone().into());
    }
    if let Some(after) = query.after {
        sql.push_str(" AND id < ?");
        values.push(after.to_bytes().to_vec().into());
    }
    sql.push_str(" ORDER BY row DESC");
    read(connection, &sql, values, query.limit)
}

/// The last change of each thing, gone or not.
pub(super) fn select_latest(connection: &Connection) -> rusqlite::Result<Vec<Change>> {
    let sql =
        "SELECT body FROM changes WHERE row IN (SELECT max(row) FROM changes GROUP BY kind, name)";
    read(connection, sql, Vec::new(), usize::MAX)
}

fn read(
    connection: &Connection,
    sql: &str,
    values: Vec<Value>,
    limit: usize,
) -> rusqlite::Result<Vec<Change>> {
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(params_from_iter(values), |row| Ok(change(row)))?;
    rows.filter_map(Result::transpose).take(limit).collect()
}

fn change(row: &Row<'_>) -> Option<Change> {
    let body: String = row.get(0).ok()?;
    serde_json::from_str(&body)
        .inspect_err(|error| tracing::warn!(%error, "Unreadable change passed over"))
        .ok()
}
