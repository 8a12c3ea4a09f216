//! Whom a trusted root believes, and when. The windows of certificate authorities and logs are tested beside them.

use serde_json::{Value, json};

use super::corpus::{self, Corpus, root_json};
use super::forge::{bundle, bundle_candidate, entry};
use super::world::{World, attempt, failed};
use crate::limits::Limits;
use crate::verify::{Attempt, Demand, Purpose, Signer, TrustedRole, TrustedRoot, verify};

/// Whether a case of the corpus is proven when the windows at `pointer` are these.
fn is_proven(case: &str, signer: Signer<'_>, pointer: &str, window: &Value) -> bool {
    let corpus = Corpus::load();
    let mut root = root_json();
    *root.pointer_mut(pointer).unwrap() = window.clone();
    let root = TrustedRoot::from_json(&root.to_string()).unwrap();
    let case = corpus.case(case);
    let is_certificate = matches!(signer, Signer::Certificate);
    let demand = Demand {
        signer,
        purpose: Purpose::Signature,
        trusted_root: &root,
        transparency_log: true,
        signed_timestamp: !is_certificate,
        sct: is_certificate,
        signed_name: None,
    };
    let candidate = corpus.candidates(case).remove(0);
    let digest = corpus.digest(case);
    let attempt = verify(
        &candidate,
        &digest,
        &demand,
        &Limits::default(),
        corpus::now(),
    );
    matches!(attempt, Attempt::Proven(_))
}

fn windows() -> [(Value, bool); 3] {
    [
        (
            json!({"start": "2020-01-01T00:00:00Z", "end": "2060-01-01T00:00:00Z"}),
            true,
        ),
        (
            json!({"start": "2020-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}),
            false,
        ),
        (json!({"start": "2030-01-01T00:00:00Z"}), false),
    ]
}

#[test]
fn cve_2026_54787_timestamp_authorities_count_in_their_window() {
    let corpus = Corpus::load();
    for (window, expected) in windows() {
        let key = Signer::Key(corpus.key("k1.pub"));
        let proven = is_proven(
            "kt-bundle-r2",
            key,
            "/timestampAuthorities/0/validFor",
            &window,
        );
        assert_eq!(proven, expected, "{window}");
    }
}

#[test]
fn cve_2026_54787_certificate_logs_count_in_their_window() {
    for (window, expected) in windows() {
        let pointer = "/ctlogs/0/publicKey/validFor";
        let proven = is_proven("kf-legacy-gh", Signer::Certificate, pointer, &window);
        assert_eq!(proven, expected, "{window}");
    }
}

/// Rekor v2 gives no time of its own, so its key must have been valid when the timestamp says that it was signed.
#[test]
fn cve_2026_54787_logs_without_a_time_count_in_their_window() {
    for (window, expected) in windows() {
        let pointer = "/tlogs/1/publicKey/validFor";
        let proven = is_proven("kfb-r2-control", Signer::Certificate, pointer, &window);
        assert_eq!(proven, expected, "{window}");
    }
}

/// Its certificates are of 2020 and later.
#[test]
fn an_authority_that_was_never_valid_as_a_whole_vouches_for_nothing() {
    let corpus = Corpus::load();
    let window = json!({"start": "2000-01-01T00:00:00Z", "end": "2001-01-01T00:00:00Z"});
    for (case, signer, list) in [
        (
            "kf-legacy-gh",
            Signer::Certificate,
            "certificateAuthorities",
        ),
        (
            "kt-bundle-r2",
            Signer::Key(corpus.key("k1.pub")),
            "timestampAuthorities",
        ),
    ] {
        let pointer = format!("/{list}/0/validFor");
        assert!(!is_proven(case, signer, &pointer, &window), "{list}");
    }
}

/// No number of log entries can be demanded, only that there is one, so that entries of one log, or one entry twice,
/// prove no more than one does.
#[test]
fn cve_2026_49834_one_entry_twice_proves_one() {
    let world = World::new();
    let envelope = world.envelope();
    let entry = entry(&world.log, &world.signer, &envelope);
    let logged = |entries: &[Value]| {
        let mut bundle = bundle(&world.signer, &envelope);
        bundle["verificationMaterial"]["tlogEntries"] = json!(entries);
        attempt(&bundle_candidate(&bundle), &world.demand())
    };
    let Attempt::Proven(once) = logged(std::slice::from_ref(&entry)) else {
        panic!("one entry is enough");
    };
    // Refused, or the same proof.
    match logged(&[entry.clone(), entry]) {
        Attempt::Proven(twice) => assert_eq!(format!("{twice:?}"), format!("{once:?}")),
        Attempt::Failed(_) => {}
        Attempt::NotApplicable => panic!("it is a signature"),
    }
}

#[test]
fn an_entry_is_the_same_with_another_index_or_body() {
    let world = World::new();
    let envelope = world.envelope();
    let entry = entry(&world.log, &world.signer, &envelope);
    let mut moved = entry.clone();
    moved["logIndex"] = json!("1");
    let mut rewritten = entry.clone();
    rewritten["canonicalizedBody"] = json!("e30=");
    for again in [moved, rewritten] {
        let mut bundle = bundle(&world.signer, &envelope);
        bundle["verificationMaterial"]["tlogEntries"] = json!([entry, again]);
        let failure = failed(&bundle_candidate(&bundle), &world.demand());
        assert!(failure.reason.contains("twice"), "{}", failure.reason);
    }
}

#[test]
fn says_whom_it_believes() {
    let root = TrustedRoot::public_good().unwrap();
    let operators = |role: TrustedRole| {
        let authorities = root.authorities().iter();
        let authorities = authorities.filter(|authority| authority.role == role);
        authorities
            .map(|authority| authority.operator.as_str())
            .collect::<Vec<_>>()
    };
    assert!(operators(TrustedRole::CertificateAuthority).contains(&"fulcio.sigstore.dev"));
    assert!(operators(TrustedRole::TransparencyLog).contains(&"rekor.sigstore.dev"));
    assert!(operators(TrustedRole::CertificateTransparencyLog).contains(&"ctfe.sigstore.dev"));
    assert!(operators(TrustedRole::TimestampAuthority).contains(&"timestamp.sigstore.dev"));
    let mut json = root_json();
    json["timestampAuthorities"][0]["validFor"]["end"] = json!("2027-01-01T00:00:00Z");
    let root = TrustedRoot::from_json(&json.to_string()).unwrap();
    let ends = root
        .authorities()
        .iter()
        .filter_map(|authority| authority.valid_until);
    let end = "2027-01-01T00:00:00Z".parse().unwrap();
    assert!(ends.into_iter().any(|until| until == end));
}
