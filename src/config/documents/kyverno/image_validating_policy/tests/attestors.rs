//! `attestors`: who may vouch, and what must come with a signature.

use super::*;
use crate::policy::AuthoritySigner;

const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6QsNef3SKYhJVYSVj+ZfbPwJd0pv
DLYNHXITZkhIzfE+apcxDjCCkDPcJ3A3zvhPATYOIsCxYPch7Q2JdJLsDQ==
-----END PUBLIC KEY-----";

fn key(fields: &str) -> String {
    let data = PUBLIC_KEY.replace('\n', "\\n");
    with_attestor(&fields.replace("KEY", &data))
}

/// What `cosign` says of a key, with what is warned of.
const KEYS_NOTED: &[(&str, &[&str])] = &[
    ("{key: {data: \"KEY\"}}", &[]),
    ("{key: {data: \"KEY\", hashAlgorithm: sha256}}", &[]),
    (
        "{key: {data: \"KEY\", hashAlgorithm: sha512}}",
        &["the hash follows from the key"],
    ),
    (
        "{key: {kms: 'gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k/versions/1'}}",
        &[],
    ),
    ("{key: {kms: 'k8s://ns/name'}}", &[]),
    (
        "{key: {data: \"KEY\"}, ctlog: {url: 'https://rekor.sigstore.dev'}}",
        &[],
    ),
    (
        "{key: {data: \"KEY\"}, ctlog: {url: 'https://rekor.example'}}",
        &["no log is asked online"],
    ),
    (
        "{key: {data: \"KEY\"}, ctlog: {}}",
        &["without `url` some releases"],
    ),
    (
        "{key: {data: \"KEY\"}, ctlog: {insecureIgnoreTlog: true}}",
        &["in no transparency log"],
    ),
    (
        "{key: {data: \"KEY\"}, annotations: {a: b}}",
        &["compared with the annotations that were signed"],
    ),
    (
        "{key: {data: \"KEY\"}, source: {repository: ghcr.io/org/signatures}}",
        &["beside the image"],
    ),
    (
        "{key: {data: \"KEY\"}, source: {PullSecrets: [{name: a}]}}",
        &["secrets of a cluster"],
    ),
];

