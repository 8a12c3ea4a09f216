//! `policy check`, `policy match` and `policy test`.

mod catalog;
mod mistakes;
mod schema;

use std::path::Path;

use super::{ADMITTED, REFUSED, USAGE, Workplace, code, countersign, json, text};
use crate::support::*;

const GLOBS: &str = include_str!("../../fixtures/policies/policy-controller/globs.tsv");
const PATTERNS: &str = include_str!("../../fixtures/policies/kyverno/matches.tsv");
const SCOPES: &str = include_str!("../../fixtures/policies/containers/scopes.tsv");

/// Each line that is marked is a mistake.
const SIX_MISTAKES: &str = "\
apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata:
  name: mistaken
spec:
  mode: garbage
  image: []
  images:
  - glob: 'ghcr.io/[a-z]*'
  authorities:
  - keyless:
      identities:
      - subject: somebody@example.com
    ctlog:
      trustRootRef: none
  - key:
      kms: nothing://a
    ctlog: {}
";
const PLACES: [&str; 6] = ["6:9", "7:3", "9:11", "11:5", "13:9", "17:12"];

fn glob_policy(name: &str, glob: &str) -> String {
    format!(
        "apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata: {{name: '{name}'}}
spec:
  images: [{{glob: '{glob}'}}]
  authorities: [{{static: {{action: fail}}}}]
"
    )
}

