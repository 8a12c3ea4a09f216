//! The policies of `config/examples`, each with attestations as the tools it names write them.
//!
//! The signers of the examples are replaced by a key: who may vouch is tested elsewhere, with real certificates.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::question::{Question, World};
use crate::config::Config;
use crate::policy::{AttestationRequirement, Authority, Policy, Requirement};
use crate::signature::Candidate;

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples")
}

/// The only policy of an example, by the key of `world`, which still must be in the log.
fn example(name: &str, world: &World) -> Policy {
    let path = directory().join(format!("{name}.yaml"));
    let config = Config::load(&[path], &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.warnings, [], "{name}");
    let [policy] = config.policies.policies.as_slice() else {
        panic!("{name} has one policy");
    };
    let Requirement::Attestation(requirement) = &policy.requirement else {
        panic!("{name} demands one attestation");
    };
    let authorities = requirement.authorities.iter().map(|authority| {
        assert!(authority.transparency_log);
        Arc::new(Authority {
            name: authority.name.clone(),
            transparency_log: true,
            ..world.authority.as_ref().clone()
        })
    });
    Policy {
        requirement: Requirement::Attestation(AttestationRequirement {
            authorities: authorities.collect(),
            ..requirement.clone()
        }),
        ..policy.as_ref().clone()
    }
}

/// The day before the question is asked, and more than seven days before.
const YESTERDAY: &str = "2026-11-23T00:00:00Z";
const LAST_MONTH: &str = "2026-10-23T00:00:00Z";

fn attested(world: &World, predicate_type: &str, predicate: &Value, time: &str) -> Candidate {
    let log = Some((&world.log, time.parse().unwrap()));
    super::forge::attestation(&world.key, &world.digest, predicate_type, predicate, log).candidate()
}

fn answer(policy: &Policy, found: Vec<Candidate>) -> String {
    let mut question = Question::new(vec![policy.clone()], found);
    question.subject.repository = "ghcr.io/org/app".parse().unwrap();
    question.answer()
}

/// What is changed, where, and into what: each alone must be refused.
type Change<'a> = (&'a str, Value);

fn check(name: &str, predicate_type: &str, predicate: &Value, changes: &[Change<'_>]) {
    let world = World::new();
    let policy = example(name, &world);
    let ask = |predicate_type: &str, predicate: &Value, time: &str| {
        answer(
            &policy,
            vec![attested(&world, predicate_type, predicate, time)],
        )
    };
    assert_eq!(ask(predicate_type, predicate, YESTERDAY), "satisfied");
    for (pointer, value) in changes {
        let mut changed = predicate.clone();
        let place = changed.pointer_mut(pointer);
        *place.unwrap_or_else(|| panic!("{name} has no {pointer}")) = value.clone();
        assert_eq!(
            ask(predicate_type, &changed, YESTERDAY),
            "attestation_rejected",
            "{name} with {pointer} = {value}"
        );
    }
    // Types are compared exactly, as cosign does.
    for other in [
        format!("{predicate_type}/v9"),
        predicate_type.to_uppercase(),
        "https://example.com/other".to_owned(),
    ] {
        assert_eq!(ask(&other, predicate, YESTERDAY), "attestation_missing");
    }
    assert_eq!(answer(&policy, vec![]), "attestation_missing");
    let aged = ask(predicate_type, predicate, LAST_MONTH);
    match policy.max_signature_age {
        Some(_) => assert_eq!(aged, "signature_too_old"),
        None => assert_eq!(aged, "satisfied"),
    }
}

#[test]
fn every_example_is_run_here() {
    let mut names: Vec<_> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "cyclonedx.yaml",
            "openvex.yaml",
            "slsa-provenance-v0.2.yaml",
            "slsa-provenance-v1.yaml",
            "spdx.yaml",
            "vulnerability-scan.yaml",
        ]
    );
}

