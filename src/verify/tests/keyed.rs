//! Signatures by keys: whose, of what, under which name, as what.

use serde_json::{Value, json};

use super::forge::{
    Key, SIGN_V1, bundle, bundle_candidate, candidate, envelope, legacy_candidate, now, payload,
    statement, subject,
};
use super::world::{World, attempt, failed, proven};
use crate::limits::Limits;
use crate::oci::{Digest, media_type};
use crate::signature::Candidate;
use crate::verify::{Attempt, Demand, FailedCheck, Purpose, Signer, verify};

#[test]
fn whose_signature_it_is() {
    let world = World::new();
    let (payload, signature, log) = world.legacy();
    let unlogged = Demand {
        transparency_log: false,
        ..world.demand()
    };
    let other = Key::generate();
    let by_other = legacy_candidate(&payload, &other.sign(&payload), None);
    assert_eq!(
        failed(&by_other, &unlogged).check,
        FailedCheck::UntrustedKey
    );
    let logged_as_ours = legacy_candidate(&payload, &other.sign(&payload), Some(&log));
    assert_eq!(
        failed(&logged_as_ours, &unlogged).check,
        FailedCheck::InvalidSignature
    );
    let statement = statement(SIGN_V1, &subject()).to_string();
    let hinted = bundle(&world.signer, &envelope(&other, statement.as_bytes()));
    assert_eq!(
        failed(&bundle_candidate(&hinted), &unlogged).check,
        FailedCheck::InvalidSignature
    );
    let not_hinted = bundle(&other, &envelope(&other, statement.as_bytes()));
    let failure = failed(&bundle_candidate(&not_hinted), &unlogged);
    assert_eq!(failure.check, FailedCheck::UntrustedKey);
    assert_eq!(failure.predicate_type.as_deref(), Some(SIGN_V1));
    let keyless = Demand {
        signer: Signer::Certificate,
        ..unlogged
    };
    assert_eq!(
        failed(&legacy_candidate(&payload, &signature, None), &keyless).check,
        FailedCheck::UntrustedKey
    );
}

#[test]
fn what_is_signed() {
    let world = World::new();
    let demand = Demand {
        transparency_log: false,
        ..world.demand()
    };
    let check = |digest: &str| {
        let payload = payload(digest, "");
        let signature = world.signer.sign(&payload);
        failed(&legacy_candidate(&payload, &signature, None), &demand).check
    };
    let other = Digest::sha256(b"another image").to_string();
    assert_eq!(check(&other), FailedCheck::WrongSubject);
    assert_eq!(
        check(&subject().to_string().to_uppercase()),
        FailedCheck::WrongSubject
    );
    assert_eq!(check(&subject().to_hex()), FailedCheck::WrongSubject);
    for digests in [
        json!({"sha256": subject().to_hex().to_uppercase()}),
        json!({"sha512": subject().to_hex()}),
        json!({"sha256": Digest::sha256(b"another image").to_hex()}),
    ] {
        let mut statement = statement(SIGN_V1, &subject());
        statement["subject"][0]["digest"] = digests;
        let envelope = envelope(&world.signer, statement.to_string().as_bytes());
        let candidate = bundle_candidate(&bundle(&world.signer, &envelope));
        let failure = failed(&candidate, &demand);
        assert_eq!(failure.check, FailedCheck::WrongSubject);
        assert!(failure.reason.contains(&subject().to_string()));
    }
}

#[test]
fn the_second_of_two_subjects_counts_with_its_annotations() {
    let world = World::new();
    let mut statement = statement(SIGN_V1, &Digest::sha256(b"another image"));
    let second = json!({"name": "ghcr.io/org/app", "digest": {"sha256": subject().to_hex()},
        "annotations": {"env": "test"}});
    statement["subject"].as_array_mut().unwrap().push(second);
    let envelope = envelope(&world.signer, statement.to_string().as_bytes());
    let candidate = bundle_candidate(&bundle(&world.signer, &envelope));
    let name = "ghcr.io/org/app".parse().unwrap();
    let demand = Demand {
        transparency_log: false,
        signed_name: Some(&name),
        ..world.demand()
    };
    assert_eq!(proven(&candidate, &demand).annotations["env"], "test");
}