fn fixture(path: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/policies");
    directory.join(path).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn check_reports_every_mistake_with_its_place_and_a_way_out() {
    let place = Workplace::new().await;
    let path = place.write("policy.yaml", SIX_MISTAKES);
    let output = countersign(&["policy", "check", "--output", "json", &path]).await;
    assert_eq!(code(&output), REFUSED, "{}", text(&output));
    let report = json(&output);
    let problems = report["problems"].as_array().unwrap();
    let mut places: Vec<_> = problems
        .iter()
        .map(|problem| {
            assert_eq!(problem["file"], path.as_str());
            assert!(!problem["help"].as_str().unwrap().is_empty(), "{problem}");
            (
                problem["line"].as_u64().unwrap(),
                problem["column"].as_u64().unwrap(),
            )
        })
        .collect();
    places.sort_unstable();
    let places: Vec<_> = places
        .iter()
        .map(|(line, column)| format!("{line}:{column}"))
        .collect();
    assert_eq!(places, PLACES, "{}", text(&output));

    let output = countersign(&["policy", "check", &path]).await;
    assert_eq!(code(&output), REFUSED);
    for place in PLACES {
        let start = format!("problem: {path}:{place}: ");
        assert!(text(&output).contains(&start), "{start}: {}", text(&output));
    }
    assert!(
        text(&output).ends_with("0 policies, 6 problems, 0 warnings\n"),
        "{}",
        text(&output)
    );
}

#[tokio::test]
async fn check_tells_what_it_understood_and_strictly_takes_no_warning() {
    let place = Workplace::new().await;
    let path = fixture("policy-controller/examples/signed-by-github-actions.yaml");
    let output = countersign(&["policy", "check", "--strict", &path]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    for part in [
        "policy image-is-signed-by-github-actions (enforce)",
        "covers **",
        "requires a signature by https://github.com/sigstore/policy-controller/",
        "certified for https://token.actions.githubusercontent.com, in a transparency log",
    ] {
        assert!(text(&output).contains(part), "{part}: {}", text(&output));
    }
    let warned = fixture("policy-controller/e2e/cip-key-no-rekor.yaml");
    for (arguments, expected) in [
        (vec!["policy", "check", &warned], ADMITTED),
        (vec!["policy", "check", "--strict", &warned], REFUSED),
    ] {
        let output = countersign(&arguments).await;
        assert_eq!(code(&output), expected, "{}", text(&output));
        assert!(text(&output).contains("no `ctlog`"), "{}", text(&output));
    }
    let absent = place.path("absent");
    let output = countersign(&["policy", "check", &absent]).await;
    assert_eq!(code(&output), USAGE);
}

#[tokio::test]
async fn check_takes_configuration_and_documents_together() {
    let place = Workplace::new().await;
    let config = place.config();
    let document = place.write("policy.yaml", &glob_policy("p", "**"));
    let output = countersign(&["policy", "check", "--output", "json", &config, &document]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    let report = json(&output);
    let names: Vec<_> = report["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| policy["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["apps", "others", "p"]);
    assert_eq!(report["policies"][2]["file"], document.as_str());
    assert_eq!(report["policies"][2]["line"], 1);
}

#[tokio::test]
async fn match_answers_as_the_project_does() {
    let place = Workplace::new().await;
    // One document for each glob, so that one run answers for an image.
    let globs: Vec<_> = GLOBS
        .lines()
        .map(|row| row.split('\t').collect::<Vec<_>>())
        .collect();
    for image in [
        "foo",
        "myuser/myapp",
        "ghcr.io/foo",
        "ghcr.io/foo/bar",
        "ghcrxio/foo",
    ] {
        let rows = globs
            .iter()
            .filter(|row| row[0] == image && row[2] != "error");
        let (mut documents, mut expected) = (Vec::new(), Vec::new());
        for (index, row) in rows.enumerate() {
            documents.push(glob_policy(&format!("p{index}"), row[1]));
            if row[2] == "true" {
                expected.push(format!("p{index}"));
            }
        }
        let path = place.write("policy.yaml", &documents.join("---\n"));
        let output = countersign(&["policy", "match", &path, image]).await;
        let found = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(
            found.lines().collect::<Vec<_>>(),
            expected,
            "{image}: {}",
            text(&output)
        );
        let status = if expected.is_empty() {
            REFUSED
        } else {
            ADMITTED
        };
        assert_eq!(code(&output), status, "{image}");
    }
}

/// Rows of the projects' own tables: an image, what is written in the document, and the answer.
fn rows(table: &'static str) -> Vec<[&'static str; 3]> {
    let rows = table.lines().filter(|row| !row.starts_with('#'));
    rows.map(|row| row.split('\t').collect::<Vec<_>>().try_into().unwrap())
        .collect()
}

#[tokio::test]
async fn match_answers_as_kyverno_and_containers_do() {
    let place = Workplace::new().await;
    for [image, patterns, expected] in rows(PATTERNS) {
        let patterns: Vec<_> = patterns.split(' ').map(|it| format!("'{it}'")).collect();
        let document = format!(
            "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: p}}
spec:
  validationFailureAction: Enforce
  rules:
    - name: r
      match: {{any: [{{resources: {{kinds: [Pod]}}}}]}}
      verifyImages:
        - imageReferences: [{}]
          attestors: [{{entries: [{{keyless: {{subject: a@b.example, issuer: 'https://i.example'}}}}]}}]
",
            patterns.join(", ")
        );
        let path = place.write("kyverno.yaml", &document);
        let output = countersign(&["policy", "match", &path, image]).await;
        let (names, status) = match expected {
            "true" => ("p/r\n", ADMITTED),
            _ => ("", REFUSED),
        };
        assert_eq!(code(&output), status, "{image} {}", text(&output));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), names, "{image}");
    }
    for [image, scopes, expected] in rows(SCOPES).into_iter().take(9) {
        let scopes: serde_json::Map<_, _> = scopes
            .split(' ')
            .map(|scope| {
                (
                    scope.trim_matches('"').to_owned(),
                    serde_json::json!([{"type": "reject"}]),
                )
            })
            .collect();
        let document =
            serde_json::json!({"default": [{"type": "reject"}], "transports": {"docker": scopes}});
        let path = place.write("policy.json", &document.to_string());
        let output = countersign(&["policy", "match", &path, image]).await;
        assert_eq!(code(&output), ADMITTED, "{image} {}", text(&output));
        let expected = match expected.trim_matches('"') {
            "" => "policy.json docker\n".to_owned(),
            scope => format!("policy.json {scope}\n"),
        };
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            expected,
            "{image}"
        );
    }
}

