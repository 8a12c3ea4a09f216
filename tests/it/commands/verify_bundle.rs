//! `verify-bundle`, with bundles and keys of the corpus.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{ADMITTED, REFUSED, USAGE, code, countersign, text};

/// A bundle of the corpus over an image by `keys/k1.pub`, with a log entry.
const BUNDLE: &str = "e5a93d0dd63ffb4a5e8818e36f6ef5ef85ad2fb630f9aeb83701f7c8c2d45171";
const BUNDLE_SUBJECT: &str =
    "sha256:7212e338022613f43dd847fde97e9a557d02f6de57b7c303255c934d3ea8dac7";
/// One by a workflow.
const KEYLESS: &str = "4f219ab0be3a";
const KEYLESS_SUBJECT: &str =
    "sha256:d264708a083b99507f40480df19acb5740988411b10736a8a25661b567536eca";
const IDENTITY: &str = "https://github.com/external-secrets/external-secrets/.github/workflows/release.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

fn corpus_file(path: &str) -> String {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus");
    directory.join(path).to_str().unwrap().to_owned()
}

async fn assert_verify_bundle(expected: i32, arguments: &[&str]) {
    let all = [&["verify-bundle"], arguments].concat();
    let output = countersign(&all).await;
    assert_eq!(code(&output), expected, "{all:?}: {}", text(&output));
}

#[tokio::test]
async fn verify_bundle_by_key_follows_the_client_protocol() {
    let directory = TempDir::new().unwrap();
    let garbage = directory.path().join("garbage");
    std::fs::write(&garbage, "{}").unwrap();
    let garbage = garbage.to_str().unwrap();
    let bundle = &corpus_file(&format!("blobs/sha256/{BUNDLE}"));
    let subject = &corpus_file(&format!(
        "blobs/sha256/{}",
        &BUNDLE_SUBJECT["sha256:".len()..]
    ));
    let (key, other) = (&corpus_file("keys/k1.pub"), &corpus_file("keys/k2.pub"));
    let root = &corpus_file("trust/trusted_root.json");
    let nowhere = "/nonexistent";
    for (expected, [bundle, key, root, artifact]) in [
        (ADMITTED, [bundle, key, root, BUNDLE_SUBJECT]),
        (ADMITTED, [bundle, key, root, subject]),
        (REFUSED, [bundle, key, root, KEYLESS_SUBJECT]),
        (REFUSED, [bundle, key, root, key]),
        (REFUSED, [bundle, other, root, BUNDLE_SUBJECT]),
        (REFUSED, [garbage, key, root, BUNDLE_SUBJECT]),
        (REFUSED, [bundle, garbage, root, BUNDLE_SUBJECT]),
        (REFUSED, [bundle, key, garbage, BUNDLE_SUBJECT]),
        (USAGE, [nowhere, key, root, BUNDLE_SUBJECT]),
        (USAGE, [bundle, nowhere, root, BUNDLE_SUBJECT]),
        (USAGE, [bundle, key, nowhere, BUNDLE_SUBJECT]),
        (USAGE, [bundle, key, root, nowhere]),
    ] {
        let arguments = [
            "--bundle",
            bundle,
            "--key",
            key,
            "--trusted-root",
            root,
            artifact,
        ];
        assert_verify_bundle(expected, &arguments).await;
    }
}

#[tokio::test]
async fn verify_bundle_by_identity_compares_both_values_whole() {
    let blobs = std::fs::read_dir(corpus_file("blobs/sha256")).unwrap();
    let mut names = blobs.map(|file| file.unwrap().file_name().into_string().unwrap());
    let bundle = names.find(|name| name.starts_with(KEYLESS)).unwrap();
    let bundle = corpus_file(&format!("blobs/sha256/{bundle}"));
    let root = corpus_file("trust/trusted_root.json");
    let upper_case = &IDENTITY.to_uppercase();
    let beginning = &IDENTITY[..IDENTITY.len() - 1];
    for (expected, [identity, issuer, artifact]) in [
        (ADMITTED, [IDENTITY, ISSUER, KEYLESS_SUBJECT]),
        (REFUSED, [upper_case, ISSUER, KEYLESS_SUBJECT]),
        (REFUSED, [beginning, ISSUER, KEYLESS_SUBJECT]),
        (
            REFUSED,
            [IDENTITY, "https://issuer.example", KEYLESS_SUBJECT],
        ),
        (REFUSED, [IDENTITY, ISSUER, BUNDLE_SUBJECT]),
    ] {
        let arguments = [
            "--bundle",
            &bundle,
            "--certificate-identity",
            identity,
            "--certificate-oidc-issuer",
            issuer,
            "--trusted-root",
            &root,
            artifact,
        ];
        assert_verify_bundle(expected, &arguments).await;
    }
}
