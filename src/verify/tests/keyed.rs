//! Signatures by keys: each row changes one thing, and one check notices.

use serde_json::{Value, json};

use super::forge::{
    Key, LOG_TIME, Log, SIGN_V1, annotation, base64, bundle, bundle_candidate, candidate, entry,
    entry_of, envelope, hashed_rekord, legacy_candidate, now, payload, statement, subject,
};
use crate::limits::Limits;
use crate::oci::{Digest, media_type};
use crate::signature::Candidate;
use crate::verify::{
    Attempt, Demand, FailedCheck, Failure, Proof, ProvenSigner, PublicKey, Purpose, Signer,
    TrustedRoot, verify,
};

struct World {
    signer: Key,
    public: PublicKey,
    log: Log,
    root: TrustedRoot,
}

impl World {
    fn new() -> Self {
        let signer = Key::generate();
        let log = Log::new();
        Self {
            public: signer.public(),
            root: log.trusted_root(&json!({"start": "2020-01-01T00:00:00Z"})),
            signer,
            log,
        }
    }

    fn demand(&self) -> Demand<'_> {
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
    fn legacy(&self) -> (Vec<u8>, Vec<u8>, Value) {
        let payload = payload(&subject().to_string(), "ghcr.io/org/app");
        let signature = self.signer.sign(&payload);
        let body = hashed_rekord(&payload, &signature, &self.signer.pem());
        (payload, signature, annotation(&self.log, &body, LOG_TIME))
    }

    fn envelope(&self) -> Value {
        let statement = statement(SIGN_V1, &subject()).to_string();
        envelope(&self.signer, statement.as_bytes())
    }

    fn bundle_with(&self, entries: &[Value]) -> Value {
        let mut bundle = bundle(&self.signer, &self.envelope());
        bundle["verificationMaterial"]["tlogEntries"] = json!(entries);
        bundle
    }
}

fn attempt(candidate: &Candidate, demand: &Demand<'_>) -> Attempt {
    verify(candidate, &subject(), demand, &Limits::default(), now())
}

fn proven(candidate: &Candidate, demand: &Demand<'_>) -> Box<Proof> {
    match attempt(candidate, demand) {
        Attempt::Proven(proof) => proof,
        other @ (Attempt::NotApplicable | Attempt::Failed(_)) => panic!("{other:?}"),
    }
}

