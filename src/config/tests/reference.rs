use super::*;
use crate::config::yaml::{Node, Value, parse};

const REFERENCE: &str = include_str!("../../../config/reference.yaml");

#[test]
fn the_reference_loads() {
    let source = Source {
        path: PathBuf::from("config/reference.yaml"),
        text: REFERENCE.to_owned(),
    };
    let config = Config::from_sources(&[source], &environment)
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.warnings, []);
    // What it gives as defaults are the defaults.
    let default = Server::default();
    assert_eq!(
        (config.server.listen, config.server.admin_listen),
        (default.listen, default.admin_listen)
    );
    assert_eq!(*config.limits, Limits::default());
    assert_eq!(config.freshness, Freshness::default());
    assert_eq!(config.compat, Compat::default());
    assert_eq!(config.data_dir, Path::new("config").join(DATA_DIRECTORY));
}

/// The keys of every mapping.
fn collect(node: &Node, path: &str, found: &mut Vec<(String, String)>) {
    match &node.value {
        Value::Null | Value::Scalar(_) => {}
        Value::Sequence(items) => {
            for item in items {
                collect(item, &format!("{path}[]"), found);
            }
        }
        Value::Mapping(entries) => {
            for (key, value) in entries {
                found.push((path.to_owned(), key.name.clone()));
                let named = ["upstreams", "trusted_roots", "key_providers"];
                let child = if named.contains(&path) {
                    "*"
                } else {
                    &key.name
                };
                let separator = if path.is_empty() { "" } else { "." };
                collect(value, &format!("{path}{separator}{child}"), found);
            }
        }
    }
}

/// The reference with the settings that are off switched on.
pub(super) fn enabled() -> String {
    REFERENCE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with("  ") => format!("{setting}\n"),
            Some(_) | None => format!("{line}\n"),
        })
        .collect()
}

#[test]
fn the_reference_has_every_key() {
    let source = Source {
        path: PathBuf::from("reference.yaml"),
        text: enabled(),
    };
    let root = parse(&source).unwrap_or_else(|problems| panic!("{}", Problems(problems)));
    let mut found = Vec::new();
    collect(&root, "", &mut found);
    let policy = "policies[]";
    for (path, keys) in [
        ("", KEYS),
        ("server", server::KEYS),
        ("server.tls", server::TLS_KEYS),
        ("upstreams.*", upstreams::KEYS),
        ("upstreams.*.credentials", upstreams::CREDENTIAL_KEYS),
        ("trusted_roots.*", trusted_roots::KEYS),
        ("trusted_roots.*.tuf", trusted_roots::TUF_KEYS),
        ("key_providers.*", key_providers::KEYS),
        (policy, policies::KEYS),
        (&format!("{policy}.authorities[]"), authorities::KEYS),
        (&format!("{policy}.authorities[]"), &["all"]),
        (
            &format!("{policy}.authorities[].all[]"),
            &["at_least", "of"],
        ),
        (&format!("{policy}.authorities[].all[].of[]"), &["any"]),
        (&format!("{policy}.attestations[]"), attestations::KEYS),
        ("catalog[]", catalog::KEYS),
        ("clients[]", clients::KEYS),
        ("clients[].basic", clients::BASIC_KEYS),
        ("exceptions[]", exceptions::KEYS),
        ("revoked", revoked::KEYS),
        ("revoked.identities[]", revoked::IDENTITY_KEYS),
        ("freshness", freshness::KEYS),
        ("limits", limits::KEYS),
        ("compat", compat::KEYS),
    ] {
        for key in keys {
            assert!(
                found.iter().any(|(at, name)| at == path && name == key),
                "{path}: {key} is not in config/reference.yaml"
            );
        }
    }
}
