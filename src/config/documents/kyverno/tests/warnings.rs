//! What is understood, and what is said about it.

use super::*;

const SIGNER: &str = "attestors: [{entries: [{keyless: {subject: s, issuer: i}}]}]";

#[test]
fn says_what_its_author_may_not_expect() {
    for (entry, words) in [
        (
            "imageReferences: ['ghcr.io/org/app:v1*']",
            &["`ghcr.io/org/app:v1*`", "without a known tag is covered"][..],
        ),
        (
            "imageReferences: ['ghcr.io/org/*-dev*']",
            &["`ghcr.io/org/*-dev*`", "without a known tag is covered"],
        ),
        (
            "imageReferences: ['ghcr.io/org/*']\nskipImageReferences: ['*:dev*']",
            &[
                "`*:dev*`",
                "only ever asked for through skipped tags is not covered",
            ],
        ),
        (
            "imageReferences: ['ghcr.io/org/*']\nskipImageReferences: ['ghcr.io/org/app']",
            &["`ghcr.io/org/app` skips nothing"],
        ),
        (
            "imageReferences: ['ghcr.io/org/*']\nskipImageReferences: ['*']",
            &["`ghcr.io/org/*` covers nothing: `*` skips all of it"],
        ),
        (
            "imageReferences: ['ghcr.io/org/a*', 'ghcr.io/org/b*']\nskipImageReferences: ['ghcr.io/org/b*']",
            &["`ghcr.io/org/b*` covers nothing"],
        ),
        (
            "imageReferences: ['ghcr.io/org/app:v1']\nskipImageReferences: ['ghcr.io/*:*']",
            &["`ghcr.io/org/app:v1` covers nothing"],
        ),
        (
            "imageReferences: ['ghcr.io/org/app']",
            &["covers nothing", "end with a tag"],
        ),
        (
            "imageReferences: ['https://ghcr.io/org/*']",
            &["`https://ghcr.io/org/*` covers nothing: names of images have no scheme"],
        ),
        (
            "imageReferences: ['ghcr.io/org/*']\nskipImageReferences: ['https://ghcr.io/org/*']",
            &["`https://ghcr.io/org/*` skips nothing"],
        ),
        (
            "imageReferences: ['nginx:*']",
            &[
                "`nginx:*` covers nothing",
                "no registry among the upstreams",
            ],
        ),
        (
            "imageReferences: ['quay.io/org/*']",
            &["covers nothing", "no registry among the upstreams"],
        ),
        (
            "imageReferences: ['ghcr.io/*']\nmutateDigest: true",
            &["`mutateDigest`"],
        ),
        (
            "imageReferences: ['ghcr.io/*']\nverifyDigest: true",
            &["`verifyDigest`"],
        ),
        (
            "imageReferences: ['ghcr.io/*']\nrequired: false",
            &["`required`", "refused here"],
        ),
        (
            "imageReferences: ['ghcr.io/*']\nuseCache: false",
            &["`useCache`"],
        ),
        (
            "imageReferences: ['ghcr.io/*']\ncosignOCI11: false",
            &["`cosignOCI11`"],
        ),
        (
            "imageReferences: ['ghcr.io/*']\nimageRegistryCredentials: {secrets: [x]}",
            &["under `upstreams`"],
        ),
        (
            "imageReferences: ['ghcr.io/*']\ntype: SigstoreBundle",
            &["older form"],
        ),
        (
            "imageReferences: ['ghcr.io/*']\nvalidate: {message: no}",
            &["`validate`", "demands nothing"],
        ),
    ] {
        assert_warns(&format!("{entry}\n{SIGNER}"), words);
    }
}

