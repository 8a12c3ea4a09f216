//! Blobs: granted by an admitted manifest, then from memory, disk, or one transfer that all who ask for it share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;

use super::tag::Recalled;
use super::{CacheState, Caller, Missing, Pull, Refusal};
use crate::admission::{Admitted, Asked, BlobGrant};
use crate::decision_log::Subject;
use crate::shares::Party;
use crate::state::Batch;
use crate::store::{self, Begin, Source, StoredBlob, Transfer, TransferError};
use crate::{state, upstream};

/// So often a blob is granted again because the policies changed while its bytes were waited for.
const GRANTS_MAX: usize = 8;

/// Time for which a transfer of another repository is waited for that has not given its first byte. Its upstream may hang.
const FOLLOWED_FIRST_BYTE_TIME_MAX: Duration = Duration::from_secs(3);

/// An admitted blob.
#[derive(Debug)]
pub struct ServedBlob {
    /// What granted it.
    pub grant: Admitted<Arc<BlobGrant>>,
    /// Its size in bytes.
    pub size: u64,
    /// Where its bytes come from.
    pub body: BlobBody,
    /// The same, for the log.
    pub cache: CacheState,
}

/// Where a blob's bytes come from.
#[derive(Debug)]
pub enum BlobBody {
    /// All of it in memory.
    Memory(Bytes),
    /// A file.
    File(StoredBlob),
    /// A transfer that is under way.
    Transfer(Transfer),
}

