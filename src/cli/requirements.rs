//! What an image must satisfy, as given on the command line: configuration files, or one signer in cosign's words.

mod cosign;
mod expressions;
mod identity;
mod problems;
mod registry;

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use identity::Identity;
use problems::{in_terms_of_flags, warning_in_terms_of_flags};
pub(super) use registry::Access;

use super::image;
use super::image_name::{ImageName, Names, Reading};
use super::output::tell;
use super::{ConfigFiles, EXIT_USAGE, environment};
use crate::config::{Config, Source};
use crate::decision_log::Record;
use crate::oci::RepositoryName;

/// Configuration files, or one signer. With neither, the built-in configuration.
#[derive(Debug, clap::Args)]
#[command(
    next_help_heading = "What is required (without any: the built-in catalogue of publishers)"
)]
pub(super) struct Requirements {
    #[command(flatten)]
    config: ConfigFiles,
    /// The public key that must have signed: a PEM file, `env://VARIABLE` with PEM text, or a key service (`gcpkms://`,
    /// `awskms://`, `azurekms://`, `hashivault://`, `k8s://`).
    #[arg(long, value_name = "KEY", conflicts_with_all = ["config", "Identity"])]
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
    #[command(flatten)]
    registry: Access,
    #[command(flatten)]
    _compatibility: cosign::Compatibility,
}

