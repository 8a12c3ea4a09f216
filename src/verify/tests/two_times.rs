//! Signatures whose log entry and signed timestamp name different times: the certificate must hold at both.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::corpus::{self, Corpus};
use super::forge::{self, Key, Log, bundle_candidate};
use crate::limits::Limits;
use crate::signature::{Blob, Content};
use crate::verify::{Attempt, Demand, FailedCheck, Failure, Purpose, Signer, TrustedRoot, verify};

/// A bundle by an identity with an entry of Rekor v1 and a timestamp.
const CASE: &str = "kf-bundle-r1tsa";

/// The case with an entry of its own log, which says when it was made.
struct Scene {
    corpus: Corpus,
    log: Log,
    issued: Timestamp,
    expires: Timestamp,
    stamped: Timestamp,
}

impl Scene {
    fn new() -> Self {
        let corpus = Corpus::load();
        let candidate = corpus.candidates(corpus.case(CASE)).remove(0);
        let Content::Signed(signed) = candidate.content.as_ref() else {
            panic!("{candidate:?}");
        };
        let leaf = signed.certificate.as_ref().unwrap();
        let (issued, expires) = (leaf.not_before, leaf.not_after);
        let mut scene = Self {
            log: Log::new(),
            issued,
            expires,
            stamped: issued,
            corpus,
        };
        let Attempt::Proven(proof) = scene.judge(issued, &[]) else {
            panic!("the times of the certificate are good");
        };
        scene.stamped = proof.signed_timestamp.unwrap();
        assert!(issued <= scene.stamped && scene.stamped < expires);
        scene
    }

    /// What comes of the case logged at `time`, under a root with these windows of its certificate authority.
    fn judge(&self, time: Timestamp, windows: &[Value]) -> Attempt {
        self.judge_under(time, &self.root(&self.authorities(windows)))
    }

    fn judge_under(&self, time: Timestamp, root: &TrustedRoot) -> Attempt {
        let case = self.corpus.case(CASE);
        let artifact = self.corpus.artifacts(case).remove(0);
        let Some((_, Blob::Present(bytes))) = artifact.layers.first() else {
            panic!("{artifact:?}");
        };
        let mut bundle: Value = serde_json::from_slice(bytes).unwrap();
        let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
        let body = entry["canonicalizedBody"].as_str().unwrap();
        let body = forge::decoded(body);
        let promise = self.log.promise(&body, time.as_second(), 0);
        entry["logIndex"] = json!("0");
        entry["logId"]["keyId"] = json!(forge::base64(&self.log.id));
        entry["integratedTime"] = json!(time.as_second().to_string());
        entry["inclusionPromise"]["signedEntryTimestamp"] = json!(forge::base64(&promise));
        entry["inclusionProof"] = self.log.proof(&body);
        let demand = Demand {
            signer: Signer::Certificate,
            purpose: Purpose::Signature,
            trusted_root: root,
            transparency_log: true,
            signed_timestamp: true,
            sct: true,
            signed_name: None,
        };
        verify(
            &bundle_candidate(&bundle),
            &self.corpus.digest(case),
            &demand,
            &Limits::default(),
            corpus::now(),
        )
    }

    /// The authority of the case, once for each window.
    fn authorities(&self, windows: &[Value]) -> Vec<Value> {
        let mut authorities =
            vec![trust()["certificateAuthorities"][0].clone(); windows.len().max(1)];
        for (authority, window) in authorities.iter_mut().zip(windows) {
            authority["validFor"] = window.clone();
        }
        authorities
    }

    fn root(&self, authorities: &[Value]) -> TrustedRoot {
        let mut root = trust();
        let since = json!({"start": "2020-01-01T00:00:00Z"});
        root["tlogs"] = json!([self.log.entry_in_root(&since)]);
        root["certificateAuthorities"] = json!(authorities);
        TrustedRoot::from_json(&root.to_string()).unwrap()
    }

    fn refused(&self, time: Timestamp, windows: &[Value]) -> Box<Failure> {
        failure(self.judge(time, windows))
    }
}

