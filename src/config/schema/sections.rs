//! The sections and what stands beside them.

use serde_json::{Value, json};

use super::form::{Form, present};
use super::policies;
use crate::admission::Freshness;
use crate::config::quantity::write_duration;
use crate::config::{DATA_DIRECTORY, Server, limits, trusted_roots};
use crate::keys::Scheme;
use crate::trust::{ROOT_MAX_STALE, Source};

pub(super) fn all() -> Vec<(&'static str, Form)> {
    vec![
        ("server", server()),
        (
            "data_dir",
            path("Content and state. Created if absent. Everything in it is checked again before use.")
                .default(DATA_DIRECTORY),
        ),
        ("upstreams", upstreams()),
        ("routes", routes()),
        ("trusted_roots", trusted_roots()),
        (
            "policies",
            Form::list(Form::of("policy")).says(
                "Who must have signed what. Every enforcing policy that covers a name must be satisfied. Default: none.",
            ),
        ),
        ("catalog", policies::catalog()),
        (
            "policy_files",
            Form::list(file()).says(
                "Policies as Kyverno, policy-controller and containers write them: paths with `*`. Default: none.",
            ),
        ),
        (
            "acknowledge",
            policies::acknowledged().says(
                "Warnings that are meant, by the names that `countersign policy check` shows. Default: none.",
            ),
        ),
        ("key_providers", key_providers()),
        ("clients", clients()),
        ("revoked", revoked()),
        ("exceptions", exceptions()),
        (
            "default",
            Form::word(&["deny", "audit"])
                .says("A name that no policy covers: deny, or audit, which serves it with a warning.")
                .default("deny"),
        ),
        ("freshness", freshness()),
        ("limits", limits()),
        ("compat", compat()),
    ]
}

fn file() -> Form {
    Form::new(json!({ "type": "string", "minLength": 1 }))
}

fn path(description: &str) -> Form {
    file().says(description)
}

fn secret(description: &str) -> Form {
    Form::of("text").says(description)
}

fn server() -> Form {
    let default = Server::default();
    let address = || Form::matching(r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]+$");
    Form::mapping(
        &[],
        [
            (
                "listen",
                address()
                    .says("The registry API: an address and a port.")
                    .default(default.listen.to_string()),
            ),
            (
                "admin_listen",
                address()
                    .says("Probes for everybody; metrics, the JSON API and the console on loopback or with the token.")
                    .default(default.admin_listen.to_string()),
            ),
            (
                "tls",
                Form::mapping(
                    &["certificate", "private_key"],
                    [
                        ("certificate", path("PEM, leaf first.")),
                        ("private_key", path("PEM.")),
                    ],
                )
                .says("TLS for the registry API. Default: plain HTTP."),
            ),
            (
                "public_url",
                origin().says(
                    "Scheme, host and port under which clients reach the registry API, sent to them with challenges. \
                     Default: the address that a request was sent to.",
                ),
            ),
            (
                "token_key",
                secret(
                    "The secret that clients' tokens are signed with, or file:PATH; the same for all replicas behind one \
                     address, at least 32 characters. Default: a random one at each start.",
                ),
            ),
            (
                "console_url",
                origin().says(
                    "Scheme, host and port under which people reach the admin listener. Default: none.",
                ),
            ),
            (
                "admin_hosts",
                Form::list(Form::matching("^[A-Za-z0-9_.-]+$")).says(
                    "Further host names under which the admin listener may be asked for, besides addresses and localhost. \
                     Default: none.",
                ),
            ),
            (
                "admin_token",
                secret("A bearer token for the admin listener beyond loopback, or file:PATH. Default: none."),
            ),
        ],
    )
    .says("The listeners.")
}

/// An address of this proxy itself, without a path.
fn origin() -> Form {
    Form::matching("^https?://[A-Za-z0-9._:\\[\\]-]+/?$")
}

