//! The threads that own the connections: one writes, a few read.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::decision_log::Subject;
use crate::disk::{Fault, Health};
use crate::oci::{Digest, Tag};

use super::retention::{Part, Pruning, Retention};
use super::{Batch, Error, changes, clients, decisions, schema};

/// The name of the database in a data directory.
pub(crate) const FILE: &str = "state.sqlite3";

/// Reads of the pull path are short.
const READERS: usize = 2;

/// Callers beyond this wait for a place in the queue.
const QUEUED_MAX: usize = 1024;

/// The most batches that share a transaction; bounds how long the first of them waits.
const GROUP_MAX: usize = 256;

/// Handles to the threads, which end when the last handle is dropped.
#[derive(Debug, Clone)]
pub(super) struct Database {
    /// Nothing where the database is only read.
    writes: Option<mpsc::Sender<Write>>,
    reads: mpsc::Sender<Read>,
    /// Queries of the log may be slow. They have a thread of their own, so that they hold up nothing but each other.
    queries: mpsc::Sender<Read>,
    health: Arc<Health>,
}

#[derive(Debug)]
struct Write {
    batch: Batch,
    answer: oneshot::Sender<Result<(), Error>>,
}

type Read = Box<dyn FnOnce(&Connection) + Send>;

impl Database {
    pub(super) fn open(data_dir: &Path, retention: Retention) -> Result<Self, Error> {
        std::fs::create_dir_all(data_dir)?;
        let path = data_dir.join(FILE);
        let health = Arc::new(Health::new("state database"));
        let writer = Writer::new(schema::open(&path)?, retention, Arc::clone(&health));
        let (writes, queue) = mpsc::channel(QUEUED_MAX);
        spawn("state-writer", move || writer.run(queue))?;
        Ok(Self {
            writes: Some(writes),
            reads: readers("state-reader", READERS, || schema::open(&path))?,
            queries: readers("state-query", 1, || schema::open(&path))?,
            health,
        })
    }

    pub(super) fn open_read_only(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE);
        let open = || schema::open_read_only(&path);
        Ok(Self {
            writes: None,
            reads: readers("state-reader", READERS, open)?,
            queries: readers("state-query", 1, open)?,
            health: Arc::new(Health::new("state database")),
        })
    }

    pub(super) async fn write(&self, batch: Batch) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let write = Write { batch, answer };
        let writes = self.writes.as_ref().ok_or(Error::ReadOnly)?;
        writes.send(write).await.map_err(|_gone| Error::Closed)?;
        answered.await.map_err(|_gone| Error::Closed)?
    }

    /// A short read, for the pull path.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(&self.reads, read).await
    }

    /// A query of the log, which may take its time.
    pub(super) async fn query<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(&self.queries, read).await
    }

    /// Returns the fault that keeps anything new from being kept.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.health.fault()
    }

    /// As [`Database::fault`], after an attempt to write now and then while there is one. Damage is looked for in the whole
    /// database.
    pub(super) async fn check(&self) -> Option<Fault> {
        if !self.health.is_to_be_tried(Instant::now()) {
            return self.fault();
        }
        if self.fault() == Some(Fault::Damaged) {
            let checked = self.query(schema::is_sound);
            if checked.await.is_ok_and(|is_sound| is_sound) {
                self.health.recovered();
            }
        } else {
            let attempt = Batch {
                is_attempt: true,
                ..Batch::default()
            };
            // The writer notes how it ends.
            drop(self.write(attempt).await);
        }
        self.fault()
    }

    async fn ask<T: Send + 'static>(
        &self,
        lane: &mpsc::Sender<Read>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            // Whoever asked may have gone.
            drop(answer.send(read(connection)));
        });
        lane.send(read).await.map_err(|_gone| Error::Closed)?;
        let answer = answered.await.map_err(|_gone| Error::Closed)?;
        if let Err(error) = &answer {
            note_failure(&self.health, error);
        }
        Ok(answer?)
    }
}

