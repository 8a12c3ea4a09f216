use std::path::Path;

use super::*;
use crate::policy::{
    AuthoritySigner, Coverage, Matcher, Mode, Quantifier, Requirement, SignedName, Tags,
};

mod authority_rules;
mod catalog_choices;
mod client_rules;
mod cluster_image_policies;
mod containers_policies;
mod corpus;
mod documents;
mod groups;
mod own_authorities;
mod reference;
mod requirements;
mod schema;
mod sections;
mod warnings;

/// Two P-256 keys made for this test with `openssl ecparam -name prime256v1 -genkey`.
const KEY_A: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEM1m561DkB5YpJUNQFCZ0yX2Bo67q
A0fNF0h/NbNdtTd5tupLoqFyZn/JlyJgAmYi4hR6Gu55ERl5N/OR5BKDGA==
-----END PUBLIC KEY-----
";
const KEY_B: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExqQ4x+atM+IeYkmFEZD/bxdkGSvW
0E2GhVIyokLpJDnWYvH2no/WEgXLW/D6Q0FRbUKVQqqlPOH4LGjvRrMDcQ==
-----END PUBLIC KEY-----
";

/// A directory with two keys and the configuration of one test.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        directory.write("a.pub", KEY_A);
        directory.write("b.pub", KEY_B);
        directory
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn load(&self, text: &str) -> Result<Config, Problems> {
        let path = self.write("c.yaml", text);
        Config::load(&[path], &environment)
    }

    /// The problems, each in one line, with file names instead of paths.
    fn problems(&self, text: &str) -> Vec<String> {
        let Problems(problems) = self.load(text).expect_err("it loads");
        let directory = format!("{}/", self.0.path().display());
        problems
            .iter()
            .map(|problem| {
                assert!(!problem.help.is_empty(), "no way out: {problem}");
                let problem = Problem {
                    help: String::new(),
                    ..problem.clone()
                };
                problem.to_string().replace(&directory, "")
            })
            .collect()
    }

    fn warnings(&self, text: &str) -> Vec<String> {
        let directory = format!("{}/", self.0.path().display());
        let config = self.load(text).unwrap();
        config
            .warnings
            .iter()
            .map(|warning| warning.to_string().replace(&directory, ""))
            .collect()
    }
}

