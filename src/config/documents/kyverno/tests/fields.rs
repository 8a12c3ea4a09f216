//! What is refused, where, and in which words.

use super::*;

const SIGNER: &str = "attestors: [{entries: [{keyless: {subject: s, issuer: i}}]}]";

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_constrains_nobody_or_cannot_be_is_refused() {
    for (entry, expected) in [
        (
            "",
            ": the entry requires no signature: neither `attestors` nor `attestations`",
        ),
        (
            "attestors: []",
            "attestors: an empty list of attestors lets nobody vouch, or anybody",
        ),
        ("attestors: [{}]", "attestors[0]: `entries` is missing"),
        (
            "attestors: [{entries: []}]",
            "attestors[0].entries: an empty list of attestors lets nobody vouch, or anybody",
        ),
        (
            "attestors: [{entries: [{}]}]",
            "attestors[0].entries[0]: an entry is one of `keys`, `keyless`, `certificates` and `attestor`: without one of them it lets anybody vouch",
        ),
        (
            "attestors: [{entries: [{keyless: {subject: s, issuer: i}, keys: {kms: 'awskms:///alias/k'}}]}]",
            "attestors[0].entries[0]: an entry is one of `keys`, `keyless`, `certificates` and `attestor`: without one of them it lets anybody vouch",
        ),
        (
            "attestors: [{count: 2, entries: [{keyless: {subject: s, issuer: i}}]}]",
            "attestors[0].count: 2 of 1 entries cannot be",
        ),
        (
            "attestors: [{count: -1, entries: [{keyless: {subject: s, issuer: i}}]}]",
            "attestors[0].count: `-1`: invalid digit found in string",
        ),
        (
            "attestors: [{entries: [{keyless: {subject: s}}]}]",
            "attestors[0].entries[0].keyless: no `issuer`: anybody may get a certificate from some issuer, so both `subject` and `issuer` are needed",
        ),
        (
            "attestors: [{entries: [{keyless: {issuerRegExp: 'https://i[.]example'}}]}]",
            "attestors[0].entries[0].keyless: no `subject`: anybody may get a certificate from some issuer, so both `subject` and `issuer` are needed",
        ),
        (
            "attestors: [{entries: [{keyless: {subject: '*', issuer: i}}]}]",
            "attestors[0].entries[0].keyless.subject: `*` lets anybody vouch",
        ),
        (
            "attestors: [{entries: [{keyless: {subject: s, subjectRegExp: '.*', issuer: i}}]}]",
            "attestors[0].entries[0].keyless.subject: `s or .*` lets anybody vouch",
        ),
        (
            "attestors: [{entries: [{keyless: {subject: s, issuer: 'https://*'}}]}]",
            "attestors[0].entries[0].keyless.issuer: `https://*` lets anybody vouch",
        ),
        (
            "attestors: [{entries: [{keyless: {subject: '', issuer: i}}]}]",
            "attestors[0].entries[0].keyless.subject: empty",
        ),
        (
            "subject: s",
            ": no `issuer`: anybody may get a certificate from some issuer, so both `subject` and `issuer` are needed",
        ),
        (
            "attestations: [{type: t}]",
            "attestations[0]: an attestation without `attestors`: Kyverno would let anybody with a certificate vouch",
        ),
        (
            "attestations: []",
            "attestations: an empty list of attestations demands none",
        ),
        (
            "attestations: [{attestors: [{entries: [{keyless: {subject: s, issuer: i}}]}]}]",
            "attestations[0]: `type` is missing",
        ),
        (
            "attestations: [{type: t, predicateType: u, attestors: [{entries: [{keyless: {subject: s, issuer: i}}]}]}]",
            "attestations[0].predicateType: another type than `type: t`",
        ),
    ] {
        let found = problems(&format!("imageReferences: ['ghcr.io/org/*']\n{entry}"));
        assert_eq!(found, [expected], "{entry}");
    }
}