#[test]
fn slsa_provenance_v1() {
    let workflow = "/buildDefinition/externalParameters/workflow";
    let predicate = json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {
                "ref": "refs/heads/main",
                "repository": "https://github.com/org/app",
                "path": ".github/workflows/release.yml",
            }},
            "internalParameters": {"github": {
                "event_name": "push", "repository_id": "1", "repository_owner_id": "2",
                "runner_environment": "github-hosted",
            }},
            "resolvedDependencies": [{
                "uri": "git+https://github.com/org/app@refs/heads/main",
                "digest": {"gitCommit": "d57dbf2fc3f5a2ab9ef4ca1ab3fa9e1b2c3d4e5f"},
            }],
        },
        "runDetails": {
            "builder": {"id": "https://github.com/org/app/.github/workflows/release.yml@refs/heads/main"},
            "metadata": {"invocationId": "https://github.com/org/app/actions/runs/1/attempts/1"},
        },
    });
    check(
        "slsa-provenance-v1",
        "https://slsa.dev/provenance/v1",
        &predicate,
        &[
            (&format!("{workflow}/ref"), json!("refs/heads/feature")),
            (&format!("{workflow}/ref"), json!("refs/heads/main2")),
            (
                &format!("{workflow}/repository"),
                json!("https://github.com/org/app-evil"),
            ),
            (
                "/runDetails/builder/id",
                json!("https://builds.example/self-hosted"),
            ),
            (
                "/buildDefinition/buildType",
                json!("https://builds.example/v1"),
            ),
            (workflow, Value::Null),
        ],
    );
}

#[test]
fn slsa_provenance_v0_2() {
    let source = "git+https://github.com/org/app@refs/heads/main";
    let predicate = json!({
        "builder": {"id": "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.0.0"},
        "buildType": "https://github.com/slsa-framework/slsa-github-generator/container@v1",
        "invocation": {
            "configSource": {
                "uri": source,
                "digest": {"sha1": "d57dbf2fc3f5a2ab9ef4ca1ab3fa9e1b2c3d4e5f"},
                "entryPoint": ".github/workflows/release.yml",
            },
            "parameters": {},
            "environment": {"github_event_name": "push", "github_run_id": "1"},
        },
        "metadata": {
            "buildInvocationID": "1-1",
            "completeness": {"parameters": true, "environment": false, "materials": false},
            "reproducible": false,
        },
        "materials": [{"uri": source, "digest": {"sha1": "d57dbf2fc3f5a2ab9ef4ca1ab3fa9e1b2c3d4e5f"}}],
    });
    check(
        "slsa-provenance-v0.2",
        "https://slsa.dev/provenance/v0.2",
        &predicate,
        &[
            (
                "/builder/id",
                json!("https://github.com/org/builder@refs/tags/v1"),
            ),
            (
                "/invocation/configSource/uri",
                json!("git+https://github.com/org/app@refs/heads/feature"),
            ),
            (
                "/invocation/configSource/uri",
                json!("git+https://github.com/org/other@refs/heads/main"),
            ),
            (
                "/invocation/configSource/entryPoint",
                json!(".github/workflows/pull_request.yml"),
            ),
            ("/invocation", json!({})),
        ],
    );
}

#[test]
fn spdx() {
    let predicate = json!({
        "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "dataLicense": "CC0-1.0",
        "name": "ghcr.io/org/app", "documentNamespace": "https://example.com/app",
        "creationInfo": {"creators": ["Tool: syft-1.0"], "created": "2026-11-23T00:00:00Z"},
        "packages": [
            {"name": "app", "SPDXID": "SPDXRef-1", "downloadLocation": "NOASSERTION"},
            {
                "name": "zlib", "SPDXID": "SPDXRef-2", "versionInfo": "1.3",
                "licenseDeclared": "Zlib", "licenseConcluded": "NOASSERTION",
            },
        ],
    });
    check(
        "spdx",
        "https://spdx.dev/Document",
        &predicate,
        &[
            (
                "/packages/1/licenseDeclared",
                json!("MIT AND AGPL-3.0-only"),
            ),
            ("/packages/1/licenseConcluded", json!("AGPL-1.0-or-later")),
            ("/packages", json!([])),
            ("/packages", Value::Null),
            // `cosign attest --type spdx` keeps the document as text.
            ("", json!("SPDXVersion: SPDX-2.3")),
        ],
    );
}

