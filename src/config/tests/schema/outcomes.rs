//! What both take, and what both refuse.

use super::*;

#[test]
fn both_accept_what_is_right() {
    let validator = Validator::new();
    let directory = Directory::new();
    let policy = |rest: &str| {
        format!("upstreams: {{ghcr.io:}}\npolicies: [{{name: p, images: [ghcr.io/o/**], {rest}}}]")
    };
    for text in [
        String::new(),
        "server:\nupstreams:\npolicies:\ncatalog:\nclients:\nlimits:".to_owned(),
        "limits: {attempts_max: \"5\", manifest_bytes_max: 1 MiB, store_bytes_max: 5}".to_owned(),
        "freshness: {tag_ttl: 0, stale_for: 1d12h, reverify_after: 90s}".to_owned(),
        "server: {listen: '127.0.0.1:${PORT}', admin_listen: '[::1]:5081'}".to_owned(),
        "compat: {head_allows: 'true'}\ndefault: audit".to_owned(),
        policy("authorities: [{key: a.pub}, {key: b.pub}], threshold: 2"),
        policy(
            "authorities: [{name: 5, key: 'gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k'}]",
        ),
        policy("authorities: [{any: [{key: a.pub}, {all: [{key: b.pub}]}]}]"),
        policy("authorities: [{at_least: 1, of: [{key: a.pub}]}], annotations: {a: 1, b: true}"),
        policy(
            "authorities: [{certificate_identity_regexp: a.c, certificate_oidc_issuer_regexp: b, \
             certificate_extensions: {1.3.6.1.4.1.57264.1.14: refs/heads/main, build_trigger: push}}]",
        ),
        policy("attestations: [{predicate_type: 'urn:x:y', authorities: [{key: a.pub}]}]"),
        "upstreams: {a.example: {credentials: {username: u, password: 12345}}}".to_owned(),
        "upstreams: {a.example: {endpoint: 'https://b.example:8443', token_hosts: [c.example], redirect_hosts: ['d.example:9000']}}"
            .to_owned(),
        "upstreams: {ghcr.io: {}}\nroutes: {apps: ghcr.io/o, two_parts: ghcr.io}".to_owned(),
        "clients: [{anonymous: true, images: ['**']}]".to_owned(),
        "revoked: {certificates: ['0x1F'], identities: [a, {regexp: b.+}]}".to_owned(),
        "exceptions: [{images: [ghcr.io/o/a], reason: 5, by: x, until: 2027-01-31}]".to_owned(),
        "key_providers: {gcpkms: {endpoint: 'http://127.0.0.1:9000'}, awskms:}".to_owned(),
    ] {
        let loaded = directory.load(&text);
        assert!(loaded.is_ok(), "{text}: {}", loaded.unwrap_err());
        assert_valid(&validator, &text, &text);
    }
}

