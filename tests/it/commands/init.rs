//! `init`: its findings in registries and manifests, and the images that its configuration admits.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;

use super::*;

/// Copies of corpus images that real cosign signed keyless under a private root, and the usual workplace.
struct Signed {
    place: Workplace,
    root: String,
}

const WORKFLOW: &str = "https://github.com/external-secrets/external-secrets/.github/workflows/release.yml@refs/heads/main";

impl Signed {
    async fn new() -> Self {
        let root = corpus::directory().join("trust/trusted_root.json");
        Self {
            place: Workplace::new().await,
            root: root.to_str().unwrap().to_owned(),
        }
    }

    fn copy(&self, from: &str, repository: &str, tag: &str) -> Image {
        corpus::copy(from, &self.place.registry, repository, tag)
    }

    /// `init` with the private root and the key of the workplace.
    async fn init(&self, arguments: &[&str]) -> Output {
        let key = self.place.path("key.pub");
        let given = ["init", "--trusted-root", &self.root, "--key", &key];
        countersign(&[&given[..], arguments].concat()).await
    }

    async fn admits(&self, config: &str, image: &str) -> i32 {
        let image = self.place.image(image);
        let output = countersign(&["verify", "--config", config, &image]).await;
        eprintln!("{}", text(&output));
        code(&output)
    }
}

fn assert_refusals_told(output: &Output) {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(
        told.contains("org/bare:v1 is refused: not signed"),
        "{told}"
    );
    assert!(
        told.contains("org/unknown:v1 is refused: signed with an unknown key"),
        "{told}"
    );
    assert!(
        told.contains("7 images: 5 signed and covered, 1 not signed, 1 signed with an unknown key"),
        "{told}"
    );
}

#[tokio::test]
async fn written_configuration_admits_what_was_found_and_no_other_signer() {
    let signed = Signed::new().await;
    let place = &signed.place;
    let app = signed.copy("kf/legacy-gh", "org/app", "v1");
    signed.copy("kf/bundle-email", "org/mail", "v1");
    signed.copy("kf/legacy-tsa-only", "org/stamped", "v1");
    signed.copy("kf/legacy-index", "org/index", "v1");
    place.signed("org/keyed");
    place.unsigned("org/bare");
    let unknown = SigningKey::generate();
    let image = place.unsigned("org/unknown");
    place.registry.sign_bundle("org/unknown", &image, &unknown);
    let names = [
        "app", "mail", "stamped", "index", "keyed", "bare", "unknown",
    ];
    let images = names.map(|name| place.image(&format!("org/{name}:v1")));
    let images: Vec<_> = images.iter().map(String::as_str).collect();

    let output = signed.init(&images).await;
    let config = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(code(&output), REFUSED, "{}", text(&output));
    for part in [
        &format!("certificate_identity: {WORKFLOW}") as &str,
        "certificate_identity: 'release-bot@corpus.test'",
        "signed_timestamp: required",
        &app.digest,
        "log index ",
        "Refused, because no signature was found:",
        "Refused, because it is signed with a key that is not known here:",
        "plain_http: true",
        "default: deny",
    ] {
        assert!(
            config.contains(part) || config.contains(&part.replace('\'', "")),
            "{part} is not in\n{config}"
        );
    }
    // The index and the image by the same workflow share a policy.
    assert_eq!(
        config.matches(&format!(": {WORKFLOW}")).count(),
        2,
        "{config}"
    );
    assert_refusals_told(&output);

    let config = place.write("init.yaml", &config);
    let checked = countersign(&["policy", "check", &config]).await;
    assert_eq!(code(&checked), 0, "{}", text(&checked));
    assert!(
        text(&checked).contains("0 problems, 0 warnings"),
        "{}",
        text(&checked)
    );
    for name in ["app", "mail", "stamped", "index", "keyed"] {
        assert_eq!(
            signed.admits(&config, &format!("org/{name}:v1")).await,
            ADMITTED,
            "{name}"
        );
    }
    for name in ["bare", "unknown"] {
        assert_eq!(
            signed.admits(&config, &format!("org/{name}:v1")).await,
            REFUSED,
            "{name}"
        );
    }
    // Signed by somebody who is accepted elsewhere.
    signed.copy("kf/bundle-email", "org/app", "v2");
    assert_eq!(signed.admits(&config, "org/app:v2").await, REFUSED);
    // A repository that was not named.
    signed.copy("kf/legacy-gh", "org/other", "v1");
    assert_eq!(signed.admits(&config, "org/other:v1").await, REFUSED);
}

