//! One data directory in front of a registry, and processes that decide with it. Time is what the test says.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::question::{now, repository};
use super::registry::{Pushed, Registry};
use crate::admission::{
    Admission, Admitted, Asked, BlobGrant, Decision, Denial, Error, Freshness, Outcome, Parts,
    Reliance, Sink,
};
use crate::decision_log::{Basis, Client, Entry, Query, Record, Subject};
use crate::discovery::Discovery;
use crate::in_force::{Configured, InForce};
use crate::limits::Limits;
use crate::manifests::Manifests;
use crate::oci::Digest;
use crate::policy::{DefaultAction, Exception, Policies, Policy, Revoked};
use crate::shares::{Ledger, Reading};
use crate::state::{Batch, State};
use crate::store::Store;
use crate::upstream::Upstream;

/// Keeps the records it is told of.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<Record>>);

#[async_trait]
impl Sink for Told {
    async fn recorded(&self, record: &Entry) {
        self.0.lock().unwrap().push(record.clone().into_record());
    }
}

/// What a process is told at its start.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) default: Option<DefaultAction>,
    pub(super) revoked: Revoked,
    pub(super) exceptions: Vec<Exception>,
    pub(super) limits: Limits,
    pub(super) freshness: Freshness,
    pub(super) reliance: Reliance,
}

/// One data directory in front of one registry.
pub(super) struct House {
    pub(super) registry: Arc<Registry>,
    pub(super) state: State,
    pub(super) store: Store,
    pub(super) directory: TempDir,
    tasks: TaskTracker,
}

impl House {
    /// Returns the newest records of the log.
    pub(super) async fn records(&self) -> Vec<Record> {
        let page = self.state.records(Query::default()).await.unwrap();
        page.decisions
    }

    pub(super) async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let tasks = TaskTracker::new();
        Self {
            registry: Arc::default(),
            state: State::open(directory.path()).unwrap(),
            store: Store::open(directory.path(), u64::MAX, &tasks)
                .await
                .unwrap(),
            directory,
            tasks,
        }
    }

    /// A process that remembers nothing and has these policies.
    pub(super) fn process(&self, policies: Vec<Policy>) -> Process<'_> {
        self.process_with(policies, Settings::default())
    }

    pub(super) fn process_with(&self, policies: Vec<Policy>, settings: Settings) -> Process<'_> {
        let upstream = Arc::<Registry>::clone(&self.registry);
        self.process_before(upstream, policies, settings)
    }

    /// A process in front of another registry than the house's.
    pub(super) fn process_before(
        &self,
        upstream: Arc<dyn Upstream>,
        policies: Vec<Policy>,
        settings: Settings,
    ) -> Process<'_> {
        let limits = Arc::new(settings.limits);
        let in_force = in_force(policies, settings.default, settings.revoked, &limits);
        let exceptions = settings.exceptions.into_iter().map(Arc::new).collect();
        let told = Arc::new(Told::default());
        let admission = Admission::new(Parts {
            in_force: InForce::fixed(Arc::new(in_force.excepting(exceptions))),
            manifests: Manifests::new(
                self.store.clone(),
                self.state.clone(),
                Arc::clone(&upstream),
                Arc::clone(&limits),
                Reading::open(&Ledger::default(), &limits),
            ),
            discovery: Discovery::new(upstream, Arc::clone(&limits)),
            state: self.state.clone(),
            store: self.store.clone(),
            limits,
            freshness: settings.freshness,
            reliance: settings.reliance,
            replica: "one".to_owned(),
            sink: Arc::<Told>::clone(&told),
            tasks: self.tasks.clone(),
        });
        Process {
            house: self,
            admission,
            told,
        }
    }

    /// Claims in the state that `parent` lists `child`.
    pub(super) async fn hint(&self, parent: &Digest, child: &Digest) {
        let batch = Batch {
            parents: vec![(subject(parent), vec![*child])],
            ..Batch::default()
        };
        self.state.write(batch).await.unwrap();
    }

    /// Waits for what goes on in the background.
    async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

