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

fn image_name() -> ImageName {
    "ghcr.io/org/app".parse().unwrap()
}

fn name() -> RepositoryName {
    "ghcr.io/org/app".parse().unwrap()
}

#[expect(
    clippy::unwrap_in_result,
    reason = "that it parses is not what is asked"
)]
fn config(arguments: &[&str]) -> Result<Config, u8> {
    let requirements = parse(arguments).unwrap();
    let (config, _) = requirements.to_config(&image_name(), Demand::Signature)?;
    Ok(config)
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
            .to_document(&name(), Demand::Signature, Some("absent.pub"))
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

#[test]
fn extensions_of_the_workflow_are_compared_too() {
    let flags = [
        "--certificate-github-workflow-name",
        "--certificate-github-workflow-ref",
        "--certificate-github-workflow-repository",
        "--certificate-github-workflow-sha",
        "--certificate-github-workflow-trigger",
    ];
    let arguments: Vec<_> = flags
        .iter()
        .flat_map(|flag| [(*flag).to_owned(), format!("x{flag}")])
        .collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let all = [&IDENTITY[..], &ISSUER, &arguments].concat();
    let policies = config(&all).unwrap().policies;
    let authority = only_policy(&policies).requirement.authorities()[0];
    let AuthoritySigner::Identity(requirement) = &authority.signer else {
        panic!("not an identity");
    };
    assert_eq!(requirement.extensions.len(), flags.len());
    for flag in flags {
        let name = flag.strip_prefix("--certificate-").unwrap();
        let name = name.replace('-', "_");
        let expected = format!("x{flag}");
        assert_eq!(requirement.extensions[&name].exact(), Some(&*expected));
    }
    // A workflow without anybody who vouches for it is no identity, and a key has none.
    assert_eq!(config(&arguments).unwrap_err(), EXIT_USAGE);
    assert!(parse(&[&["--key", KEY], &arguments[..]].concat()).is_err());
}

#[test]
fn keys_come_from_files_services_and_the_environment() {
    assert_eq!(read_key("cosign.pub").unwrap(), "cosign.pub");
    let service = "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k";
    assert_eq!(read_key(service).unwrap(), service);
    let home = environment("HOME");
    assert_eq!(read_key("env://HOME").ok(), home);
    for refused in [
        "env://COUNTERSIGN_NO_SUCH_VARIABLE",
        "https://host.example/cosign.pub",
        "gitlab://org/project",
        "pkcs11:token=x",
    ] {
        assert!(read_key(refused).is_err(), "{refused}");
    }
}

#[test]
fn the_registry_is_reached_as_told() {
    let with = [
        "--registry-username",
        "robot",
        "--registry-password",
        "pass${word}",
    ];
    let arguments = [&["--key", KEY], &with[..]].concat();
    let requirements = parse(&arguments).unwrap();
    assert!(!format!("{requirements:?}").contains("pass${word}"));
    let upstream = &config(&arguments).unwrap().upstreams["ghcr.io"];
    let crate::config::Credentials::Basic { username, password } = &upstream.credentials else {
        panic!("{upstream:?}");
    };
    assert_eq!(
        (username.expose(), password.expose()),
        ("robot", "pass${word}")
    );
    assert!(parse(&["--key", KEY, "--registry-username", "robot"]).is_err());
    assert_eq!(
        config(&["--key", KEY, "--registry-cacert", KEY]).unwrap_err(),
        EXIT_USAGE
    );
}

#[test]
fn warnings_are_about_flags() {
    let identity = "--certificate-identity=https://github.com/org/*";
    let config = config(&[&[identity][..], &ISSUER].concat()).unwrap();
    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    assert!(
        warning
            .starts_with("--certificate-identity: `https://github.com/org/*` is compared as it is"),
        "{warning}"
    );
}

#[test]
fn an_attestation_is_demanded_instead_of_a_signature() {
    let demand = |condition| Demand::Attestation {
        predicate_type: "slsaprovenance",
        condition,
        quantifier: "newest",
    };
    let to_config = |arguments: &[&str], condition| {
        let requirements = parse(arguments).unwrap();
        let judged = requirements.to_config(&image_name(), demand(condition));
        judged.map(|(config, _)| config)
    };
    let config = to_config(&["--key", KEY], Some("predicate.a == '${b}'")).unwrap();
    let policy = only_policy(&config.policies);
    let Requirement::Attestation(attestation) = &policy.requirement else {
        panic!("one attestation and nothing else");
    };
    assert_eq!(
        attestation.predicate_type,
        "https://slsa.dev/provenance/v0.2"
    );
    assert_eq!(attestation.quantifier, crate::policy::Quantifier::Newest);
    assert_eq!(attestation.authorities.len(), 1);
    assert_eq!(
        attestation.condition.as_ref().unwrap().source(),
        "predicate.a == '${b}'"
    );
    assert_eq!(
        to_config(&["--key", KEY], Some("(")).unwrap_err(),
        EXIT_USAGE
    );
    assert_eq!(
        to_config(&["--key", KEY, "-a", "a=b"], None).unwrap_err(),
        EXIT_USAGE
    );
    // Nobody's attestation is no attestation.
    assert_eq!(to_config(&[], None).unwrap_err(), EXIT_USAGE);
}
