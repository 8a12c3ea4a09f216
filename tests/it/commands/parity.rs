//! `verify` and `verify-attestation` with the flags of cosign: command lines that somebody brings along.

use super::{ADMITTED, REFUSED, UNDECIDED, USAGE, Workplace, code, countersign, text};
use crate::support::corpus;

#[tokio::test]
async fn several_images_have_one_exit_code_and_a_line_each() {
    let place = Workplace::new().await;
    place.signed("apps/web");
    place.signed("apps/worker");
    place.unsigned("apps/bare");
    let [web, worker, bare, absent] =
        ["web", "worker", "bare", "absent"].map(|name| place.image(&format!("apps/{name}:v1")));
    for (expected, images) in [
        (ADMITTED, vec![&web, &worker]),
        (REFUSED, vec![&web, &bare]),
        (REFUSED, vec![&absent, &bare, &web]),
        (UNDECIDED, vec![&web, &absent, &worker]),
    ] {
        let mut arguments = vec!["--insecure-ignore-tlog", "-o", "json"];
        arguments.extend(images.iter().map(|image| image.as_str()));
        let output = place.verify(&arguments).await;
        assert_eq!(code(&output), expected, "{images:?}: {}", text(&output));
        let lines = String::from_utf8(output.stdout).unwrap();
        let repositories: Vec<_> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|record| record["repository"].as_str().unwrap().to_owned())
            .collect();
        let asked: Vec<_> = images
            .iter()
            .map(|image| image.strip_suffix(":v1").unwrap().to_owned())
            .collect();
        assert_eq!(repositories, asked);
    }
}

#[tokio::test]
async fn flags_that_would_weaken_are_refused_with_the_reason() {
    let place = Workplace::new().await;
    place.signed("apps/web");
    let web = place.image("apps/web:v1");
    for (flag, words) in [
        ("--check-claims=false", "may be for another image"),
        ("--allow-insecure-registry", "--registry-cacert"),
        ("--private-infrastructure", "--insecure-ignore-tlog"),
        ("--policy=x.rego", "--condition"),
        ("--sk", "cosign public-key"),
    ] {
        let output = place.verify(&["--insecure-ignore-tlog", flag, &web]).await;
        assert_eq!(code(&output), USAGE, "{flag}: {}", text(&output));
        assert!(text(&output).contains(words), "{flag}: {}", text(&output));
    }
    let as_in_cosign = [
        "--insecure-ignore-tlog=true",
        "--check-claims",
        "--offline",
        "--max-workers=3",
        "--new-bundle-format=false",
        "--timeout=0",
        &web,
    ];
    let output = place.verify(&as_in_cosign).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
}

#[tokio::test]
async fn the_key_may_be_in_the_environment() {
    let place = Workplace::new().await;
    place.signed("apps/web");
    let web = place.image("apps/web:v1");
    let arguments = [
        "verify",
        "--key",
        "env://SIGNING_KEY",
        "--plain-http",
        "--insecure-ignore-tlog",
        &web,
    ];
    let mut command = super::command(&arguments);
    command.env("SIGNING_KEY", place.key.public_pem());
    let output = command.output().await.unwrap();
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    let output = countersign(&arguments).await;
    assert_eq!(code(&output), USAGE, "{}", text(&output));
    assert!(text(&output).contains("SIGNING_KEY"), "{}", text(&output));
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_none() {
    let place = Workplace::new().await;
    place.signed("apps/web");
    place
        .registry
        .set_latency(std::time::Duration::from_secs(5));
    let web = place.image("apps/web:v1");
    let output = place
        .verify(&["--insecure-ignore-tlog", "-t", "200ms", &web])
        .await;
    assert_eq!(code(&output), UNDECIDED, "{}", text(&output));
    assert!(
        text(&output).contains("no decision within"),
        "{}",
        text(&output)
    );
}

/// Exit status and what is asked, of provenance v1 by the right key.
const ASKED_OF_PROVENANCE: [(i32, &[&str]); 9] = [
    (ADMITTED, &["--type", "slsaprovenance1"]),
    (ADMITTED, &["--type", "https://slsa.dev/provenance/v1"]),
    // cosign's own default, and its name for v0.2.
    (REFUSED, &[]),
    (REFUSED, &["--type", "slsaprovenance"]),
    (USAGE, &["--type", "provenance"]),
    (
        ADMITTED,
        &[
            "--type=slsaprovenance1",
            "--condition=has(predicate.buildDefinition)",
        ],
    ),
    (
        REFUSED,
        &[
            "--type=slsaprovenance1",
            "--match=any",
            "--condition=has(predicate.nothing)",
        ],
    ),
    (USAGE, &["--type=slsaprovenance1", "--condition=("]),
    (USAGE, &["--type=slsaprovenance1", "--policy=x.cue"]),
];

#[tokio::test]
async fn attestations_are_verified_by_type_and_condition() {
    let registry = corpus::registry().await;
    let cases = corpus::cases();
    let verify = async |id: &str, key: &str, arguments: &[&str]| {
        let case = cases.iter().find(|case| case.id == id).unwrap();
        let image = format!(
            "{}/c/{id}/{}@{}",
            registry.name(),
            case.repository,
            case.reference
        );
        let key = corpus::directory().join("keys").join(key);
        let signer = ["verify-attestation", "--key", key.to_str().unwrap()];
        // A registry on loopback that speaks plain HTTP is found to, as by cosign.
        let how = ["--insecure-ignore-tlog"];
        countersign(&[&signer, &how[..], arguments, &[image.as_str()]].concat()).await
    };
    for id in ["att-bundle-slsaprovenance1", "att-legacy-slsaprovenance1"] {
        for (expected, arguments) in ASKED_OF_PROVENANCE {
            let output = verify(id, "k1.pub", arguments).await;
            assert_eq!(
                code(&output),
                expected,
                "{id} {arguments:?}: {}",
                text(&output)
            );
        }
        let output = verify(id, "k2.pub", &["--type=slsaprovenance1"]).await;
        assert_eq!(code(&output), REFUSED, "{id}: {}", text(&output));
    }
}

#[tokio::test]
async fn an_expression_of_cosign_is_told_how_to_be_whole() {
    let registry = corpus::registry().await;
    let cases = corpus::cases();
    let case = cases
        .iter()
        .find(|case| case.id == "att-keyless-bundle-vuln")
        .unwrap();
    let image = format!(
        "{}/c/{}/{}@{}",
        registry.name(),
        case.id,
        case.repository,
        case.reference
    );
    let root = corpus::directory().join("trust/trusted_root.json");
    let verify = async |expression: &str| {
        countersign(&[
            "verify-attestation",
            "--type=vuln",
            "--plain-http",
            "--trusted-root",
            root.to_str().unwrap(),
            "--certificate-oidc-issuer=https://token.actions.githubusercontent.com",
            "--certificate-identity-regexp",
            expression,
            &image,
        ])
        .await
    };
    let whole = verify(r"https://github\.com/external-secrets/.*").await;
    assert_eq!(code(&whole), ADMITTED, "{}", text(&whole));
    let beginning = verify(r"https://github\.com/external-secrets/").await;
    assert_eq!(code(&beginning), REFUSED, "{}", text(&beginning));
    let words = r"write `https://github\.com/external-secrets/.*`";
    assert!(text(&beginning).contains(words), "{}", text(&beginning));
}