fn failed(candidate: &Candidate, demand: &Demand<'_>) -> Box<Failure> {
    match attempt(candidate, demand) {
        Attempt::Failed(failure) => failure,
        other @ (Attempt::NotApplicable | Attempt::Proven(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_legacy_signature_in_the_log_is_proven() {
    let world = World::new();
    let (payload, signature, log) = world.legacy();
    let proof = proven(
        &legacy_candidate(&payload, &signature, Some(&log)),
        &world.demand(),
    );
    assert_eq!(proof.signer, ProvenSigner::Key(world.public.fingerprint));
    assert_eq!(proof.verified_time.unwrap().as_second(), LOG_TIME);
    assert_eq!(proof.transparency_log.unwrap().log_index, 7);
    assert_eq!(proof.annotations["env"], "prod");
    assert_eq!(proof.annotations["count"], "3");
    assert_eq!(proof.annotations["final"], "true");
    assert!(!proof.annotations.contains_key("nothing"));
    assert_eq!(proof.statement, None);
}

#[test]
fn a_bundle_in_the_log_is_proven() {
    let world = World::new();
    let envelope = world.envelope();
    let mut bundle = bundle(&world.signer, &envelope);
    bundle["verificationMaterial"]["tlogEntries"] =
        json!([entry(&world.log, &world.signer, &envelope)]);
    let proof = proven(&bundle_candidate(&bundle), &world.demand());
    assert_eq!(proof.verified_time, None);
    assert_eq!(proof.predicate_type.as_deref(), Some(SIGN_V1));
    assert_eq!(proof.annotations["env"], "prod");
    assert_eq!(proof.transparency_log.unwrap().integrated_time, None);
}

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
    // Both keys in the same words, so that they can be compared and looked up.
    let (theirs, ours) = (other.public().fingerprint, world.public.fingerprint);
    let told = format!("signed with the key {theirs}, not with the key {ours}");
    assert_eq!(failure.reason, told);
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
        signed_name: Some(super::of_repository(&name)),
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
        signed_name: Some(super::of_repository(&demanded)),
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
fn what_is_demanded_must_be_there() {
    let world = World::new();
    let (payload, signature, log) = world.legacy();
    let unlogged = legacy_candidate(&payload, &signature, None);
    assert_eq!(
        failed(&unlogged, &world.demand()).check,
        FailedCheck::TransparencyLog
    );
    let stamped = Demand {
        signed_timestamp: true,
        ..world.demand()
    };
    let logged = legacy_candidate(&payload, &signature, Some(&log));
    assert_eq!(failed(&logged, &stamped).check, FailedCheck::Timestamp);
}

#[test]
fn a_legacy_log_entry_must_be_for_this_signature_and_by_the_log() {
    let world = World::new();
    let (payload, signature, right) = world.legacy();
    let pem = world.signer.pem();
    let log = &world.log;
    let other = Key::generate();
    let dsse = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
        "payloadHash": {"algorithm": "sha256", "value": Digest::sha256(&payload).to_hex()},
        "signatures": [{"signature": base64(&signature), "verifier": base64(pem.as_bytes())}]}});
    let mut altered_time = right.clone();
    altered_time["Payload"]["integratedTime"] = json!(LOG_TIME - 1);
    let mut altered_index = right.clone();
    altered_index["Payload"]["logIndex"] = json!(8);
    let mut altered_set = right.clone();
    altered_set["SignedEntryTimestamp"] = json!(base64(&other.sign(b"anything")));
    let mut unknown_log = right.clone();
    unknown_log["Payload"]["logID"] = json!("00".repeat(32));
    let mut short_id = right;
    short_id["Payload"]["logID"] = json!("00");
    let body = |payload: &[u8], signature: &[u8], pem: &str| hashed_rekord(payload, signature, pem);
    let table = [
        (
            "signature",
            annotation(log, &body(&payload, &other.sign(&payload), &pem), LOG_TIME),
        ),
        (
            "hash",
            annotation(log, &body(b"other", &signature, &pem), LOG_TIME),
        ),
        (
            "verifier",
            annotation(log, &body(&payload, &signature, &other.pem()), LOG_TIME),
        ),
        ("kind", annotation(log, &dsse, LOG_TIME)),
        (
            "future",
            annotation(log, &body(&payload, &signature, &pem), LOG_TIME + 3600),
        ),
        (
            "other kind",
            annotation(
                log,
                &json!({"apiVersion": "0.0.1", "kind": "rpm", "spec": {}}),
                LOG_TIME,
            ),
        ),
        ("time", altered_time),
        ("index", altered_index),
        ("promise", altered_set),
        ("unknown log", unknown_log),
        ("short id", short_id),
    ];
    for (what, log) in table {
        let candidate = legacy_candidate(&payload, &signature, Some(&log));
        let failure = failed(&candidate, &world.demand());
        assert_eq!(
            failure.check,
            FailedCheck::TransparencyLog,
            "{what}: {}",
            failure.reason
        );
        assert!(failure.transparency_log.is_some());
    }
}

#[test]
fn the_key_of_a_log_counts_in_its_window() {
    let mut world = World::new();
    let (payload, signature, log) = world.legacy();
    let candidate = legacy_candidate(&payload, &signature, Some(&log));
    let envelope = world.envelope();
    let bundle = world.bundle_with(&[entry(&world.log, &world.signer, &envelope)]);
    assert!(matches!(
        attempt(&bundle_candidate(&bundle), &world.demand()),
        Attempt::Failed(_)
    ));
    for (window, promise) in [
        (
            json!({"start": "2020-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}),
            false,
        ),
        (json!({"start": "2027-01-01T00:00:00Z"}), false),
        (
            json!({"start": "2020-01-01T00:00:00Z", "end": "2030-01-01T00:00:00Z"}),
            true,
        ),
    ] {
        world.root = world.log.trusted_root(&window);
        let outcome = attempt(&candidate, &world.demand());
        assert_eq!(
            matches!(outcome, Attempt::Proven(_)),
            promise,
            "{window}: {outcome:?}"
        );
    }
}

#[expect(clippy::too_many_lines, reason = "one table of entries")]
#[test]
fn an_entry_of_a_bundle_must_be_for_this_signature_and_in_the_log() {
    let world = World::new();
    let envelope = world.envelope();
    let right = entry(&world.log, &world.signer, &envelope);
    let with = |entries: &[Value]| {
        let mut bundle = bundle(&world.signer, &envelope);
        bundle["verificationMaterial"]["tlogEntries"] = json!(entries);
        bundle_candidate(&bundle)
    };
    let change = |pointer: &str, value: Value| {
        let mut entry = right.clone();
        *entry.pointer_mut(pointer).unwrap() = value;
        entry
    };
    let mut without_proof = right.clone();
    without_proof
        .as_object_mut()
        .unwrap()
        .remove("inclusionProof");
    let mut without_checkpoint = right.clone();
    without_checkpoint["inclusionProof"]
        .as_object_mut()
        .unwrap()
        .remove("checkpoint");
    let foreign = entry(&world.log, &world.signer, &world.envelope());
    let mut foreign_elsewhere = foreign.clone();
    foreign_elsewhere["logIndex"] = json!("1");
    let other_key = entry(&world.log, &Key::generate(), &envelope);
    let other_log = Log::new();
    let other_proof = entry(&other_log, &world.signer, &envelope)["inclusionProof"].clone();
    let another_root = foreign["inclusionProof"]["rootHash"].clone();
    let table = [
        ("foreign", vec![foreign.clone()]),
        ("foreign besides", vec![right.clone(), foreign_elsewhere]),
        ("verifier", vec![other_key]),
        ("no proof", vec![without_proof]),
        ("no checkpoint", vec![without_checkpoint]),
        (
            "body",
            vec![change(
                "/canonicalizedBody",
                foreign["canonicalizedBody"].clone(),
            )],
        ),
        ("kind", vec![change("/kindVersion/kind", json!("dsse"))]),
        (
            "unsupported kind",
            vec![change("/kindVersion/kind", json!("tuf"))],
        ),
        ("index", vec![change("/logIndex", json!("1"))]),
        (
            "proof index",
            vec![change("/inclusionProof/logIndex", json!("1"))],
        ),
        ("size", vec![change("/inclusionProof/treeSize", json!("2"))]),
        (
            "root",
            vec![change("/inclusionProof/rootHash", another_root)],
        ),
        (
            "path",
            vec![change("/inclusionProof/hashes", json!([base64(&[0; 32])]))],
        ),
        (
            "checkpoint of another tree",
            vec![change("/inclusionProof", foreign["inclusionProof"].clone())],
        ),
        (
            "checkpoint of another log",
            vec![change("/inclusionProof", other_proof)],
        ),
        (
            "unknown log",
            vec![change("/logId/keyId", json!(base64(&other_log.id)))],
        ),
    ];
    proven(&with(std::slice::from_ref(&right)), &world.demand());
    for (what, entries) in table {
        let failure = failed(&with(&entries), &world.demand());
        assert_eq!(
            failure.check,
            FailedCheck::TransparencyLog,
            "{what}: {}",
            failure.reason
        );
    }
    let twice = failed(&with(&[right.clone(), right.clone()]), &world.demand());
    assert_eq!(twice.check, FailedCheck::Malformed);
}

#[test]
fn rekor_v1_and_older_v2_entries_bind_envelopes() {
    let world = World::new();
    let envelope = world.envelope();
    let payload = statement(SIGN_V1, &subject()).to_string();
    let sig = envelope["signatures"][0]["sig"].clone();
    let pem = base64(world.signer.pem().as_bytes());
    let hash = Digest::sha256(payload.as_bytes());
    let dsse_v1 = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
        "payloadHash": {"algorithm": "sha256", "value": hash.to_hex()},
        "signatures": [{"signature": sig, "verifier": pem}]}});
    let dsse_v2 = json!({"apiVersion": "0.0.2", "kind": "dsse", "spec": {"dsseV002": {
        "payloadHash": {"algorithm": "SHA2_256", "digest": base64(hash.as_bytes())},
        "signatures": [{"content": sig, "verifier": {
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "publicKey": {"rawBytes": base64(&world.signer.der())}}}]}}});
    let intoto = json!({"apiVersion": "0.0.2", "kind": "intoto", "spec": {"content": {
        "envelope": {"payloadType": "application/vnd.in-toto+json", "signatures": [
            {"publicKey": pem, "sig": base64(sig.as_str().unwrap().as_bytes())}]},
        "payloadHash": {"algorithm": "sha256", "value": hash.to_hex()}}}});
    for (body, hash_pointer) in [
        (dsse_v1, "/spec/payloadHash/value"),
        (dsse_v2, "/spec/dsseV002/payloadHash/digest"),
        (intoto, "/spec/content/payloadHash/value"),
    ] {
        let with = |body: &Value| {
            let mut bundle = bundle(&world.signer, &envelope);
            bundle["verificationMaterial"]["tlogEntries"] = json!([entry_of(&world.log, body)]);
            bundle_candidate(&bundle)
        };
        proven(&with(&body), &world.demand());
        let mut other = body.clone();
        let other_hash = Digest::sha256(b"other");
        *other.pointer_mut(hash_pointer).unwrap() = if hash_pointer.ends_with("value") {
            json!(other_hash.to_hex())
        } else {
            json!(base64(other_hash.as_bytes()))
        };
        let failure = failed(&with(&other), &world.demand());
        assert_eq!(
            failure.check,
            FailedCheck::TransparencyLog,
            "{}",
            failure.reason
        );
    }
}

