//! `policies:` and `catalog:`.

use serde_json::{Value, json};

use super::form::{Form, present};
use crate::config::{WarningName, attestations, catalog};
use crate::verify;

/// The definitions, by name.
pub(super) fn definitions() -> Vec<(&'static str, Form)> {
    vec![
        ("policy", policy()),
        ("attestation", attestation()),
        ("member", member()),
        ("group", group()),
        ("authority", authority()),
    ]
}

pub(super) fn catalog() -> Form {
    let name = || Form::word(&catalog::names());
    let mode = Form::word(&["enforce", "audit"])
        .says("audit: its own refusals are logged and the content is served with a warning.")
        .default("enforce");
    let item = Form::mapping(
        &["name"],
        [
            ("name", name().says("The name of the entry.")),
            ("mode", mode),
        ],
    );
    let list = Form::list(Form::new(
        json!({ "anyOf": [name().build(), item.build()] }),
    ));
    let all = Form::word(&["all"]);
    Form::new(json!({ "anyOf": [all.build(), list.build()] })).says(
        "Publishers who sign in public, by their names in the built-in catalogue (`countersign policy catalog`), or `all` \
         of them. Default: none.",
    )
}

/// Names of warnings.
pub(super) fn acknowledged() -> Form {
    Form::list(Form::word(&WarningName::ALL.map(WarningName::as_str)))
}

fn policy() -> Form {
    let covering = [
        (
            "name",
            Form::of("text").says("In every refusal and in the log; unique."),
        ),
        (
            "images",
            Form::some(Form::of("images")).says(
                "Repositories, as host/repository: `*` within one path component, `**` across components.",
            ),
        ),
        (
            "exclude",
            Form::list(Form::of("images")).says("Repositories it does not cover after all. Default: none."),
        ),
        (
            "mode",
            Form::word(&["enforce", "audit"])
                .says("audit: its own refusals are logged and the content is served with a warning.")
                .default("enforce"),
        ),
    ];
    let keys = covering.into_iter().chain(required());
    Form::mapping(&["name", "images"], keys)
        .and(
            "anyOf",
            json!([present("authorities"), present("attestations")]),
        )
        .and(
            "dependencies",
            json!({
                "threshold": ["authorities"],
                "annotations": ["authorities"],
                "signed_name": ["authorities"],
            }),
        )
}