#[tokio::test]
async fn images_of_one_repository_by_several_signers_are_all_admitted() {
    let signed = Signed::new().await;
    signed.copy("kf/legacy-gh", "org/app", "v1");
    signed.copy("kf/bundle-email", "org/app", "v2");
    let images = ["org/app:v1", "org/app:v2"].map(|name| signed.place.image(name));
    let config = signed.place.path("init.yaml");
    let output = signed
        .init(&[&images[0], &images[1], "--output", &config])
        .await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    assert_eq!(output.stdout, b"");
    for image in ["org/app:v1", "org/app:v2"] {
        assert_eq!(signed.admits(&config, image).await, ADMITTED, "{image}");
    }
    let written = std::fs::read_to_string(&config).unwrap();
    assert_eq!(written.matches("- name: ").count(), 3, "{written}");
}

#[tokio::test]
async fn manifests_are_read_from_files_directories_and_standard_input() {
    let signed = Signed::new().await;
    let place = &signed.place;
    for name in ["one", "two", "three", "four"] {
        place.signed(&format!("org/{name}"));
    }
    let image = |name: &str| place.image(&format!("org/{name}:v1"));
    std::fs::create_dir(place.path("deploy")).unwrap();
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nspec:\n  containers: [{{image: '{}'}}]\n",
        image("one")
    );
    place.write("deploy/pod.yaml", &pod);
    let compose = place.write(
        "compose.yml",
        &format!("services: {{web: {{image: '{}'}}}}\n", image("two")),
    );
    let list = place.write("list.txt", &format!("# ours\n{}\n", image("three")));
    let mut child = command(&[
        "init",
        "--trusted-root",
        &signed.root,
        "--key",
        &place.path("key.pub"),
        "-f",
        &place.path("deploy"),
        "-f",
        &compose,
        "-f",
        &list,
        "-f",
        "-",
    ])
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let deployment = format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "spec": {{"template": {{"spec": {{"containers": [{{"image": "{}"}}]}}}}}}}}"#,
        image("four")
    );
    let mut input = child.stdin.take().unwrap();
    input.write_all(deployment.as_bytes()).await.unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    let config = String::from_utf8(output.stdout).unwrap();
    assert!(
        config.contains("4 images: 4 signed and covered"),
        "{config}"
    );
    for (name, from) in [
        ("one", "pod.yaml"),
        ("two", "compose.yml"),
        ("three", "list.txt"),
        ("four", "standard input"),
    ] {
        let named = config
            .lines()
            .find(|line| line.contains(&format!("org/{name}:v1")));
        assert!(
            named.is_some_and(|line| line.contains(from)),
            "{name}: {config}"
        );
    }
}

#[tokio::test]
async fn image_that_cannot_be_asked_about_does_not_stop_the_others() {
    let signed = Signed::new().await;
    let place = &signed.place;
    place.signed("org/keyed");
    place.signed("org/silent");
    place
        .registry
        .fault("/org/silent/referrers/", Fault::Status(500));
    let images = ["org/keyed:v1", "org/absent:v1", "org/silent:v1"].map(|name| place.image(name));
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    let output = signed.init(&images).await;
    assert_eq!(code(&output), UNDECIDED, "{}", text(&output));
    let config = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        config.contains("3 images: 1 signed and covered, 2 could not be told"),
        "{config}"
    );
    assert_eq!(
        config.matches("# Could not be told: ").count(),
        2,
        "{config}"
    );
    let config = place.write("init.yaml", &config);
    assert_eq!(signed.admits(&config, "org/keyed:v1").await, ADMITTED);
    assert_eq!(signed.admits(&config, "org/absent:v1").await, REFUSED);
}

#[tokio::test]
async fn file_is_replaced_only_by_force() {
    let signed = Signed::new().await;
    signed.place.signed("org/keyed");
    let image = signed.place.image("org/keyed:v1");
    let config = signed.place.write("config.yaml", "mine");
    let refused = signed.init(&[&image, "--output", &config]).await;
    assert_eq!(code(&refused), USAGE, "{}", text(&refused));
    assert_eq!(std::fs::read_to_string(&config).unwrap(), "mine");
    let replaced = signed.init(&[&image, "--output", &config, "--force"]).await;
    assert_eq!(code(&replaced), ADMITTED, "{}", text(&replaced));
    assert_eq!(signed.admits(&config, "org/keyed:v1").await, ADMITTED);
}