pub(super) fn in_force(
    policies: Vec<Policy>,
    default: Option<DefaultAction>,
    revoked: Revoked,
    limits: &Limits,
) -> Policies {
    let policies = policies
        .into_iter()
        .map(|policy| Arc::new(policy.with_hash()))
        .collect();
    Policies::new(
        policies,
        default.unwrap_or(DefaultAction::Deny),
        revoked,
        limits,
    )
}

pub(super) fn subject(digest: &Digest) -> Subject {
    Subject {
        repository: repository(),
        digest: *digest,
    }
}

pub(super) fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds))
        .unwrap()
}

/// Decides, in words.
pub(super) struct Process<'h> {
    house: &'h House,
    pub(super) admission: Admission,
    told: Arc<Told>,
}

impl Process<'_> {
    /// The basis of an admission, the kind of a denial, or `unavailable`; a failure in words of its own. As asked
    /// through the server: from memory if that holds.
    pub(super) async fn decide(&self, pushed: &Pushed) -> String {
        self.decide_at(pushed, now()).await
    }

    pub(super) async fn decide_at(&self, pushed: &Pushed, now: Timestamp) -> String {
        self.decide_as(pushed, &asked(now)).await
    }

    pub(super) async fn decide_as(&self, pushed: &Pushed, asked: &Asked) -> String {
        let subject = subject(&pushed.digest);
        let decided = match self.admission.remembered(&subject, asked.now) {
            Some(decision) => Ok(decision),
            None => self.admission.decide(&subject, None, asked).await,
        };
        self.house.settle().await;
        match decided {
            Ok(decision) => words(&decision),
            Err(error) => format!("{error:?}"),
        }
    }

    /// Puts other policies in force while the process runs.
    pub(super) fn reconfigure(&self, policies: Vec<Policy>, revoked: Revoked) {
        let limits = Arc::new(Limits::default());
        let policies = in_force(policies, None, revoked, &limits);
        self.admission.inner.in_force.replace(Configured {
            policies: Arc::new(policies),
            limits,
            keys: None,
            roots: None,
        });
    }

    pub(super) async fn grant(
        &self,
        blob: &Digest,
        now: Timestamp,
    ) -> Result<Result<Admitted<Arc<BlobGrant>>, Denial>, Arc<Error>> {
        let granted = self.admission.grant_blob(&subject(blob), &asked(now)).await;
        self.house.settle().await;
        granted
    }

    /// `granted`, the kind of the denial, or that it cannot be decided.
    pub(super) async fn grants(&self, blob: &Digest) -> String {
        match self.grant(blob, now()).await {
            Ok(Ok(_granted)) => "granted".to_owned(),
            Ok(Err(denial)) => denial.kind.as_str().to_owned(),
            Err(error) if matches!(*error, Error::Undecided(_)) => "undecided".to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    /// The record of the decision that was made last.
    pub(super) fn last_record(&self) -> Record {
        self.told.0.lock().unwrap().last().unwrap().clone()
    }
}

pub(super) fn asked(now: Timestamp) -> Asked {
    Asked {
        reference: "v1".to_owned(),
        previous_digest: None,
        stale_tag: false,
        anew: false,
        client: Client {
            address: None,
            user_agent: None,
            identity: None,
        },
        now,
    }
}

fn words(decision: &Decision) -> String {
    match &decision.outcome {
        Outcome::Admit { basis, .. } => match basis {
            Basis::Signature => "signature",
            Basis::Endorsement => "endorsement",
            Basis::SignatureArtifact => "signature_artifact",
            Basis::Audit => "audit",
        },
        Outcome::Deny(denial) => denial.kind.as_str(),
        Outcome::Unavailable { .. } => "unavailable",
    }
    .to_owned()
}
