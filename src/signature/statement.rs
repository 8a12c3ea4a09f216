//! The in-toto statement: which subjects, what is said of them, of which type (in-toto attestation framework v1).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{ParseFailure, json, simple_signing};
use crate::limits::Limits;
use crate::oci::Digest;

const STATEMENT_TYPES: [&str; 2] = [
    "https://in-toto.io/Statement/v0.1",
    "https://in-toto.io/Statement/v1",
];

/// Digests that one subject may have; sigstore-go has the same limit.
const SUBJECT_DIGESTS_MAX: usize = 32;

/// What a statement claims, without its predicate.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) predicate_type: String,
    /// Never empty.
    pub(crate) subjects: Vec<Subject>,
}

/// One thing that a statement is about.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    /// Hashes by algorithm, as they stand in the statement.
    digests: BTreeMap<String, String>,
    /// Signed with the statement; cosign v3 keeps `-a key=value` here.
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(borrow)]
    subject: Vec<&'a RawValue>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(Deserialize)]
struct WireSubject {
    #[serde(default)]
    name: Option<String>,
    digest: BTreeMap<String, String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Value>>,
}

/// Reads a statement that is about something.
pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Result<Statement, ParseFailure> {
    let broken = |error: serde_json::Error| {
        ParseFailure::malformed(format!(
            "the signed payload is not an in-toto statement: {error}"
        ))
    };
    let wire: Wire<'_> = json::parse(bytes).map_err(broken)?;
    if !STATEMENT_TYPES.contains(&wire.kind.as_str()) {
        return Err(ParseFailure::malformed(format!(
            "`{}` is not a known type of in-toto statement",
            wire.kind
        )));
    }
    if wire.subject.is_empty() {
        return Err(ParseFailure::malformed(
            "the in-toto statement has no subject, so it is about nothing",
        ));
    }
    if wire.subject.len() > limits.subjects_max {
        return Err(ParseFailure::limit(format!(
            "the in-toto statement has {} subjects, at most {} are read",
            wire.subject.len(),
            limits.subjects_max
        )));
    }
    let mut subjects = Vec::with_capacity(wire.subject.len());
    for raw in wire.subject {
        let subject: WireSubject = serde_json::from_str(raw.get()).map_err(broken)?;
        if subject.digest.len() > SUBJECT_DIGESTS_MAX {
            return Err(ParseFailure::limit(format!(
                "a subject of the in-toto statement has more than {SUBJECT_DIGESTS_MAX} digests"
            )));
        }
        subjects.push(Subject {
            name: subject.name.unwrap_or_default(),
            digests: subject.digest,
            annotations: simple_signing::scalars(subject.annotations.unwrap_or_default()),
        });
    }
    Ok(Statement {
        predicate_type: wire.predicate_type,
        subjects,
    })
}

impl Statement {
    /// The first subject with exactly this digest, compared as text.
    pub(crate) fn subject(&self, digest: &Digest) -> Option<&Subject> {
        let hex = digest.to_hex();
        self.subjects
            .iter()
            .find(|subject| subject.digests.get(digest.algorithm().as_str()) == Some(&hex))
    }

    /// What the statement is about, for a message.
    pub(crate) fn first_digest(&self) -> String {
        self.subjects
            .iter()
            .flat_map(|subject| &subject.digests)
            .map(|(algorithm, hex)| format!("{algorithm}:{hex}"))
            .next()
            .unwrap_or_else(|| "nothing with a digest".to_owned())
    }
}
