//! Signed timestamps of signatures by keys.

use serde_json::{Value, json};

use super::corpus::{self, Corpus, root_json};
use super::forge::{bundle, bundle_candidate};
use super::world::{World, failed};
use crate::limits::Limits;
use crate::signature::Blob;
use crate::verify::{Attempt, Demand, FailedCheck, Purpose, Signer, TrustedRoot, verify};

/// A bundle by the key k1 with an entry of Rekor v2 and a timestamp.
const STAMPED: &str = "kt-bundle-r2";

fn demand<'a>(corpus: &'a Corpus, root: &'a TrustedRoot) -> Demand<'a> {
    Demand {
        signer: Signer::Key(corpus.key("k1.pub")),
        purpose: Purpose::Signature,
        trusted_root: root,
        transparency_log: true,
        signed_timestamp: false,
        sct: false,
        signed_name: None,
    }
}

/// The outcome for the stamped bundle: the check that failed, or whether a time is proven.
fn judge(corpus: &Corpus, demand: &Demand<'_>, now: jiff::Timestamp) -> Result<bool, FailedCheck> {
    let case = corpus.case(STAMPED);
    let candidate = corpus.candidates(case).remove(0);
    let digest = corpus.digest(case);
    match verify(&candidate, &digest, demand, &Limits::default(), now) {
        Attempt::Proven(proof) => {
            assert_eq!(proof.verified_time, proof.signed_timestamp);
            Ok(proof.verified_time.is_some())
        }
        Attempt::Failed(failure) => Err(failure.check),
        Attempt::NotApplicable => panic!("the bundle is a signature"),
    }
}

#[test]
fn a_timestamp_gives_a_key_signature_its_time() {
    let corpus = Corpus::load();
    let root = corpus.root("trusted_root.json");
    let accepted = demand(&corpus, root);
    let required = Demand {
        signed_timestamp: true,
        ..accepted
    };
    assert_eq!(judge(&corpus, &accepted, corpus::now()), Ok(true));
    assert_eq!(judge(&corpus, &required, corpus::now()), Ok(true));
    let early = "2026-11-01T00:00:00Z".parse().unwrap();
    assert_eq!(
        judge(&corpus, &accepted, early),
        Err(FailedCheck::Timestamp)
    );
}

#[test]
fn a_timestamp_by_an_unknown_authority_proves_nothing() {
    let corpus = Corpus::load();
    let root = corpus.root("trusted_root_no_tsa.json");
    let accepted = demand(&corpus, root);
    let required = Demand {
        signed_timestamp: true,
        ..accepted
    };
    assert_eq!(judge(&corpus, &accepted, corpus::now()), Ok(false));
    assert_eq!(
        judge(&corpus, &required, corpus::now()),
        Err(FailedCheck::Timestamp)
    );
}

#[test]
fn a_timestamp_of_another_signature_is_wrong_though_none_is_demanded() {
    let corpus = Corpus::load();
    let artifact = corpus.artifacts(corpus.case(STAMPED)).remove(0);
    let Some((_, Blob::Present(bytes))) = artifact.layers.first() else {
        panic!("{artifact:?}");
    };
    let stamped: Value = serde_json::from_slice(bytes).unwrap();
    let world = World::new();
    let mut bundle = bundle(&world.signer, &world.envelope());
    bundle["verificationMaterial"]["timestampVerificationData"] =
        stamped["verificationMaterial"]["timestampVerificationData"].clone();
    let demand = Demand {
        transparency_log: false,
        trusted_root: corpus.root("trusted_root.json"),
        ..world.demand()
    };
    let failure = failed(&bundle_candidate(&bundle), &demand);
    assert_eq!(failure.check, FailedCheck::Timestamp, "{}", failure.reason);
    bundle["verificationMaterial"]["timestampVerificationData"] =
        json!({"rfc3161Timestamps": [{"signedTimestamp": "AAAA"}]});
    let failure = failed(
        &bundle_candidate(&bundle),
        &Demand {
            signed_timestamp: true,
            ..demand
        },
    );
    assert_eq!(failure.check, FailedCheck::Timestamp);
}

/// cosign asks for tokens without the certificate of the authority.
#[test]
fn timestamp_without_its_certificate_needs_that_of_the_root() {
    let corpus = Corpus::load();
    let mut root = root_json();
    let certificates = &mut root["timestampAuthorities"][0]["certChain"]["certificates"];
    certificates.as_array_mut().unwrap().remove(0);
    let root = TrustedRoot::from_json(&root.to_string()).unwrap();
    assert!(root.notes().is_empty(), "{:?}", root.notes());
    let accepted = demand(&corpus, &root);
    let required = Demand {
        signed_timestamp: true,
        ..accepted
    };
    assert_eq!(judge(&corpus, &accepted, corpus::now()), Ok(false));
    assert_eq!(
        judge(&corpus, &required, corpus::now()),
        Err(FailedCheck::Timestamp)
    );
}
