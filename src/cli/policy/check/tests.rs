//! What is printed of what was understood.

use std::fs;

use tempfile::TempDir;

use super::*;

const KEY: &str = include_str!("../../../keys/fake_service/p256.pem");
const ROOT: &str = include_str!("../../../../tests/fixtures/corpus/trust/trusted_root.json");

/// What is printed about files of these names and contents, with names in place of paths.
fn printed(files: &[(&str, &str)]) -> String {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("key.pub"), KEY).unwrap();
    fs::write(directory.path().join("root.json"), ROOT).unwrap();
    let write = |(name, text): &(&str, &str)| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let paths: Vec<_> = files.iter().map(write).collect();
    let text = render(&check(&paths, &|_| None));
    text.replace(&format!("{}/", directory.path().display()), "")
}

fn assert_prints(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            text.lines().any(|it| it.contains(line)),
            "{line}\n--\n{text}"
        );
    }
}

#[test]
fn everything_that_weakens_or_narrows_a_native_policy_is_printed() {
    let native = "
upstreams: {ghcr.io: {}}
trusted_roots: {private: {file: root.json}}
default: audit
policies:
  - name: p
    images: [ghcr.io/org/**]
    exclude: [ghcr.io/org/lab/**, ghcr.io/org/old]
    signature_repository: ghcr.io/signatures/org
    authorities:
      - certificate_identity: a@b.example
        certificate_oidc_issuer: https://i.example
        certificate_extensions: {github_workflow_ref: refs/heads/main}
        trusted_root: private
        sct: not_required
    attestations:
      - {predicate_type: spdxjson, match: all}
      - {predicate_type: 'https://a.example/type', match: newest}
exceptions:
  - {images: [ghcr.io/org/x], reason: OPS-1, by: alice, until: 2099-01-31}
revoked:
  digests: ['sha256:0000000000000000000000000000000000000000000000000000000000000000']
  certificates: ['0x0a']
  identities: [mallory@b.example, {regexp: '.*@evil\\.example'}]
";
    let text = printed(&[("c.yaml", native)]);
    assert_prints(
        &text,
        &[
            "  excludes ghcr.io/org/lab/**, ghcr.io/org/old",
            "  looks for signatures in ghcr.io/signatures/org too",
            "requires a signature by a@b.example certified for https://i.example, with the certificate extension \
             github_workflow_ref=refs/heads/main, under the trusted root private, in a transparency log, with or \
             without an SCT",
            "  requires at least one and every attestation https://spdx.dev/Document by ",
            "  requires the newest attestation https://a.example/type by ",
            "default audit: a name that no policy covers is served",
            "exception by alice until 2099-01-31T00:00:00Z: OPS-1",
            "  covers ghcr.io/org/x",
            "revoked the digest sha256:0000",
            "revoked the certificate with the serial number a",
            "revoked the identity mallory@b.example",
            "revoked the identity /.*@evil\\.example/",
        ],
    );
}

#[test]
fn what_is_as_it_would_be_anyway_is_not_printed() {
    let native = "
upstreams: {ghcr.io: {}}
policies:
  - name: p
    images: [ghcr.io/org/**]
    authorities: [{certificate_identity: a@b.example, certificate_oidc_issuer: 'https://i.example'}]
    attestations: [{predicate_type: spdxjson}]
";
    assert_eq!(
        printed(&[("c.yaml", native)]),
        "c.yaml:4: policy p (enforce)
  covers ghcr.io/org/**
  requires a signature by a@b.example certified for https://i.example, in a transparency log
  requires an attestation https://spdx.dev/Document by a@b.example certified for https://i.example, in a transparency log
1 policy, 0 problems, 0 warnings
"
    );
}

#[test]
fn what_narrows_a_document_of_kyverno_is_printed() {
    let document = "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: p}
spec:
  rules:
    - name: r
      match: {any: [{resources: {kinds: [Pod]}}]}
      verifyImages:
        - failureAction: Enforce
          imageReferences: ['ghcr.io/org/*']
          skipImageReferences: ['ghcr.io/org/lab*']
          repository: ghcr.io/signatures/org
          attestors:
            - entries:
                - keyless:
                    subject: a@b.example
                    issuer: https://i.example
                    additionalExtensions: {githubWorkflowRef: refs/heads/main}
                    ctlog: {ignoreSCT: true}
";
    let text = printed(&[("p.yaml", document)]);
    assert_prints(
        &text,
        &[
            "  excludes ghcr.io/org/lab*",
            "  looks for signatures in ghcr.io/signatures/org too",
            "with the certificate extension github_workflow_ref=/refs/heads/main/",
            "with or without an SCT",
            "warning: p.yaml:19:28: spec.rules[0].verifyImages[0].attestors[0].entries[0].keyless.ctlog: certificates \
             that were never published are accepted",
        ],
    );
}

#[test]
fn the_same_is_in_json() {
    let native = "
upstreams: {ghcr.io: {}}
default: audit
policies: [{name: p, images: [ghcr.io/a/**], exclude: [ghcr.io/a/b], authorities: [{key: key.pub}]}]
exceptions: [{images: [ghcr.io/a/x], reason: OPS-1, by: alice, until: 2099-01-31}]
revoked: {identities: [mallory@b.example]}
";
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("key.pub"), KEY).unwrap();
    let path = directory.path().join("c.yaml");
    fs::write(&path, native).unwrap();
    let report = serde_json::to_value(Report::new(&check(&[path], &|_| None), false)).unwrap();
    assert_eq!(report["problems"], serde_json::json!([]));
    assert_eq!(report["default"], "audit");
    assert_eq!(
        report["policies"][0]["excludes"],
        serde_json::json!(["ghcr.io/a/b"])
    );
    assert_eq!(report["exceptions"][0]["until"], "2099-01-31T00:00:00Z");
    assert_eq!(
        report["exceptions"][0]["covers"],
        serde_json::json!(["ghcr.io/a/x"])
    );
    assert_eq!(
        report["revoked"]["identities"],
        serde_json::json!(["mallory@b.example"])
    );
}

#[test]
fn what_changes_nothing_is_a_note_and_no_warning() {
    let document = "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: p}
spec:
  background: false
  rules:
    - name: r
      match: {any: [{resources: {kinds: [Pod]}}]}
      verifyImages:
        - failureAction: Enforce
          useCache: false
          imageReferences: ['ghcr.io/org/*']
          attestors: [{entries: [{keys: {kms: 'awskms:///alias/a'}}]}]
";
    let text = printed(&[("p.yaml", document)]);
    assert_prints(
        &text,
        &[
            "note: p.yaml:5:15: spec.background: `background` is about Kyverno's own work",
            "note: p.yaml:11:21: spec.rules[0].verifyImages[0].useCache: `useCache`: a decision is kept",
            "1 policy, 0 problems, 0 warnings, 2 notes",
        ],
    );
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("p.yaml");
    fs::write(&path, document).unwrap();
    let arguments = Arguments {
        files: vec![path],
        strict: true,
        output: Format::Json,
    };
    assert_eq!(run(&arguments), 0);
}

/// A key without a log, which is warned of.
const WITHOUT_LOG: &str = "apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata: {name: p}
spec:
  images: [{glob: 'ghcr.io/org/**'}]
  authorities: [{key: {kms: 'awskms:///arn:aws:kms:eu-west-1:111122223333:alias/a'}}]
";

/// The report with `--strict` on the document beside a configuration with these lines, and the verdict's line.
fn strictly(configuration: &str) -> (serde_json::Value, String) {
    let directory = TempDir::new().unwrap();
    let document = directory.path().join("p.yaml");
    fs::write(&document, WITHOUT_LOG).unwrap();
    let native = directory.path().join("c.yaml");
    fs::write(
        &native,
        format!("upstreams: {{ghcr.io: {{}}}}\n{configuration}"),
    )
    .unwrap();
    let checked = check(&[native, document], &|_| None);
    let report = serde_json::to_value(Report::new(&checked, true)).unwrap();
    (report, Strict::new(&checked).render())
}

#[test]
fn strict_ends_with_its_own_verdict() {
    let (report, verdict) = strictly("");
    assert_eq!(verdict, "strict: 1 warning: not clean\n");
    assert_eq!(report["strict"]["clean"], false);
    assert_eq!(report["warnings"][0]["name"], "no-transparency-log");
    assert_eq!(report["warnings"][0]["acknowledged"], false);
}

#[test]
fn an_acknowledged_warning_is_shown_and_does_not_count() {
    let (report, verdict) = strictly("acknowledge: [no-transparency-log]\n");
    assert_eq!(verdict, "strict: clean\n");
    assert_eq!(report["strict"]["clean"], true);
    assert_eq!(report["strict"]["acknowledged"], 1);
    assert_eq!(report["warnings"][0]["acknowledged"], true);
    // Another name leaves it what it is.
    let (report, verdict) = strictly("acknowledge: [tags-decide]\n");
    assert_eq!(verdict, "strict: 1 warning: not clean\n");
    assert_eq!(report["strict"]["acknowledged"], 0);
    // A name that no warning has is a problem.
    let (report, verdict) = strictly("acknowledge: [no-transparency-lag]\n");
    assert_eq!(verdict, "strict: 1 problem, 1 warning: not clean\n");
    let message = report["problems"][0]["message"].as_str().unwrap();
    assert_eq!(message, "`no-transparency-lag` is the name of no warning");
}

#[test]
fn a_policy_acknowledges_its_own_warnings_alone() {
    let policy = |name: &str, rest: &str| {
        format!(
            "  - name: {name}
    images: [ghcr.io/{name}/**]
    authorities: [{{certificate_identity_regexp: 'https://github\\.com/org/.*', certificate_oidc_issuer_regexp: '.*'}}]
{rest}"
        )
    };
    let native = format!(
        "upstreams: {{ghcr.io: {{}}}}\npolicies:\n{}{}",
        policy("a", "    acknowledge: [also-accepts]\n"),
        policy("b", ""),
    );
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("c.yaml");
    fs::write(&path, native).unwrap();
    let checked = check(&[path], &|_| None);
    assert_eq!(checked.problems, []);
    let acknowledged = |policy: &str| {
        let of_policy = checked
            .warnings
            .iter()
            .filter(|it| it.key.starts_with(policy));
        of_policy.map(|it| it.is_acknowledged).collect::<Vec<_>>()
    };
    assert!(!acknowledged("policies[0]").is_empty());
    assert!(acknowledged("policies[0]").iter().all(|it| *it));
    assert!(!acknowledged("policies[1]").is_empty());
    assert!(acknowledged("policies[1]").iter().all(|it| !it));
}