#[test]
fn both_refuse_what_is_wrong() {
    let exception = |rest: &str| format!("exceptions: [{{{rest}}}]");
    let digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    assert_refused(&[
        "polices: []".to_owned(),
        "- a".to_owned(),
        "server: {listen: nowhere}".to_owned(),
        "server: [127.0.0.1:5080]".to_owned(),
        "server: {tls: {certificate: a.pub}}".to_owned(),
        "upstreams: [ghcr.io]".to_owned(),
        "upstreams: {'https://ghcr.io': {}}".to_owned(),
        "upstreams: {ghcr.io: {plain_http: yes}}".to_owned(),
        "upstreams: {ghcr.io: {credentials: google}}".to_owned(),
        "upstreams: {ghcr.io: {credentials: {username: u}}}".to_owned(),
        "upstreams: {ghcr.io: {credentials: {username: u, password: p, docker_config: a.pub}}}"
            .to_owned(),
        "upstreams: {ghcr.io: {endpoint: ghcr.io}}".to_owned(),
        "upstreams: {ghcr.io: {}}\nroutes: {'a.b': ghcr.io}".to_owned(),
        "upstreams: {ghcr.io: {}}\nroutes: {a: }".to_owned(),
        "trusted_roots: {mine: other}".to_owned(),
        "trusted_roots: {mine: {}}".to_owned(),
        "trusted_roots: {mine: {tuf: {url: 'https://a.example'}}}".to_owned(),
        "policies: {}".to_owned(),
        "policies: [{}]".to_owned(),
        "policies: [~]".to_owned(),
        "policies: [{name: p, authorities: [{key: a.pub}]}]".to_owned(),
        "policies: [{name: p, images: [], authorities: [{key: a.pub}]}]".to_owned(),
        "policies: [{name: p, images: [nginx], authorities: [{key: a.pub}]}]".to_owned(),
        "policies: [{name: p, images: ['ghcr.io/o/a:v1'], authorities: [{key: a.pub}]}]".to_owned(),
        "policies: [{name: '', images: [ghcr.io/o/a], authorities: [{key: a.pub}]}]".to_owned(),
        "catalog: most".to_owned(),
        "catalog: [no-such-entry]".to_owned(),
        "catalog: [{mode: audit}]".to_owned(),
        "key_providers: {kms: {endpoint: 'https://a.example'}}".to_owned(),
        "key_providers: {gcpkms: {endpoint: a.example}}".to_owned(),
        "clients: [{images: ['**']}]".to_owned(),
        "clients: [{anonymous: false, images: ['**']}]".to_owned(),
        "clients: [{anonymous: true}]".to_owned(),
        "clients: [{anonymous: true, images: []}]".to_owned(),
        "revoked: {digests: [sha256:abc]}".to_owned(),
        "revoked: {identities: [{regex: a}]}".to_owned(),
        exception("reason: a, by: b, until: 2027-01-31"),
        exception("images: [ghcr.io/o/a], by: b, until: 2027-01-31"),
        exception("images: [ghcr.io/o/a], reason: a, by: b, until: soon"),
        exception(&format!(
            "images: [ghcr.io/o/a], digests: ['sha256:{digest}'], reason: a, by: b, until: 2027-01-31"
        )),
        "default: allow".to_owned(),
        "freshness: {tag_ttl: 60}".to_owned(),
        "freshness: {reverify_after: 0}".to_owned(),
        "limits: {attempts_max: 0}".to_owned(),
        "limits: {attempts_max: 5MiB}".to_owned(),
        "limits: {attempts_max: 2000000000}".to_owned(),
        "limits: {manifest_bytes_max: 4MB}".to_owned(),
        "limits: {header_time_max: 0s}".to_owned(),
        "compat: {head_allows: maybe}".to_owned(),
    ]);
}

#[test]
fn both_refuse_policies_that_are_wrong() {
    let policy = |rest: &str| {
        format!("upstreams: {{ghcr.io:}}\npolicies: [{{name: p, images: [ghcr.io/o/a], {rest}}}]")
    };
    let authority = |rest: &str| policy(&format!("authorities: [{{{rest}}}]"));
    assert_refused(&[
        policy("mode: enforce"),
        policy("authorities: []"),
        policy("attestations: []"),
        policy("authorities: [{key: a.pub}], mode: warn"),
        policy("authorities: [{key: a.pub}], threshold: 0"),
        policy("authorities: [{key: a.pub}], threshold: two"),
        policy("authorities: [{key: a.pub}], max_signature_age: 90"),
        policy("authorities: [{key: a.pub}], max_signature_age: 0d"),
        policy("authorities: [{key: a.pub}], signature_repository: signatures"),
        policy("authorities: [{key: a.pub}], annotations: [a]"),
        policy("threshold: 1, attestations: [{predicate_type: spdx, authorities: [{key: a.pub}]}]"),
        policy("authorities: [{key: a.pub}], attestations: [{predicate_type: sbom}]"),
        policy("authorities: [{key: a.pub}], attestations: [{}]"),
        policy("attestations: [{predicate_type: spdx, authorities: [{all: [{key: a.pub}]}]}]"),
        authority(""),
        authority("name: nobody"),
        authority("key: a.pub, certificate_identity: a, certificate_oidc_issuer: b"),
        authority("key: a.pub, sct: required"),
        authority("certificate_identity: a"),
        authority("certificate_oidc_issuer: b"),
        authority(
            "certificate_identity: a, certificate_identity_regexp: a, certificate_oidc_issuer: b",
        ),
        authority(
            "certificate_identity: a, certificate_oidc_issuer: b, certificate_oidc_issuer_regexp: b",
        ),
        authority("certificate_identity: '', certificate_oidc_issuer: b"),
        authority(
            "certificate_identity: a, certificate_oidc_issuer: b, certificate_extensions: {workflow: c}",
        ),
        authority("key: a.pub, transparency_log: optional"),
        authority("all: [{key: a.pub}], any: [{key: b.pub}]"),
        authority("all: [{key: a.pub}], name: both"),
        authority("at_least: 1"),
        authority("at_least: 0, of: [{key: a.pub}]"),
        authority("all: []"),
    ]);
}

fn assert_refused(texts: &[String]) {
    let validator = Validator::new();
    let directory = Directory::new();
    for text in texts {
        assert!(directory.load(text).is_err(), "the reader takes {text}");
        assert!(validator.validate(text).is_err(), "the schema takes {text}");
    }
}