/// What is refused under `cosign`: where, and a part of why.
const KEYS_REFUSED: &[(&str, &str, &str)] = &[
    (
        "{}",
        "",
        "not exactly one of `key`, `keyless` and `certificate`",
    ),
    (
        "{key: {data: \"KEY\"}, keyless: {identities: []}}",
        "",
        "not exactly one of `key`, `keyless`",
    ),
    ("{key: {}}", ".key", "not exactly one of `data` and `kms`"),
    (
        "{key: {data: \"KEY\", kms: 'awskms:///alias/a'}}",
        ".key",
        "not exactly one of `data` and `kms`",
    ),
    (
        "{key: {data: \"KEY\\nKEY\"}}",
        ".key.data",
        "not one PEM text",
    ),
    (
        "{key: {data: 'awskms:///alias/a'}}",
        ".key.data",
        "not one PEM text",
    ),
    ("{key: {data: ''}}", ".key.data", "empty"),
    (
        "{key: {data: \"-----BEGIN PUBLIC KEY-----\\n...\\n-----END PUBLIC KEY-----\"}}",
        ".key.data",
        "",
    ),
    ("{key: {kms: 'ftp://x'}}", ".key.kms", ""),
    ("{key: {kms: ''}}", ".key.kms", "empty"),
    (
        "{key: {data: \"KEY\", hashAlgorithm: sha224}}",
        ".key.hashAlgorithm",
        "SHA-224",
    ),
    (
        "{key: {data: \"KEY\", hashAlgorithm: md5}}",
        ".key.hashAlgorithm",
        "",
    ),
    (
        "{key: {expression: variables.cm.data.key}}",
        ".key.expression",
        "resources of a cluster are not read",
    ),
    (
        "{key: {data: \"KEY\", expression: variables.x}}",
        ".key.expression",
        "resources of a cluster",
    ),
    ("{key: {data: \"KEY\", unknown: 1}}", ".key.unknown", ""),
    ("{key: {data: \"KEY\"}, unknown: 1}", ".unknown", ""),
    (
        "{key: {data: \"KEY\"}, ctlog: {unknown: 1}}",
        ".ctlog.unknown",
        "",
    ),
    (
        "{key: {data: \"KEY\"}, ctlog: {rekorPubKey: x}}",
        ".ctlog.rekorPubKey",
        "`ctlog.rekorPubKey` is not supported",
    ),
    (
        "{key: {data: \"KEY\"}, ctlog: {ctLogPubKey: x}}",
        ".ctlog.ctLogPubKey",
        "`ctlog.ctLogPubKey` is not supported",
    ),
    (
        "{key: {data: \"KEY\"}, ctlog: {tsaCertChain: x}}",
        ".ctlog.tsaCertChain",
        "`ctlog.tsaCertChain` is not supported",
    ),
    (
        "{key: {data: \"KEY\"}, tuf: {mirror: 'https://x.example'}}",
        ".tuf",
        "a TUF repository cannot be taken",
    ),
    (
        "{key: {data: \"KEY\"}, source: {tagPrefix: x}}",
        ".source.tagPrefix",
        "with a prefix are not looked for",
    ),
    (
        "{key: {data: \"KEY\"}, source: {repository: other.example/x}}",
        ".source.repository",
        "not among the upstreams",
    ),
    (
        "{key: {data: \"KEY\"}, source: {unknown: 1}}",
        ".source.unknown",
        "",
    ),
    (
        "{key: {data: \"KEY\"}, trustedRoot: {value: '{}'}}",
        ".trustedRoot.value",
        "",
    ),
    (
        "{key: {data: \"KEY\"}, trustedRoot: {expression: variables.x}}",
        ".trustedRoot.expression",
        "resources of a cluster",
    ),
    (
        "{key: {data: \"KEY\"}, trustedRoot: {}}",
        ".trustedRoot",
        "`value` is missing",
    ),
    ("{certificate: {}}", ".certificate", "`cert` is missing"),
    (
        "{certificate: {cert: {}}}",
        ".certificate.cert",
        "`value` is missing",
    ),
    (
        "{certificate: {cert: {value: x}}}",
        ".certificate.cert.value",
        "",
    ),
    (
        "{certificate: {cert: {expression: variables.x}}}",
        ".certificate.cert.expression",
        "resources of a cluster",
    ),
    (
        "{certificate: {cert: {value: x}, certChain: {value: x}}}",
        ".certificate.cert.value",
        "not hold exactly one PEM block",
    ),
    (
        "{certificate: {certChain: {value: x}}}",
        ".certificate",
        "`cert` is missing",
    ),
    (
        "{certificate: {cert: {value: x}, unknown: 1}}",
        ".certificate.unknown",
        "",
    ),
];

#[test]
fn keys() {
    for &(cosign, warned) in KEYS_NOTED {
        loaded(&key(cosign), warned);
    }
    for &(cosign, at, message) in KEYS_REFUSED {
        assert_refused(
            &key(cosign),
            &format!("spec.attestors[0].cosign{at}"),
            message,
        );
    }
    let twice = key("{key: {data: \"KEY\"}}");
    let twice = twice.replace(
        "attestors: [",
        "attestors: [{name: x, cosign: {key: {kms: 'awskms:///alias/x'}}}, ",
    );
    assert_refused(&twice, "spec.attestors[1].name", "`x` is the name of two");
    let notary = with_attestor("{}").replace("cosign: {}", "notary: {certs: {value: x}}");
    assert_refused(
        &notary,
        "spec.validations[0].expression",
        "signatures of Notary",
    );
    let neither = with_attestor("{}").replace(", cosign: {}", "");
    assert_refused(
        &neither,
        "spec.attestors[0]",
        "not exactly one of `cosign` and `notary`",
    );
}

