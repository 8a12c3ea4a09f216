//! One image decided about by the server's own engine, without a server: nothing is listened on, and nothing is kept.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use tempfile::TempDir;
use ulid::Ulid;

use super::chain;
use super::image::ImageReference;
use crate::admission::{Denial, Kind};
use crate::app::Engine;
use crate::clock;
use crate::config::Config;
use crate::decision_log::{Client, Destination, Query, Record, Subject};
use crate::oci::Digest;
use crate::policy::Root;
use crate::pull::{Caller, Missing, Refusal, ServedManifest, decision_id};
use crate::state::EvidenceSource;

/// How long fetching trusted roots may take.
const ROOTS_TIME_MAX: Duration = Duration::from_secs(10);

/// An image, what was decided about it, and the engine that decided.
#[derive(Debug)]
pub(super) struct Judgement {
    /// What the proxy would do.
    pub(super) answer: Answer,
    /// The record of the decision, where one was made.
    pub(super) record: Option<Record>,
    engine: Engine,
    image: ImageReference,
    /// Removed with its content when the judgement is dropped.
    _directory: TempDir,
}

/// What the proxy would do with a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Serve it.
    Admit {
        /// The digest of what is served.
        digest: Digest,
        /// What an auditing policy would have refused.
        warning: Option<String>,
    },
    /// Refuse it.
    Deny {
        /// The fixed word.
        kind: Kind,
        /// The policy that refuses it.
        policy: Option<String>,
        /// The sentence that the client sees, without the decision's id: no log contains it.
        message: String,
    },
    /// Say that it does not know.
    Undecided {
        /// `not_found`, `unavailable`, `bad_upstream` or `internal`.
        kind: &'static str,
        /// What is missing.
        message: String,
    },
}

/// A record as commands print it that keep no log: its id is null, because no log contains it.
#[derive(Debug)]
pub(super) struct UnloggedRecord<'record>(pub(super) &'record Record);

impl Serialize for UnloggedRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = self.0.clone();
        if let Some(denial) = &mut record.denial {
            denial.message = Denial::unnamed(&denial.message, record.id).to_owned();
        }
        let mut value = serde_json::to_value(&record).map_err(S::Error::custom)?;
        if let Some(id) = value.get_mut("id") {
            *id = serde_json::Value::Null;
        }
        value.serialize(serializer)
    }
}

/// The program was not able to ask; the text says why.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// There is no place for temporary files.
    #[error("cannot make a temporary directory")]
    Directory(#[source] std::io::Error),
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] crate::app::Error),
    /// The record of the decision is not to be had.
    #[error("cannot read the record of the decision")]
    Record(#[source] crate::state::Error),
}

/// Decides about `image` as a proxy with `config` and no memory would.
pub(super) async fn judge(mut config: Config, image: ImageReference) -> Result<Judgement, Error> {
    let directory = tempfile::tempdir().map_err(Error::Directory)?;
    directory.path().clone_into(&mut config.data_dir);
    let engine = Engine::build(&config, &Destination::Nowhere).await?;
    fetch_roots(&engine, &image).await;
    let served = pull(&engine, &image, clock::now()).await;
    let record = find_record(&engine, &image, decision_id(&served)).await?;
    Ok(Judgement {
        answer: Answer::new(&image, &served),
        record,
        engine,
        image,
        _directory: directory,
    })
}

/// What the engine does with a pull of `image`, asked for at `now`.
pub(super) async fn pull(
    engine: &Engine,
    image: &ImageReference,
    now: Timestamp,
) -> Result<ServedManifest, Refusal> {
    let caller = caller(now);
    let host = image.repository.host();
    if engine.pull.is_configured(host) {
        let pulling = engine
            .pull
            .manifest(&image.repository, &image.reference, caller);
        pulling.await
    } else {
        Err(engine.pull.refuse_host(host, caller).await)
    }
}

