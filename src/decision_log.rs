//! The record of every decision: what it says, how it is written, how it is asked for.

mod access;
mod change;
mod clients;
mod entry;
mod json_lines;
mod kind;
mod line;
mod output;
mod past;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::oci::{Digest, DigestPrefix, RepositoryName};
use crate::signature::{Format, Source};
use crate::verify::TransparencyLog;

pub use access::{AccessClient, AccessLine, AccessLog};
pub use change::{Change, ChangeKind, ChangeQuery};
pub use clients::{CLIENTS_MAX, RefusedClient, RefusedClients};
pub use entry::{Entry, RECORD_BYTES_MAX};
pub use json_lines::JsonLines;
pub use kind::{KINDS, KindName, UnknownKind};
pub use output::{Destination, OpenError};
pub use past::{PastError, parse_past};

/// One decision with its evidence. Files, the admin API and the command line spell it alike, and every key is always
/// present.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Sorts by time.
    pub id: Ulid,
    /// When it was decided.
    pub time: Timestamp,
    /// Which process decided.
    pub replica: String,
    /// The canonical name.
    pub repository: String,
    /// Tag or digest as asked for.
    pub reference: String,
    /// The digest decided about; absent when none was known (a tag that could not be resolved).
    pub digest: Option<Digest>,
    /// What the tag pointed at before, if it moved.
    pub previous_digest: Option<Digest>,
    /// The manifest's media type, once known.
    pub media_type: Option<String>,
    /// The outcome.
    pub decision: Outcome,
    /// `enforce` or `audit`.
    pub mode: Mode,
    /// Why it was admitted.
    pub basis: Option<Basis>,
    /// Whether evidence or tag are older than they should be because the upstream could not be asked.
    pub stale: bool,
    /// What each source of signatures gave.
    pub sources: Vec<SourceReport>,
    /// Why it was refused, or would have been.
    pub denial: Option<DenialReport>,
    /// The policies that cover the name.
    pub policies: Vec<PolicyReport>,
    /// The signatures tried.
    pub attempts: Vec<AttemptReport>,
    /// Attempts and policies that are not listed, because a record takes at most [`RECORD_BYTES_MAX`] bytes. The key is
    /// absent where all are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// The parent that endorsed it.
    pub endorsed_by: Option<Digest>,
    /// Digests of the trusted roots that were used.
    pub trusted_root: Option<String>,
    /// Hash of the policies, keys and roots in force.
    pub configuration: Digest,
    /// The program's version.
    pub verifier: String,
    /// The client that asked first.
    pub client: Client,
    /// The clients that a refusal reached, at most [`CLIENTS_MAX`] and one entry for all others; absent for everything
    /// that is no refusal.
    #[serde(default)]
    pub clients: Option<Vec<RefusedClient>>,
    /// Where the time went.
    pub timing_ms: Timing,
    /// Pulls that reused the decision, as last written.
    pub count: u64,
}

/// The outcome of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Served.
    Admit,
    /// Refused.
    Deny,
    /// Could not be decided.
    Unavailable,
}

/// Whether a refusal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It does.
    Enforce,
    /// It is only recorded.
    Audit,
}

/// Why something was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Signatures of this digest satisfy every policy.
    Signature,
    /// An admitted index lists it.
    Endorsement,
    /// It is signature material.
    SignatureArtifact,
    /// Refused, and served because the policy only audits.
    Audit,
}

/// What a source of signatures gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// The source.
    pub source: Source,
    /// `found`, `none` or `failed`.
    pub outcome: SourceOutcome,
    /// How many artifacts.
    pub found: usize,
    /// Why it failed.
    pub reason: Option<String>,
}

/// How asking a source ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceOutcome {
    /// It has artifacts.
    Found,
    /// It has none.
    None,
    /// It is not known.
    Failed,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenialReport {
    /// The fixed word.
    pub kind: String,
    /// The sentence the client saw.
    pub message: String,
}

/// How a policy fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// Its name.
    pub name: String,
    /// Its hash.
    pub hash: Digest,
    /// Whether it was satisfied.
    pub satisfied: bool,
    /// Its authorities.
    pub authorities: Vec<AuthorityReport>,
}

/// How an authority fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityReport {
    /// Its name.
    pub name: String,
    /// Whether it vouched.
    pub satisfied: bool,
}

