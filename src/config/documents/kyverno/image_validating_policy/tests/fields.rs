//! Every field, with what it means here or why it is refused.

use super::*;

#[test]
fn every_version_and_kind_is_read() {
    let namespaced = &["namespaces are not known at a pull"][..];
    for (kind, warned) in [
        ("ImageValidatingPolicy", &[][..]),
        ("NamespacedImageValidatingPolicy", namespaced),
    ] {
        for version in ["v1alpha1", "v1beta1", "v1"] {
            let text = with_spec("");
            let text = text.replace("kyverno.io/v1\n", &format!("kyverno.io/{version}\n"));
            let text = text.replace("kind: ImageValidatingPolicy", &format!("kind: {kind}"));
            let policy = loaded(&text, warned);
            assert_eq!(policy.name, "p");
            let origin = policy.origin.as_ref().unwrap();
            assert_eq!((origin.file.as_str(), origin.line), ("p.yaml", 1));
        }
    }
    let text = with_spec("").replace("{name: p}", "{name: p, namespace: dev}");
    loaded(&text, namespaced);
    let text = with_spec("").replace("{name: p}", "{}");
    assert_refused(&text, "metadata", "`name` is missing");
}

/// Fields of `spec`, with what is warned of.
const NOTED: &[(&str, &[&str])] = &[
    ("failurePolicy: Fail", &[]),
    ("failurePolicy: Ignore", &["whatever `failurePolicy` says"]),
    ("validationActions: [Deny]", &[]),
    (
        "webhookConfiguration: {timeoutSeconds: 20}",
        &["`webhookConfiguration` is about Kyverno's own work"],
    ),
    (
        "autogen: {podControllers: {controllers: []}}",
        &["`autogen` is about"],
    ),
    (
        "auditAnnotations: [{key: a, valueExpression: object.x}]",
        &["`auditAnnotations` is about"],
    ),
    (
        "credentials: {providers: [google]}",
        &["set under `upstreams`"],
    ),
    (
        "evaluation: {mode: Kubernetes, background: {enabled: false}}",
        &[],
    ),
    ("evaluation: {mode: JSON}", &["covers every pull"]),
    ("evaluation: {admission: {enabled: true}}", &[]),
    (
        "evaluation: {admission: {enabled: false}}",
        &["here the policy decides"],
    ),
    (
        "validationConfigurations: {mutateDigest: true}",
        &["nothing is rewritten"],
    ),
    (
        "validationConfigurations: {verifyDigest: true}",
        &["pulls by tag are not refused"],
    ),
    (
        "validationConfigurations: {required: false}",
        &["refused here unless it is verified"],
    ),
    (
        "validationConfigurations: {mutateDigest: false, verifyDigest: false, required: true}",
        &[],
    ),
    (
        "matchConditions: [{name: a, expression: object.x}]",
        &["`matchConditions` is not known at a pull"],
    ),
    (
        "matchConstraints: {resourceRules: [{resources: [pods]}], namespaceSelector: {matchLabels: {a: b}}}",
        &["`namespaceSelector` is not known"],
    ),
    (
        "matchConstraints: {resourceRules: [{resources: [pods]}], objectSelector: {matchLabels: {a: b}}}",
        &["`objectSelector` is not known"],
    ),
    (
        "matchConstraints: {resourceRules: [{resources: [pods]}], excludeResourceRules: [{resources: [pods]}]}",
        &["`excludeResourceRules` is not known"],
    ),
    (
        "matchConstraints: {resourceRules: [{resources: [pods, deployments, pods/ephemeralcontainers]}]}",
        &[],
    ),
    (
        "matchConstraints: {excludeResourceRules: [{resources: [configmaps]}], resourceRules: [{resources: [pods]}]}",
        &[],
    ),
    (
        "matchConstraints: {resourceRules: []}",
        &["asks this policy about nothing"],
    ),
    (
        "matchConstraints: {resourceRules: [{resources: [knativeservices]}]}",
        &["not only those for `knativeservices`"],
    ),
    (
        "matchConstraints: {resourceRules: [{resources: [pods], resourceNames: [a]}]}",
        &["`resourceNames` is not known"],
    ),
    (
        "images: [{name: more, expression: object.x}]",
        &["each list stands for the image that is pulled"],
    ),
];