impl Pull {
    /// The blob, if its grant is in memory and its bytes are at hand without asking anybody.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn remembered_blob(&self, subject: &Subject, now: Timestamp) -> Option<ServedBlob> {
        let grant = self.inner.admission.remembered_blob(subject, now)?;
        self.inner.confirmed.get(subject)?;
        self.at_hand(grant, subject).await.ok().flatten()
    }

    /// The blob.
    ///
    /// # Errors
    /// The refusal that the client gets.
    pub async fn blob(&self, subject: &Subject, caller: Caller) -> Result<ServedBlob, Refusal> {
        self.blob_by(subject, caller, false).await
    }

    /// The size of the blob, without bringing it here if it is not here yet.
    ///
    /// # Errors
    /// The refusal that the client gets.
    pub async fn blob_size(
        &self,
        subject: &Subject,
        caller: Caller,
    ) -> Result<ServedBlob, Refusal> {
        self.blob_by(subject, caller, true).await
    }

    async fn blob_by(
        &self,
        subject: &Subject,
        caller: Caller,
        size_only: bool,
    ) -> Result<ServedBlob, Refusal> {
        let asked = caller.asking(subject.digest.to_string());
        let admission = &self.inner.admission;
        let mut attempt = 1;
        loop {
            let grant = self.grant(subject, &asked).await?;
            let served = match self.granted(grant, subject, size_only).await {
                Ok(served) => served,
                Err(trouble) => {
                    if let Trouble::Upstream(error) = &trouble {
                        self.inner.absent.note_blob(subject, error);
                    }
                    return Err(self.refusal_for_trouble(trouble, subject, &asked).await);
                }
            };
            // The policies of the last grant were in force when it was made, and so after this was asked.
            if admission.still_grants(&served.grant, subject) || attempt == GRANTS_MAX {
                return Ok(served);
            }
            attempt += 1;
        }
    }

    async fn grant(
        &self,
        subject: &Subject,
        asked: &Asked,
    ) -> Result<Admitted<Arc<BlobGrant>>, Refusal> {
        let repository = &subject.repository;
        let recalled = self.recall_tags(subject, asked).await?;
        match self.inner.admission.grant_blob(subject, asked).await {
            Ok(Ok(grant)) => Ok(grant),
            Ok(Err(denial)) => match &recalled {
                Recalled::Unreachable(message) if denial.depends_on_tags() => {
                    Err(Recalled::undecided(subject, message))
                }
                Recalled::AllThereIs | Recalled::Unreachable(_) => {
                    Err(self.refuse(repository.as_str(), denial, asked).await)
                }
            },
            Err(error) => {
                let refusal = self.refusal_for(&error, repository, Missing::Blob, asked);
                Err(refusal.await)
            }
        }
    }

    async fn refusal_for_trouble(
        &self,
        trouble: Trouble,
        subject: &Subject,
        asked: &Asked,
    ) -> Refusal {
        let repository = &subject.repository;
        match trouble {
            Trouble::Upstream(error) => {
                self.refusal_for_upstream(error, repository, Missing::Blob, asked)
                    .await
            }
            Trouble::Storage(error) => {
                tracing::error!(%subject, error = &*error, "Could not read or store a blob");
                Refusal::Unavailable {
                    message: format!("{repository}: this proxy's storage is not available"),
                    retry_after: super::RETRY_AFTER,
                }
            }
        }
    }

    async fn granted(
        &self,
        grant: Admitted<Arc<BlobGrant>>,
        subject: &Subject,
        size_only: bool,
    ) -> Result<ServedBlob, Trouble> {
        let deadline = Instant::now() + self.inner.limits.decision_time_max;
        let size = grant.content().descriptor().size;
        if self.is_confirmed(subject).await?
            && let Some(served) = self.at_hand(grant.clone(), subject).await?
        {
            return Ok(served);
        }
        if let Some(absent) = self.inner.absent.blob(subject) {
            return Err(absent.into());
        }
        // Bytes that another repository brought here are served only after this one's upstream says it has them too. The
        // word of a host that never delivered them is worth nothing: to such a host's clients they are not here at all,
        // and the transfer below takes as long as if they were not.
        let has_delivered = self.has_delivered(subject).await?;
        if has_delivered && self.inner.store.open_blob(&subject.digest).await?.is_some() {
            self.ask_for(subject, size, deadline).await?;
            self.confirm(subject).await?;
            if let Some(served) = self.at_hand(grant.clone(), subject).await? {
                return Ok(served);
            }
        }
        if size_only {
            self.ask_for(subject, size, deadline).await?;
            return Ok(ServedBlob {
                grant,
                size,
                body: BlobBody::Memory(Bytes::new()),
                cache: CacheState::Upstream,
            });
        }
        let source = Source {
            repository: &subject.repository,
            has_delivered,
            follows_others: true,
        };
        self.transfer(grant, subject, deadline, source).await
    }

    /// The bytes from memory or disk.
    async fn at_hand(
        &self,
        grant: Admitted<Arc<BlobGrant>>,
        subject: &Subject,
    ) -> Result<Option<ServedBlob>, store::Error> {
        let size = grant.content().descriptor().size;
        let in_memory = self.inner.small_blobs.get(&subject.digest);
        // Another manifest may have granted it with another size. A wrong size is not at hand, as on disk.
        if let Some(bytes) = in_memory.filter(|it| u64::try_from(it.len()) == Ok(size)) {
            return Ok(Some(ServedBlob {
                grant,
                size,
                body: BlobBody::Memory(bytes),
                cache: CacheState::Memory,
            }));
        }
        if size <= self.inner.limits.memory_blob_bytes_max {
            let read = self.inner.store.get(&subject.digest, size).await?;
            let Some(bytes) = read.filter(|it| u64::try_from(it.len()) == Ok(size)) else {
                return Ok(None);
            };
            self.inner.small_blobs.insert(subject.digest, bytes.clone());
            return Ok(Some(ServedBlob {
                grant,
                size,
                body: BlobBody::Memory(bytes),
                cache: CacheState::Disk,
            }));
        }
        let Some(file) = self.inner.store.open_blob(&subject.digest).await? else {
            return Ok(None);
        };
        if file.size != size {
            return Ok(None);
        }
        Ok(Some(ServedBlob {
            grant,
            size,
            body: BlobBody::File(file),
            cache: CacheState::Disk,
        }))
    }

    /// Joins the transfer of the blob, or begins it. Returns once its first byte may be sent, so that until then every
    /// failure still has its status. The transfer goes on after `deadline`, so that the next request finds more of
    /// it.
    async fn transfer(
        &self,
        grant: Admitted<Arc<BlobGrant>>,
        subject: &Subject,
        deadline: Instant,
        source: Source<'_>,
    ) -> Result<ServedBlob, Trouble> {
        let size = grant.content().descriptor().size;
        let begun = self
            .inner
            .store
            .begin(&subject.digest, size, source)
            .await?;
        let (transfer, leads) = match begun {
            Begin::Lead(filling, transfer) => {
                let filling = super::fill::run(self.clone(), subject.clone(), size, filling);
                self.inner.tasks.spawn(Party::current().scope(filling));
                (transfer, true)
            }
            Begin::Follow(transfer) => {
                self.confirm_follower(&transfer, subject, size, deadline)
                    .await?;
                (transfer, false)
            }
        };
        let is_others = !leads && !transfer.is_from(&subject.repository);
        let wait_until = if is_others {
            deadline.min(Instant::now() + FOLLOWED_FIRST_BYTE_TIME_MAX)
        } else {
            deadline
        };
        let alone = Source {
            follows_others: false,
            ..source
        };
        match tokio::time::timeout_at(wait_until, transfer.readable_from(0)).await {
            Ok(Ok(())) => {}
            // Another repository's upstream failed its transfer: that says nothing about this one's.
            Ok(Err(TransferError::Upstream(_) | TransferError::WrongDigest))
                if !leads && source.follows_others =>
            {
                return Box::pin(self.transfer(grant, subject, deadline, alone)).await;
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_elapsed) if is_others && source.follows_others => {
                return Box::pin(self.transfer(grant, subject, deadline, alone)).await;
            }
            Err(_elapsed) => {
                return Err(Trouble::Upstream(upstream::Error::Failed {
                    host: subject.repository.host().to_owned(),
                    reason: "the blob did not begin to arrive in time".to_owned(),
                }));
            }
        }
        Ok(ServedBlob {
            grant,
            size,
            body: BlobBody::Transfer(transfer),
            cache: CacheState::Upstream,
        })
    }

    /// Asks this repository's own upstream for its word, which a follower needs of a transfer that comes from another
    /// repository of the host. A transfer from another host is never followed.
    async fn confirm_follower(
        &self,
        transfer: &Transfer,
        subject: &Subject,
        size: u64,
        deadline: Instant,
    ) -> Result<(), Trouble> {
        if transfer.is_from(&subject.repository) || self.is_confirmed(subject).await? {
            return Ok(());
        }
        self.ask_for(subject, size, deadline).await?;
        self.confirm(subject).await
    }

    /// Asks whether this repository's upstream holds the blob.
    async fn ask_for(
        &self,
        subject: &Subject,
        size: u64,
        deadline: Instant,
    ) -> Result<(), upstream::Error> {
        self.inner
            .upstream
            .confirm_blob(&subject.repository, &subject.digest, size, deadline)
            .await
    }

    pub(super) async fn is_confirmed(&self, subject: &Subject) -> Result<bool, Trouble> {
        if self.inner.confirmed.contains_key(subject) {
            return Ok(true);
        }
        let confirmed = self.inner.state.is_blob_confirmed(subject).await?;
        if confirmed {
            self.inner.confirmed.insert(subject.clone(), ());
        }
        Ok(confirmed)
    }

    /// Tells whether the host of the repository has delivered the blob before, for any of its repositories.
    async fn has_delivered(&self, subject: &Subject) -> Result<bool, Trouble> {
        let host = subject.repository.host();
        Ok(self
            .inner
            .state
            .is_blob_delivered(host, &subject.digest)
            .await?)
    }

    /// Remembers that this repository's upstream holds the blob.
    async fn confirm(&self, subject: &Subject) -> Result<(), Trouble> {
        let batch = Batch {
            confirmed_blobs: vec![subject.clone()],
            ..Batch::default()
        };
        self.note_confirmed(subject, batch).await
    }

    /// Remembers that this repository's upstream delivered the blob whole.
    pub(super) async fn note_delivered(&self, subject: &Subject) -> Result<(), Trouble> {
        let batch = Batch {
            confirmed_blobs: vec![subject.clone()],
            delivered_blobs: vec![subject.clone()],
            ..Batch::default()
        };
        self.note_confirmed(subject, batch).await
    }

    async fn note_confirmed(&self, subject: &Subject, batch: Batch) -> Result<(), Trouble> {
        self.inner.state.write(batch).await?;
        self.inner.confirmed.insert(subject.clone(), ());
        Ok(())
    }
}

/// Why granted bytes are not to be had.
#[derive(Debug)]
pub(super) enum Trouble {
    Upstream(upstream::Error),
    Storage(Box<dyn std::error::Error + Send + Sync>),
}

impl From<upstream::Error> for Trouble {
    fn from(error: upstream::Error) -> Self {
        Self::Upstream(error)
    }
}

impl From<store::Error> for Trouble {
    fn from(error: store::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<state::Error> for Trouble {
    fn from(error: state::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<TransferError> for Trouble {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Upstream(error) => Self::Upstream(error),
            TransferError::WrongDigest => Self::Upstream(upstream::Error::WrongDigest {
                host: "the upstream".to_owned(),
            }),
            TransferError::Store(_) | TransferError::Abandoned => Self::Storage(Box::new(error)),
        }
    }
}
