//! Six different mistakes in one file: each is told with its place and how to mend it.

use crate::commands::{REFUSED, Workplace, code, countersign, json, text};

const NATIVE: &str = "\
server: {listen: nowhere}
upstreams: {ghcr.io: {}}
limits: {attempts_max: 0}
freshness: {tag_ttl: 1 minute}
policies:
  - name: tagged
    images: [ghcr.io/org/tagged:v1]
    authorities:
      - certificate_identity: somebody@example.com
        certificate_oidc_issuer: https://accounts.google.com
  - name: anybody
    images: [ghcr.io/org/anybody]
    mode: enforce
    authorities:
      - certificate_identity: somebody@example.com
  - name: misspelt
    images: [ghcr.io/org/misspelt]
    treshold: 2
    authorities:
      - certificate_identity: somebody@example.com
        certificate_oidc_issuer: https://accounts.google.com
";

const KYVERNO: &str = r#"apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: mistaken
spec:
  validationFailureAction: Enforced
  rules:
    - name: nobody
      match: {any: [{resources: {kinds: [Pod]}}]}
      verifyImages:
        - imageReferences: ["ghcr.io/org/nobody*"]
          attestors: []
    - name: mistaken
      match: {any: [{resources: {kinds: [Pod]}}]}
      verifyImages:
        - imageReferences: ["ghcr.io/org/none*"]
          required: maybe
          attestors:
            - count: 3
              entries:
                - keys: {publicKeys: nonsense}
        - imageReferences: ["ghcr.io/org/anybody*"]
          attestors:
            - entries:
                - keyless: {subject: somebody@example.com}
        - imageReferences: ["ghcr.io/org/misspelt*"]
          mutateDigests: false
          attestors:
            - entries:
                - keyless: {subject: somebody@example.com, issuer: "https://accounts.google.com"}
"#;

/// Place, what is wrong, and how to mend it.
type Mistakes = [(&'static str, &'static str, &'static str); 6];

const OF_NATIVE: Mistakes = [
    (
        "1:18",
        "server.listen: `nowhere`: invalid socket address syntax",
        "write an address and a port, such as 127.0.0.1:5080",
    ),
    (
        "3:24",
        "limits.attempts_max: zero would refuse everything",
        "leave the key out for the default",
    ),
    (
        "4:22",
        "freshness.tag_ttl: `1 minute` is not a duration",
        "write a number and a unit, such as 500ms, 60s, 5m, 24h or 7d",
    ),
    (
        "7:14",
        "policies[0].images[0]: `ghcr.io/org/tagged:v1`: patterns match host/repository: leave out the tag",
        "ghcr.io/org/*",
    ),
    (
        "15:9",
        "policies[1].authorities[0]: neither `certificate_oidc_issuer` nor `certificate_oidc_issuer_regexp`",
        "an authority is a `key`, or an identity and its issuer",
    ),
    (
        "18:5",
        "policies[2].treshold: unknown key",
        "known here: name, images, exclude, mode, authorities, threshold,",
    ),
];

const OF_KYVERNO: Mistakes = [
    (
        "6:28",
        "spec.validationFailureAction: `Enforced` is not known here",
        "write Enforce or enforce or Audit or audit",
    ),
    (
        "12:22",
        "spec.rules[0].verifyImages[0].attestors: an empty list of attestors lets nobody vouch",
        "add keys, or an identity with its issuer",
    ),
    (
        "17:21",
        "spec.rules[1].verifyImages[0].required: `maybe` is not known here",
        "write true or",
    ),
    (
        "21:38",
        "keys.publicKeys: neither a PEM text nor the reference of a key service",
        "write the PEM `PUBLIC KEY` blocks themselves, or a reference such as gcpkms://",
    ),
    (
        "25:28",
        "keyless: no `issuer`: anybody may get a certificate from some issuer",
        "write the `issuer` that the certificate must have",
    ),
    (
        "27:11",
        "spec.rules[1].verifyImages[2].mutateDigests: unknown key",
        "mutateDigest,",
    ),
];

async fn assert_told(name: &str, document: &str, expected: &Mistakes) {
    let place = Workplace::new().await;
    let path = place.write(name, document);
    let output = countersign(&["policy", "check", "--output", "json", &path]).await;
    assert_eq!(code(&output), REFUSED, "{}", text(&output));
    let report = json(&output);
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len(), expected.len(), "{}", text(&output));
    let told = countersign(&["policy", "check", &path]).await;
    assert_eq!(code(&told), REFUSED);
    let told = text(&told);
    // In the order in which they stand in the file.
    for (problem, (at, message, help)) in problems.iter().zip(expected) {
        assert_eq!(problem["file"], path.as_str());
        let found = format!("{}:{}", problem["line"], problem["column"]);
        assert_eq!(found, *at, "{problem}");
        let key = problem["key"].as_str().unwrap();
        let found = format!("{key}: {}", problem["message"].as_str().unwrap());
        assert!(found.contains(message), "{message}: {found}");
        let found = problem["help"].as_str().unwrap();
        assert!(found.contains(help), "{help}: {found}");

        let start = format!("problem: {path}:{at}: ");
        let line = told
            .split(&start)
            .nth(1)
            .unwrap_or_else(|| panic!("{start}: {told}"));
        let (first, rest) = line.split_once('\n').unwrap();
        assert!(first.contains(message), "{message}: {first}");
        assert!(rest.starts_with("    "), "{rest}");
        let second = rest.lines().next().unwrap();
        assert!(second.contains(help), "{help}: {second}");
    }
}

#[tokio::test]
async fn six_mistakes_in_a_configuration_are_told_at_once() {
    assert_told("config.yaml", NATIVE, &OF_NATIVE).await;
}

#[tokio::test]
async fn six_mistakes_in_a_document_of_kyverno_are_told_at_once() {
    assert_told("policy.yaml", KYVERNO, &OF_KYVERNO).await;
}
