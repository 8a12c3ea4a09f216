//! What an image must satisfy, as given on the command line: configuration files, or one signer in cosign's words.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::output::tell;
use super::{ConfigFiles, EXIT_USAGE, environment};
use crate::config::{Config, Problem, Problems, Source};
use crate::oci::RepositoryName;

/// Configuration files, or one signer. With neither, the built-in configuration.
#[derive(Debug, clap::Args)]
#[command(
    next_help_heading = "What is required (without any: the built-in catalogue of publishers)"
)]
pub(super) struct Requirements {
    #[command(flatten)]
    config: ConfigFiles,
    /// PEM file of the public key that must have signed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "Identity"])]
    key: Option<String>,
    #[command(flatten)]
    identity: Identity,
    /// Sigstore `trusted_root.json` to believe instead of the public-good one.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    trusted_root: Option<String>,
    /// Annotation that the signature must carry; may be given several times.
    #[arg(short, long = "annotations", value_name = "KEY=VALUE", value_parser = key_and_value, conflicts_with = "config")]
    annotations: Vec<(String, String)>,
    #[command(flatten)]
    loosened: Loosened,
    /// Speak plain HTTP to the image's registry, as for one on loopback.
    #[arg(long, visible_alias = "plain-http", conflicts_with = "config")]
    allow_http_registry: bool,
}

/// Who a certificate must be for, and who must have vouched for that.
#[derive(Debug, clap::Args)]
#[group(id = "Identity", multiple = true, conflicts_with = "config")]
struct Identity {
    /// The identity (email address or workflow) in the signing certificate; the issuer is needed as well.
    #[arg(
        long,
        value_name = "IDENTITY",
        conflicts_with = "certificate_identity_regexp"
    )]
    certificate_identity: Option<String>,
    /// The same as an expression, which must match the whole identity.
    #[arg(long, value_name = "REGEXP")]
    certificate_identity_regexp: Option<String>,
    /// The OIDC issuer in the signing certificate; the identity is needed as well.
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "certificate_oidc_issuer_regexp"
    )]
    certificate_oidc_issuer: Option<String>,
    /// The same as an expression, which must match the whole issuer.
    #[arg(long, value_name = "REGEXP")]
    certificate_oidc_issuer_regexp: Option<String>,
}

/// What is not demanded although it usually is.
#[derive(Debug, clap::Args)]
struct Loosened {
    /// Do not demand an entry in the transparency log; an identity then needs a signed timestamp.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = clap::ArgAction::Set, value_name = "BOOL", hide_default_value = true,
        hide_possible_values = true, conflicts_with = "config")]
    insecure_ignore_tlog: bool,
    /// Do not demand that the certificate is in a certificate-transparency log.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = clap::ArgAction::Set, value_name = "BOOL", hide_default_value = true,
        hide_possible_values = true, conflicts_with = "config")]
    insecure_ignore_sct: bool,
    /// Demand a signed (RFC 3161) timestamp.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = clap::ArgAction::Set, value_name = "BOOL", hide_default_value = true,
        hide_possible_values = true, conflicts_with = "config")]
    use_signed_timestamps: bool,
}

/// The name of the policy made from the command line.
const POLICY: &str = "command-line";
/// The name of the trusted root given on the command line.
const TRUSTED_ROOT: &str = "given";

impl Requirements {
    /// The configuration that says so about `repository`. What is wrong with it has been told.
    pub(super) fn to_config(&self, repository: &RepositoryName) -> Result<Config, u8> {
        if self.key.is_none() && !self.identity.is_given() {
            if self.is_loosened() {
                tell("what is required? give --key, or an identity and its issuer");
                return Err(EXIT_USAGE);
            }
            return self.config.load();
        }
        let source = Source {
            path: PathBuf::new(),
            text: escape(&self.to_document(repository).to_string()),
        };
        Config::from_sources(&[source], &environment).map_err(|problems| {
            tell(&in_terms_of_flags(problems).to_string());
            EXIT_USAGE
        })
    }

    /// Whether anything is given that only says something about a signer.
    fn is_loosened(&self) -> bool {
        let loosened = &self.loosened;
        self.trusted_root.is_some()
            || !self.annotations.is_empty()
            || loosened.insecure_ignore_tlog
            || loosened.insecure_ignore_sct
            || loosened.use_signed_timestamps
            || self.allow_http_registry
    }

