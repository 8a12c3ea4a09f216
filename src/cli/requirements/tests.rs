use clap::Parser;

use super::*;
use crate::policy::{AuthoritySigner, Matcher, Policies, Policy, Requirement, Tags};

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    requirements: Requirements,
}

const KEY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/cli/demo/corpus/release.pub"
);
const ROOT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/cli/demo/corpus/trusted_root.json"
);
const IDENTITY: [&str; 2] = ["--certificate-identity", "me@example.com"];
const ISSUER: [&str; 2] = ["--certificate-oidc-issuer", "https://accounts.example.com"];

fn parse(arguments: &[&str]) -> Result<Requirements, clap::Error> {
    let program = ["countersign"];
    let parsed = Command::try_parse_from(program.iter().chain(arguments));
    parsed.map(|command| command.requirements)
}

fn name() -> RepositoryName {
    "ghcr.io/org/app".parse().unwrap()
}

#[expect(
    clippy::unwrap_in_result,
    reason = "that it parses is not what is asked"
)]
fn config(arguments: &[&str]) -> Result<Config, u8> {
    parse(arguments).unwrap().to_config(&name())
}

fn only_policy(policies: &Policies) -> &Policy {
    assert_eq!(policies.policies.len(), 1);
    &policies.policies[0]
}

#[test]
fn a_key_covers_exactly_the_image() {
    let config = config(&["--key", KEY, "-a", "env=prod", "-a", "x=a=b"]).unwrap();
    assert_eq!(config.upstreams.keys().collect::<Vec<_>>(), ["ghcr.io"]);
    let policy = only_policy(&config.policies);
    let covers = |name: &RepositoryName| policy.coverage.covers(name, &Tags::default());
    assert!(covers(&name()));
    assert!(!covers(&"ghcr.io/org/app/child".parse().unwrap()));
    let Requirement::Signers { of, .. } = &policy.requirement else {
        panic!("signers");
    };
    assert_eq!(of[0].annotations["env"], "prod");
    assert_eq!(of[0].annotations["x"], "a=b");
    let authority = &of[0].authority;
    assert!(matches!(authority.signer, AuthoritySigner::Key { .. }));
    assert_eq!(
        (authority.transparency_log, authority.signed_timestamp),
        (true, false)
    );
}

#[test]
fn an_identity_is_whole_and_has_an_issuer() {
    let both = [IDENTITY, ISSUER].concat();
    let policies = config(&both).unwrap().policies;
    let authority = only_policy(&policies).requirement.authorities()[0];
    let AuthoritySigner::Identity(requirement) = &authority.signer else {
        panic!("not an identity");
    };
    assert!(
        matches!(&requirement.identity, Matcher::Exact(identity) if identity == "me@example.com")
    );
    assert!(authority.transparency_log && authority.sct);
    assert_eq!(config(&IDENTITY).unwrap_err(), EXIT_USAGE);
    assert_eq!(config(&ISSUER).unwrap_err(), EXIT_USAGE);
}

#[test]
fn what_is_ignored_is_not_required_and_a_time_always_is() {
    let both = [IDENTITY, ISSUER].concat();
    let with = |flags: &[&str]| {
        let policies = config(&[&both, flags].concat()).unwrap().policies;
        let authority = only_policy(&policies).requirement.authorities()[0];
        (
            authority.transparency_log,
            authority.signed_timestamp,
            authority.sct,
        )
    };
    assert_eq!(with(&[]), (true, false, true));
    assert_eq!(with(&["--insecure-ignore-tlog"]), (false, true, true));
    assert_eq!(with(&["--insecure-ignore-tlog=false"]), (true, false, true));
    assert_eq!(with(&["--insecure-ignore-sct=true"]), (true, false, false));
    assert_eq!(with(&["--use-signed-timestamps"]), (true, true, true));
    let key = config(&[
        "--key",
        KEY,
        "--insecure-ignore-tlog",
        "--insecure-ignore-sct",
    ])
    .unwrap();
    let authority = only_policy(&key.policies).requirement.authorities()[0];
    assert!(!authority.transparency_log && !authority.signed_timestamp);
}

#[test]
fn flags_are_not_read_as_references_to_the_environment() {
    let regexp = "me${HOME}";
    let arguments = ["--certificate-identity", regexp];
    let policies = config(&[arguments, ISSUER].concat()).unwrap().policies;
    let authority = only_policy(&policies).requirement.authorities()[0];
    let AuthoritySigner::Identity(requirement) = &authority.signer else {
        panic!("not an identity");
    };
    assert_eq!(requirement.identity.source(), regexp);
}

#[test]
fn a_trusted_root_and_plain_http_are_for_this_image() {
    let arguments = ["--key", KEY, "--trusted-root", ROOT, "--plain-http"];
    let config = config(&arguments).unwrap();
    assert!(config.upstreams["ghcr.io"].plain_http);
    let policy = only_policy(&config.policies);
    let authority = policy.requirement.authorities()[0];
    assert_eq!(authority.trusted_root_name, TRUSTED_ROOT);
}

#[test]
fn unreadable_files_and_contradictions_are_bad_usage() {
    assert_eq!(config(&["--key", "absent.pub"]).unwrap_err(), EXIT_USAGE);
    assert_eq!(config(&["--key", ROOT]).unwrap_err(), EXIT_USAGE);
    assert_eq!(
        config(&["--key", KEY, "--trusted-root", KEY]).unwrap_err(),
        EXIT_USAGE
    );
    // Says how, and not whom.
    assert_eq!(config(&["--insecure-ignore-tlog"]).unwrap_err(), EXIT_USAGE);
    for arguments in [
        &["--key", KEY, "--config", "x"][..],
        &["--key", KEY, "--certificate-identity", "me"],
        &[
            "--certificate-identity",
            "me",
            "--certificate-identity-regexp",
            "me",
        ],
        &["--config", "x", "--trusted-root", ROOT],
        &["--config", "x", "--certificate-oidc-issuer", "y"],
        &["-a", "no-value"],
    ] {
        assert!(parse(arguments).is_err(), "{arguments:?}");
    }
}

#[test]
fn problems_are_about_flags() {
    let source = Source {
        path: PathBuf::new(),
        text: parse(&["--key", "absent.pub"])
            .unwrap()
            .to_document(&name())
            .to_string(),
    };
    let problems = Config::from_sources(&[source], &|_| None).unwrap_err();
    let text = in_terms_of_flags(problems).to_string();
    assert!(text.contains("--key: "), "{text}");
    assert!(text.contains("absent.pub"), "{text}");
}

#[test]
fn without_anything_the_built_in_catalogue_decides() {
    let built_in = Config::built_in().unwrap();
    assert_eq!(config(&[]).unwrap().policies.hash, built_in.policies.hash);
}
