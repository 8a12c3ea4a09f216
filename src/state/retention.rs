//! Keeps the log within its bounds: the oldest records go first.

use rusqlite::{Connection, Row, Transaction};

use super::clients;
use super::decisions::clamp;
use crate::decision_log::Record;
use crate::telemetry::LogSize;

/// The bounds of the log. The oldest records beyond them are removed now and then, so for a while there may be some more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Decisions.
    pub decisions_max: u64,
    /// Bytes of all records, in JSON.
    pub bytes_max: u64,
}

/// Removes what is beyond the bounds.
#[derive(Debug)]
pub(super) struct Pruning {
    retention: Retention,
    /// The newest row when clients were last looked at.
    looked_at_row: Option<i64>,
}

/// A part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Decisions.
    Decisions = 0,
    /// Refusals that are about no decision, of clients without a name.
    Refusals = 1,
    /// The same of clients with a name, which those without cannot replace.
    NamedRefusals = 2,
}

/// The bounds of a part.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    part: Part,
    records_max: u64,
    bytes_max: u64,
    /// Records beyond `records_max` that wait for the next removal.
    surplus_max: u64,
}

/// One in so many bytes of the log is for each part that holds refusals, and so many fewer records than decisions.
const REFUSALS_DIVISOR: u64 = 10;

/// Records that are removed in one go at most, so that decisions do not wait long for it.
const REMOVED_MAX: u64 = 1000;

/// Bytes of records that are removed in one go at most. Records of earlier versions may be megabytes long.
const REMOVED_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Default for Retention {
    fn default() -> Self {
        Self {
            decisions_max: 1_000_000,
            bytes_max: 10 * 1024 * 1024 * 1024,
        }
    }
}

impl Part {
    /// Returns the part for a refusal that is about no decision.
    pub(super) fn of_refusal(record: &Record) -> Self {
        match record.client.identity {
            Some(_) => Self::NamedRefusals,
            None => Self::Refusals,
        }
    }

    /// Returns the value of the column `part`.
    pub(super) fn column(self) -> i64 {
        self as i64
    }
}

impl Retention {
    fn bounds(self) -> [Bounds; 3] {
        let refusals_bytes = self.bytes_max / REFUSALS_DIVISOR;
        let refusals = (self.decisions_max / REFUSALS_DIVISOR, refusals_bytes);
        let decisions = (self.decisions_max, self.bytes_max - 2 * refusals_bytes);
        let bounds = |part, (records_max, bytes_max): (u64, u64)| Bounds {
            part,
            records_max: records_max.max(1),
            bytes_max: bytes_max.max(1),
            surplus_max: REMOVED_MAX.min(records_max / 10),
        };
        [
            bounds(Part::Decisions, decisions),
            bounds(Part::Refusals, refusals),
            bounds(Part::NamedRefusals, refusals),
        ]
    }
}

impl Pruning {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            looked_at_row: None,
        }
    }

    /// Removes the oldest records of each part that is beyond its bounds, and old clients if it is time to look.
    pub(super) fn prune(&mut self, connection: &mut Connection) -> rusqlite::Result<()> {
        self.prune_clients(connection)?;
        for bounds in self.retention.bounds() {
            let size = size_of(connection, bounds.part)?;
            if bounds.hold(size) {
                continue;
            }
            let transaction = connection.transaction()?;
            remove_oldest(&transaction, bounds, size)?;
            transaction.commit()?;
        }
        Ok(())
    }

    fn prune_clients(&mut self, connection: &mut Connection) -> rusqlite::Result<()> {
        let newest: Option<i64> = connection
            .prepare_cached("SELECT max(row) FROM decisions")?
            .query_row((), |row| row.get(0))?;
        let newest = newest.unwrap_or(0);
        let interval = clamp(REMOVED_MAX);
        if self
            .looked_at_row
            .is_some_and(|row| newest - row <= interval)
        {
            return Ok(());
        }
        self.looked_at_row = Some(newest);
        let transaction = connection.transaction()?;
        clients::prune(&transaction, newest, interval)?;
        transaction.commit()
    }
}

impl Bounds {
    fn hold(self, size: LogSize) -> bool {
        size.records <= self.records_max + self.surplus_max && size.bytes <= self.bytes_max
    }
}

/// Removes the oldest records of a part until it is within its bounds, at most [`REMOVED_MAX`] of them.
fn remove_oldest(
    transaction: &Transaction<'_>,
    bounds: Bounds,
    mut size: LogSize,
) -> rusqlite::Result<()> {
    let mut removed_bytes = 0;
    for (row, bytes) in oldest(transaction, bounds.part)? {
        if size.records <= bounds.records_max && size.bytes <= bounds.bytes_max
            || removed_bytes > REMOVED_BYTES_MAX
        {
            break;
        }
        remove(transaction, row)?;
        removed_bytes += bytes;
        size.records = size.records.saturating_sub(1);
        size.bytes = size.bytes.saturating_sub(bytes);
    }
    Ok(())
}

fn oldest(transaction: &Transaction<'_>, part: Part) -> rusqlite::Result<Vec<(i64, u64)>> {
    let mut select = transaction.prepare_cached(
        "SELECT row, octet_length(body) FROM decisions WHERE part = ?1 ORDER BY row LIMIT ?2",
    )?;
    let rows = select.query_map((part.column(), clamp(REMOVED_MAX)), |row| {
        Ok((row.get(0)?, count(row, 1)?))
    })?;
    rows.collect()
}

fn remove(transaction: &Transaction<'_>, row: i64) -> rusqlite::Result<()> {
    for table in [
        "decisions",
        "decision_policies",
        "decision_signers",
        "decision_clients",
    ] {
        transaction
            .prepare_cached(&format!("DELETE FROM {table} WHERE row = ?1"))?
            .execute([row])?;
    }
    Ok(())
}

/// Returns what the whole log holds.
pub(super) fn size(connection: &Connection) -> rusqlite::Result<LogSize> {
    let sizes = [Part::Decisions, Part::Refusals, Part::NamedRefusals];
    let mut whole = LogSize::default();
    for part in sizes {
        let size = size_of(connection, part)?;
        whole.records += size.records;
        whole.bytes += size.bytes;
    }
    Ok(whole)
}

fn size_of(connection: &Connection, part: Part) -> rusqlite::Result<LogSize> {
    connection
        .prepare_cached("SELECT records, bytes FROM log_parts WHERE part = ?1")?
        .query_row([part.column()], |row| {
            Ok(LogSize {
                records: count(row, 0)?,
                bytes: count(row, 1)?,
            })
        })
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}