/// Threads that read, each on a connection of its own, and the queue to them.
fn readers(
    name: &str,
    count: usize,
    open: impl Fn() -> Result<Connection, Error>,
) -> Result<mpsc::Sender<Read>, Error> {
    let (reads, queue) = mpsc::channel::<Read>(QUEUED_MAX);
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..count {
        let (connection, queue) = (open()?, Arc::clone(&queue));
        connection.pragma_update(None, "query_only", true)?;
        spawn(name, move || serve_reads(&connection, &queue))?;
    }
    Ok(reads)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)?;
    Ok(())
}

fn serve_reads(connection: &Connection, queue: &Mutex<mpsc::Receiver<Read>>) {
    loop {
        let next = {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.blocking_recv()
        };
        match next {
            Some(read) => read(connection),
            None => return,
        }
    }
}

/// The writing thread.
struct Writer {
    connection: Connection,
    /// Grows with every hint about a parent.
    hint: i64,
    pruning: Pruning,
    health: Arc<Health>,
}

impl Writer {
    fn new(connection: Connection, retention: Retention, health: Arc<Health>) -> Self {
        // Hints of an earlier run are older: a run does not write a million hints per second.
        let hint = crate::clock::now().as_microsecond();
        Self {
            connection,
            hint,
            pruning: Pruning::new(retention),
            health,
        }
    }

    fn run(mut self, mut queue: mpsc::Receiver<Write>) {
        let mut group = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            group.push(first);
            while group.len() < GROUP_MAX
                && let Ok(next) = queue.try_recv()
            {
                group.push(next);
            }
            self.write_group(&mut group);
            if let Err(error) = self.pruning.prune(&mut self.connection) {
                tracing::warn!(%error, "Could not remove old decisions");
            }
        }
    }

    /// Writes all in one transaction; when that fails, each in one of its own, so that one bad batch fails alone.
    fn write_group(&mut self, group: &mut Vec<Write>) {
        if group.len() > 1
            && self
                .write_all(group.iter().map(|write| &write.batch))
                .is_ok()
        {
            self.health.succeeded();
            group.drain(..).for_each(|write| write.answer(Ok(())));
        }
        for write in group.drain(..) {
            let written = self.write_all(std::iter::once(&write.batch));
            match &written {
                Ok(()) => self.health.succeeded(),
                Err(error) => note_failure(&self.health, error),
            }
            write.answer(written.map_err(Error::Sqlite));
        }
    }

    fn write_all<'a>(&mut self, batches: impl Iterator<Item = &'a Batch>) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for batch in batches {
            if batch.is_attempt {
                schema::write_version(&transaction)?;
            }
            insert(&transaction, batch, &mut self.hint)?;
        }
        transaction.commit()
    }
}

/// Notes a failure that is the disk's or the file's, and not of one row.
fn note_failure(health: &Health, error: &rusqlite::Error) {
    let faults = [
        (ErrorCode::DiskFull, Fault::Full),
        (ErrorCode::DatabaseCorrupt, Fault::Damaged),
        (ErrorCode::NotADatabase, Fault::Damaged),
        (ErrorCode::SystemIoFailure, Fault::Failing),
        (ErrorCode::ReadOnly, Fault::Failing),
        (ErrorCode::CannotOpen, Fault::Failing),
    ];
    let code = error.sqlite_error_code();
    let fault = faults.iter().find(|(known, _)| Some(*known) == code);
    if let Some((_, fault)) = fault {
        health.failed(*fault);
    }
}

impl Write {
    fn answer(self, result: Result<(), Error>) {
        // Whoever asked may have gone; the rows are written all the same.
        drop(self.answer.send(result));
    }
}