/// A configuration in which `ghcr.io` is the registry of the workplace.
fn as_ghcr(signed: &Signed, roots: &Value) -> String {
    let endpoint = format!("http://{}", signed.place.registry.name());
    let config = serde_json::json!({
        "upstreams": {"ghcr.io": {"endpoint": endpoint, "plain_http": true}},
        "trusted_roots": roots,
        "policies": [{
            "name": "external-secrets",
            "images": ["ghcr.io/**"],
            "authorities": [{"key": signed.place.key.public_pem()}],
        }],
    });
    signed.place.write("base.yaml", &config.to_string())
}

#[tokio::test]
async fn publisher_of_the_catalogue_is_taken_from_there() {
    let signed = Signed::new().await;
    signed.copy("kf/legacy-gh", "external-secrets/external-secrets", "v1");
    let roots = serde_json::json!({"public-good": {"file": signed.root}});
    let base = as_ghcr(&signed, &roots);
    let image = "ghcr.io/external-secrets/external-secrets:v1";
    let written = signed.place.path("init.yaml");
    let output = countersign(&["init", "--config", &base, "--output", &written, image]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    let config = std::fs::read_to_string(&written).unwrap();
    assert!(config.contains("catalog:\n"), "{config}");
    assert!(config.contains("\n  - external-secrets\n"), "{config}");
    assert!(config.contains("policies: []"), "{config}");
    let verified = countersign(&["verify", "--config", &written, image]).await;
    assert_eq!(code(&verified), ADMITTED, "{}", text(&verified));
}

#[tokio::test]
async fn signer_other_than_the_catalogue_expects_is_not_accepted() {
    let signed = Signed::new().await;
    signed.copy("kf/bundle-email", "external-secrets/external-secrets", "v1");
    let roots = serde_json::json!({"private": {"file": signed.root}});
    let base = as_ghcr(&signed, &roots);
    let image = "ghcr.io/external-secrets/external-secrets:v1";
    let output = countersign(&["init", "--config", &base, image]).await;
    assert_eq!(code(&output), REFUSED, "{}", text(&output));
    let config = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        config.contains("The catalogue (external-secrets) expects another signer."),
        "{config}"
    );
    assert!(config.contains("policies: []"), "{config}");
    let config = signed.place.write("init.yaml", &config);
    let verified = countersign(&["verify", "--config", &config, image]).await;
    assert_eq!(code(&verified), REFUSED, "{}", text(&verified));
}

#[tokio::test]
async fn init_without_a_usable_image_is_bad_usage() {
    let place = Workplace::new().await;
    let empty = place.write("empty.yaml", "# nothing\n");
    let broken = place.write("broken.yaml", "kind: [\n");
    for arguments in [
        &["init"][..],
        &["init", "-f", "/nonexistent"],
        &["init", "-f", &empty],
        &["init", "-f", &broken],
        &["init", "NOT/AN:IMAGE"],
        &["init", "--key", &empty, "ghcr.io/org/app"],
        &["init", "--config", "/nonexistent", "ghcr.io/org/app"],
        &["init", "--force", "ghcr.io/org/app"],
    ] {
        let output = countersign(arguments).await;
        assert_eq!(code(&output), USAGE, "{arguments:?}: {}", text(&output));
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
}

#[tokio::test]
async fn attestations_and_signed_children_are_told_and_admit_nothing() {
    let signed = Signed::new().await;
    let place = &signed.place;
    signed.copy("att/keyless-bundle-slsaprovenance1", "org/attested", "v1");
    let child = place.signed("org/multi");
    let index = Image::index(&[&child]);
    place.registry.push_tagged("org/multi", "v2", &index);
    let images = ["org/attested:v1", "org/multi:v2"].map(|name| place.image(name));
    let output = signed.init(&[&images[0], &images[1]]).await;
    assert_eq!(code(&output), REFUSED, "{}", text(&output));
    let config = String::from_utf8(output.stdout.clone()).unwrap();
    for part in [
        "#   attested: https://slsa.dev/provenance/v1 by ",
        "# Attestations are no signature.",
        "#   1 of the 1 manifests looked at that the index lists are signed",
        "policies: []",
    ] {
        assert!(config.contains(part), "{part} is not in\n{config}");
    }
    let config = place.write("init.yaml", &config);
    for image in ["org/attested:v1", "org/multi:v2"] {
        assert_eq!(signed.admits(&config, image).await, REFUSED, "{image}");
    }
}