fn environment(name: &str) -> Option<String> {
    match name {
        "PASSWORD" => Some("hunter2hunter2hunter2".to_owned()),
        "PORT" => Some("6000".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// A configuration with one policy of one key, and `rest` at the end.
fn with_policy(rest: &str) -> String {
    format!(
        "upstreams: {{ghcr.io: {{}}}}
policies:
  - name: p
    images: [ghcr.io/org/**]
    authorities: [{{key: a.pub}}]
{rest}"
    )
}

#[test]
fn the_built_in_configuration_loads_without_a_warning() {
    let config = Config::load(&[], &environment).unwrap();
    assert_eq!(config.warnings, []);
    assert!(config.server.listen.ip().is_loopback());
    assert!(config.server.admin_listen.ip().is_loopback());
    assert_eq!(config.policies.default, DefaultAction::Deny);
    for (name, policy) in [
        ("registry.k8s.io/pause", Some("kubernetes")),
        ("gcr.io/distroless/static", Some("distroless")),
        ("cgr.dev/chainguard/nginx", Some("chainguard")),
        (
            "ghcr.io/external-secrets/external-secrets",
            Some("external-secrets"),
        ),
        ("ghcr.io/kyverno/kyverno", Some("kyverno")),
        ("docker.io/library/nginx", None),
        ("gcr.io/other/static", None),
    ] {
        let name = name.parse().unwrap();
        let tags = Tags::default();
        let found: Vec<_> = config
            .policies
            .matching(&name, &tags)
            .map(|policy| policy.name.as_str())
            .collect();
        assert_eq!(found, policy.into_iter().collect::<Vec<_>>(), "{name}");
    }
    for policy in &config.policies.policies {
        assert_eq!(policy.mode, Mode::Enforce);
        let signers = matches!(policy.requirement, Requirement::Signers { .. });
        assert!(signers, "{}", policy.name);
    }
    let names: Vec<_> = policy_names(&config);
    let in_catalogue = catalog::entries().unwrap();
    let in_catalogue = in_catalogue.iter().flat_map(|entry| &entry.policies);
    let in_catalogue: Vec<_> = in_catalogue.map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, in_catalogue);
}

fn policy_names(config: &Config) -> Vec<&str> {
    let policies = config.policies.policies.iter();
    policies.map(|policy| policy.name.as_str()).collect()
}

#[test]
fn later_files_win() {
    let directory = Directory::new();
    let first = directory.write(
        "one/a.yaml",
        "data_dir: state\nserver: {listen: 127.0.0.1:1, admin_listen: 127.0.0.1:2}\nupstreams: {ghcr.io: {}}",
    );
    let second = directory.write(
        "two/b.yaml",
        "server: {listen: 127.0.0.1:3}\nupstreams: {quay.io: {}}\ndata_dir: other",
    );
    let config = Config::load(&[first, second], &environment).unwrap();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.server.admin_listen.port(), 2);
    assert_eq!(
        config.upstreams.keys().collect::<Vec<_>>(),
        ["ghcr.io", "quay.io"]
    );
    // Relative to the file that won.
    assert_eq!(config.data_dir, directory.0.path().join("two/other"));
}

#[test]
fn all_problems_are_reported_together() {
    let directory = Directory::new();
    assert_eq!(
        directory.problems(
            "sever: {}
server: {listen: nowhere, port: 1}
upstreams: {GHCR.io: {}}
policies:
  - {name: p, images: [ghcr.io/Org/*], authorities: [{key: missing.pub}]}
default: allow
limits: {attempts_max: 0}
freshness: {tag_ttl: 60}
"
        ),
        [
            "c.yaml:1:1: sever: unknown key",
            "c.yaml:2:27: server.port: unknown key",
            "c.yaml:2:18: server.listen: `nowhere`: invalid socket address syntax",
            "c.yaml:3:13: upstreams.\"GHCR.io\": `GHCR.io` is not a registry host",
            "c.yaml:7:24: limits.attempts_max: zero would refuse everything",
            "c.yaml:6:10: default: `allow` is not known here",
            "c.yaml:5:24: policies[0].images[0]: `ghcr.io/Org/*`: names are lower case: this never matches",
            "c.yaml:5:60: policies[0].authorities[0].key: cannot read missing.pub: No such file or directory (os error 2)",
            "c.yaml:8:22: freshness.tag_ttl: `60` is not a duration",
        ]
    );
    let problems = directory.load("a: 1\nb: 2").unwrap_err().to_string();
    assert!(
        problems.starts_with("the configuration has 2 problems:\n"),
        "{problems}"
    );
    assert!(
        problems.contains("known here: server, data_dir"),
        "{problems}"
    );
}

#[test]
fn problems_of_unreadable_and_broken_files_are_reported_with_the_others() {
    let directory = Directory::new();
    let paths = [
        directory.0.path().join("missing.yaml"),
        directory.write("broken.yaml", "a: ["),
        directory.write("twice.yaml", "default: deny\ndefault: audit"),
        directory.write("wrong.yaml", "default: maybe"),
    ];
    let Problems(problems) = Config::load(&paths, &environment).unwrap_err();
    let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
    for (index, part) in [
        "missing.yaml: No such file",
        "broken.yaml:2:1: not YAML",
        "twice.yaml:2:1: `default` is given twice",
        "wrong.yaml:1:10: default: `maybe` is not known here",
    ]
    .iter()
    .enumerate()
    {
        assert!(text[index].contains(part), "{part} in {text:#?}");
    }
    let big = directory.write("big.yaml", &"#".repeat(9 * 1024 * 1024));
    let error = Config::load(&[big], &environment).unwrap_err();
    assert!(error.to_string().contains("is larger than"), "{error}");
}

#[test]
fn variables_are_replaced_and_do_not_show() {
    let directory = Directory::new();
    let config = directory
        .load("server: {listen: '127.0.0.1:${PORT}', admin_token: '${PASSWORD}'}\ndata_dir: $${PORT}-${PORT}")
        .unwrap();
    assert_eq!(config.server.listen.port(), 6000);
    let token = config.server.admin_token.clone().unwrap();
    assert_eq!(token.expose(), "hunter2hunter2hunter2");
    assert_eq!(config.data_dir, directory.0.path().join("${PORT}-6000"));
    assert!(!format!("{config:?}").contains("hunter2"));

    let problems = directory.problems(
        "data_dir: ${MISSING}
server: {listen: '${PASSWORD}', admin_listen: '${', admin_token: '${A B}'}
default: ${PASSWORD}
freshness: {tag_ttl: '${PASSWORD}'}
routes: {a: '${PASSWORD}', b: '${PASSWORD}/X', c: '${PASSWORD} /X'}
upstreams: {a.io: {credentials: '${PASSWORD}', endpoint: '${PASSWORD}', token_hosts: ['/${PASSWORD}']}}
limits: {attempts_max: '${PASSWORD}', list_bytes_max: '${PASSWORD}'}
policies:
  - {name: p, images: ['${PASSWORD}'], mode: '${PASSWORD}', signature_repository: '${PASSWORD}/x',
     authorities: [{certificate_identity_regexp: '${PASSWORD}(', certificate_oidc_issuer: a, trusted_root: a}]}
",
    );
    let text = problems.join("\n");
    for part in [
        "c.yaml:1:11: data_dir: the environment variable `MISSING` is not set",
        "server.admin_listen: `${` without `}`",
        "server.admin_token: `A B` is no name of an environment variable",
        "default: `${PASSWORD}` is not known here",
        "freshness.tag_ttl: `${PASSWORD}` is not a duration",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn json_is_yaml() {
    let directory = Directory::new();
    let config = directory
        .load(
            r#"{
 "server": {"listen": "127.0.0.1:5080", "admin_listen": "127.0.0.1:5081"},
 "upstreams": {"127.0.0.1:5000": {"plain_http": true}}, "trusted_roots": {},
 "policies": [{"name": "p", "images": ["127.0.0.1:5000/c/p/**"], "authorities": [
   {"name": "k1-0", "key": "a.pub", "transparency_log": "not_required", "signed_timestamp": "accepted"}]}],
 "default": "deny"
}"#,
        )
        .unwrap();
    assert_eq!(config.warnings, []);
    let authority = config.policies.policies[0].requirement.authorities()[0];
    assert!(!authority.transparency_log && !authority.signed_timestamp && !authority.sct);
    assert_eq!(authority.trusted_root_name, "public-good");
    assert!(config.upstreams["127.0.0.1:5000"].plain_http);
}
