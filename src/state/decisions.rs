//! Decisions as rows: the whole record as JSON, beside it what can be asked for.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params_from_iter};
use ulid::Ulid;

use crate::decision_log::{AttemptOutcome, Outcome, Page, Query, Record};

use super::clients;
use super::database::unwritable;
use super::retention::Part;

/// Adds a record to a part of the log.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    record: &Record,
    part: Part,
) -> rusqlite::Result<()> {
    let body = serde_json::to_string(record).map_err(unwritable)?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO decisions (id, time, repository, digest, decision, kind, count, body, part)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let row = insert.insert((
        record.id.to_bytes(),
        nanoseconds(record.time),
        &record.repository,
        record.digest.map(|digest| digest.to_string()),
        name(record.decision),
        record.denial.as_ref().map(|denial| &denial.kind),
        clamp(record.count),
        body,
        part.column(),
    ))?;
    let mut insert = transaction
        .prepare_cached("INSERT OR IGNORE INTO decision_policies (policy, row) VALUES (?1, ?2)")?;
    for policy in &record.policies {
        insert.execute((&policy.name, row))?;
    }
    let mut insert = transaction
        .prepare_cached("INSERT OR IGNORE INTO decision_signers (signer, row) VALUES (?1, ?2)")?;
    for signer in signers(record) {
        insert.execute((signer, row))?;
    }
    clients::insert_first(transaction, row, record)
}

pub(super) fn add_to_count(
    transaction: &Transaction<'_>,
    id: Ulid,
    pulls: u64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE decisions SET count = count + ?2 WHERE id = ?1")?
        .execute((id.to_bytes(), clamp(pulls)))?;
    Ok(())
}

pub(super) fn select_one(connection: &Connection, id: Ulid) -> rusqlite::Result<Option<Record>> {
    let columns = columns(connection)?;
    let mut select =
        connection.prepare_cached(&format!("SELECT {columns} FROM decisions WHERE id = ?1"))?;
    let record = select
        .query_row([id.to_bytes()], |row| Ok(record(row)))
        .optional()?;
    Ok(record.flatten())
}

/// Reads records until the page is full, in number or in bytes. Rows that cannot be read do not count.
pub(super) fn select(connection: &Connection, query: &Query) -> rusqlite::Result<Page> {
    let (sql, values) = statement(query, columns(connection)?);
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(values))?;
    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(row) = rows.next()? {
        bytes += row.get_ref(0)?.as_str().map_or(0, str::len);
        if !page.decisions.is_empty() && bytes > Page::BYTES_MAX {
            page.next = page.decisions.last().map(|record| record.id);
            break;
        }
        page.decisions.extend(record(row));
        if page.decisions.len() >= query.limit {
            page.next = page.decisions.last().map(|record| record.id);
            break;
        }
    }
    Ok(page)
}

/// The columns of a record. A database that an earlier version wrote and that is only read here has no clients.
fn columns(connection: &Connection) -> rusqlite::Result<&'static str> {
    Ok(if clients::are_kept(connection)? {
        clients::COLUMNS
    } else {
        "body, count, NULL"
    })
}

fn statement(query: &Query, columns: &str) -> (String, Vec<Value>) {
    let mut conditions = Conditions::default();
    if let Some(repository) = &query.repository {
        match repository.strip_suffix('*') {
            // Names are ASCII, so everything with the prefix sorts before the prefix and the last character there is.
            Some(prefix) => {
                conditions.add("repository >= ?", prefix.to_owned());
                conditions.add("repository < ?", format!("{prefix}{}", char::MAX));
            }
            None => conditions.add("repository = ?", repository.clone()),
        }
    }
    if let Some(digest) = &query.digest {
        // Digests are ASCII, so everything that begins with the prefix sorts before the prefix and the last character.
        conditions.add("digest >= ?", digest.to_string());
        conditions.add("digest < ?", format!("{digest}{}", char::MAX));
    }
    if let Some(decision) = query.decision {
        conditions.add("decision = ?", name(decision).to_owned());
    }
    if let Some(kind) = query.kind {
        conditions.add("kind = ?", kind.as_str().to_owned());
    }
    if let Some(policy) = &query.policy {
        let rows = "row IN (SELECT row FROM decision_policies WHERE policy = ?)";
        conditions.add(rows, policy.clone());
    }
    if let Some(signer) = &query.signer {
        let rows = "row IN (SELECT row FROM decision_signers WHERE signer = ?)";
        conditions.add(rows, signer.clone());
    }
    if let Some(client) = &query.client {
        conditions.add(clients::ROWS_BY_ADDRESS_OR_IDENTITY, client.clone());
    }
    if let Some(since) = query.since {
        conditions.add("time >= ?", nanoseconds(since));
    }
    if let Some(until) = query.until {
        conditions.add("time < ?", nanoseconds(until));
    }
    if let Some(after) = query.after {
        conditions.add("id < ?", after.to_bytes().to_vec());
    }
    let filter = conditions.sql;
    let sql = format!("SELECT {columns} FROM decisions{filter} ORDER BY id DESC");
    (sql, conditions.values)
}

/// The conditions of a query; what was asked for is bound, never part of the text.
#[derive(Debug, Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, condition: &'static str, value: impl Into<Value>) {
        let joint = if self.values.is_empty() {
            " WHERE "
        } else {
            " AND "
        };
        self.sql.push_str(joint);
        self.sql.push_str(condition);
        self.values.push(value.into());
    }
}

/// The record in a row with its current count; `None` when it cannot be read.
fn record(row: &Row<'_>) -> Option<Record> {
    let body: String = row.get(0).ok()?;
    let mut record: Record = serde_json::from_str(&body)
        .inspect_err(|error| tracing::warn!(%error, "Unreadable decision passed over"))
        .ok()?;
    let count: i64 = row.get(1).ok()?;
    record.count = count.unsigned_abs();
    if record.decision == Outcome::Deny
        && let Some(clients) = clients::read(row, 2)
    {
        record.clients = Some(clients);
    }
    Some(record)
}

/// The identities, key references and key fingerprints that verified.
fn signers(record: &Record) -> BTreeSet<String> {
    let verified = record
        .attempts
        .iter()
        .filter(|attempt| attempt.outcome == AttemptOutcome::Verified);
    verified
        .flat_map(|attempt| {
            let identity = attempt.certificate.as_ref().map(|it| it.identity.clone());
            let reference = attempt.key.as_ref().map(|it| it.reference.clone());
            let fingerprint = attempt.key.as_ref().map(|it| it.fingerprint.to_string());
            [identity, reference, fingerprint]
        })
        .flatten()
        .collect()
}

fn name(decision: Outcome) -> &'static str {
    match decision {
        Outcome::Admit => "admit",
        Outcome::Deny => "deny",
        Outcome::Unavailable => "unavailable",
    }
}

pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    // Before the year 1678 and after 2262 all times are equally far.
    let range = i128::from(i64::MIN)..=i128::from(i64::MAX);
    let clamped = time.as_nanosecond().clamp(*range.start(), *range.end());
    i64::try_from(clamped).unwrap_or_default()
}

pub(super) fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