#[tokio::test]
async fn an_image_validating_policy_is_matched_by_its_own_globs() {
    let place = Workplace::new().await;
    let signed = "images.containers.all(image, verifyImageSignatures(image, [attestors.key]) > 0)";
    let document = |name: &str, reference: &str| {
        format!(
            "apiVersion: policies.kyverno.io/v1
kind: ImageValidatingPolicy
metadata: {{name: {name}}}
spec:
  matchImageReferences: [{reference}]
  attestors: [{{name: key, cosign: {{key: {{kms: 'awskms:///alias/a'}}}}}}]
  validations: [{{expression: '{signed}'}}]
"
        )
    };
    let documents = [
        document("tags", "{glob: 'ghcr.io/org/app:v[0-9]*'}"),
        document("org", "{glob: 'ghcr.io/{org,other}/*'}"),
        document("bare", "{glob: nginx}"),
        document(
            "registry",
            "{expression: 'parseImageReference(ref).registry() == \"ghcr.io\"'}",
        ),
    ];
    let path = place.write("policy.yaml", &documents.join("---\n"));
    for (image, expected) in [
        ("ghcr.io/org/app:v1", "tags\norg\nregistry\n"),
        ("ghcr.io/org/app:latest", "org\nregistry\n"),
        ("ghcr.io/more/app", "registry\n"),
        ("nginx", "bare\n"),
        ("nginx:latest", ""),
    ] {
        let output = countersign(&["policy", "match", &path, image]).await;
        let found = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(found, expected, "{image}: {}", text(&output));
        let status = if expected.is_empty() {
            REFUSED
        } else {
            ADMITTED
        };
        assert_eq!(code(&output), status, "{image}");
    }
    let output = countersign(&["policy", "check", &path]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    for part in ["tags", "ghcr.io/org/app:v[0-9]*", "awskms:///alias/a"] {
        assert!(text(&output).contains(part), "{part}: {}", text(&output));
    }
}

#[tokio::test]
async fn match_knows_configurations_and_scopes_too() {
    let place = Workplace::new().await;
    let config = place.config();
    let scopes = r#"{"default": [{"type": "reject"}], "transports": {"docker": {"docker.io": [{"type": "reject"}]}}}"#;
    let scopes = place.write("policy.json", scopes);
    let app = place.image("apps/web:v1");
    for (image, expected) in [
        (app.as_str(), "apps\npolicy.json default\n"),
        ("busybox", "policy.json docker.io\n"),
    ] {
        let output = countersign(&["policy", "match", &config, &scopes, image]).await;
        assert_eq!(code(&output), ADMITTED, "{}", text(&output));
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            expected,
            "{image}"
        );
    }
    for arguments in [
        vec!["policy", "match", &config, "Not An Image"],
        vec!["policy", "match", "busybox", &config],
        vec!["policy", "match", &config],
    ] {
        let output = countersign(&arguments).await;
        assert_eq!(code(&output), USAGE, "{arguments:?}: {}", text(&output));
    }
    let mistaken = place.write("mistaken.yaml", SIX_MISTAKES);
    let output = countersign(&["policy", "match", &mistaken, "busybox"]).await;
    assert_eq!(code(&output), USAGE, "{}", text(&output));
}