#[test]
fn what_must_come_with_a_signature() {
    let keyless = "keyless: {identities: [{subject: a@b.example, issuer: 'https://i.example'}]}";
    for (cosign, log, timestamp, sct) in [
        ("{key: {data: \"KEY\"}}".to_owned(), true, false, false),
        ("{key: {data: \"KEY\"}, ctlog: {insecureIgnoreTlog: true}}".to_owned(), false, false, false),
        (
            "{key: {data: \"KEY\"}, ctlog: {url: 'https://rekor.sigstore.dev', insecureIgnoreTlog: false}}".to_owned(),
            true,
            false,
            false,
        ),
        (format!("{{{keyless}}}"), true, false, true),
        (format!("{{{keyless}, ctlog: {{insecureIgnoreSCT: true}}}}"), true, false, false),
        (format!("{{{keyless}, ctlog: {{insecureIgnoreTlog: true}}}}"), false, true, true),
    ] {
        let (policies, problems, _) = outcome(&key(&cosign));
        assert_eq!(problems, Vec::<String>::new());
        let authorities = policies[0].requirement.authorities();
        let authority = authorities[0];
        assert_eq!(
            (authority.transparency_log, authority.signed_timestamp, authority.sct),
            (log, timestamp, sct),
            "{cosign}"
        );
        assert_eq!(authority.trusted_root_name, "public-good");
    }
}

#[test]
fn a_trusted_root_in_the_document_is_believed_in_place_of_the_public_one() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/chains/trusted_root.json"
    );
    let root = std::fs::read_to_string(path).unwrap();
    let value = serde_json::Value::String(root).to_string();
    let text = key(&format!(
        "{{key: {{data: \"KEY\"}}, trustedRoot: {{value: {value}}}}}"
    ));
    let policy = loaded(&text, &[]);
    let authorities = policy.requirement.authorities();
    assert_eq!(
        authorities[0].trusted_root_name,
        "spec.attestors[0].cosign.trustedRoot.value"
    );
    let other = loaded(&key("{key: {data: \"KEY\"}}"), &[]);
    assert_ne!(policy.hash, other.hash);
}

#[test]
fn further_repositories_are_searched() {
    let text = key("{key: {data: \"KEY\"}, source: {repository: ghcr.io/org/signatures}}");
    let (policies, _, _) = outcome(&text);
    assert_eq!(
        policies[0].signature_repositories[0].as_str(),
        "ghcr.io/org/signatures"
    );
}

fn identities(identities: &str) -> String {
    with_attestor(&format!("{{keyless: {{identities: {identities}}}}}"))
}

#[test]
fn identities_need_a_subject_and_an_issuer() {
    for (identity, message) in [
        ("[]", "no identity: anybody could vouch"),
        ("[{}]", "neither `subject` nor `subjectRegExp`"),
        (
            "[{subject: a@b.example}]",
            "neither `issuer` nor `issuerRegExp`",
        ),
        (
            "[{issuer: 'https://i.example'}]",
            "neither `subject` nor `subjectRegExp`",
        ),
        ("[{subject: '', issuer: 'https://i.example'}]", "empty"),
        (
            "[{subjectRegExp: '', issuer: 'https://i.example'}]",
            "empty",
        ),
        (
            "[{subjectRegExp: '.*', issuer: 'https://i.example'}]",
            "`.*` lets anybody vouch",
        ),
        (
            "[{subject: a@b.example, issuerRegExp: '.+'}]",
            "`.+` lets anybody vouch",
        ),
        ("[{subject: a@b.example, issuerRegExp: '('}]", ""),
        (
            "[{subjectExpression: object.x, subject: a, issuer: 'https://i.example'}]",
            "`subjectExpression` has no value",
        ),
        (
            "[{subject: a@b.example, issuer: 'https://i.example', unknown: 1}]",
            "",
        ),
        // One that is usable does not make up for one that is not.
        (
            "[{subject: a@b.example, issuer: 'https://i.example'}, {subject: a@b.example}]",
            "neither `issuer`",
        ),
    ] {
        assert_refused(
            &identities(identity),
            "spec.attestors[0].cosign.keyless",
            message,
        );
    }
    let roots = "{keyless: {identities: [{subject: a, issuer: b}], roots: x}}";
    assert_refused(
        &with_attestor(roots),
        "spec.attestors[0].cosign.keyless.roots",
        "not supported",
    );
    let missing = with_attestor("{keyless: {}}");
    assert_refused(
        &missing,
        "spec.attestors[0].cosign.keyless",
        "`identities` is missing",
    );
    let extension =
        "{keyless: {identities: [{subject: a, issuer: b}], additionalExtensions: {unknown: x}}}";
    assert_refused(
        &with_attestor(extension),
        "spec.attestors[0].cosign.keyless.additionalExtensions",
        "",
    );
}