fn insert(transaction: &Transaction<'_>, batch: &Batch, hint: &mut i64) -> rusqlite::Result<()> {
    insert_log(transaction, batch)?;
    for (subject, evidence) in &batch.evidence {
        let (repository, digest) = super::keys(subject);
        let body = serde_json::to_string(evidence).map_err(unwritable)?;
        execute(
            transaction,
            "INSERT OR REPLACE INTO evidence (repository, digest, body) VALUES (?1, ?2, ?3)",
            (repository, digest, body),
        )?;
    }
    for (subject, row) in &batch.manifests {
        let (repository, digest) = super::keys(subject);
        execute(
            transaction,
            "INSERT OR REPLACE INTO manifests (repository, digest, media_type, confirmed_at) VALUES (?1, ?2, ?3, ?4)",
            (
                repository,
                digest,
                &row.media_type,
                row.confirmed_at.to_string(),
            ),
        )?;
    }
    for (parent, children) in &batch.parents {
        insert_hints(transaction, parent, children, hint)?;
    }
    for (repository, tag, row) in &batch.tags {
        execute(
            transaction,
            "INSERT OR REPLACE INTO tags (repository, tag, digest, resolved_at) VALUES (?1, ?2, ?3, ?4)",
            (
                repository.as_str(),
                tag.as_str(),
                row.digest.to_string(),
                row.resolved_at.to_string(),
            ),
        )?;
    }
    if batch.forgets_asked_tags {
        execute(transaction, "DELETE FROM asked_tags", [])?;
    }
    for (subject, tag) in &batch.asked_tags {
        insert_asked_tag(transaction, subject, tag)?;
    }
    for subject in &batch.confirmed_blobs {
        execute(
            transaction,
            "INSERT OR IGNORE INTO confirmed_blobs (repository, digest) VALUES (?1, ?2)",
            super::keys(subject),
        )?;
    }
    for subject in &batch.delivered_blobs {
        execute(
            transaction,
            "INSERT OR IGNORE INTO delivered_blobs (host, digest) VALUES (?1, ?2)",
            (subject.repository.host(), subject.digest.to_string()),
        )?;
    }
    Ok(())
}

fn insert_log(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    for record in &batch.records {
        decisions::insert(transaction, record, Part::Decisions)?;
    }
    for record in &batch.refusals {
        decisions::insert(transaction, record, Part::of_refusal(record))?;
    }
    for change in &batch.changes {
        changes::insert(transaction, change)?;
    }
    for (id, pulls) in &batch.counts {
        decisions::add_to_count(transaction, *id, *pulls)?;
    }
    for (id, refused) in &batch.refused_clients {
        clients::add(transaction, *id, refused)?;
    }
    Ok(())
}

fn insert_hints(
    transaction: &Transaction<'_>,
    parent: &Subject,
    children: &[Digest],
    hint: &mut i64,
) -> rusqlite::Result<()> {
    let (repository, parent) = super::keys(parent);
    for child in children {
        *hint += 1;
        execute(
            transaction,
            "INSERT OR REPLACE INTO parents (repository, child, parent, hint) VALUES (?1, ?2, ?3, ?4)",
            (&repository, child.to_string(), &parent, *hint),
        )?;
    }
    Ok(())
}

/// One more than is listed is kept, which says that there were too many.
fn insert_asked_tag(
    transaction: &Transaction<'_>,
    subject: &Subject,
    tag: &Tag,
) -> rusqlite::Result<()> {
    let (repository, digest) = super::keys(subject);
    let kept_max = i64::try_from(super::ASKED_TAGS_MAX).unwrap_or(i64::MAX);
    execute(
        transaction,
        "INSERT OR IGNORE INTO asked_tags (repository, digest, tag) SELECT ?1, ?2, ?3
         WHERE (SELECT COUNT(*) FROM asked_tags WHERE repository = ?1 AND digest = ?2) <= ?4",
        (repository, digest, tag.as_str(), kept_max),
    )
}

fn execute(
    transaction: &Transaction<'_>,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<()> {
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// What cannot be written as JSON cannot be bound as a value.
pub(super) fn unwritable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