/// One signature tried against one authority.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttemptReport {
    /// Where it was found.
    pub source: Source,
    /// The artifact's manifest digest.
    pub artifact: Digest,
    /// Its format.
    pub format: Format,
    /// The authority's name.
    pub authority: String,
    /// `verified` or `failed`.
    pub outcome: AttemptOutcome,
    /// The kind of the check that failed first.
    pub kind: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// The predicate type, for DSSE content.
    pub predicate_type: Option<String>,
    /// What the certificate says.
    pub certificate: Option<CertificateReport>,
    /// The key.
    pub key: Option<KeyReport>,
    /// The log entry.
    pub transparency_log: Option<TransparencyLog>,
    /// The RFC 3161 time.
    pub signed_timestamp: Option<Timestamp>,
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// It proves what the authority demands.
    Verified,
    /// It does not.
    Failed,
}

/// A certificate in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateReport {
    /// The subject alternative name.
    pub identity: String,
    /// The OIDC issuer.
    pub oidc_issuer: String,
    /// In hex.
    pub serial: String,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// Fulcio extensions by name.
    pub extensions: BTreeMap<String, String>,
}

/// A key in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReport {
    /// How the configuration names it.
    pub reference: String,
    /// Its version at the key service, if it has one.
    pub version: Option<String>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub fingerprint: Digest,
}

/// Who asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The peer's address.
    pub address: Option<String>,
    /// The `User-Agent`.
    pub user_agent: Option<String>,
    /// The authenticated name.
    pub identity: Option<String>,
}

/// Where the time of a decision went, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Waiting for the manifest.
    pub upstream: f64,
    /// Looking for signatures.
    pub discovery: f64,
    /// Fetching keys.
    pub keys: f64,
    /// Verifying.
    pub verification: f64,
    /// Everything.
    pub total: f64,
}

/// What the log is asked for. Absent filters do not filter.
#[derive(Debug, Clone)]
pub struct Query {
    /// Canonical name, or a prefix ending in `*`.
    pub repository: Option<String>,
    /// A digest, or its beginning.
    pub digest: Option<DigestPrefix>,
    /// Exactly this outcome.
    pub decision: Option<Outcome>,
    /// Exactly this kind.
    pub kind: Option<KindName>,
    /// A policy that covered the name.
    pub policy: Option<String>,
    /// The certificate identity, key reference or key fingerprint of a signature that verified.
    pub signer: Option<String>,
    /// The address or identity of a client that asked for it first or was refused.
    pub client: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// At most so many, newest first.
    pub limit: usize,
    /// Older than this record.
    pub after: Option<Ulid>,
}

/// Decisions of one answer, newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Page {
    /// The decisions.
    pub decisions: Vec<Record>,
    /// The [`after`](Query::after) of the next page; absent on the last one.
    pub next: Option<Ulid>,
}

impl Page {
    /// Bytes of records after which a page ends. One record is on it however long it is.
    pub const BYTES_MAX: usize = 4 * 1024 * 1024;
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Record {
    /// Pulls that this decision answered: the one it was made for, and those that reused it.
    #[must_use]
    pub fn pulls(&self) -> u64 {
        self.count.saturating_add(1)
    }

    /// The clients of a decision that was just made: the one that asked, if the decision refuses it.
    #[must_use]
    pub fn first_client(
        decision: Outcome,
        client: &Client,
        now: Timestamp,
    ) -> Option<Vec<RefusedClient>> {
        (decision == Outcome::Deny).then(|| {
            vec![RefusedClient {
                client: client.clone(),
                count: 1,
                last: now,
            }]
        })
    }
}

impl Query {
    /// The number of records returned when the caller names none.
    pub const LIMIT_DEFAULT: usize = 100;
    /// The most records one answer has.
    pub const LIMIT_MAX: usize = 1000;
}

/// No filter, and as many records as when the caller names no number.
impl Default for Query {
    fn default() -> Self {
        Self {
            repository: None,
            digest: None,
            decision: None,
            kind: None,
            policy: None,
            signer: None,
            client: None,
            since: None,
            until: None,
            limit: Self::LIMIT_DEFAULT,
            after: None,
        }
    }
}

/// A repository name and digest: what a decision is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The canonical name.
    pub repository: RepositoryName,
    /// The digest.
    pub digest: Digest,
}