#[test]
fn what_would_admit_more_if_it_were_ignored_is_refused() {
    for (entry, expected) in [
        (
            "type: Notary",
            "type: signatures of Notary are not verified here",
        ),
        (
            "roots: x",
            "roots: `roots` counts beside `issuer` and `subject` of the entry only",
        ),
        (
            "validate: {deny: {}}",
            "validate: `validate.deny` compares several attestations, which is not supported",
        ),
        ("validate: {allow: {}}", "validate.allow: unknown key"),
        ("unknown: 1", "unknown: unknown key"),
        (
            "repository: ghcr.io/Org",
            "repository: `ghcr.io/Org` is no full name of a repository",
        ),
        (
            "repository: other.example/x",
            "repository: the host of `other.example/x` is not among the upstreams",
        ),
        (
            "annotations: {a: '{{ x }}'}",
            "annotations.a: variables are not known at a pull",
        ),
        ("failureAction2: x", "failureAction2: unknown key"),
    ] {
        let entry = format!("imageReferences: ['ghcr.io/org/*']\n{SIGNER}\n{entry}");
        assert_eq!(problems(&entry), [expected], "{entry}");
    }
    for (keyless, expected) in [
        ("roots: x", ".roots: not a PEM text"),
        (
            "rekor: {pubkey: x}",
            ".rekor.pubkey: not one PEM public key",
        ),
        (
            "rekor: {pubkey: '{{ keys.data.rekor }}'}",
            ".rekor.pubkey: variables are not known at a pull",
        ),
        (
            "ctlog: {pubkey: x}",
            ".ctlog.pubkey: not one PEM public key",
        ),
        (
            "ctlog: {tsaCertChain: x}",
            ".ctlog.tsaCertChain: no self-signed root certificate is among them",
        ),
        (
            "additionalExtensions: {other: x}",
            ".additionalExtensions.other: no certificate extension of this name is known to Kyverno",
        ),
        (
            "rekor: {ignoreTlog: yes}",
            ".rekor.ignoreTlog: `yes` is not known here",
        ),
        (
            "subjectRegExp: '('",
            ".subjectRegExp: not a regular expression: unclosed group",
        ),
    ] {
        let entry = format!(
            "imageReferences: ['ghcr.io/org/*']\nattestors: [{{entries: [{{keyless: {{subject: s, issuer: i, {keyless}}}}}]}}]"
        );
        let expected = format!("attestors[0].entries[0].keyless{expected}");
        assert_eq!(problems(&entry), [expected], "{keyless}");
    }
    for (keys, expected) in [
        (
            "publicKeys: cosign.pub",
            ".publicKeys: neither a PEM text nor the reference of a key service",
        ),
        (
            "publicKeys: '{{ keys.data.org }}'",
            ".publicKeys: variables are not known at a pull",
        ),
        (
            "kms: x",
            ".kms: the scheme is none of gcpkms://, awskms://, azurekms://, hashivault:// and k8s://; a reference looks like `gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY[/versions/NUMBER]`",
        ),
        (
            "kms: 'awskms:///alias/k', secret: {name: n, namespace: s}",
            ": keys are one of `publicKeys`, `kms` and `secret`",
        ),
        (
            "rekor: {ignoreTlog: true}",
            ": keys are one of `publicKeys`, `kms` and `secret`",
        ),
        ("secret: {name: n}", ".secret: `namespace` is missing"),
        (
            "kms: 'awskms:///alias/k', signatureAlgorithm: sha224",
            ".signatureAlgorithm: SHA-224 is not supported",
        ),
    ] {
        let entry = format!(
            "imageReferences: ['ghcr.io/org/*']\nattestors: [{{entries: [{{keys: {{{keys}}}}}]}}]"
        );
        let expected = format!("attestors[0].entries[0].keys{expected}");
        assert_eq!(problems(&entry), [expected], "{keys}");
    }
    for (certificates, expected) in [
        ("{}", ": neither `cert` nor `certChain`"),
        (
            "{cert: x}",
            ".cert: the text does not hold exactly one PEM block",
        ),
        ("{certChain: x}", ".certChain: not a PEM text"),
        (
            "{certChain: '-----BEGIN'}",
            ".certChain: no self-signed root certificate is among them",
        ),
        (
            "{cert: x, certChain: x}",
            ".cert: the text does not hold exactly one PEM block",
        ),
        (
            "{certChain: x, rekor: {pubkey: x}}",
            ".rekor.pubkey: not one PEM public key",
        ),
    ] {
        let entry = format!(
            "imageReferences: ['ghcr.io/org/*']\nattestors: [{{entries: [{{certificates: {certificates}}}]}}]"
        );
        let expected = format!("attestors[0].entries[0].certificates{expected}");
        assert_eq!(problems(&entry)[0], expected, "{certificates}");
    }
}

#[test]
fn what_kyverno_does_not_verify_as_written_is_refused() {
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8nXRh950IZbRj8Ra/N9sbqOPZrfM\\n5/KAQN0/KjHcorm/J5yctVd7iEcnessRQjU917hmKO6JWVGHpDguIyakZA==\\n-----END PUBLIC KEY-----\\n";
    let attested = |entry: &str| {
        format!("attestations: [{{type: t, attestors: [{{count: 1, entries: [{entry}]}}]}}]")
    };
    let annotated = "attestors[0].entries[0]: attestations carry no `annotations`, so Kyverno would verify none";
    for (entry, expected) in [
        (
            attested("{keyless: {subject: s, issuer: i}, annotations: {a: b}}"),
            annotated,
        ),
        (
            format!(
                "annotations: {{a: b}}\n{}",
                attested("{keyless: {subject: s, issuer: i}}")
            ),
            annotated,
        ),
        (
            attested(&format!("{{keys: {{publicKeys: \"{KEY}{KEY}\"}}}}")),
            "attestors[0].entries[0].keys: several keys in one entry: for attestations Kyverno looks at the first alone",
        ),
    ] {
        let found = problems(&format!("imageReferences: ['ghcr.io/org/*']\n{entry}"));
        assert_eq!(found, [format!("attestations[0].{expected}")], "{entry}");
    }
    let both = format!("imageReferences: ['ghcr.io/org/*']\nkey: \"{KEY}\"\nroots: x");
    assert_eq!(
        problems(&both),
        ["roots: an identity beside `key` is not looked at"]
    );
    let older = format!(
        "imageReferences: ['ghcr.io/org/*']\nannotations: {{a: b}}\nkey: \"{KEY}\"\nattestations: [{{type: t}}]"
    );
    assert_eq!(
        problems(&older),
        [": attestations carry no `annotations`, so Kyverno would verify none"]
    );
}

