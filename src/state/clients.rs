//! The clients of decisions as rows, a bounded number for each decision.
//!
//! Every decision has a row for the client that asked first, so that a query can find it. Rows of refusals count their
//! pulls. The row without address and identity stands for all clients beyond the bound.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction};
use serde::Deserialize;
use ulid::Ulid;

use super::decisions::{clamp, nanoseconds};
use crate::decision_log::{CLIENTS_MAX, Client, Record, RefusedClient};

/// The columns of a record with its clients, most pulls first, the row that stands for others last.
pub(super) const COLUMNS: &str = "body, count, (
    SELECT json_group_array(json_object('address', address, 'identity', identity, 'user_agent', user_agent,
                                        'count', count, 'last', last))
    FROM (SELECT * FROM decision_clients WHERE decision_clients.row = decisions.row
          ORDER BY address = '' AND identity = '', count DESC, last DESC))";

/// The decisions that a client asked for first or was refused by; one parameter, an address or an identity.
pub(super) const ROWS_BY_ADDRESS_OR_IDENTITY: &str = "row IN (
    SELECT ids.row FROM (SELECT ? AS client) AS asked JOIN decision_clients AS ids
    ON ids.address = asked.client OR ids.identity = asked.client WHERE asked.client <> '')";

/// Decisions whose clients are listed, the newest. With [`CLIENTS_MAX`] clients each, their rows take about 600 MB.
const LISTED_DECISIONS_MAX: i64 = 100_000;

/// A client as [`COLUMNS`] has it.
#[derive(Debug, Deserialize)]
struct ClientRow {
    address: String,
    identity: String,
    user_agent: Option<String>,
    count: u64,
    last: i64,
}

/// True unless an earlier version wrote the database and it is only read.
pub(super) fn are_kept(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'decision_clients')",
        )?
        .query_row((), |row| row.get(0))
}

/// Adds the client that asked first, with no pull yet: every answer is counted by [`add`], the first one included.
pub(super) fn insert_first(
    transaction: &Transaction<'_>,
    row: i64,
    record: &Record,
) -> rusqlite::Result<()> {
    let (address, identity) = key(&record.client);
    if address.is_empty() && identity.is_empty() {
        return Ok(());
    }
    transaction
        .prepare_cached(
            "INSERT INTO decision_clients (row, address, identity, user_agent, count, last)
             VALUES (?1, ?2, ?3, ?4, 0, ?5)",
        )?
        .execute((
            row,
            address,
            identity,
            &record.client.user_agent,
            nanoseconds(record.time),
        ))?;
    Ok(())
}

/// Adds pulls that the decision `id` refused. Of clients beyond [`CLIENTS_MAX`], only the number of pulls is kept.
pub(super) fn add(
    transaction: &Transaction<'_>,
    id: Ulid,
    refused: &RefusedClient,
) -> rusqlite::Result<()> {
    let (address, identity) = key(&refused.client);
    transaction
        .prepare_cached(
            "INSERT INTO decision_clients (row, address, identity, user_agent, count, last)
             SELECT row, CASE WHEN has_place THEN ?2 ELSE '' END, CASE WHEN has_place THEN ?3 ELSE '' END,
                    CASE WHEN has_place THEN ?4 END, ?5, ?6
             FROM (SELECT row, EXISTS (SELECT 1 FROM decision_clients AS known WHERE known.row = decisions.row
                                       AND known.address = ?2 AND known.identity = ?3)
                          OR (SELECT count(*) FROM decision_clients AS known WHERE known.row = decisions.row) < ?7
                          AS has_place
                   FROM decisions WHERE id = ?1)
             WHERE 1
             ON CONFLICT (row, address, identity)
             DO UPDATE SET count = count + excluded.count, last = max(last, excluded.last)",
        )?
        .execute((
            id.to_bytes(),
            address,
            identity,
            &refused.client.user_agent,
            clamp(refused.count),
            nanoseconds(refused.last),
            clamp(CLIENTS_MAX as u64),
        ))?;
    // Clients that shared the decision or got a remembered refusal are not in its own count.
    transaction
        .prepare_cached(
            "UPDATE decisions SET count = max(count, (SELECT sum(known.count) FROM decision_clients AS known
                                                      WHERE known.row = decisions.row) - 1)
             WHERE id = ?1",
        )?
        .execute([id.to_bytes()])?;
    Ok(())
}

/// Removes clients that are not the first of their decision from decisions that [`LISTED_DECISIONS_MAX`] newer ones
/// followed. Looks at the decisions that came into question since the last call, `interval` rows ago at most.
pub(super) fn prune(
    transaction: &Transaction<'_>,
    newest: i64,
    interval: i64,
) -> rusqlite::Result<()> {
    prune_before(transaction, newest - LISTED_DECISIONS_MAX, interval)
}

fn prune_before(transaction: &Transaction<'_>, row: i64, interval: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM decision_clients WHERE row >= ?1 AND row < ?2 AND (row, address, identity) NOT IN (
                 SELECT row, coalesce(json_extract(body, '$.client.address'), ''),
                        coalesce(json_extract(body, '$.client.identity'), '')
                 FROM decisions WHERE row >= ?1 AND row < ?2)",
        )?
        // Twice the interval, so that none is left out when a process starts between two looks.
        .execute((row - 2 * (interval + 1), row))?;
    Ok(())
}

/// The clients in `column` of a row that was selected by [`COLUMNS`]; absent when they cannot be read.
pub(super) fn read(row: &Row<'_>, column: usize) -> Option<Vec<RefusedClient>> {
    let clients: Option<String> = row.get(column).ok()?;
    let clients: Vec<ClientRow> = serde_json::from_str(&clients?).ok()?;
    clients.into_iter().map(ClientRow::into_client).collect()
}

impl ClientRow {
    fn into_client(self) -> Option<RefusedClient> {
        let named = |text: String| Some(text).filter(|text| !text.is_empty());
        Some(RefusedClient {
            client: Client {
                address: named(self.address),
                user_agent: self.user_agent,
                identity: named(self.identity),
            },
            // The answer that the decision was made for is on its way.
            count: self.count.max(1),
            last: Timestamp::from_nanosecond(i128::from(self.last)).ok()?,
        })
    }
}

fn key(client: &Client) -> (&str, &str) {
    (
        client.address.as_deref().unwrap_or_default(),
        client.identity.as_deref().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_decisions_keep_their_first_client_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = super::super::schema::open(&directory.path().join("s")).unwrap();
        let transaction = connection.transaction().unwrap();
        for row in 1..=3 {
            let body = r#"{"client": {"address": "192.0.2.1", "identity": null}}"#;
            let decision =
                "INSERT INTO decisions (row, id, time, repository, decision, count, body)
                            VALUES (?1, ?1, 0, 'r', 'deny', 0, ?2)";
            transaction.execute(decision, (row, body)).unwrap();
            for address in ["192.0.2.1", "192.0.2.2", ""] {
                let client = "INSERT INTO decision_clients VALUES (?1, ?2, '', NULL, 1, 0)";
                transaction.execute(client, (row, address)).unwrap();
            }
        }
        prune_before(&transaction, 3, 1000).unwrap();
        let mut select = transaction
            .prepare("SELECT row, count(*) FROM decision_clients GROUP BY row")
            .unwrap();
        let counts: rusqlite::Result<Vec<(i64, i64)>> = select
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect();
        assert_eq!(counts.unwrap(), [(1, 1), (2, 1), (3, 3)]);
    }
}