    /// The same requirements as a configuration file would have them, so that they are read and checked by one code.
    fn to_document(&self, repository: &RepositoryName) -> Value {
        let mut upstream = Map::new();
        if self.allow_http_registry {
            upstream.insert("plain_http".to_owned(), json!(true));
        }
        if let Some(path) = docker_config() {
            upstream.insert(
                "credentials".to_owned(),
                json!({ "docker_config": path.to_string_lossy() }),
            );
        }
        let annotations: Map<_, _> = self
            .annotations
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        let mut trusted_roots = Map::new();
        if let Some(file) = &self.trusted_root {
            trusted_roots.insert(TRUSTED_ROOT.to_owned(), json!({ "file": file }));
        }
        json!({
            "upstreams": { repository.host(): upstream },
            "trusted_roots": trusted_roots,
            "policies": [{
                "name": POLICY,
                "images": [repository.as_str()],
                "authorities": [self.to_authority()],
                "annotations": annotations,
            }],
        })
    }

    fn to_authority(&self) -> Value {
        let Identity {
            certificate_identity,
            certificate_identity_regexp,
            certificate_oidc_issuer,
            certificate_oidc_issuer_regexp,
        } = &self.identity;
        let mut authority = Map::new();
        let mut set = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                authority.insert(key.to_owned(), json!(value));
            }
        };
        let is_key = self.key.is_some();
        set("name", Some(if is_key { "key" } else { "identity" }));
        set("key", self.key.as_deref());
        set("certificate_identity", certificate_identity.as_deref());
        set(
            "certificate_identity_regexp",
            certificate_identity_regexp.as_deref(),
        );
        set(
            "certificate_oidc_issuer",
            certificate_oidc_issuer.as_deref(),
        );
        set(
            "certificate_oidc_issuer_regexp",
            certificate_oidc_issuer_regexp.as_deref(),
        );
        set(
            "trusted_root",
            self.trusted_root.as_ref().map(|_| TRUSTED_ROOT),
        );
        let without_log = self.loosened.insecure_ignore_tlog;
        set("transparency_log", without_log.then_some("not_required"));
        // cosign, too, then takes the time from a timestamp: without any, nobody knows whether the certificate was alive.
        let timestamp = self.loosened.use_signed_timestamps || (without_log && !is_key);
        set("signed_timestamp", timestamp.then_some("required"));
        let without_sct = self.loosened.insecure_ignore_sct && !is_key;
        set("sct", without_sct.then_some("not_required"));
        Value::Object(authority)
    }
}

impl Identity {
    fn is_given(&self) -> bool {
        self.certificate_identity.is_some()
            || self.certificate_identity_regexp.is_some()
            || self.certificate_oidc_issuer.is_some()
            || self.certificate_oidc_issuer_regexp.is_some()
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write KEY=VALUE".to_owned()),
    }
}

/// What was given is meant as it stands: the environment is for files.
fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

/// What `docker login` has left behind, as cosign takes it.
fn docker_config() -> Option<PathBuf> {
    let directory = environment("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".docker")))?;
    // Relative paths in a configuration are relative to it, and this one has no place.
    let path = std::path::absolute(directory.join("config.json")).ok()?;
    path.is_file().then_some(path)
}

/// The problems of the rendered document, about the flags that were rendered.
fn in_terms_of_flags(Problems(problems): Problems) -> Problems {
    let flags = |problem: Problem| {
        let key = problem.key.rsplit('.').next().unwrap_or_default();
        let key = match key {
            "file" => "--trusted-root".to_owned(),
            "key"
            | "certificate_identity"
            | "certificate_identity_regexp"
            | "certificate_oidc_issuer"
            | "certificate_oidc_issuer_regexp"
            | "annotations" => format!("--{}", key.replace('_', "-")),
            _ => String::new(),
        };
        Problem {
            position: None,
            key,
            message: as_flags(&problem.message),
            ..problem
        }
    };
    Problems(problems.into_iter().map(flags).collect())
}

fn as_flags(message: &str) -> String {
    message
        .replace("certificate_oidc_issuer", "certificate-oidc-issuer")
        .replace("certificate_identity", "certificate-identity")
        .replace("issuer_regexp", "issuer-regexp")
        .replace("identity_regexp", "identity-regexp")
        .replace("`certificate-", "`--certificate-")
}

#[cfg(test)]
mod tests;