/// Fields of `spec` that are refused: where, and a part of why.
const REFUSED: &[(&str, &str, &str)] = &[
    ("failurePolicy: Never", "spec.failurePolicy", ""),
    (
        "validationActions: [test]",
        "spec.validationActions[0]",
        "test",
    ),
    ("unknown: 1", "spec.unknown", ""),
    ("evaluation: {unknown: 1}", "spec.evaluation.unknown", ""),
    (
        "evaluation: {admission: {unknown: 1}}",
        "spec.evaluation.admission.unknown",
        "",
    ),
    (
        "validationConfigurations: {unknown: 1}",
        "spec.validationConfigurations.unknown",
        "",
    ),
    (
        "matchConstraints: {unknown: 1}",
        "spec.matchConstraints.unknown",
        "",
    ),
    (
        "matchConstraints: {resourceRules: [{unknown: 1}]}",
        "spec.matchConstraints.resourceRules[0].unknown",
        "",
    ),
    (
        "images: [{name: more}]",
        "spec.images[0]",
        "`expression` is missing",
    ),
    (
        "images: [{expression: object.x}]",
        "spec.images[0]",
        "`name` is missing",
    ),
    (
        "variables: [{name: a, expression: '('}]",
        "spec.variables[0].expression",
        "not a CEL expression",
    ),
    (
        "variables: [{name: a, expression: '1'}, {name: a, expression: '2'}]",
        "spec.variables[1].name",
        "name of two",
    ),
    (
        "attestations: [{name: a}]",
        "spec.attestations[0]",
        "`intoto` is missing",
    ),
    (
        "attestations: [{name: a, intoto: {}}]",
        "spec.attestations[0].intoto",
        "`type` is missing",
    ),
    (
        "attestations: [{name: a, unknown: 1}]",
        "spec.attestations[0].unknown",
        "",
    ),
];

#[test]
fn fields_of_the_policy() {
    for &(spec, warned) in NOTED {
        loaded(&with_spec(spec), warned);
    }
    for &(spec, key, message) in REFUSED {
        assert_refused(&with_spec(spec), key, message);
    }
    loaded(
        &with_spec("attestations: [{name: a, referrer: {type: sbom/x}}]"),
        &["no validation asks for it"],
    );
    let asked = "images.containers.all(image, verifyAttestationSignatures(image, attestations.a, [attestors.x]) > 0)";
    assert_refused(
        &with_spec("attestations: [{name: a, referrer: {type: sbom/x}}]").replace(SIGNED, asked),
        "spec.validations[0].expression",
        "without a statement",
    );
    loaded(
        &with_spec("attestations: [{name: a, intoto: {type: sbom}}]"),
        &["compared as it is"],
    );
    let without = with_spec("").replace("validations:", "validations: []\n  variables:");
    assert_refused(
        &without.replace("expression: '", "name: q, expression: '"),
        "spec.validations",
        "demand no signature",
    );
}

#[test]
fn an_image_of_any_list_is_the_one_that_is_pulled() {
    let more = "images.more.all(image, verifyImageSignatures(image, [attestors.x]) > 0)";
    let text = with_spec("images: [{name: more, expression: object.x}]").replace(SIGNED, more);
    loaded(&text, &["each list stands for"]);
    assert_refused(
        &with_spec("").replace(SIGNED, more),
        "spec.validations[0].expression",
        "no `more` is defined",
    );
}

const PODS: &str = "matchConstraints: {resourceRules: [{resources: [pods]}]}";

#[test]
fn only_deny_refuses() {
    for (actions, mode) in [
        ("", Mode::Enforce),
        ("validationActions: []", Mode::Enforce),
        ("validationActions: [Deny]", Mode::Enforce),
        ("validationActions: [Audit]", Mode::Audit),
        ("validationActions: [Warn]", Mode::Audit),
        ("validationActions: [Audit, Warn]", Mode::Audit),
        ("validationActions: [Audit, Deny]", Mode::Enforce),
    ] {
        let text = with_spec(&format!("{PODS}\n  {actions}"));
        assert_eq!(loaded(&text, &[]).mode, mode, "{actions}");
    }
    let audit = with_spec(&format!("{PODS}\n  validationActions: [Audit]"));
    let everything = audit.replace("ghcr.io/org/*", "*");
    assert_refused(&everything, "spec", "covers every image and only audits");
    let (policies, reader) = load_with(&everything, DefaultAction::Audit);
    assert!(reader.problems.is_empty());
    assert_eq!(policies.len(), 1);
    let nothing = audit.replace("  matchImageReferences: [{glob: 'ghcr.io/org/*'}]\n", "");
    assert_refused(&nothing, "spec", "covers every image and only audits");
}