#[test]
fn identities_match_as_in_cosign() {
    let subject_matches = |fields: &str, warned: &[&str], subject: &str| {
        let policy = loaded(
            &identities(&format!("[{{{fields}, issuer: 'https://i.example'}}]")),
            warned,
        );
        let authorities = policy.requirement.authorities();
        let AuthoritySigner::Identity(identity) = &authorities[0].signer else {
            panic!("{authorities:?}");
        };
        assert!(
            identity
                .oidc_issuer
                .as_ref()
                .unwrap()
                .matches("https://i.example")
        );
        assert!(
            !identity
                .oidc_issuer
                .as_ref()
                .unwrap()
                .matches("https://i.example/x")
        );
        identity.identity.matches(subject)
    };
    let exact = "subject: 'https://x.example/a*'";
    assert!(!subject_matches(
        exact,
        &["`*` stands for itself"],
        "https://x.example/abc"
    ));
    assert!(subject_matches(
        exact,
        &["`*` stands for itself"],
        "https://x.example/a*"
    ));
    let anchored = "subjectRegExp: '^https://x\\.example/a$'";
    assert!(subject_matches(anchored, &[], "https://x.example/a"));
    assert!(!subject_matches(anchored, &[], "https://x.example/ab"));
    let search = "subjectRegExp: 'x\\.example/a'";
    assert!(subject_matches(
        search,
        &["matches anywhere"],
        "https://x.example/ab"
    ));
    // Where both are given, both must match.
    let both = "subject: 'https://x.example/b', subjectRegExp: '^https://x\\.example/a$'";
    assert!(!subject_matches(both, &[], "https://x.example/a"));
    assert!(!subject_matches(both, &[], "https://x.example/b"));
}

#[test]
fn extensions_are_demanded() {
    let cosign = "{keyless: {identities: [{subject: a, issuer: b}], additionalExtensions: {githubWorkflowName: release}}}";
    let policy = loaded(&with_attestor(cosign), &[]);
    let authorities = policy.requirement.authorities();
    let AuthoritySigner::Identity(identity) = &authorities[0].signer else {
        panic!("{authorities:?}");
    };
    assert!(identity.extensions["github_workflow_name"].matches("release"));
    assert!(!identity.extensions["github_workflow_name"].matches("other"));
}

#[test]
fn the_key_of_a_certificate_vouches() {
    let certificate = include_str!("../../../../tests/own_authority.pem");
    let value = serde_json::Value::String(certificate.to_owned()).to_string();
    let text = with_attestor(&format!("{{certificate: {{cert: {{value: {value}}}}}}}"));
    let policy = loaded(&text, &[]);
    let authorities = policy.requirement.authorities();
    assert!(matches!(
        &authorities[0].signer,
        AuthoritySigner::Key { .. }
    ));
    assert!(authorities[0].transparency_log);
}

#[test]
fn certificate_beside_a_chain_must_lead_to_its_root() {
    let certificate = include_str!("../../../../tests/own_authority.pem");
    let certificate = serde_json::json!(certificate).to_string();
    let other = serde_json::json!(include_str!("../../../../tests/other_authority.pem"));
    let other = other.to_string();
    let with = |chain: &str, rest: &str| {
        let fields = format!("cert: {{value: {certificate}}}, certChain: {{value: {chain}}}");
        with_attestor(&format!("{{certificate: {{{fields}}}{rest}}}"))
    };
    let waived = ", ctlog: {url: 'https://rekor.sigstore.dev', insecureIgnoreSCT: true}";
    let policy = loaded(&with(&certificate, waived), &["never published"]);
    let authorities = policy.requirement.authorities();
    assert!(matches!(
        &authorities[0].signer,
        AuthoritySigner::Key { .. }
    ));
    let key = "spec.attestors[0].cosign.certificate.certChain";
    assert_refused(
        &with(&other, waived),
        key,
        "no certificate of the chain issued it",
    );
    assert_refused(&with(&certificate, ""), key, "Kyverno accepts no signature");
}
