//! policy-controller's documents.

use super::*;
use crate::config::check::{Checked, check};
use crate::policy::Policy;

/// What the project publishes, and what becomes of each document here.
const OUTCOMES: &str = include_str!("../../../tests/fixtures/policies/outcomes.tsv");

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/policies")
        .join(path)
}

fn keys(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|it| it.key.as_str()).collect()
}

/// A policy for `images` with these authorities, and `rest` in its spec.
fn document(images: &str, authorities: &str, rest: &str) -> String {
    format!(
        "apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata: {{name: p}}
spec:
  images: [{{glob: '{images}'}}]
  authorities: {authorities}
{rest}"
    )
}

fn key_authority(rest: &str) -> String {
    let key = KEY_A.replace('\n', "\\n");
    format!("{{key: {{data: \"{key}\"}}, {rest}}}")
}

const IDENTITY: &str = "{issuer: 'https://issuer.example', subject: 'a@example.com'}";

fn checked(text: &str) -> Checked {
    let directory = Directory::new();
    let path = directory.write("policy.yaml", text);
    check(&[path], &environment)
}

fn policy(text: &str) -> Arc<Policy> {
    let checked = checked(text);
    assert_eq!(checked.problems, [], "{text}");
    checked.policies.first().unwrap().clone()
}