fn upstreams() -> Form {
    let upstream = Form::mapping(
        &[],
        [
            (
                "endpoint",
                Form::matching("^https?://[^/?#@]+/?$").says(
                    "Where the connection goes instead; the name stays. Scheme, host and port only. Default: the name.",
                ),
            ),
            (
                "ca",
                path("Certificates (PEM) to trust for this upstream in addition to the system's. Default: none."),
            ),
            (
                "plain_http",
                Form::boolean()
                    .says("Plain HTTP, for registries on loopback.")
                    .default(false),
            ),
            ("credentials", credentials()),
            (
                "token_hosts",
                Form::list(Form::matching("^[a-z0-9.:-]+$")).says(
                    "Hosts besides the upstream's own whose token endpoint may see the credentials. Default: none.",
                ),
            ),
            (
                "redirect_hosts",
                Form::list(Form::matching("^[a-z0-9.:-]+$")).says(
                    "Hosts to which redirects may lead although they have private, shared or loopback addresses. Default: none.",
                ),
            ),
        ],
    );
    Form::map(r"^[a-z0-9.:\[\]-]+$", upstream.or_nothing())
        .says("The registries that may be reached, by host; no others are. Default: none.")
}

fn credentials() -> Form {
    let named = Form::word(&["anonymous", "docker_config"]);
    let given = Form::mapping(
        &[],
        [
            ("username", secret("The user name, or file:PATH.")),
            ("password", secret("The password, or file:PATH.")),
            (
                "docker_config",
                path("That file instead of the user's Docker configuration."),
            ),
        ],
    )
    .and(
        "oneOf",
        json!([
            { "required": ["docker_config"], "maxProperties": 1 },
            { "required": ["username", "password"], "maxProperties": 2 },
        ]),
    );
    either_word_or(&named, &given)
        .says(
            "What the proxy authenticates with: anonymous, docker_config (the user's Docker configuration), \
             {docker_config: FILE}, or {username, password}.",
        )
        .default("anonymous")
}

/// Told apart by what it is, so that messages are about one of them.
fn either_word_or(word: &Form, mapping: &Form) -> Form {
    Form::new(json!({
        "if": { "type": "object" },
        "then": mapping.clone().build(),
        "else": word.clone().build(),
    }))
}

fn routes() -> Form {
    Form::map(
        "^[a-z0-9]+((_{1,2}|-+)[a-z0-9]+)*$",
        Form::matching("^[a-z0-9.:-]+(/[a-z0-9._/-]+)?$"),
    )
    .says("First path components that stand for a host, or for a host and the beginning of a repository. Default: none.")
}

fn trusted_roots() -> Form {
    let url = || Form::matching("^https?://.+");
    let tuf = Form::mapping(
        &["url", "root"],
        [
            ("url", url().says("The address of the TUF repository.")),
            (
                "root",
                path("Its initial root.json, believed from the start."),
            ),
            (
                "target",
                Form::of("text")
                    .says("The target that is the trusted root.")
                    .default(Source::TARGET),
            ),
        ],
    );
    let given = Form::mapping(
        &[],
        [
            (
                "file",
                path("As `cosign trusted-root create` writes it; read again when it changes."),
            ),
            ("tuf", tuf.says("A TUF repository of your own.")),
            (
                "mirror",
                url()
                    .says("The public-good root, refreshed from a copy and verified all the same."),
            ),
        ],
    )
    .and("oneOf", one_of(trusted_roots::KEYS));
    let root = either_word_or(&Form::word(&["builtin"]), &given);
    Form::new(json!({ "type": "object", "additionalProperties": root.build() })).says(
        "What is believed about certificate authorities, transparency logs and time. `public-good: builtin` is there by \
         default.",
    )
}

/// Exactly one of these keys.
fn one_of(keys: &[&str]) -> Value {
    keys.iter().map(|key| present(key)).collect()
}

fn key_providers() -> Form {
    let provider = || {
        let endpoint = Form::matching("^https?://.+")
            .says("The address of the service: https, or plain http on loopback. Default: the service's own.");
        Form::mapping(&[], [("endpoint", endpoint)])
    };
    let keys = Scheme::ALL.map(|scheme| (scheme.as_str(), provider()));
    Form::mapping(&[], keys).says("Other addresses of key services, for private endpoints.")
}

