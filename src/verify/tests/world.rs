//! A signer, a log and a root that trusts the log.

use serde_json::{Value, json};

use super::forge::{
    Key, LOG_TIME, Log, SIGN_V1, annotation, envelope, hashed_rekord, now, payload, statement,
    subject,
};
use crate::limits::Limits;
use crate::signature::Candidate;
use crate::verify::{
    Attempt, Demand, Failure, Proof, PublicKey, Purpose, Signer, TrustedRoot, verify,
};

pub(super) struct World {
    pub(super) signer: Key,
    pub(super) public: PublicKey,
    pub(super) log: Log,
    pub(super) root: TrustedRoot,
}

impl World {
    pub(super) fn new() -> Self {
        let signer = Key::generate();
        let log = Log::new();
        Self {
            public: signer.public(),
            root: log.trusted_root(&json!({"start": "2020-01-01T00:00:00Z"})),
            signer,
            log,
        }
    }

    pub(super) fn demand(&self) -> Demand<'_> {
        Demand {
            signer: Signer::Key(&self.public),
            purpose: Purpose::Signature,
            trusted_root: &self.root,
            transparency_log: true,
            signed_timestamp: false,
            sct: true,
            signed_name: None,
        }
    }

    /// A legacy signature and its annotation for the log, both right.
    pub(super) fn legacy(&self) -> (Vec<u8>, Vec<u8>, Value) {
        let payload = payload(&subject().to_string(), "ghcr.io/org/app");
        let signature = self.signer.sign(&payload);
        let body = hashed_rekord(&payload, &signature, &self.signer.pem());
        (payload, signature, annotation(&self.log, &body, LOG_TIME))
    }

    pub(super) fn envelope(&self) -> Value {
        let statement = statement(SIGN_V1, &subject()).to_string();
        envelope(&self.signer, statement.as_bytes())
    }
}

pub(super) fn attempt(candidate: &Candidate, demand: &Demand<'_>) -> Attempt {
    verify(candidate, &subject(), demand, &Limits::default(), now())
}

pub(super) fn proven(candidate: &Candidate, demand: &Demand<'_>) -> Box<Proof> {
    match attempt(candidate, demand) {
        Attempt::Proven(proof) => proof,
        other @ (Attempt::NotApplicable | Attempt::Failed(_)) => panic!("{other:?}"),
    }
}

pub(super) fn failed(candidate: &Candidate, demand: &Demand<'_>) -> Box<Failure> {
    match attempt(candidate, demand) {
        Attempt::Failed(failure) => failure,
        other @ (Attempt::NotApplicable | Attempt::Proven(_)) => panic!("{other:?}"),
    }
}
