//! What a refusal says to whoever reads it in `kubectl describe pod`: which image, by which policy, what was expected,
//! what was found, and under which decision to look it up.

use serde_json::json;

use crate::support::*;

const SIGNED_BY: &str = "signed by https://github.com/";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// Attacks and mistakes of the corpus, how each is refused, and what the sentence must hold besides the names.
const REFUSALS: [(&str, &str, &[&str]); 33] = [
    (
        "n-unsigned",
        "unsigned",
        &[
            "no cosign signature of it was found",
            "expected one by `k1-0`",
        ],
    ),
    (
        "n-att-bundle-only",
        "unsigned",
        &["no cosign signature of it was found", "expected one by"],
    ),
    (
        "kl-otherkey-policy",
        "untrusted_key",
        &["signed with another key, not with the key sha256:"],
    ),
    (
        "kt-bundle-r1-wrongkey",
        "untrusted_key",
        &["signed with the key sha256:", "not with the key sha256:"],
    ),
    (
        "kf-legacy-key-policy",
        "untrusted_key",
        &[
            "signed with a certificate of https://github.com/",
            "not with the key",
        ],
    ),
    (
        "kf-legacy-otherid",
        "wrong_identity",
        &[
            SIGNED_BY,
            "release.yml@refs/heads/main (issuer",
            "expected https://github.com/",
            "publish.yml@refs/heads/main",
        ],
    ),
    (
        "n-kf-evil-org-regexp",
        "wrong_identity",
        &[SIGNED_BY, "external-secrets-evil", "expected a match of"],
    ),
    (
        "kf-bundle-r1-otherid",
        "wrong_identity",
        &[SIGNED_BY, "expected https://github.com/", "@refs/heads/v2"],
    ),
    (
        "kf-legacy-issuer",
        "wrong_issuer",
        &[
            SIGNED_BY,
            ISSUER,
            "expected the issuer https://accounts.google.com",
        ],
    ),
    (
        "n-kf-evil-issuer",
        "wrong_issuer",
        &[
            "(issuer https://issuer.evil.example)",
            "expected the issuer",
            ISSUER,
        ],
    ),
    (
        "n-kfl-issuer-v1v2",
        "wrong_issuer",
        &["names two OIDC issuers"],
    ),
    (
        "n-kfl-certswap",
        "invalid_signature",
        &["does not verify with its certificate"],
    ),
    (
        "n-kb-sig-flip",
        "invalid_signature",
        &["says it is by the key sha256:", "does not verify"],
    ),
    (
        "n-kl-transplant",
        "wrong_subject",
        &["the signature is for sha256:", "not sha256:"],
    ),
    (
        "n-kb-transplant",
        "wrong_subject",
        &["the signature is for sha256:", "not sha256:"],
    ),
    (
        "n-kl-payload-otherdigest",
        "wrong_subject",
        &["the signature is for sha256:"],
    ),
    (
        "kf-legacy-rogueroot",
        "invalid_certificate",
        &["no authority of the trusted root issued the certificate"],
    ),
    (
        "n-kfl-expired",
        "invalid_certificate",
        &[
            "the certificate was valid until 20",
            "and the signature was made 20",
        ],
    ),
    (
        "n-kfl-nosct",
        "invalid_certificate",
        &["no trusted certificate-transparency log has the certificate"],
    ),
    (
        "n-kfl-noeku",
        "invalid_certificate",
        &["the certificate is not for code signing"],
    ),
    (
        "n-kfl-multisan",
        "invalid_certificate",
        &["2 subject alternative names, not exactly one"],
    ),
    (
        "n-kt-legacy-missing",
        "transparency_log",
        &["the signature has no log entry; the authority requires one"],
    ),
    (
        "n-kf-bundle-tlog-missing",
        "transparency_log",
        &["the signature has no log entry; the authority requires one"],
    ),
    (
        "n-ktl-foreign",
        "transparency_log",
        &["the log entry is for another signature"],
    ),
    (
        "n-kfl-logid",
        "transparency_log",
        &["is of the log", "which the trusted root does not have"],
    ),
    (
        "n-kfl-set-flip",
        "transparency_log",
        &["signed entry timestamp of the log entry is not by the log"],
    ),
    (
        "kf-legacy-tsa-required",
        "timestamp",
        &["the signature has no signed timestamp; the authority requires one"],
    ),
    (
        "n-kfl-tsa-rogue",
        "timestamp",
        &["no trusted authority made the signed timestamp"],
    ),
    (
        "kl-annot-value",
        "annotation_mismatch",
        &["the signature's annotation", "expected"],
    ),
    (
        "kb-threshold-2",
        "threshold_not_met",
        &["1 of the required 2 distinct signers signed it"],
    ),
    (
        "n-att-bundle-wrongtype",
        "attestation_missing",
        &["no attestation of the type", "was found, only of"],
    ),
    (
        "n-kl-type",
        "malformed",
        &[
            "the signed payload is a `",
            "not a `cosign container image signature`",
        ],
    ),
    (
        "n-kl-1001layers",
        "limit_exceeded",
        &["lists 1001 signatures, more than"],
    ),
];