#[test]
fn a_document_alone_says_nothing_about_upstreams() {
    let text = policy_with(&format!(
        "imageReferences: ['quay.io/org/*']\nrepository: registry.example/signatures\n{SIGNER}"
    ));
    let (policies, reader) = load_among(&[], &text, DefaultAction::Deny);
    assert_eq!((reader.problems, reader.warnings), (vec![], vec![]));
    assert_eq!(policies[0].signature_repositories.len(), 1);
    let (_, reader) = load_among(&["ghcr.io"], &text, DefaultAction::Deny);
    assert_eq!((reader.problems.len(), reader.warnings.len()), (1, 1));
    // What only the default of a configuration can decide is said.
    let everything = text
        .replace("quay.io/org/*", "*")
        .replace("failureAction: Enforce", "failureAction: Audit");
    let (policies, reader) = load_among(&[], &everything, DefaultAction::Deny);
    assert_eq!((policies.len(), reader.problems), (1, vec![]));
    let said = "usable only under `default: audit`";
    assert!(reader.warnings.iter().any(|it| it.message.contains(said)));
}

#[test]
fn shows_an_identity_that_is_also_accepted() {
    for (keyless, words) in [
        (
            "subject: 'https://github.com/org*'",
            &["also accepts `https://github.com/org-evil/"][..],
        ),
        (
            "subject: 'https://github.com/*'",
            &["also accepts `https://github.com/somebody-else/"],
        ),
        (
            "subjectRegExp: 'https://github\\.com/org/.+'",
            &["also accepts `https://evil.example/?https://github.com/org/x`"],
        ),
        (
            "subjectRegExp: '^https://github.com/org/app'",
            &["also accepts `https://github.com/org/app-evil`"],
        ),
        (
            "subjectRegExp: 'https://(a|b)/'",
            &["accepts any text around"],
        ),
        (
            "subject: s, rekor: {url: 'https://rekor.example'}",
            &["no log is asked online"],
        ),
        (
            "subject: s, rekor: {ignoreTlog: true}",
            &["in no transparency log"],
        ),
        (
            "subject: s, rekor: {ignoreTlog: true}",
            &["a signed timestamp is required"],
        ),
        (
            "subject: s, ctlog: {ignoreSCT: true}",
            &["certificates that were never published are accepted"],
        ),
    ] {
        let entry = format!(
            "imageReferences: ['ghcr.io/org/*']\nattestors: [{{entries: [{{keyless: {{issuer: i, {keyless}}}}}]}}]"
        );
        assert_warns(&entry, words);
    }
    let quiet = "imageReferences: ['ghcr.io/org/*']
attestors: [{entries: [{keyless: {issuer: 'https://i.example', subject: 'https://github.com/org/*', subjectRegExp: '^https://github[.]com/o$'}}]}]";
    let (_, reader) = load(&policy_with(quiet));
    assert_eq!(reader.warnings, [], "nothing to say");
}

#[test]
fn what_a_pull_does_not_know_covers_every_pull_and_is_said() {
    let text = "apiVersion: kyverno.io/v1
kind: Policy
metadata: {name: p, namespace: n}
spec:
  validationFailureAction: Enforce
  background: true
  webhookTimeoutSeconds: 30
  failurePolicy: Ignore
  applyRules: One
  admission: false
  rules:
    - name: r
      context: [{name: c, configMap: {name: m}}]
      match:
        any: [{resources: {kinds: [Pod, Task], namespaces: [a]}}, {resources: {kinds: [Task]}}]
        subjects: [x]
      exclude: {any: [{resources: {namespaces: [b]}}]}
      preconditions: {all: [{key: a, operator: Equals, value: b}]}
      imageExtractors: {Task: []}
      verifyImages:
        - imageReferences: ['ghcr.io/org/*']
          attestors: [{entries: [{keyless: {subject: s, issuer: i}}]}]
    - name: other
      validate: {}
";
    let (policies, reader) = load(text);
    assert!(reader.problems.is_empty(), "{:#?}", reader.problems);
    assert_eq!(policies.len(), 1);
    let noted: Vec<_> = reader.notes.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(noted, ["spec.background", "spec.webhookTimeoutSeconds"]);
    let warned: Vec<_> = reader.warnings.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(
        warned,
        [
            "spec.failurePolicy",
            "spec.applyRules",
            "metadata.namespace",
            "spec.admission",
            "spec.rules[0].match.subjects",
            "spec.rules[0].match.any[0].resources.namespaces",
            "spec.rules[0].match.any[1].resources.kinds[0]",
            "spec.rules[0].exclude",
            "spec.rules[0].preconditions",
            "spec.rules[0].imageExtractors",
            "spec.rules[0].context",
            "spec.rules[1]",
        ]
    );
    // Auditing, it would let through what it was not written for.
    let narrowed = [
        "metadata.namespace",
        "spec.admission",
        "spec.rules[0].match.subjects",
        "spec.rules[0].match.any[0].resources.namespaces",
        "spec.rules[0].match.any[1].resources.kinds[0]",
        "spec.rules[0].exclude",
        "spec.rules[0].preconditions",
        "spec.rules[0].imageExtractors",
    ];
    let audit = text.replace(
        "validationFailureAction: Enforce",
        "validationFailureAction: Audit",
    );
    let (_, reader) = load(&audit);
    let problems: Vec<_> = reader.problems.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(problems, narrowed);
    let (policies, reader) = load_with(&audit, DefaultAction::Audit);
    assert_eq!((policies.len(), reader.problems.len()), (1, 0));
    // Without any action too, and whether or not the namespace is written.
    let silent = text.replace("  validationFailureAction: Enforce\n", "");
    assert_eq!(load(&silent).1.problems.len(), narrowed.len());
    let unwritten = audit.replace(", namespace: n}", "}");
    assert_eq!(load(&unwritten).1.problems[0].key, "metadata");
}