/// Who asks from here.
pub(super) fn caller(now: Timestamp) -> Caller {
    let client = Client {
        user_agent: Some(concat!("countersign/", env!("CARGO_PKG_VERSION")).to_owned()),
        ..Client::default()
    };
    Caller { client, now }
}

/// Fetches the trusted roots that the decision needs and that are not there yet, once: nothing does so in the
/// background here. Why one cannot be had is in the answer.
pub(super) async fn fetch_roots(engine: &Engine, image: &ImageReference) {
    let Some(roots) = engine.in_force.configured().roots else {
        return;
    };
    let policies = engine.in_force.snapshot();
    let needed: BTreeSet<_> = policies
        .concerning(&image.repository)
        .flat_map(|policy| policy.needing_shared_root())
        .filter(|authority| matches!(authority.trusted_root, Root::Unusable { .. }))
        .map(|authority| authority.trusted_root_name.clone())
        .collect();
    let now = clock::now();
    let fetching = needed.iter().map(|name| roots.refresh(name, now));
    drop(tokio::time::timeout(ROOTS_TIME_MAX, join_all(fetching)).await);
    engine.in_force.take_in();
}

impl Judgement {
    /// What every source of signatures has, those included that were not needed for the decision, once they have all
    /// answered or taken too long. Empty when no source was asked.
    pub(super) async fn all_sources(self) -> Result<Vec<EvidenceSource>, Error> {
        let state = self.engine.state.clone();
        self.engine.settle().await;
        let Some(digest) = self.record.and_then(|record| record.digest) else {
            return Ok(Vec::new());
        };
        let subject = Subject {
            repository: self.image.repository,
            digest,
        };
        let evidence = state.evidence(&subject).await.map_err(Error::Record)?;
        Ok(evidence.map_or_else(Vec::new, |evidence| evidence.sources))
    }
}

/// The record with this id; without one, the only one there can be.
async fn find_record(
    engine: &Engine,
    image: &ImageReference,
    id: Option<Ulid>,
) -> Result<Option<Record>, Error> {
    let found = match id {
        Some(id) => engine.state.record(id).await,
        None => {
            let query = Query {
                repository: Some(image.repository.to_string()),
                limit: 1,
                ..Query::default()
            };
            let page = engine.state.records(query).await;
            page.map(|page| page.decisions.into_iter().next())
        }
    };
    found.map_err(Error::Record)
}

// === impl Answer ===

impl Answer {
    pub(super) fn new(image: &ImageReference, served: &Result<ServedManifest, Refusal>) -> Self {
        match served {
            Ok(served) => Self::Admit {
                digest: served.manifest.content().subject.digest,
                warning: served.manifest.warning().map(|warning| {
                    let id = served.manifest.decision().id;
                    Denial::unnamed(&warning.message, id).to_owned()
                }),
            },
            Err(Refusal::Denied(refused)) => Self::Deny {
                kind: refused.denial.kind,
                policy: refused.denial.policy.clone(),
                message: match refused.decision {
                    Some(id) => Denial::unnamed(&refused.denial.message, id).to_owned(),
                    None => refused.denial.message.to_string(),
                },
            },
            Err(Refusal::NotFound(missing)) => Self::Undecided {
                kind: "not_found",
                message: match missing {
                    Missing::Manifest | Missing::Blob => format!("{image} does not exist"),
                    Missing::Name => format!("there is no repository {}", image.repository),
                },
            },
            Err(Refusal::Unavailable { message, .. }) => Self::Undecided {
                kind: "unavailable",
                message: message.clone(),
            },
            Err(Refusal::BadUpstream { message }) => Self::Undecided {
                kind: "bad_upstream",
                message: message.clone(),
            },
            Err(Refusal::Internal(error)) => Self::Undecided {
                kind: "internal",
                message: chain(error.as_ref()),
            },
        }
    }

    /// 0 admitted, 1 refused, 2 could not tell.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Admit { .. } => 0,
            Self::Deny { .. } => super::EXIT_NO,
            Self::Undecided { .. } => super::EXIT_UNDECIDED,
        }
    }
}