fn clients() -> Form {
    let basic = Form::mapping(
        &["htpasswd"],
        [(
            "htpasswd",
            path("A password file with bcrypt entries: `htpasswd -B`."),
        )],
    );
    let rule = Form::mapping(
        &["images"],
        [
            ("basic", basic.says("Who has a password in the file.")),
            (
                "anonymous",
                Form::new(json!({ "enum": [true, "true"] })).says("Everybody."),
            ),
            (
                "images",
                Form::some(Form::of("images"))
                    .says("The repositories that may be pulled; `**` is all."),
            ),
        ],
    )
    .and("oneOf", one_of(&["basic", "anonymous"]));
    Form::list(rule).says(
        "Who may pull what: the first rule that covers the name and lets the client in. Default: everybody who reaches the \
         listener.",
    )
}

fn revoked() -> Form {
    let expression = Form::mapping(
        &["regexp"],
        [(
            "regexp",
            file().says("An expression that matches the whole identity."),
        )],
    );
    let identity = Form::new(json!({
        "if": { "type": "object" },
        "then": expression.build(),
        "else": Form::of("text").build(),
    }));
    Form::mapping(
        &[],
        [
            (
                "digests",
                Form::list(Form::of("digest")).says("Manifests and blobs."),
            ),
            (
                "keys",
                Form::list(file())
                    .says("sha256:<hex> of the SubjectPublicKeyInfo, or a PEM file, or the PEM text itself."),
            ),
            (
                "certificates",
                Form::list(Form::of("text"))
                    .says("Of signers: sha256:<hex> of the certificate (DER), or the serial number in hex."),
            ),
            (
                "identities",
                Form::list(identity)
                    .says("The whole identity, or an expression that matches the whole of it."),
            ),
        ],
    )
    .says("Refused from the next request on, whatever vouches for it.")
}

fn exceptions() -> Form {
    let exception = Form::mapping(
        &["reason", "by", "until"],
        [
            (
                "images",
                Form::some(Form::of("images"))
                    .says("Every image of these names; patterns as under `policies`."),
            ),
            (
                "digests",
                Form::some(Form::of("digest")).says("These manifests, and what they list."),
            ),
            ("reason", Form::of("text").says("Why, such as the ticket.")),
            ("by", Form::of("text").says("Who answers for it.")),
            (
                "until",
                Form::matching("^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$")
                    .says("A time, or a date, whose first moment (UTC) is the end."),
            ),
        ],
    )
    .and("oneOf", one_of(&["images", "digests"]));
    Form::list(exception).says(
        "What is served for a while although a policy refuses it, with a warning and a line in the log. Default: none.",
    )
}

fn freshness() -> Form {
    let default = Freshness::default();
    Form::mapping(
        &[],
        [
            (
                "tag_ttl",
                Form::of("duration")
                    .says("After this a tag is looked up again. 0 asks the upstream for every tag.")
                    .default(write_duration(default.tag_ttl)),
            ),
            (
                "absent_ttl",
                Form::of("duration")
                    .says("After this a tag, manifest or blob is asked for again that the upstream said does not exist; at most 60s. 0 asks every time.")
                    .default(write_duration(default.absent_ttl)),
            ),
            (
                "reverify_after",
                Form::of("duration_above_zero")
                    .says("After this signatures are looked for again.")
                    .default(write_duration(default.reverify_after)),
            ),
            (
                "stale_for",
                Form::of("duration")
                    .says("How old signatures and tags may be while the upstream cannot be asked. 0 never serves stale.")
                    .default(write_duration(default.stale_for)),
            ),
            (
                "root_max_stale",
                Form::of("duration_above_zero")
                    .says("A trusted root that could not be refreshed for this long stops admitting; two days or more.")
                    .default(write_duration(ROOT_MAX_STALE)),
            ),
        ],
    )
    .says("How old an answer may be.")
}

fn limits() -> Form {
    let keys = limits::describe().into_iter().map(|limit| {
        let form = Form::of(limit.form).says(limit.description);
        (limit.name, form.default(limit.default))
    });
    Form::mapping(&[], keys).says("What a peer may send at most. None can be switched off.")
}

fn compat() -> Form {
    let head_allows = Form::boolean()
        .says(
            "HEAD answers 200 for refused manifests, for containerd up to 2.2; GET still refuses.",
        )
        .default(false);
    Form::mapping(&[], [("head_allows", head_allows)]).says("Concessions to clients.")
}
