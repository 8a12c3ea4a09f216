//! Signatures by identities: what the corpus does not have is made from it by changing what is trusted or when it is.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::corpus::{self, Corpus, root_json};
use crate::limits::Limits;
use crate::signature::{Candidate, Content};
use crate::verify::{
    Attempt, Demand, FailedCheck, ProvenSigner, Purpose, Signer, TrustedRole, TrustedRoot, verify,
};

fn demand(root: &TrustedRoot) -> Demand<'_> {
    Demand {
        signer: Signer::Certificate,
        purpose: Purpose::Signature,
        trusted_root: root,
        transparency_log: true,
        signed_timestamp: false,
        sct: true,
        signed_name: None,
    }
}

fn attempt_at(
    corpus: &Corpus,
    id: &str,
    demand: &Demand<'_>,
    now: Timestamp,
) -> (Candidate, Attempt) {
    let case = corpus.case(id);
    let candidate = corpus.candidates(case).remove(0);
    let attempt = verify(
        &candidate,
        &corpus.digest(case),
        demand,
        &Limits::default(),
        now,
    );
    (candidate, attempt)
}

fn failed_check(attempt: &Attempt) -> Option<FailedCheck> {
    match attempt {
        Attempt::Failed(failure) => Some(failure.check),
        Attempt::Proven(_) | Attempt::NotApplicable => None,
    }
}

#[test]
fn a_proof_says_who_and_when() {
    let corpus = Corpus::load();
    let demand = demand(corpus.root("trusted_root.json"));
    let (candidate, attempt) = attempt_at(&corpus, "kf-bundle-r1tsa", &demand, corpus::now());
    let Attempt::Proven(proof) = attempt else {
        panic!("{attempt:?}");
    };
    let ProvenSigner::Certificate(certificate) = &proof.signer else {
        panic!("{:?}", proof.signer);
    };
    let Content::Signed(signed) = candidate.content.as_ref() else {
        panic!("{candidate:?}");
    };
    let leaf = signed.certificate.as_ref().unwrap();
    assert_eq!(Ok(&certificate.identity), leaf.identity.as_ref());
    assert_eq!(
        certificate.oidc_issuer,
        "https://token.actions.githubusercontent.com"
    );
    assert_eq!(certificate.extensions["issuer"], certificate.oidc_issuer);
    assert_eq!(certificate.extensions["github_workflow_trigger"], "push");
    assert_eq!(
        certificate.extensions["source_repository_uri"],
        "https://github.com/external-secrets/external-secrets"
    );
    assert!(certificate.not_before < certificate.not_after);
    assert!(!certificate.serial.is_empty());
    let log = proof.transparency_log.as_ref().unwrap();
    assert_eq!(log.log_id.len(), 64);
    let times = [
        log.integrated_time.unwrap(),
        proof.signed_timestamp.unwrap(),
    ];
    assert_eq!(proof.verified_time, times.iter().min().copied());
    let within = certificate.not_before..=certificate.not_after;
    assert!(times.iter().all(|time| within.contains(time)));
}

#[test]
fn a_rekor_v2_entry_gives_no_time() {
    let corpus = Corpus::load();
    let demand = demand(corpus.root("trusted_root.json"));
    let (_, attempt) = attempt_at(&corpus, "kfb-r2-control", &demand, corpus::now());
    let Attempt::Proven(proof) = attempt else {
        panic!("{attempt:?}");
    };
    assert_eq!(proof.transparency_log.unwrap().integrated_time, None);
    assert_eq!(proof.verified_time, proof.signed_timestamp);
    assert!(proof.signed_timestamp.is_some());
}

#[test]
fn no_signature_is_from_the_future() {
    let corpus = Corpus::load();
    let root = corpus.root("trusted_root.json");
    let early = "2026-11-01T00:00:00Z".parse().unwrap();
    let logged = demand(root);
    let (_, attempt) = attempt_at(&corpus, "kf-legacy-gh", &logged, early);
    assert_eq!(failed_check(&attempt), Some(FailedCheck::TransparencyLog));
    let stamped = Demand {
        transparency_log: false,
        ..logged
    };
    let (_, attempt) = attempt_at(&corpus, "kf-legacy-tsa-only", &stamped, early);
    assert_eq!(failed_check(&attempt), Some(FailedCheck::Timestamp));
    let (_, attempt) = attempt_at(&corpus, "kf-legacy-tsa-only", &stamped, corpus::now());
    assert!(matches!(attempt, Attempt::Proven(_)), "{attempt:?}");
}

#[test]
fn reasons_name_the_times() {
    let corpus = Corpus::load();
    let demand = demand(corpus.root("trusted_root.json"));
    for (id, words) in [
        ("n-kfl-expired", "the certificate was valid until"),
        ("n-kfl-notyet", "the certificate was valid from"),
        ("n-kfb-expired", "the certificate was valid until"),
    ] {
        let (_, attempt) = attempt_at(&corpus, id, &demand, corpus::now());
        let Attempt::Failed(failure) = attempt else {
            panic!("{id}: {attempt:?}");
        };
        assert!(
            failure.reason.starts_with(words),
            "{id}: {}",
            failure.reason
        );
        assert!(failure.certificate.is_some());
    }
}