#[test]
fn an_audit_is_not_widened_to_all_pulls() {
    let audit = with_spec(
        "validationActions: [Audit]\n  matchConstraints: {resourceRules: [{resources: [pods]}]}",
    );
    loaded(&audit, &[]);
    let with_rules = |rules: &str| audit.replace("[{resources: [pods]}]", rules);
    for rules in [
        "[{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]",
        "[{apiGroups: ['*'], apiVersions: ['*'], operations: ['*'], resources: ['*'], scope: '*'}]",
        "[{apiGroups: [apps], apiVersions: [v1], resources: [deployments], scope: Namespaced}]",
        "[{apiGroups: ['', batch], resources: [configmaps, cronjobs]}]",
        "[{apiGroups: [''], resources: ['*/*']}]",
        "[{apiGroups: [''], resources: [pods/exec]}, {apiGroups: [''], resources: [pods, pods/ephemeralcontainers]}]",
    ] {
        loaded(&with_rules(rules), &[]);
    }
    for rules in [
        "[]",
        "[{}]",
        "[{apiGroups: [''], resources: []}]",
        "[{apiGroups: [example.com], resources: [pods]}]",
        "[{apiGroups: [apps], resources: [pods]}]",
        "[{apiGroups: [batch.volcano.sh], resources: [jobs]}]",
        "[{apiGroups: [metrics.k8s.io], resources: ['*']}]",
        "[{apiGroups: [], resources: [pods]}]",
        "[{apiGroups: [''], apiVersions: [v2], resources: [pods]}]",
        "[{apiGroups: [''], resources: [pods/ephemeralcontainers]}]",
        "[{apiGroups: [''], resources: ['pods/*']}]",
        "[{apiGroups: [''], resources: ['*/status']}]",
        "[{apiGroups: [''], resources: [pods], scope: Cluster}]",
        "[{apiGroups: [''], resources: [pods]}], excludeResourceRules: [{resources: [deployments]}]",
        "[{apiGroups: [''], resources: [pods]}], excludeResourceRules: [{resources: ['*']}]",
    ] {
        let key = "spec.matchConstraints";
        assert_refused(
            &with_rules(rules),
            key,
            "would let through what it was not written for",
        );
        // An enforced policy only refuses more.
        let enforced =
            with_rules(rules).replace("validationActions: [Audit]", "failurePolicy: Fail");
        let (policies, problems, _) = outcome(&enforced);
        assert_eq!((policies.len(), problems), (1, vec![]), "{rules}");
    }
    for (text, key) in [
        (
            with_spec(
                "validationActions: [Audit]\n  matchConditions: [{name: a, expression: object.x}]",
            ),
            "spec.matchConditions",
        ),
        (
            audit.replace("resources: [pods]", "resources: [pods], resourceNames: [x]"),
            "spec.matchConstraints.resourceRules[0].resourceNames",
        ),
        (
            audit.replace("resources: [pods]", "resources: [tasks]"),
            "spec.matchConstraints.resourceRules[0].resources[0]",
        ),
        (
            audit.replace("ghcr.io/org/*", "ghcr.io/org/app:dev-*"),
            "spec.matchImageReferences",
        ),
        (
            audit.replace("{name: p}", "{name: p, namespace: dev}"),
            "metadata.namespace",
        ),
        (
            audit.replace("kind: Image", "kind: NamespacedImage"),
            "metadata",
        ),
        (with_spec("validationActions: [Audit]"), "spec"),
        (
            format!("{audit}  evaluation: {{mode: JSON}}\n"),
            "spec.evaluation.mode",
        ),
        (
            format!("{audit}  evaluation: {{admission: {{enabled: false}}}}\n"),
            "spec.evaluation.admission",
        ),
        (
            format!("{audit}  images: [{{name: more, expression: object.x}}]\n"),
            "spec.images",
        ),
    ] {
        assert_refused(&text, key, "would let through what it was not written for");
        let (policies, reader) = load_with(&text, DefaultAction::Audit);
        assert_eq!((policies.len(), reader.problems), (1, vec![]), "{key}");
    }
}

#[test]
fn a_document_alone_says_nothing_about_upstreams() {
    let text = with_spec("").replace("ghcr.io/org/*", "quay.io/org/*");
    let (_, reader) = load_among(&[], &text, DefaultAction::Deny);
    assert!(
        !reader
            .warnings
            .iter()
            .any(|it| it.message.contains("upstreams"))
    );
}