#[test]
fn an_entry_that_is_not_demanded_must_still_be_right() {
    let world = World::new();
    let (payload, signature, log) = world.legacy();
    let demand = Demand {
        transparency_log: false,
        ..world.demand()
    };
    let mut altered = log;
    altered["Payload"]["integratedTime"] = json!(LOG_TIME - 1);
    let candidate = legacy_candidate(&payload, &signature, Some(&altered));
    assert_eq!(
        failed(&candidate, &demand).check,
        FailedCheck::TransparencyLog
    );
    // A log that the root does not have says nothing either way, as long as it speaks of this signature.
    let elsewhere = Log::new();
    let pem = world.signer.pem();
    let unknown = annotation(
        &elsewhere,
        &hashed_rekord(&payload, &signature, &pem),
        LOG_TIME,
    );
    let candidate = legacy_candidate(&payload, &signature, Some(&unknown));
    let proof = proven(&candidate, &demand);
    assert_eq!(proof.transparency_log, None);
    assert_eq!(proof.verified_time, None);
    let foreign = annotation(
        &elsewhere,
        &hashed_rekord(b"other", &signature, &pem),
        LOG_TIME,
    );
    let candidate = legacy_candidate(&payload, &signature, Some(&foreign));
    assert_eq!(
        failed(&candidate, &demand).check,
        FailedCheck::TransparencyLog
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
        let statement: Value = serde_json::from_slice(&proof.statement.unwrap()).unwrap();
        assert_eq!(statement["predicateType"], slsa);
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