/// The sentence of a refusal, if it has what every one must have.
#[track_caller]
fn sentence(answer: &Answer, kind: &str, policy: &str, repository: &str) -> String {
    let error = assert_denied(answer, kind);
    let digest = error["detail"]["digest"].as_str().unwrap();
    assert_denied_by(answer, kind, policy, digest);
    let message = error["message"].as_str().unwrap();
    let decision = error["detail"]["decision_id"].as_str().unwrap();
    let start = format!("policy `{policy}` refuses {repository}@{digest}: ");
    assert!(message.starts_with(&start), "{message}");
    let end = format!(" (decision {decision})");
    assert!(message.ends_with(&end), "{message}");
    assert!(!message.contains('\n') && message.len() < 1500, "{message}");
    message[start.len()..message.len() - end.len()].to_owned()
}

/// Each case is refused so, in a sentence that holds these parts.
async fn check(replay: &Replay, refusals: &[(&str, &str, &[&str])]) {
    let mut wrong = Vec::new();
    for (id, kind, parts) in refusals {
        let answer = replay.answer(id).await;
        let told = sentence(&answer, kind, id, &replay.repository(id));
        eprintln!("{id}: {told}");
        let missing = parts.iter().filter(|part| !told.contains(**part));
        wrong.extend(missing.map(|part| format!("{id}: no {part:?} in: {told}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_kind_says_what_was_expected_and_what_was_found() {
    let ids: Vec<&str> = REFUSALS.iter().map(|(id, ..)| *id).collect();
    let replay = Replay::of(&ids).await;
    check(&replay, &REFUSALS).await;
}

/// Admitted cases under policies that demand one thing more.
#[tokio::test]
async fn what_only_a_policy_demands_is_told_likewise() {
    let ids = [
        "kf-legacy-gh",
        "kl-k1",
        "kf-bundle-email",
        "att-bundle-slsaprovenance1",
    ];
    let replay = Replay::with(&ids, |mut configuration| {
        let policies = &mut configuration.0["policies"];
        policies[0]["max_signature_age"] = json!("1s");
        policies[1]["signed_name"] = json!("match");
        policies[3]["attestations"][0]["condition"] = json!("size(statement.subject) > 5");
        configuration.set(
            "revoked",
            json!({"identities": ["release-bot@corpus.test"]}),
        )
    })
    .await;
    let refusals: [(&str, &str, &[&str]); 4] = [
        (
            "kf-legacy-gh",
            "signature_too_old",
            &[
                "it was made at 20",
                "longer ago than `max_signature_age` allows",
            ],
        ),
        (
            "kl-k1",
            "wrong_name",
            &["the name in the signature is ", "not 127.0.0.1:"],
        ),
        (
            "kf-bundle-email",
            "revoked",
            &[
                "it was made by release-bot@corpus.test (issuer ",
                "which is revoked",
            ],
        ),
        (
            "att-bundle-slsaprovenance1",
            "attestation_rejected",
            &["does not hold", "`size(statement.subject) > 5` is false"],
        ),
    ];
    check(&replay, &refusals).await;
}

/// What is refused before any policy decides names what there is to name, and the way out.
#[tokio::test]
async fn refusals_without_a_policy_name_image_and_way_out() {
    let scene = Scene::with(|configuration, registry| {
        let images = [
            format!("{}/apps/**", registry.name()),
            format!("{}/other/**", registry.name()),
            "elsewhere.example/**".to_owned(),
        ];
        configuration.set("clients", json!([{"anonymous": true, "images": images}]))
    })
    .await;
    let image = scene.signed("apps/web", "v1");
    scene.signed("other/web", "v1");
    scene.signed("secret/web", "v1");
    let (apps, other) = (scene.repository("apps/web"), scene.repository("other/web"));
    let (secret, digest) = (scene.repository("secret/web"), &image.digest);
    scene
        .registry
        .fault("/apps/closed/manifests/", Fault::Status(403));
    let closed = scene.repository("apps/closed");
    for (path, kind, parts) in [
        (
            format!("/v2/{other}/manifests/{digest}"),
            "no_policy",
            vec![
                format!("{other}@{digest} is refused"),
                format!("no policy covers {other}"),
                "`images`".to_owned(),
            ],
        ),
        (
            format!("/v2/{apps}/blobs/{digest}"),
            "not_endorsed",
            vec![
                apps.clone(),
                digest.clone(),
                "pull the image by its tag or digest first".to_owned(),
            ],
        ),
        (
            format!("/v2/{secret}/manifests/v1"),
            "client_denied",
            vec![secret.clone(), "`clients` lists who may".to_owned()],
        ),
        (
            "/v2/elsewhere.example/web/manifests/v1".to_owned(),
            "upstream_not_allowed",
            vec!["elsewhere.example".to_owned(), "`upstreams`".to_owned()],
        ),
        (
            format!("/v2/{closed}/manifests/v1"),
            "upstream_denied",
            vec![
                closed.clone(),
                "look at the credentials that this proxy has".to_owned(),
            ],
        ),
    ] {
        let answer = scene.proxy.get(&path).await;
        let error = assert_denied(&answer, kind);
        let message = error["message"].as_str().unwrap();
        eprintln!("{kind}: {message}");
        let decision = error["detail"]["decision_id"].as_str().unwrap();
        assert!(
            message.ends_with(&format!(" (decision {decision})")),
            "{message}"
        );
        for part in parts {
            assert!(message.contains(&part), "no {part:?} in: {message}");
        }
    }
}