#[test]
fn cyclonedx() {
    let predicate = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {"component": {"type": "container", "name": "ghcr.io/org/app"}},
        "components": [
            {"type": "operating-system", "name": "debian", "version": "12"},
            {"type": "library", "name": "xz-utils", "version": "5.4.1-1"},
            {"type": "application", "name": "app"},
        ],
    });
    check(
        "cyclonedx",
        "https://cyclonedx.org/bom",
        &predicate,
        &[
            ("/components/1/version", json!("5.6.0-1")),
            ("/components/1/version", json!("5.6.1")),
            ("/bomFormat", json!("other")),
            ("/components", Value::Null),
        ],
    );
}

#[test]
fn vulnerability_scan() {
    let finding = |severity: &str| json!({"VulnerabilityID": "CVE-2026-1", "PkgName": "zlib", "Severity": severity});
    let predicate = json!({
        "invocation": {"parameters": null, "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {
            "uri": "pkg:github/aquasecurity/trivy@0.58.0", "version": "0.58.0",
            "db": {"uri": "", "version": ""},
            "result": {
                "SchemaVersion": 2, "ArtifactName": "ghcr.io/org/app",
                "Results": [
                    {"Target": "debian 12", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": [finding("HIGH")]},
                    {"Target": "app", "Class": "lang-pkgs", "Type": "gobinary"},
                    {"Target": "other", "Class": "lang-pkgs", "Type": "gobinary", "Vulnerabilities": null},
                ],
            },
        },
        "metadata": {"scanStartedOn": "2026-11-23T00:00:00Z", "scanFinishedOn": "2026-11-23T00:01:00Z"},
    });
    let results = "/scanner/result/Results";
    check(
        "vulnerability-scan",
        "https://cosign.sigstore.dev/attestation/vuln/v1",
        &predicate,
        &[
            (
                &format!("{results}/0/Vulnerabilities"),
                json!([finding("LOW"), finding("CRITICAL")]),
            ),
            (
                &format!("{results}/2/Vulnerabilities"),
                json!([finding("CRITICAL")]),
            ),
            (results, Value::Null),
            ("/scanner/result", json!({})),
            ("/scanner/uri", json!("pkg:github/someone/else@1")),
        ],
    );
    // The newest scan counts: a critical one outdates a clean one, and the other way round.
    let world = World::new();
    let policy = example("vulnerability-scan", &world);
    let mut critical = predicate.clone();
    *critical
        .pointer_mut(&format!("{results}/0/Vulnerabilities"))
        .unwrap() = json!([finding("CRITICAL")]);
    let vuln = "https://cosign.sigstore.dev/attestation/vuln/v1";
    let before = "2026-11-22T00:00:00Z";
    for (earlier, later, expected) in [
        (&predicate, &critical, "attestation_rejected"),
        (&critical, &predicate, "satisfied"),
    ] {
        let found = vec![
            attested(&world, vuln, earlier, before),
            attested(&world, vuln, later, YESTERDAY),
        ];
        assert_eq!(answer(&policy, found), expected);
    }
}

#[test]
fn openvex() {
    let predicate = json!({
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://org.example/vex/1",
        "author": "security@org.example", "timestamp": "2026-11-23T00:00:00Z", "version": 1,
        "statements": [
            {
                "vulnerability": {"name": "CVE-2026-1"},
                "products": [{"@id": "pkg:oci/app"}],
                "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path",
            },
            {"vulnerability": {"name": "CVE-2026-2"}, "products": [{"@id": "pkg:oci/app"}], "status": "fixed"},
        ],
    });
    check(
        "openvex",
        "https://openvex.dev/ns",
        &predicate,
        &[
            ("/statements/0/status", json!("affected")),
            ("/statements/1/status", json!("under_investigation")),
            ("/statements", json!([])),
            ("/statements/0", json!({})),
        ],
    );
}