/// CVE-2026-24122: the whole chain counts, at the time of signing and when the certificate was issued.
#[test]
fn the_authority_must_be_valid_at_every_time() {
    let corpus = Corpus::load();
    let right = demand(corpus.root("trusted_root.json"));
    let (candidate, _) = attempt_at(&corpus, "kf-legacy-gh", &right, corpus::now());
    let Content::Signed(signed) = candidate.content.as_ref() else {
        panic!("{candidate:?}");
    };
    let leaf = signed.certificate.as_ref().unwrap();
    let signed_at = signed.log_entries[0].integrated_time.unwrap();
    let second = SignedDuration::from_secs(1);
    let trusting = |start: Timestamp, end: Timestamp| {
        let mut root = root_json();
        root["certificateAuthorities"][0]["validFor"] =
            json!({"start": start.to_string(), "end": end.to_string()});
        TrustedRoot::from_json(&root.to_string()).unwrap()
    };
    for (start, end, right) in [
        (leaf.not_before, leaf.not_after, true),
        (leaf.not_before - second, signed_at - second, false),
        (signed_at + second, leaf.not_after, false),
    ] {
        let root = trusting(start, end);
        let (_, attempt) = attempt_at(&corpus, "kf-legacy-gh", &demand(&root), corpus::now());
        let expected = (!right).then_some(FailedCheck::InvalidCertificate);
        assert_eq!(
            failed_check(&attempt),
            expected,
            "{start} {end}: {attempt:?}"
        );
    }
    // The window in the root may be wider than the certificates are valid (2020 to 2070).
    let wide = trusting(
        "2000-01-01T00:00:00Z".parse().unwrap(),
        "2200-01-01T00:00:00Z".parse().unwrap(),
    );
    wide.check_authority(leaf, []).unwrap();
    for outside in ["2019-12-31T23:59:59Z", "2070-01-01T00:00:01Z"] {
        assert!(
            wide.check_authority(leaf, [&outside.parse().unwrap()])
                .is_err(),
            "{outside}"
        );
    }
    let mut root = root_json();
    root["timestampAuthorities"][0]["validFor"] =
        json!({"start": "2000-01-01T00:00:00Z", "end": "2200-01-01T00:00:00Z"});
    let wide = TrustedRoot::from_json(&root.to_string()).unwrap();
    let window = wide.timestamp_authorities[0].valid_for.unwrap();
    assert!(!window.contains("2019-12-31T23:59:59Z".parse().unwrap()));
    assert!(!window.contains("2070-01-01T00:00:01Z".parse().unwrap()));
    let mut nobody = root_json();
    nobody["certificateAuthorities"] = json!([]);
    let nobody = TrustedRoot::from_json(&nobody.to_string()).unwrap();
    assert!(nobody.check_authority(leaf, []).is_err());
}

#[test]
fn an_authority_trusted_only_after_it_issued_is_not_enough() {
    let corpus = Corpus::load();
    for case in &corpus.cases {
        for candidate in corpus.candidates(case) {
            let Content::Signed(signed) = candidate.content.as_ref() else {
                continue;
            };
            let Some(leaf) = &signed.certificate else {
                continue;
            };
            let Some(signed_at) = signed
                .log_entries
                .first()
                .and_then(|entry| entry.integrated_time)
            else {
                continue;
            };
            let demand = demand(corpus.root("trusted_root.json"));
            let judge = |demand: &Demand<'_>| {
                verify(
                    &candidate,
                    &corpus.digest(case),
                    demand,
                    &Limits::default(),
                    corpus::now(),
                )
            };
            if leaf.not_before >= signed_at || !matches!(judge(&demand), Attempt::Proven(_)) {
                continue;
            }
            let mut root = root_json();
            root["certificateAuthorities"][0]["validFor"]["start"] = json!(signed_at.to_string());
            let root = TrustedRoot::from_json(&root.to_string()).unwrap();
            let attempt = judge(&Demand {
                trusted_root: &root,
                ..demand
            });
            assert_eq!(
                failed_check(&attempt),
                Some(FailedCheck::InvalidCertificate)
            );
            return;
        }
    }
    panic!("the corpus has no certificate that was used later than it was issued");
}

/// A root comes from the trusted root; one that came along is not even tried.
#[test]
fn self_signed_certificates_of_a_chain_are_left_out() {
    let corpus = Corpus::load();
    let mut intermediates = 0;
    for candidate in corpus.cases.iter().flat_map(|case| corpus.candidates(case)) {
        let Content::Signed(signed) = candidate.content.as_ref() else {
            continue;
        };
        for intermediate in signed
            .certificate
            .iter()
            .flat_map(|leaf| &leaf.intermediates)
        {
            intermediates += 1;
            assert_ne!(intermediate.subject, intermediate.issuer);
        }
    }
    assert!(intermediates > 0);
}

#[test]
fn trusted_roots() {
    let root = TrustedRoot::public_good().unwrap();
    assert_eq!(root.digest, TrustedRoot::public_good().unwrap().digest);
    let mut roles = root.authorities().iter().map(|it| it.role);
    assert!(roles.any(|role| role == TrustedRole::TransparencyLog));
    for text in ["", "{}", "[]", "null"] {
        assert!(TrustedRoot::from_json(text).is_err(), "{text}");
    }
    let mut backwards = root_json();
    backwards["certificateAuthorities"][0]["validFor"] =
        json!({"start": "2026-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"});
    assert!(TrustedRoot::from_json(&backwards.to_string()).is_err());
    let mut broken = root_json();
    broken["tlogs"][0]["publicKey"]["rawBytes"] = json!("AAAA");
    assert!(TrustedRoot::from_json(&broken.to_string()).is_err());
}