#[test]
fn the_name_in_the_signature() {
    let world = World::new();
    let demanded = "ghcr.io/org/app".parse().unwrap();
    let demand = Demand {
        transparency_log: false,
        signed_name: Some(&demanded),
        ..world.demand()
    };
    let signed_as = |name: &str| {
        let payload = payload(&subject().to_string(), name);
        let signature = world.signer.sign(&payload);
        legacy_candidate(&payload, &signature, None)
    };
    for name in [
        "ghcr.io/org/app",
        "ghcr.io/org/app:v1",
        "ghcr.io/org/app:v1@sha256:00",
    ] {
        proven(&signed_as(name), &demand);
    }
    for name in ["ghcr.io/org/app2", "ghcr.io/org", "quay.io/org/app", ""] {
        assert_eq!(
            failed(&signed_as(name), &demand).check,
            FailedCheck::WrongName
        );
    }
    let nameless = bundle(&world.signer, &world.envelope());
    assert_eq!(
        failed(&bundle_candidate(&nameless), &demand).check,
        FailedCheck::WrongName
    );
}

#[test]
fn what_counts_as_a_signature_or_an_attestation() {
    let world = World::new();
    let demand = Demand {
        transparency_log: false,
        ..world.demand()
    };
    let slsa = "https://slsa.dev/provenance/v1";
    let attested = |predicate_type: &'static str| Demand {
        purpose: Purpose::Attestation { predicate_type },
        ..demand
    };
    let not_applicable = |candidate: &Candidate, demand: &Demand<'_>| {
        matches!(attempt(candidate, demand), Attempt::NotApplicable)
    };
    let provenance = envelope(
        &world.signer,
        statement(slsa, &subject()).to_string().as_bytes(),
    );
    let legacy = |envelope: &Value| {
        candidate(
            media_type::DSSE_ENVELOPE,
            envelope.to_string().as_bytes(),
            &[],
        )
    };
    for candidate in [
        bundle_candidate(&bundle(&world.signer, &provenance)),
        legacy(&provenance),
    ] {
        assert!(not_applicable(&candidate, &demand));
        assert!(not_applicable(
            &candidate,
            &attested("https://slsa.dev/provenance/v0.2")
        ));
        let proof = proven(&candidate, &attested(slsa));
        assert_eq!(proof.statement.unwrap()["predicateType"], slsa);
        assert_eq!(proof.predicate_type.as_deref(), Some(slsa));
    }
    // An envelope in an `.att` manifest is no signature, whatever it says.
    assert!(not_applicable(&legacy(&world.envelope()), &demand));
    let (payload, signature, _) = world.legacy();
    assert!(not_applicable(
        &legacy_candidate(&payload, &signature, None),
        &attested(slsa)
    ));
    // Broken ones count where they would have counted.
    let broken_signature = legacy_candidate(b"{", &signature, None);
    assert_eq!(
        failed(&broken_signature, &demand).check,
        FailedCheck::Malformed
    );
    assert!(not_applicable(&broken_signature, &attested(slsa)));
    let broken_attestation = candidate(media_type::DSSE_ENVELOPE, b"{", &[]);
    assert_eq!(
        failed(&broken_attestation, &attested(slsa)).check,
        FailedCheck::Malformed
    );
    assert!(not_applicable(&broken_attestation, &demand));
    let broken_bundle = bundle_candidate(&json!({}));
    assert_eq!(
        failed(&broken_bundle, &demand).check,
        FailedCheck::Malformed
    );
    assert_eq!(
        failed(&broken_bundle, &attested(slsa)).check,
        FailedCheck::Malformed
    );
}

#[test]
fn a_sha512_digest_is_found_among_subjects() {
    let world = World::new();
    let digest = Digest::of(crate::oci::digest::Algorithm::Sha512, b"an image");
    let mut statement = statement(SIGN_V1, &subject());
    statement["subject"][0]["digest"] = json!({"sha512": digest.to_hex()});
    let envelope = envelope(&world.signer, statement.to_string().as_bytes());
    let candidate = bundle_candidate(&bundle(&world.signer, &envelope));
    let demand = Demand {
        transparency_log: false,
        ..world.demand()
    };
    let outcome = verify(&candidate, &digest, &demand, &Limits::default(), now());
    assert!(matches!(outcome, Attempt::Proven(_)), "{outcome:?}");
}

#[test]
fn a_failure_repeats_claims_on_one_short_line() {
    let world = World::new();
    let mut bundle = bundle(&Key::generate(), &world.envelope());
    bundle["verificationMaterial"]["publicKey"]["hint"] = json!("\n\u{1b}[2J".repeat(100_000));
    let other = Key::generate().public();
    let demand = Demand {
        signer: Signer::Key(&other),
        ..world.demand()
    };
    let failure = failed(&bundle_candidate(&bundle), &demand);
    assert_eq!(failure.check, FailedCheck::UntrustedKey);
    assert!(failure.reason.chars().count() <= 512);
    assert!(!failure.reason.contains(char::is_control));
}