#[tokio::test]
async fn a_table_is_compared_with_decisions() {
    let place = Workplace::new().await;
    place.config();
    place.signed("apps/web");
    place.unsigned("apps/bare");
    let (web, bare) = (place.image("apps/web:v1"), place.image("apps/bare:v1"));
    let table = |web_expected: &str, kind: &str| {
        let text = format!(
            "config: [config.yaml]
cases:
  - {{image: '{web}', expect: {web_expected}}}
  - {{image: '{bare}', expect: deny, kind: {kind}}}
"
        );
        place.write("cases.yaml", &text)
    };
    for (web_expected, kind, expected, summary) in [
        ("admit", "unsigned", ADMITTED, "2 of 2 as expected"),
        ("deny", "unsigned", REFUSED, "1 of 2 as expected"),
        ("admit", "no_policy", REFUSED, "1 of 2 as expected"),
    ] {
        let path = table(web_expected, kind);
        let output = countersign(&["policy", "test", &path]).await;
        assert_eq!(code(&output), expected, "{}", text(&output));
        assert!(text(&output).contains(summary), "{}", text(&output));
    }
    for wrong in [
        "config: [config.yaml]\ncases: []",
        "config: [absent.yaml]\ncases: [{image: a, expect: deny}]",
    ] {
        let path = place.write("cases.yaml", wrong);
        let output = countersign(&["policy", "test", &path]).await;
        assert_eq!(code(&output), USAGE, "{}", text(&output));
    }
}

#[tokio::test]
async fn what_only_an_audit_serves_is_not_admitted() {
    let place = Workplace::new().await;
    place.signed("apps/web");
    place.unsigned("apps/bare");
    place.unsigned("stray");
    let images = format!("{}/apps/**", place.registry.name());
    let mut policy = key_policy("apps", &images, &[&place.key]);
    policy["mode"] = "audit".into();
    let configuration = Configuration::new(&[&place.registry])
        .policy(policy)
        .set("default", "audit".into());
    place.write("config.yaml", &configuration.0.to_string());
    for (image, expected, status) in [
        ("apps/web:v1", "admit", ADMITTED),
        ("apps/web:v1", "audit", REFUSED),
        ("apps/bare:v1", "audit", ADMITTED),
        ("apps/bare:v1", "admit", REFUSED),
        ("stray:v1", "audit", ADMITTED),
        ("stray:v1", "admit", REFUSED),
    ] {
        let image = place.image(image);
        let table =
            format!("config: [config.yaml]\ncases: [{{image: '{image}', expect: {expected}}}]");
        let path = place.write("cases.yaml", &table);
        let output = countersign(&["policy", "test", &path]).await;
        assert_eq!(code(&output), status, "{expected}: {}", text(&output));
    }
    let image = place.image("apps/bare:v1");
    let table = format!(
        "config: [config.yaml]\ncases: [{{image: '{image}', expect: audit, kind: unsigned}}]"
    );
    let path = place.write("cases.yaml", &table);
    let output = countersign(&["policy", "test", &path]).await;
    assert_eq!(code(&output), USAGE, "{}", text(&output));
}

#[tokio::test]
async fn an_imported_policy_decides_like_a_native_one() {
    let place = Workplace::new().await;
    place.signed("apps/web");
    place.unsigned("apps/bare");
    let key = place.key.public_pem().replace('\n', "\\n");
    let name = place.registry.name();
    place.write(
        "policy.yaml",
        &format!(
            "apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata: {{name: imported}}
spec:
  images: [{{glob: '{name}/apps/**'}}]
  authorities: [{{key: {{data: \"{key}\"}}}}]
"
        ),
    );
    place.write(
        "config.yaml",
        &format!("upstreams: {{'{name}': {{plain_http: true}}}}\npolicy_files: [policy.yaml]"),
    );
    let (web, bare) = (place.image("apps/web:v1"), place.image("apps/bare:v1"));
    let other = place.image("other:v1");
    let path = place.write(
        "cases.yaml",
        &format!(
            "config: [config.yaml]
cases:
  - {{image: '{web}', expect: admit}}
  - {{image: '{bare}', expect: deny, kind: unsigned}}
  - {{image: '{other}', expect: deny, kind: no_policy}}
"
        ),
    );
    let output = countersign(&["policy", "test", &path]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
}