/// What must be there.
fn required() -> [(&'static str, Form); 8] {
    [
        (
            "authorities",
            Form::some(Form::of("member"))
                .says("Any one of these suffices. Default: none, and then `attestations` are needed."),
        ),
        (
            "threshold",
            Form::of("count_above_zero")
                .says("How many distinct keys or identities must have signed.")
                .default(1),
        ),
        (
            "annotations",
            texts().says("Annotations that every counted signature must carry. Default: none."),
        ),
        (
            "signature_repository",
            Form::of("repository").says(
                "A further repository to look for signatures in. Default: none, they lie beside the image.",
            ),
        ),
        (
            "signed_name",
            Form::word(&["match", "any"])
                .says("match: the name inside the signature must be this repository. Mirrors keep signatures.")
                .default("any"),
        ),
        (
            "max_signature_age",
            Form::of("duration_above_zero").says(
                "The age from which a signature no longer counts, by its verified time. Default: none.",
            ),
        ),
        (
            "acknowledge",
            acknowledged().says("Warnings about this policy that are meant, by name. Default: none."),
        ),
        (
            "attestations",
            Form::some(Form::of("attestation"))
                .says("Attestations that must exist, all of them. Default: none."),
        ),
    ]
}

fn attestation() -> Form {
    let short: Vec<_> = attestations::PREDICATE_TYPES
        .iter()
        .map(|(name, _)| *name)
        .collect();
    let predicate_type = json!({
        "anyOf": [
            { "enum": short },
            Form::matching(r"^([A-Za-z][A-Za-z0-9+.-]*:|[^\s/]*\.[^\s/]*/)\S+$").build(),
        ],
    });
    Form::mapping(
        &["predicate_type"],
        [
            (
                "predicate_type",
                Form::new(predicate_type).says("An URI, cosign's short name for one, or a type without a scheme, as cosign 1 wrote it."),
            ),
            (
                "match",
                Form::word(&["any", "all", "newest"])
                    .says(
                        "any: one attestation must meet the condition; all: every one of the type; newest: the latest.",
                    )
                    .default("any"),
            ),
            (
                "condition",
                Form::of("text").says(
                    "CEL over `statement` and `predicate`. Default: none, existence suffices.",
                ),
            ),
            (
                "authorities",
                Form::some(Form::of("authority"))
                    .says("Who may vouch for this attestation. Default: the policy's authorities."),
            ),
        ],
    )
}

/// An authority or a group, told apart by the keys of groups so that messages are about one of them.
fn member() -> Form {
    let keys = ["all", "any", "at_least", "of"];
    let is_group: Vec<Value> = keys
        .iter()
        .map(|key| json!({ "required": [key] }))
        .collect();
    Form::new(json!({
        "if": { "type": "object", "anyOf": is_group },
        "then": Form::of("group").build(),
        "else": Form::of("authority").build(),
    }))
}

fn group() -> Form {
    let members = |description: &str| Form::some(Form::of("member")).says(description);
    Form::mapping(
        &[],
        [
            ("all", members("Every member must have signed.")),
            ("any", members("One of the members must have signed.")),
            (
                "at_least",
                Form::of("count_above_zero")
                    .says("How many of the members under `of` must have signed."),
            ),
            ("of", members("The members that `at_least` counts.")),
        ],
    )
    .and(
        "oneOf",
        json!([
            { "required": ["all"], "maxProperties": 1 },
            { "required": ["any"], "maxProperties": 1 },
            { "required": ["at_least", "of"], "maxProperties": 2 },
        ]),
    )
}

fn authority() -> Form {
    let demand = |opposite: &str| Form::word(&["required", opposite]);
    let keys = [
        (
            "name",
            Form::of("text").says("In messages and in the log. Default: authority-1, authority-2, …"),
        ),
        (
            "key",
            text().says(
                "A PEM file, the PEM text itself, or a key in a key service: gcpkms://, awskms://, azurekms://, \
                 hashivault://, k8s://namespace/secret.",
            ),
        ),
        (
            "certificate_identity",
            Form::of("text").says("The identity in the certificate, the whole of it."),
        ),
        (
            "certificate_identity_regexp",
            text().says("An expression that must match the whole identity."),
        ),
        (
            "certificate_oidc_issuer",
            text().says("Who vouched for the identity. Needed with every identity: each issuer hands out its own names."),
        ),
        (
            "certificate_oidc_issuer_regexp",
            text().says("An expression that must match the whole issuer."),
        ),
        ("certificate_extensions", extensions()),
        (
            "certificate_authorities",
            text().says(
                "Who issues the certificates in place of the trusted root's authorities: a PEM file, or the PEM text \
                 itself. The issuer need not be named then.",
            ),
        ),
        (
            "trusted_root",
            Form::of("text")
                .says("The trusted root to use, by its name under `trusted_roots`.")
                .default("public-good"),
        ),
        (
            "transparency_log",
            demand("not_required")
                .says("Whether an entry in the log must be there. What is there must be right in any case.")
                .default("required"),
        ),
        (
            "signed_timestamp",
            demand("accepted")
                .says("Whether an RFC 3161 timestamp must be there. An identity needs the log or a timestamp.")
                .default("accepted"),
        ),
        (
            "sct",
            demand("not_required").says(
                "Whether proof that the certificate was logged must be there. Default: required, and not_required with \
                 `certificate_authorities`.",
            ),
        ),
    ];
    Form::mapping(&[], keys).and("oneOf", signers())
}

/// A key without what is about identities, or an identity with its issuer.
fn signers() -> Value {
    let issuers = json!({
        "anyOf": [
            present("certificate_oidc_issuer"),
            present("certificate_oidc_issuer_regexp"),
            present("certificate_authorities"),
        ],
        "not": {
            "allOf": [
                present("certificate_oidc_issuer"),
                present("certificate_oidc_issuer_regexp"),
            ],
        },
    });
    let of_identities: Vec<_> = crate::config::authorities::IDENTITY_KEYS
        .iter()
        .map(|key| present(key))
        .collect();
    let no_key = json!({ "not": present("key") });
    json!([
        { "allOf": [present("key"), { "not": { "anyOf": of_identities } }] },
        { "allOf": [present("certificate_identity"), issuers, no_key] },
        { "allOf": [present("certificate_identity_regexp"), issuers, no_key] },
    ])
}

fn extensions() -> Form {
    let names: Vec<_> = verify::extension_names().collect();
    let identifier = r"^1\.3\.6\.1\.4\.1\.57264\.1\.[0-9]+$";
    Form::new(json!({
        "type": "object",
        "propertyNames": { "anyOf": [{ "enum": names }, { "pattern": identifier }] },
        "additionalProperties": free_text(),
    }))
    .says(
        "Further claims in the certificate (Fulcio extension, by name or object identifier: value), compared exactly. \
         Default: none.",
    )
}

fn text() -> Form {
    Form::new(json!({ "type": "string", "minLength": 1 }))
}

fn texts() -> Form {
    Form::new(json!({ "type": "object", "additionalProperties": free_text() }))
}

fn free_text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}