fn trust() -> Value {
    let text = include_str!("../../../tests/fixtures/corpus/trust/trusted_root.json");
    serde_json::from_str(text).unwrap()
}

fn failure(attempt: Attempt) -> Box<Failure> {
    match attempt {
        Attempt::Failed(failure) => failure,
        other @ (Attempt::NotApplicable | Attempt::Proven(_)) => panic!("{other:?}"),
    }
}

/// An authority of the same name with another key.
fn namesake(authority: &Value) -> Value {
    let mut namesake = authority.clone();
    let certificates = namesake["certChain"]["certificates"].as_array_mut();
    for entry in certificates.unwrap() {
        let der = forge::decoded(entry["rawBytes"].as_str().unwrap());
        let mut certificate = Certificate::from_der(&der).unwrap();
        let key = SubjectPublicKeyInfoOwned::from_der(&Key::generate().der());
        certificate.tbs_certificate.subject_public_key_info = key.unwrap();
        entry["rawBytes"] = json!(forge::base64(&certificate.to_der().unwrap()));
    }
    namesake
}

const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn window(start: Timestamp, end: Timestamp) -> Value {
    json!({"start": start.to_string(), "end": end.to_string()})
}

#[test]
fn both_times_are_proven_and_the_earlier_counts() {
    let scene = Scene::new();
    for logged in [scene.issued, scene.stamped + SECOND, scene.expires] {
        let Attempt::Proven(proof) = scene.judge(logged, &[]) else {
            panic!("{logged} is within the validity of everything");
        };
        let entry = proof.transparency_log.unwrap();
        assert_eq!(entry.integrated_time, Some(logged));
        assert_eq!(proof.signed_timestamp, Some(scene.stamped));
        assert_eq!(proof.verified_time, Some(logged.min(scene.stamped)));
    }
}

#[test]
fn a_good_timestamp_does_not_make_up_for_the_time_in_the_log() {
    let scene = Scene::new();
    for (logged, words) in [
        (scene.expires + SECOND, "the certificate was valid until"),
        (scene.issued - SECOND, "the certificate was valid from"),
    ] {
        let failure = scene.refused(logged, &[]);
        assert_eq!(failure.check, FailedCheck::InvalidCertificate);
        assert!(failure.reason.starts_with(words), "{}", failure.reason);
    }
}

/// CVE-2026-24122: the authority counts at each of the times.
#[test]
fn the_authority_is_trusted_at_both_times() {
    let scene = Scene::new();
    let logged = scene.stamped + SECOND + SECOND;
    let trusted = window(scene.issued, logged);
    assert!(matches!(
        scene.judge(logged, &[trusted]),
        Attempt::Proven(_)
    ));
    let too_short = window(scene.issued, scene.stamped + SECOND);
    let failure = scene.refused(logged, std::slice::from_ref(&too_short));
    assert_eq!(failure.check, FailedCheck::InvalidCertificate);
    // Another authority's window is no help unless that one vouches then.
    let later = window(scene.stamped + SECOND, scene.expires);
    let both = [too_short, later];
    assert!(matches!(scene.judge(logged, &both), Attempt::Proven(_)));
}

#[test]
fn an_authority_of_the_same_name_does_not_stand_in_for_one_that_ended() {
    let scene = Scene::new();
    let logged = scene.stamped + SECOND + SECOND;
    let too_short = window(scene.issued, scene.stamped + SECOND);
    let later = window(scene.stamped + SECOND, scene.expires);
    let mut authorities = scene.authorities(&[too_short, later]);
    let both = scene.root(&authorities);
    assert!(matches!(
        scene.judge_under(logged, &both),
        Attempt::Proven(_)
    ));
    authorities[1] = namesake(&authorities[1]);
    let other_key = scene.root(&authorities);
    let failure = failure(scene.judge_under(logged, &other_key));
    assert_eq!(failure.check, FailedCheck::InvalidCertificate);
}