/// Entries of `matchImageReferences`, with what is warned of.
const REFERENCES: &[(&str, &[&str])] = &[
    ("{glob: 'ghcr.io/{a,b}/*'}", &[]),
    ("{glob: 'ghcr.io/org/app'}", &["the tag `latest`"]),
    ("{glob: 'ghcr.io/org/app:*'}", &["compared with the tags"]),
    (
        "{glob: 'quay.io/org/*'}",
        &["begins with no registry among the upstreams"],
    ),
    (
        "{glob: 'https://ghcr.io/org/*'}",
        &["names of images have no scheme"],
    ),
    ("{glob: 'nginx*'}", &[]),
    ("{glob: 'docker.io/org/*'}", &[]),
    ("{expression: 'ref.startsWith(\"ghcr.io/org/\")'}", &[]),
    (
        "{expression: 'ref == \"ghcr.io/org/app:v1\" || ref != \"x\" && true'}",
        &[],
    ),
    ("{expression: 'ref in [\"ghcr.io/org/app\"]'}", &[]),
    (
        "{expression: '!ref.endsWith(\":dev\") && ref.startsWith(\"ghcr.io/\")'}",
        &[],
    ),
    (
        "{expression: 'parseImageReference(ref).registry() == \"ghcr.io\"'}",
        &[],
    ),
    (
        "{expression: 'image(ref).repository().startsWith(\"org/\")'}",
        &[],
    ),
    (
        "{expression: 'image(ref).tag() == \"v1\" && image(ref).registry() == \"ghcr.io\"'}",
        &[],
    ),
    ("{expression: 'image(ref).containsDigest()'}", &[]),
    (
        "{expression: '[\"ghcr.io/a/\", \"ghcr.io/b/\"].exists(p, ref.startsWith(p))'}",
        &[],
    ),
    ("{expression: 'ref.matches(\"^ghcr[.]io/org/\")'}", &[]),
    (
        "{expression: 'ref.matches(\"org/app@sha256\")'}",
        &["has no answer in any repository"],
    ),
];

/// Entries that are refused, with a part of why.
const NO_REFERENCES: &[(&str, &str)] = &[
    ("{}", "not exactly one of `glob` and `expression`"),
    (
        "{glob: a, expression: 'true'}",
        "not exactly one of `glob` and `expression`",
    ),
    ("{glob: '['}", "a set of characters"),
    ("{glob: ''}", "must not be empty"),
    (
        "{expression: 'image.registry == \"ghcr.io\"'}",
        "not supported over the name of an image",
    ),
    (
        "{expression: 'object.x == \"y\"'}",
        "not supported over the name of an image",
    ),
    ("{expression: 'objects == \"y\"'}", "`objects` is not known"),
    ("{expression: 'ref'}", "neither true nor false"),
    (
        "{expression: 'ref.size() > 3'}",
        "not supported over the name of an image",
    ),
    (
        "{expression: 'ref.matches(\"(\")'}",
        "not a regular expression",
    ),
    (
        "{expression: 'image(\"nginx\").registry() == \"x\"'}",
        "not supported over the name of an image",
    ),
    (
        "{expression: 'ref.startsWith(ref)'}",
        "a text is expected here",
    ),
    ("{expression: '('}", "not a CEL expression"),
    ("{unknown: 1}", ""),
];

#[test]
fn image_references() {
    let with = |entry: &str| with_spec("").replace("{glob: 'ghcr.io/org/*'}", entry);
    for &(entry, warned) in REFERENCES {
        loaded(&with(entry), warned);
    }
    for &(entry, message) in NO_REFERENCES {
        assert_refused(&with(entry), "spec.matchImageReferences[0]", message);
    }
}

#[test]
fn loops_over_texts_mean_what_they_say() {
    let entry = "{expression: '[\"ghcr.io/a/\", \"ghcr.io/b/\"].exists(p, ref.startsWith(p))'}";
    let policy = loaded(
        &with_spec("").replace("{glob: 'ghcr.io/org/*'}", entry),
        &[],
    );
    let Coverage::Imported(coverage) = &policy.coverage else {
        panic!("{:?}", policy.coverage);
    };
    assert!(coverage.matches("ghcr.io/a/x") && coverage.matches("ghcr.io/b/x"));
    assert!(!coverage.matches("ghcr.io/c/x"));
}