/// The keys of what is wrong with it.
fn refused(text: &str) -> Vec<String> {
    let checked = checked(text);
    assert!(checked.policies.is_empty(), "{text}");
    keys(&checked.problems)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

fn warnings(text: &str) -> String {
    let warnings = checked(text).warnings.into_iter();
    warnings
        .map(|it| format!("{}: {}\n", it.key, it.message))
        .collect()
}

fn covers(policy: &Policy, name: &str, tags: &[&str]) -> bool {
    let tags = Tags::new(tags.iter().map(|it| (*it).to_owned()));
    policy.coverage.covers(&name.parse().unwrap(), &tags)
}

#[test]
fn two_authorities_of_one_name_are_refused() {
    let same = format!(
        "[{}, {}]",
        key_authority("name: a, ctlog: {}"),
        key_authority("name: a, ctlog: {}")
    );
    assert_eq!(
        refused(&document("ghcr.io/**", &same, "")),
        ["spec.authorities[1]"]
    );
    let other = same.replacen("name: a", "name: b", 1);
    policy(&document("ghcr.io/**", &other, ""));
}

#[test]
fn a_glob_with_a_scheme_covers_nothing_and_says_so() {
    let text = document(
        "https://ghcr.io/**",
        &format!("[{}]", key_authority("ctlog: {}")),
        "",
    );
    let said = "`https://ghcr.io/**` covers nothing: names of images have no scheme";
    assert!(warnings(&text).contains(said), "{}", warnings(&text));
}

#[test]
fn published_documents_are_usable_or_refused_by_the_name_of_a_field() {
    let mut listed = 0;
    for row in OUTCOMES.lines() {
        let [path, expected, reason] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        // Each was read; why one is not usable is said beside it.
        assert_eq!(reason.is_empty(), expected == "usable", "{path}");
        let checked = check(&[fixture(path)], &environment);
        let mut found = keys(&checked.problems);
        found.sort_unstable();
        found.dedup();
        let mut expected: Vec<_> = expected.split(' ').collect();
        expected.sort_unstable();
        let expected = expected.join(" ");
        // What is wrong with a whole document has no key.
        let found = match found.as_slice() {
            [] => "usable".to_owned(),
            [""] => "document".to_owned(),
            found => found.join(" "),
        };
        assert_eq!(found, expected, "{path}");
        if path.contains("/invalid/") || path.contains("/empty-authorities/") {
            assert_ne!(expected, "usable", "{path}");
            assert!(checked.policies.is_empty(), "{path}");
        }
        for problem in &checked.problems {
            assert!(
                problem.position.is_some() && !problem.help.is_empty(),
                "{path}"
            );
        }
        listed += 1;
    }
    let files = ["policy-controller/*/*.yaml", "containers/*.json"]
        .into_iter()
        .flat_map(|it| glob::glob(fixture(it).to_str().unwrap()).unwrap());
    assert_eq!(files.count(), listed);
}

#[test]
fn one_of_the_authorities_must_vouch() {
    let both = format!(
        "[{}, {{keyless: {{identities: [{IDENTITY}]}}, ctlog: {{}}}}]",
        key_authority("name: k, ctlog: {}")
    );
    let policy = policy(&document("ghcr.io/org/**", &both, "  mode: warn"));
    assert_eq!((policy.name.as_str(), policy.mode), ("p", Mode::Audit));
    let Requirement::Signers { count: 1, of } = &policy.requirement else {
        panic!("{:?}", policy.requirement);
    };
    let names: Vec<_> = of.iter().map(|it| it.authority.name.as_str()).collect();
    assert_eq!(names, ["k", "authority-1"]);
    assert!(of.iter().all(|it| it.authority.transparency_log));
    assert!(of[1].authority.sct && !of[0].authority.sct);
}

#[test]
fn a_key_without_log_is_as_in_the_project_and_said() {
    let text = document("ghcr.io/org/**", &format!("[{}]", key_authority("")), "");
    let policy = policy(&text);
    assert!(
        policy
            .requirement
            .authorities()
            .iter()
            .all(|it| !it.transparency_log)
    );
    assert!(warnings(&text).contains("no `ctlog`"));
}

#[test]
fn several_keys_in_one_text_are_alternatives() {
    let both = format!("{KEY_A}{KEY_B}").replace('\n', "\\n");
    let text = document(
        "**",
        &format!("[{{key: {{data: \"{both}\"}}, ctlog: {{}}}}]"),
        "",
    );
    let policy = policy(&text);
    let authorities = policy.requirement.authorities();
    let AuthoritySigner::Key { keys, .. } = &authorities[0].signer else {
        panic!("{authorities:?}");
    };
    assert_eq!((authorities.len(), keys.versions().len()), (1, 2));
    // For attestations the project wants each of them.
    let attested = format!(
        "[{{key: {{data: \"{both}\"}}, ctlog: {{}}, attestations: [{{name: a, predicateType: vuln}}]}}]"
    );
    assert_eq!(
        refused(&document("**", &attested, "")),
        ["spec.authorities[0].attestations"]
    );
}

#[test]
fn attestations_are_asked_for_in_place_of_a_signature() {
    let module = "package sigstore\\nisCompliant := input.predicate.ok";
    let attested = format!(
        "[{}]",
        key_authority(&format!(
            "ctlog: {{}}, attestations: [{{name: a, predicateType: vuln}}, \
             {{name: b, predicateType: 'https://b.example/v1', policy: {{type: rego, data: \"{module}\"}}}}]"
        ))
    );
    let policy = policy(&document("**", &attested, ""));
    let attestations = policy.requirement.attestations();
    assert!(matches!(&policy.requirement, Requirement::Any(of) if of.len() == 1));
    assert_eq!(attestations.len(), 2);
    assert_eq!(
        attestations[0].predicate_type,
        "https://cosign.sigstore.dev/attestation/vuln/v1"
    );
    assert!(attestations[0].condition.is_none());
    let condition = attestations[1].condition.as_ref().unwrap();
    for (ok, expected) in [(true, true), (false, false)] {
        let statement = serde_json::json!({"predicate": {"ok": ok}});
        assert_eq!(
            condition
                .evaluate(
                    &statement,
                    jiff::Timestamp::UNIX_EPOCH,
                    &crate::policy::Fuel::default()
                )
                .unwrap(),
            expected
        );
    }
}

#[test]
fn expressions_match_anywhere_and_what_else_they_accept_is_shown() {
    let authorities =
        "[{keyless: {identities: [{issuerRegExp: 'issuer\\.example', subject: a}]}, ctlog: {}}]";
    let text = document("**", authorities, "");
    let policy = policy(&text);
    let authorities = policy.requirement.authorities();
    let AuthoritySigner::Identity(identity) = &authorities[0].signer else {
        panic!("{authorities:?}");
    };
    assert!(
        identity
            .oidc_issuer
            .as_ref()
            .unwrap()
            .matches("https://issuer.example/x")
    );
    assert!(!identity.identity.matches("ab"));
    assert!(warnings(&text).contains("`https://attacker.example/?issuer.example`"));
}

#[test]
fn static_authorities_pass_or_fail() {
    let fail = "[{static: {action: fail, message: not here}}]";
    let failing = policy(&document("ghcr.io/org/app:v1", fail, ""));
    assert!(matches!(
        &failing.requirement,
        Requirement::Any(of) if matches!(&of[0], Requirement::Refusal { message } if message == "not here")
    ));
    assert!(covers(&failing, "ghcr.io/org/app", &[]));
    let pass = document("ghcr.io/org/app:v1", "[{static: {action: pass}}]", "");
    let passing = policy(&pass);
    assert!(warnings(&pass).contains("let through unsigned"));
    // What is let through unsigned must be certain.
    assert!(!covers(&passing, "ghcr.io/org/app", &[]));
    assert!(covers(&passing, "ghcr.io/org/app", &["v1"]));
}

#[test]
fn what_a_pull_cannot_know_tightens_or_is_refused() {
    let one = "  match: [{resource: deployments, group: apps, version: v1}]";
    let key = format!("[{}]", key_authority("ctlog: {}"));
    let text = document("**", &key, one);
    assert!(covers(&policy(&text), "ghcr.io/org/app", &[]));
    assert!(warnings(&text).contains("spec.match: a pull knows no workload"));
    for (authorities, rest) in [
        ("[{static: {action: pass}}]", one.to_owned()),
        (key.as_str(), format!("{one}\n  mode: warn")),
    ] {
        assert_eq!(refused(&document("**", authorities, &rest)), ["spec.match"]);
    }
    let policy = "  policy: {type: rego, data: x}";
    assert_eq!(refused(&document("**", &key, policy)), ["spec.policy"]);
}

#[test]
fn every_field_that_would_be_ignored_is_refused() {
    for (rest, key) in [
        ("source: [{tagPrefix: a}]", "source[0].tagPrefix"),
        ("source: [{oci: a.example/b}, {oci: a.example/c}]", "source"),
        ("source: [{oci: nothing}]", "source[0].oci"),
        ("signatureFormat: bundle", "signatureFormat"),
        ("rfc3161timestamp: {}", "rfc3161timestamp"),
        ("rfc3161timestamp: {trustRootRef: none}", ""),
        ("ctlog: {trustRootRef: none}", ""),
        ("unknown: 1", "unknown"),
        (
            "attestations: [{name: a, predicateType: vuln, policy: {type: cue, data: x}}]",
            "attestations[0].policy.type",
        ),
        (
            "attestations: [{name: a, predicateType: vuln, policy: {type: rego, remote: {url: x}}}]",
            "attestations[0].policy.remote",
        ),
        (
            "attestations: [{name: a, predicateType: vuln, policy: {type: rego, configMapRef: {name: x}}}]",
            "attestations[0].policy.configMapRef",
        ),
        (
            "attestations: [{name: a, predicateType: vuln, policy: {type: rego, data: x}}]",
            "attestations[0].policy.data",
        ),
    ] {
        let checked = checked(&document("**", &format!("[{}]", key_authority(rest)), ""));
        let expected = if key.is_empty() {
            "spec.authorities[0]".to_owned()
        } else {
            format!("spec.authorities[0].{key}")
        };
        assert_eq!(keys(&checked.problems), [expected], "{rest}");
    }
    for (keyless, key) in [
        (
            format!("identities: [{IDENTITY}], ca-cert: {{data: x}}"),
            "keyless.ca-cert",
        ),
        ("identities: []".to_owned(), "keyless.identities"),
        (
            "identities: [{subject: a}]".to_owned(),
            "keyless.identities[0]",
        ),
        (
            "identities: [{issuer: a}]".to_owned(),
            "keyless.identities[0]",
        ),
        (
            "identities: [{issuer: '', subject: a}]".to_owned(),
            "keyless.identities[0].issuer",
        ),
        (
            "identities: [{issuer: a, subjectRegExp: '.*'}]".to_owned(),
            "keyless.identities[0].subjectRegExp",
        ),
        (
            "identities: [{issuerRegExp: 'https://', subject: a}]".to_owned(),
            "keyless.identities[0].issuerRegExp",
        ),
    ] {
        let text = document("**", &format!("[{{keyless: {{{keyless}}}}}]"), "");
        assert_eq!(refused(&text), [format!("spec.authorities[0].{key}")]);
    }
}

#[test]
fn a_trust_root_is_named_by_policies_in_any_file() {
    let own = std::fs::read_to_string(fixture(
        "policy-controller/trustroot/valid-sigstore-keys.yaml",
    ))
    .unwrap();
    let name = "bring-your-own-sigstore-keys";
    let authorities = format!(
        "[{{keyless: {{trustRootRef: {name}, identities: [{IDENTITY}]}}, ctlog: {{trustRootRef: {name}}}, \
         rfc3161timestamp: {{trustRootRef: {name}}}}}]"
    );
    let text = document("**", &authorities, "");
    let policy = policy(&format!("{text}\n---\n{own}"));
    let authorities = policy.requirement.authorities();
    assert_eq!(authorities[0].trusted_root_name, name);
    assert!(authorities[0].transparency_log && authorities[0].signed_timestamp);
    let crate::policy::Root::Usable { root, .. } = &authorities[0].trusted_root else {
        panic!("{authorities:?}");
    };
    let operators: Vec<_> = root
        .authorities()
        .iter()
        .map(|it| it.operator.as_str())
        .collect();
    assert_eq!(
        operators,
        [
            "fulcio.example.com",
            "rekor.example.com",
            "ctfe.example.com",
            "tsa.example.com"
        ]
    );
    // What is believed about one signature is in one root.
    let mixed = document(
        "**",
        &format!("[{{keyless: {{trustRootRef: {name}, identities: [{IDENTITY}]}}, ctlog: {{}}}}]"),
        "",
    );
    assert_eq!(
        refused(&format!("{mixed}\n---\n{own}")),
        ["spec.authorities[0]"]
    );
}

#[test]
fn two_policies_of_one_name_are_refused() {
    let text = document("**", &format!("[{}]", key_authority("ctlog: {}")), "");
    let checked = checked(&format!("{text}\n---\n{text}"));
    assert_eq!(checked.problems.len(), 1);
    assert!(
        checked.problems[0]
            .message
            .contains("the name of two policies")
    );
}

#[test]
fn documents_are_part_of_a_configuration() {
    let directory = Directory::new();
    directory.write(
        "policies/one.yaml",
        &document("**", &format!("[{}]", key_authority("ctlog: {}")), ""),
    );
    let config = directory
        .load("upstreams: {ghcr.io: {}}\npolicy_files: ['policies/*.yaml']")
        .unwrap();
    let policy = &config.policies.policies[0];
    let origin = policy.origin.as_ref().unwrap();
    assert!(origin.file.ends_with("policies/one.yaml") && origin.line == 1);
}

#[test]
fn what_refuses_nothing_of_everything_stands_under_an_auditing_default_only() {
    let key = format!("[{}]", key_authority("ctlog: {}"));
    let (pass, audit) = ("[{static: {action: pass}}]", "  mode: warn");
    for (glob, authorities, rest, usable) in [
        ("**", key.as_str(), audit, false),
        ("**:v1", &key, audit, false),
        ("**", pass, "", false),
        ("ghcr.io/**", &key, audit, true),
        ("ghcr.io/**", pass, "", true),
        ("**", &key, "", true),
    ] {
        let directory = Directory::new();
        directory.write("policy.yaml", &document(glob, authorities, rest));
        let config = "upstreams: {ghcr.io: {}}\npolicy_files: [policy.yaml]";
        match directory.load(config) {
            Ok(_) => assert!(usable, "{glob} {authorities} {rest}"),
            Err(problems) => {
                assert!(!usable, "{problems}");
                assert_eq!(keys(&problems.0), ["spec.images"]);
                assert!(
                    problems.0[0]
                        .message
                        .starts_with("the policy covers every image and ")
                );
            }
        }
        let config = format!("{config}\ndefault: audit");
        assert!(directory.load(&config).is_ok(), "{glob} {authorities}");
    }
    // A document alone stands under no default.
    assert!(warnings(&document("**", pass, "")).contains("usable only under `default: audit`"));
}

#[test]
fn a_hash_that_the_key_decides_is_accepted() {
    for (hash, usable) in [
        ("sha256", true),
        ("sha384", true),
        ("sha512", true),
        ("sha224", false),
        ("sha1", false),
    ] {
        let key = KEY_A.replace('\n', "\\n");
        let authority =
            format!("[{{key: {{data: \"{key}\", hashAlgorithm: {hash}}}, ctlog: {{}}}}]");
        let checked = checked(&document("ghcr.io/**", &authority, ""));
        assert_eq!(
            checked.problems.is_empty(),
            usable,
            "{hash}: {:?}",
            checked.problems
        );
        assert_eq!(checked.policies.len(), usize::from(usable), "{hash}");
    }
}

#[test]
fn a_match_of_every_pod_restricts_nothing() {
    let key = format!("[{}]", key_authority("ctlog: {}"));
    for (matches, restricts) in [
        ("[{resource: pods, version: v1}]", false),
        ("[{resource: pods, selector: {}}]", false),
        (
            "[{resource: deployments, group: apps}, {resource: pods, selector: {matchLabels: {}}}]",
            false,
        ),
        ("[{resource: pods, selector: {matchLabels: {a: b}}}]", true),
        ("[{resource: pods, group: ''}]", false),
        ("[{resource: deployments, group: apps}]", true),
        // No Pods: of another group or version, or of no resource at all.
        ("[{resource: pods, group: example.com}]", true),
        ("[{resource: pods, group: apps, version: v1}]", true),
        ("[{resource: pods, version: v2}]", true),
        ("[{}]", true),
    ] {
        let text = document(
            "ghcr.io/org/**",
            &key,
            &format!("  mode: warn\n  match: {matches}"),
        );
        assert_eq!(!checked(&text).problems.is_empty(), restricts, "{matches}");
    }
}

fn trust_root(spec: &str) -> String {
    format!(
        "apiVersion: policy.sigstore.dev/v1alpha1\nkind: TrustRoot\nmetadata: {{name: corp}}\nspec: {spec}\n"
    )
}

#[test]
fn built_in_root_takes_the_place_of_no_trust_root() {
    let authorities = format!(
        "[{{keyless: {{trustRootRef: public-good, identities: [{IDENTITY}]}}, ctlog: {{trustRootRef: public-good}}}}]"
    );
    let policy = document("ghcr.io/org/**", &authorities, "");
    let root = trust_root("{remote: {mirror: 'https://tuf.corp.example', root: e30=}}");
    let root = root.replace("name: corp", "name: public-good");
    assert!(root.contains("public-good"), "{root}");
    let directory = Directory::new();
    directory.write("policy.yaml", &format!("{policy}---\n{root}"));
    let load = |rest: &str| {
        directory.load(&format!(
            "upstreams: {{ghcr.io: {{}}}}\npolicy_files: [policy.yaml]\n{rest}"
        ))
    };
    assert!(load("").is_err());
    assert!(load("trusted_roots: {public-good: builtin}").is_ok());
}

#[test]
fn a_trust_root_in_a_tuf_repository_is_fetched_like_one_of_the_configuration() {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let root = BASE64_STANDARD.encode("the root");
    let authorities = format!(
        "[{{keyless: {{trustRootRef: corp, identities: [{IDENTITY}]}}, ctlog: {{trustRootRef: corp}}}}]"
    );
    let policy = document("ghcr.io/org/**", &authorities, "");
    let directory = Directory::new();
    let load = |spec: &str, rest: &str| {
        directory.write("policy.yaml", &format!("{policy}---\n{}", trust_root(spec)));
        directory.load(&format!(
            "upstreams: {{ghcr.io: {{}}}}\npolicy_files: [policy.yaml]\n{rest}"
        ))
    };
    let remote = format!(
        "{{remote: {{mirror: 'https://tuf.corp.example', root: {root}, trustedRootTarget: own.json}}}}"
    );
    let config = load(&remote, "").unwrap();
    let source = &config.root_sources["corp"];
    let expected = trust::Source::Tuf {
        url: "https://tuf.corp.example".parse().unwrap(),
        root: trust::InitialRoot::Inline(b"the root".as_slice().into()),
        target: "own.json".to_owned(),
    };
    assert_eq!(*source, expected);
    let authorities = config.policies.policies[0].requirement.authorities();
    assert_eq!(authorities[0].trusted_root_name, "corp");
    // Until it is fetched, nothing is believed by it.
    assert!(matches!(
        authorities[0].trusted_root,
        crate::policy::Root::Unusable { .. }
    ));
    // One of the configuration takes its place.
    let config = load(&remote, "trusted_roots: {corp: builtin}").unwrap();
    assert!(matches!(
        config.root_sources["corp"],
        trust::Source::BuiltIn { .. }
    ));
    for (spec, key) in [
        (format!("{{remote: {{root: {root}}}}}"), "spec.remote"),
        (
            "{remote: {mirror: 'https://tuf.corp.example'}}".to_owned(),
            "spec.remote",
        ),
        (
            "{remote: {mirror: 'https://tuf.corp.example', root: '%'}}".to_owned(),
            "spec.remote.root",
        ),
        (
            "{remote: {mirror: 'no address', root: aaaa}}".to_owned(),
            "spec.remote.mirror",
        ),
        (
            format!(
                "{{remote: {{mirror: 'https://tuf.corp.example', root: {root}, targets: other}}}}"
            ),
            "spec.remote.targets",
        ),
        (
            format!("{{repository: {{root: {root}}}}}"),
            "spec.repository",
        ),
        (
            format!("{{repository: {{root: {root}, mirrorFS: {root}}}}}"),
            "spec.repository.mirrorFS",
        ),
    ] {
        // It is read as strictly where one of the configuration takes its place.
        for rest in ["", "trusted_roots: {corp: builtin}"] {
            let Err(Problems(problems)) = load(&spec, rest) else {
                panic!("{spec} {rest}");
            };
            assert_eq!(keys(&problems), [key], "{spec} {rest}");
        }
    }
}