#[test]
fn conditions_that_a_pull_cannot_evaluate_are_refused() {
    for (conditions, expected) in [
        (
            "[{}]",
            "[0]: neither `any` nor `all`: nothing would be demanded",
        ),
        ("[{all: []}]", "[0].all: an empty list of conditions"),
        (
            "[{all: [{key: 1, operator: equals, value: 1}]}]",
            "[0].all[0].operator: `equals`: no operator of this name is known",
        ),
        (
            "[{all: [{key: 1, operator: Equals}]}]",
            "[0].all[0]: `value` is missing",
        ),
        (
            "[{all: [{key: '{{ request.x }}', operator: Equals, value: 1}]}]",
            "[0].all[0].key: the variable `request` is not known at a pull; a condition sees the fields of the predicate",
        ),
        (
            "[{all: [{key: \"{{ time_to_cron('{{ a }}') }}\", operator: Equals, value: 1}]}]",
            "[0].all[0].key: the function `time_to_cron` is not supported at a pull",
        ),
        (
            "[{any: [{key: '{{ x }}', operator: AnyIn, value: 1-10}]}]",
            "[0].any[0].value: ranges are not supported",
        ),
        (
            "[{any: [{key: '{{ x }}', operator: DurationGreaterThan, value: abc}]}]",
            "[0].any[0].value: \"abc\" is no duration: the condition never holds",
        ),
        (
            "[{any: [{key: true, operator: DurationLessThan, value: 1h}]}]",
            "[0].any[0].key: true is no duration: the condition never holds",
        ),
        (
            "[{any: [{key: '{{ x }}', operator: Equals, value: on}]}]",
            "[0].any[0].value: `on` is not the same in every version of YAML",
        ),
        (
            "[{any: [{key: '{{ x }}', operator: Equals, value: 0777}]}]",
            "[0].any[0].value: `0777` is not the same in every version of YAML",
        ),
    ] {
        let entry = format!(
            "imageReferences: ['ghcr.io/org/*']
attestations: [{{type: t, attestors: [{{entries: [{{keyless: {{subject: s, issuer: i}}}}]}}], conditions: {conditions}}}]"
        );
        let found = problems(&entry);
        assert_eq!(
            found,
            [format!("attestations[0].conditions{expected}")],
            "{conditions}"
        );
    }
}

#[test]
fn an_entry_that_covers_nothing_is_refused() {
    for (images, expected) in [
        ("mutateDigest: false", ": the entry covers no image"),
        ("image: ''", "image: empty"),
        ("imageReferences: ['']", "imageReferences[0]: empty"),
        (
            "imageReferences: ['{{ x }}']",
            "imageReferences[0]: variables are not known at a pull",
        ),
        (
            "imageReferences: ['ghcr.io/*']\nskipImageReferences: ['']",
            "skipImageReferences[0]: empty",
        ),
    ] {
        assert_eq!(
            problems(&format!("{images}\n{SIGNER}")),
            [expected],
            "{images}"
        );
    }
}

#[test]
fn a_policy_that_verifies_nothing_says_so() {
    let spec = |rules: &str| {
        format!(
            "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {{name: p}}\nspec: {{rules: {rules}}}"
        )
    };
    for (rules, key, message) in [
        (
            "[]",
            "spec.rules",
            "an empty list of rules verifies no images",
        ),
        (
            "[{name: r, match: {any: []}, verifyImages: []}]",
            "spec.rules[0].verifyImages",
            "an empty list verifies no images",
        ),
    ] {
        let (policies, reader) = load(&spec(rules));
        let [problem] = reader.problems.as_slice() else {
            panic!("{rules}: {:?}", reader.problems);
        };
        assert_eq!(
            (problem.key.as_str(), problem.message.as_str()),
            (key, message)
        );
        assert!(policies.is_empty());
    }
    let (_, reader) = load(&spec("[{name: r, mutate: {}}]"));
    assert_eq!(reader.problems, []);
    let warned: Vec<_> = reader.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert!(
        warned[0].contains("the policy verifies no images"),
        "{warned:?}"
    );
    let (_, reader) = load(&policy_with(&format!(
        "imageReferences: ['ghcr.io/*']\n{SIGNER}"
    )));
    assert_eq!(reader.warnings, []);
}