/// What the signer must have made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Demand<'a> {
    /// A signature.
    Signature,
    /// Attestations of a type.
    Attestation {
        /// An URI or one of cosign's short names.
        predicate_type: &'a str,
        /// CEL over `statement` and `predicate`.
        condition: Option<&'a str>,
        /// `any`, `all` or `newest`.
        quantifier: &'a str,
    },
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
    /// The configuration that says so, and the image that `name` means under it. Problems have been told.
    pub(super) fn to_config(
        &self,
        name: &ImageName,
        demand: Demand<'_>,
    ) -> Result<(Config, Reading), u8> {
        if let Some(problem) = self.contradiction(demand) {
            tell(problem);
            return Err(EXIT_USAGE);
        }
        if self.key.is_none() && !self.identity.is_given() {
            let config = self.config.load()?;
            let reading = tell_misreading(name, name.read(&Names::of(&config)))?;
            return Ok((config, reading));
        }
        let reading = tell_misreading(name, name.read_plainly())?;
        let config = self.to_config_of_flags(&reading.image.repository, demand)?;
        Ok((config, reading))
    }

    /// The configuration that the flags make about `repository`. Problems have been told.
    fn to_config_of_flags(
        &self,
        repository: &RepositoryName,
        demand: Demand<'_>,
    ) -> Result<Config, u8> {
        let key = match &self.key {
            Some(key) => Some(read_key(key).map_err(|problem| {
                tell(&format!("--key: {problem}"));
                EXIT_USAGE
            })?),
            None => None,
        };
        let document = self.to_document(repository, demand, key.as_deref());
        let source = Source {
            path: PathBuf::new(),
            text: escape(&document.to_string()),
        };
        match Config::from_sources(&[source], &environment) {
            Ok(config) => Ok(Config {
                warnings: config
                    .warnings
                    .iter()
                    .map(warning_in_terms_of_flags)
                    .collect(),
                ..config
            }),
            Err(problems) => {
                tell(&in_terms_of_flags(problems).to_string());
                Err(EXIT_USAGE)
            }
        }
    }

    /// What a person should know who expected cosign's reading of the expressions, about an image that was refused.
    pub(super) fn hints(&self, record: &Record) -> Vec<String> {
        let identity = &self.identity;
        let flags = [
            (
                "--certificate-identity-regexp",
                &identity.certificate_identity_regexp,
            ),
            (
                "--certificate-oidc-issuer-regexp",
                &identity.certificate_oidc_issuer_regexp,
            ),
        ];
        let certificates = record
            .attempts
            .iter()
            .filter_map(|attempt| attempt.certificate.as_ref());
        let mut hints: Vec<_> = certificates
            .flat_map(|certificate| {
                let values = [&certificate.identity, &certificate.oidc_issuer];
                flags.into_iter().zip(values)
            })
            .filter_map(|((flag, expression), value)| {
                expressions::unanchored(flag, expression.as_deref()?, value)
            })
            .collect();
        hints.sort();
        hints.dedup();
        hints
    }

    /// What is given says how, and not whom; or says what the demand has no use for.
    fn contradiction(&self, demand: Demand<'_>) -> Option<&'static str> {
        let has_signer = self.key.is_some() || self.identity.is_given();
        match demand {
            Demand::Signature if !has_signer && self.is_loosened() => {
                Some("what is required? give --key, or an identity and its issuer")
            }
            Demand::Attestation { .. } if !has_signer => Some(
                "who must have attested? give --key, or an identity and its issuer; what a configuration demands, \
                 attestations included, is asked with `verify --config`",
            ),
            Demand::Attestation { .. } if !self.annotations.is_empty() => {
                Some("--annotations: an attestation has none; demand what it says with --condition")
            }
            Demand::Signature | Demand::Attestation { .. } => None,
        }
    }

    /// Whether anything is given that only says something about a signer.
    fn is_loosened(&self) -> bool {
        let loosened = &self.loosened;
        self.trusted_root.is_some()
            || !self.annotations.is_empty()
            || loosened.insecure_ignore_tlog
            || loosened.insecure_ignore_sct
            || loosened.use_signed_timestamps
            || self.registry.is_given()
    }

    /// The same requirements as a configuration file would have them, so that they are read and checked by one code.
    fn to_document(
        &self,
        repository: &RepositoryName,
        demand: Demand<'_>,
        key: Option<&str>,
    ) -> Value {
        let mut trusted_roots = Map::new();
        if let Some(file) = &self.trusted_root {
            trusted_roots.insert(TRUSTED_ROOT.to_owned(), json!({ "file": file }));
        }
        let authorities = json!([self.to_authority(key)]);
        let mut policy = Map::new();
        policy.insert("name".to_owned(), json!(POLICY));
        policy.insert("images".to_owned(), json!([repository.as_str()]));
        match demand {
            Demand::Signature => {
                let annotations = self.annotations.iter();
                let annotations: Map<_, _> = annotations
                    .map(|(key, value)| (key.clone(), json!(value)))
                    .collect();
                policy.insert("authorities".to_owned(), authorities);
                policy.insert("annotations".to_owned(), annotations.into());
            }
            Demand::Attestation {
                predicate_type,
                condition,
                quantifier,
            } => {
                let mut attestation = Map::new();
                attestation.insert("predicate_type".to_owned(), json!(predicate_type));
                attestation.insert("match".to_owned(), json!(quantifier));
                attestation.insert("authorities".to_owned(), authorities);
                if let Some(condition) = condition {
                    attestation.insert("condition".to_owned(), json!(condition));
                }
                policy.insert("attestations".to_owned(), json!([attestation]));
            }
        }
        json!({
            "upstreams": { repository.host(): self.registry.to_upstream(repository.host()) },
            "trusted_roots": trusted_roots,
            "policies": [policy],
        })
    }

    fn to_authority(&self, key: Option<&str>) -> Value {
        let Identity {
            certificate_identity,
            certificate_identity_regexp,
            certificate_oidc_issuer,
            certificate_oidc_issuer_regexp,
            ..
        } = &self.identity;
        let mut authority = Map::new();
        let mut set = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                authority.insert(key.to_owned(), json!(value));
            }
        };
        let is_key = key.is_some();
        set("name", Some(if is_key { "key" } else { "identity" }));
        set("key", key);
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
        let extensions = self.identity.extensions();
        if !extensions.is_empty() {
            authority.insert("certificate_extensions".to_owned(), extensions.into());
        }
        Value::Object(authority)
    }
}

/// Tells why a name cannot be read.
fn tell_misreading(
    name: &ImageName,
    reading: Result<Reading, image::ParseError>,
) -> Result<Reading, u8> {
    reading.map_err(|error| {
        tell(&format!("`{name}` cannot be read: {error}"));
        EXIT_USAGE
    })
}

/// A key as a configuration has it: a path, PEM text or the address of a key service.
fn read_key(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(("env", name)) => environment(name)
            .ok_or_else(|| format!("there is no variable `{name}` in the environment")),
        Some(("http" | "https", _)) => Err(
            "a key that is fetched at each use is whatever that server says: download it once, and name the file"
                .to_owned(),
        ),
        Some(("gitlab" | "github", _)) => Err(
            "keys are not read from code forges: export the public key with `cosign public-key --key …`, and name the \
             file"
                .to_owned(),
        ),
        Some(_) => Ok(text.to_owned()),
        None if text.starts_with("pkcs11:") => Err(
            "hardware tokens are not read: export the public key with `cosign public-key --key …`, and name the file"
                .to_owned(),
        ),
        None => Ok(text.to_owned()),
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write KEY=VALUE".to_owned()),
    }
}

/// What was given is meant as it stands: the environment is for files.
pub(super) fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests;
