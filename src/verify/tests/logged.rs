//! Log entries: each row changes one thing, and one check notices.

use serde_json::{Value, json};

use super::forge::{
    Key, LOG_TIME, Log, SIGN_V1, annotation, base64, bundle, bundle_candidate, decoded, entry,
    entry_of, hashed_rekord, legacy_candidate, statement, subject,
};
use super::world::{World, attempt, failed, proven};
use crate::oci::Digest;
use crate::signature::Candidate;
use crate::verify::{Attempt, Demand, FailedCheck, ProvenSigner, PublicKey, Signer, TrustedRoot};

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

/// A promise is made at a time that is known; a checkpoint is not, so for it a key counts from its start on.
#[test]
fn the_key_of_a_log_counts_in_its_window() {
    let mut world = World::new();
    let (payload, signature, log) = world.legacy();
    let promised = legacy_candidate(&payload, &signature, Some(&log));
    let envelope = world.envelope();
    let entry = entry(&world.log, &world.signer, &envelope);
    let proof = with_entries(&world, &envelope, &[entry]);
    for (start, end, by_promise, by_proof) in [
        ("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z", true, true),
        ("2020-01-01T00:00:00Z", "2025-01-01T00:00:00Z", false, true),
        ("2027-01-01T00:00:00Z", "2030-01-01T00:00:00Z", false, false),
    ] {
        let window = json!({"start": start, "end": end});
        world.root = world.log.trusted_root(&window);
        for (candidate, right) in [(&promised, by_promise), (&proof, by_proof)] {
            let outcome = attempt(candidate, &world.demand());
            let proven = matches!(outcome, Attempt::Proven(_));
            assert_eq!(proven, right, "{window}: {outcome:?}");
        }
    }
}

/// The envelope of the world in a bundle with these entries.
fn with_entries(world: &World, envelope: &Value, entries: &[Value]) -> Candidate {
    let mut bundle = bundle(&world.signer, envelope);
    bundle["verificationMaterial"]["tlogEntries"] = json!(entries);
    bundle_candidate(&bundle)
}

fn changed(entry: &Value, pointer: &str, value: Value) -> Value {
    let mut entry = entry.clone();
    *entry.pointer_mut(pointer).unwrap() = value;
    entry
}

#[test]
fn an_entry_of_a_bundle_must_be_for_this_signature() {
    let world = World::new();
    let envelope = world.envelope();
    let right = entry(&world.log, &world.signer, &envelope);
    let foreign = entry(&world.log, &world.signer, &world.envelope());
    let foreign_elsewhere = changed(&foreign, "/logIndex", json!("1"));
    let foreign_body = foreign["canonicalizedBody"].clone();
    let other_log = base64(&Log::new().id);
    let one = |pointer: &str, value: Value| vec![changed(&right, pointer, value)];
    let table = [
        ("foreign", vec![foreign]),
        ("foreign besides", vec![right.clone(), foreign_elsewhere]),
        (
            "verifier",
            vec![entry(&world.log, &Key::generate(), &envelope)],
        ),
        ("body", one("/canonicalizedBody", foreign_body)),
        ("kind", one("/kindVersion/kind", json!("dsse"))),
        ("unsupported kind", one("/kindVersion/kind", json!("tuf"))),
        ("unknown log", one("/logId/keyId", json!(other_log))),
    ];
    proven(
        &with_entries(&world, &envelope, std::slice::from_ref(&right)),
        &world.demand(),
    );
    for (what, entries) in table {
        let failure = failed(&with_entries(&world, &envelope, &entries), &world.demand());
        assert_eq!(
            failure.check,
            FailedCheck::TransparencyLog,
            "{what}: {}",
            failure.reason
        );
    }
    let twice = with_entries(&world, &envelope, &[right.clone(), right]);
    assert_eq!(
        failed(&twice, &world.demand()).check,
        FailedCheck::Malformed
    );
}

#[test]
fn an_entry_of_a_bundle_must_be_in_the_log() {
    let world = World::new();
    let envelope = world.envelope();
    let right = entry(&world.log, &world.signer, &envelope);
    let foreign = entry(&world.log, &world.signer, &world.envelope());
    let other_proof = entry(&Log::new(), &world.signer, &envelope)["inclusionProof"].clone();
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
    let one = |pointer: &str, value: Value| changed(&right, pointer, value);
    let table = [
        ("no proof", without_proof),
        ("no checkpoint", without_checkpoint),
        ("index", one("/logIndex", json!("1"))),
        ("proof index", one("/inclusionProof/logIndex", json!("1"))),
        ("size", one("/inclusionProof/treeSize", json!("2"))),
        (
            "root",
            one(
                "/inclusionProof/rootHash",
                foreign["inclusionProof"]["rootHash"].clone(),
            ),
        ),
        (
            "path",
            one("/inclusionProof/hashes", json!([base64(&[0; 32])])),
        ),
        (
            "another tree",
            one("/inclusionProof", foreign["inclusionProof"].clone()),
        ),
        (
            "checkpoint of another tree",
            one(
                "/inclusionProof/checkpoint",
                foreign["inclusionProof"]["checkpoint"].clone(),
            ),
        ),
        ("another log", one("/inclusionProof", other_proof)),
    ];
    for (what, entry) in table {
        let candidate = with_entries(&world, &envelope, &[entry]);
        let failure = failed(&candidate, &world.demand());
        assert_eq!(
            failure.check,
            FailedCheck::TransparencyLog,
            "{what}: {}",
            failure.reason
        );
    }
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

/// Rekor v1 signs with SHA-256 whatever the curve of its key, and Rekor v2 as the `keyDetails` say.
#[test]
fn checkpoint_of_rekor_v1_counts_by_sha256_and_by_the_hash_of_its_curve() {
    let text = include_str!("../../../tests/fixtures/rekor-hashes/bundles.json");
    let document: Value = serde_json::from_str(text).unwrap();
    let signer = PublicKey::from_pem(document["signer"].as_str().unwrap()).unwrap();
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 12);
    for row in rows {
        let text = |field: &str| row[field].as_str().unwrap();
        let (curve, version, hash) = (text("curve"), text("version"), text("hash"));
        let key = decoded(text("log"));
        let own = text("own");
        let details = format!(
            "PKIX_ECDSA_{curve}_{}",
            own.to_uppercase().replace("SHA", "SHA_")
        );
        let root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{
                "baseUrl": "https://log.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": base64(&key),
                    "keyDetails": details,
                    "validFor": {"start": "2020-01-01T00:00:00Z"},
                },
                "logId": {"keyId": base64(Digest::sha256(&key).as_bytes())},
            }],
        });
        let root = TrustedRoot::from_json(&root.to_string()).unwrap();
        assert!(root.notes().is_empty(), "{:?}", root.notes());
        let world = World::new();
        let demand = Demand {
            signer: Signer::Key(&signer),
            trusted_root: &root,
            ..world.demand()
        };
        let what = format!("{curve} {version} {hash}");
        let candidate = bundle_candidate(&row["bundle"]);
        if hash == own || (version == "v1" && hash == "sha256") {
            proven(&candidate, &demand);
        } else {
            let failure = failed(&candidate, &demand);
            assert_eq!(failure.check, FailedCheck::TransparencyLog, "{what}");
            assert!(
                failure.reason.contains("checkpoint"),
                "{what}: {}",
                failure.reason
            );
        }
    }
}