#[test]
fn policies_are_named_by_policy_rule_and_entry_and_know_their_line() {
    let one = loaded(&format!(
        "imageReferences: ['ghcr.io/org/*']\nrepository: ghcr.io/org/sigs\n{SIGNER}"
    ));
    assert_eq!(one.name, "p/r");
    assert_eq!(one.origin.as_ref().unwrap().to_string(), "p.yaml:9");
    assert_eq!(
        one.signature_repositories,
        ["ghcr.io/org/sigs".parse().unwrap()]
    );
    let two = policy_with(&format!("imageReferences: ['ghcr.io/a/*']\n{SIGNER}"))
        + "        - imageReferences: ['ghcr.io/b/*']
          failureAction: Audit
          attestors: [{entries: [{keyless: {subject: s, issuer: i}}]}]
";
    let (policies, _) = load(&two);
    let names: Vec<_> = policies.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["p/r#1", "p/r#2"]);
}

#[test]
fn several_mistakes_are_all_reported() {
    let found = problems(
        "imageReferences: ['']
type: Notary
roots: x
unknown: 1
attestors: [{count: 9, entries: [{keyless: {subject: s, issuer: i}}]}]
attestations: [{type: t}]",
    );
    assert!(found.len() >= 6, "{found:#?}");
}

#[test]
fn says_what_certificates_of_ones_own_need() {
    let chain = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/corpus/trust/fulcio-chain.pem"
    );
    let chain = serde_json::Value::from(std::fs::read_to_string(chain).unwrap());
    let log = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/corpus/trust/ctfe.pub"
    );
    let log = serde_json::Value::from(std::fs::read_to_string(log).unwrap());
    let entry = |attestor: &str| {
        format!("imageReferences: ['ghcr.io/*']\nattestors: [{{entries: [{attestor}]}}]")
    };
    let with_roots = format!("{{keyless: {{subject: s, issuer: i, roots: {chain}}}}}");
    assert_warns(&entry(&with_roots), &["write ctlog: {ignoreSCT: true}"]);
    // Where the document names the logs, they are its author's.
    let with_logs = format!(
        "{{keyless: {{subject: s, issuer: i, roots: {chain}, rekor: {{url: 'https://rekor.example', pubkey: {log}}}, \
         ctlog: {{pubkey: {log}}}}}}}"
    );
    let (policies, reader) = load(&policy_with(&entry(&with_logs)));
    assert_eq!((policies.len(), reader.warnings), (1, vec![]));
    let with_chain =
        format!("{{certificates: {{certChain: {chain}, ctlog: {{ignoreSCT: true}}}}}}");
    assert_warns(&entry(&with_chain), &["whatever its subject"]);
}
