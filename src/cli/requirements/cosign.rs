//! Every flag of `cosign verify` and `cosign verify-attestation`, and what becomes of it here: somebody who brings a
//! command line along is told what to do with each, instead of that a flag is unknown.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, Error};

/// The flags that are not declared elsewhere: each is accepted because it asks for what is done anyway, or refused.
#[derive(Debug)]
pub(super) struct Compatibility;

struct Flag {
    name: &'static str,
    takes: Takes,
    meaning: Meaning,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing, or `=true` and `=false`.
    Switch,
    Value,
}

enum Meaning {
    /// Declared with the arguments that use it.
    Works,
    /// It is so anyway, for these values (none listed: for all); why it is never otherwise, and what to do.
    AlreadySo {
        values: &'static [&'static str],
        otherwise: &'static str,
    },
    /// Why not, and what to do instead.
    Refused(&'static str),
}

use Meaning::{AlreadySo, Refused, Works};
use Takes::{Switch, Value};

const OWN_AUTHORITIES: &str = "certificate authorities are given as a trusted root: make one with \
     `cosign trusted-root create` and name it with --trusted-root";
const SIGNATURE_FILES: &str =
    "signatures are those in the registry; for a bundle in a file use `verify-bundle --bundle`";
const CLIENT_CERTIFICATES: &str = "registries are not spoken to with client certificates: use `docker login`, or \
     --registry-username and --registry-password";
const HARDWARE_KEYS: &str = "hardware tokens are not read: export the public key with `cosign public-key --sk` and name the file with --key";
const ANY: &[&str] = &[];

const FLAGS: &[Flag] = &[
    switch(
        "allow-certificate-chain",
        Refused(
            "a bundle carries the signing certificate alone; the certificates above it belong into --trusted-root",
        ),
    ),
    switch("allow-http-registry", Works),
    switch(
        "allow-insecure-registry",
        Refused(
            "a connection that anybody can be at the other end of is not used: name the registry's own authority with --registry-cacert, or use --allow-http-registry on loopback",
        ),
    ),
    value("annotations", Works),
    value(
        "attachment",
        Refused(
            "what is attached to an image is verified as an attestation: use `verify-attestation --type spdxjson` for an SBOM",
        ),
    ),
    value(
        "attachment-tag-prefix",
        Refused(
            "signatures under tags with a prefix are not looked for: name their repository with `signature_repository` in a configuration",
        ),
    ),
    value("ca-intermediates", Refused(OWN_AUTHORITIES)),
    value("ca-roots", Refused(OWN_AUTHORITIES)),
    value(
        "certificate",
        Refused(
            "the certificate comes with the signature: say whose it must be with --certificate-identity, or give its public key with --key",
        ),
    ),
    value("certificate-chain", Refused(OWN_AUTHORITIES)),
    value("certificate-github-workflow-name", Works),
    value("certificate-github-workflow-ref", Works),
    value("certificate-github-workflow-repository", Works),
    value("certificate-github-workflow-sha", Works),
    value("certificate-github-workflow-trigger", Works),
    value("certificate-identity", Works),
    value("certificate-identity-regexp", Works),
    value("certificate-oidc-issuer", Works),
    value("certificate-oidc-issuer-regexp", Works),
    switch(
        "check-claims",
        AlreadySo {
            values: &["true"],
            otherwise: "a signature whose claims are not checked may be for another image: the claims are always checked, leave the flag out",
        },
    ),
    // Wherever they are, signatures are found.
    switch(
        "experimental-oci11",
        AlreadySo {
            values: ANY,
            otherwise: "",
        },
    ),
    switch("insecure-ignore-sct", Works),
    switch("insecure-ignore-tlog", Works),
    switch(
        "k8s-keychain",
        Refused(
            "pull secrets of a cluster are not read: use `docker login` with the vendor's credential helper, or --registry-username and --registry-password",
        ),
    ),
    value("key", Works),
    switch(
        "local-image",
        Refused(
            "images are verified where runtimes pull them: push it to a registry, which may be one on loopback with --allow-http-registry",
        ),
    ),
    // How much is done at once and how much is read is for the limits of a configuration.
    value(
        "max-workers",
        AlreadySo {
            values: ANY,
            otherwise: "",
        },
    ),
    // Signatures of both formats count.
    switch(
        "new-bundle-format",
        AlreadySo {
            values: ANY,
            otherwise: "",
        },
    ),
    switch(
        "offline",
        AlreadySo {
            values: &["true"],
            otherwise: "no transparency log is ever asked online, so that no third party decides whether an image can be pulled: leave the flag out",
        },
    ),
    value("output", Works),
    value("output-file", Refused("redirect the output instead")),
    value("payload", Refused(SIGNATURE_FILES)),
    value(
        "policy",
        Refused(
            "CUE and Rego are not spoken: write the same as a CEL expression over `statement` and `predicate` with `verify-attestation --condition`",
        ),
    ),
    switch(
        "private-infrastructure",
        Refused(
            "what it does is to ignore the transparency log: say so with --insecure-ignore-tlog, or better name the log of your infrastructure in a --trusted-root",
        ),
    ),
    value("registry-cacert", Works),
    value("registry-client-cert", Refused(CLIENT_CERTIFICATES)),
    value("registry-client-key", Refused(CLIENT_CERTIFICATES)),
    value("registry-password", Works),
    value("registry-server-name", Refused(CLIENT_CERTIFICATES)),
    value(
        "registry-token",
        Refused(
            "tokens are fetched as the registry asks for them: use `docker login`, or --registry-username and --registry-password with the token as password",
        ),
    ),
    value("registry-username", Works),
    value(
        "rekor-url",
        AlreadySo {
            values: &["https://rekor.sigstore.dev"],
            otherwise: "no transparency log is asked online: the entry comes with the signature, and which logs are believed is said by --trusted-root",
        },
    ),
    value(
        "sct",
        Refused(
            "the timestamp of the certificate's log is read from the certificate itself, where every Fulcio puts it; to do without, say --insecure-ignore-sct",
        ),
    ),
    value("signature", Refused(SIGNATURE_FILES)),
    value(
        "signature-digest-algorithm",
        AlreadySo {
            values: &["sha256", "sha384", "sha512"],
            otherwise: "the digest algorithm follows from the key and the signature, and is SHA-256, SHA-384 or SHA-512: leave the flag out",
        },
    ),
    switch("sk", Refused(HARDWARE_KEYS)),
    value("slot", Refused(HARDWARE_KEYS)),
    value("timeout", Works),
    value(
        "timestamp-certificate-chain",
        Refused(
            "timestamp authorities are given as a trusted root: make one with `cosign trusted-root create` and name it with --trusted-root",
        ),
    ),
    value("trusted-root", Works),
    value("type", Works),
    switch("use-signed-timestamps", Works),
    switch("verbose", Works),
];

const fn switch(name: &'static str, meaning: Meaning) -> Flag {
    Flag {
        name,
        takes: Switch,
        meaning,
    }
}

const fn value(name: &'static str, meaning: Meaning) -> Flag {
    Flag {
        name,
        takes: Value,
        meaning,
    }
}

impl Flag {
    fn argument(&self) -> Arg {
        let argument = Arg::new(self.name)
            .long(self.name)
            .hide(true)
            .action(ArgAction::Append);
        match self.takes {
            Switch => argument
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
            Value => argument.num_args(1),
        }
    }

    /// What is to be said about this value, if anything.
    fn refusal(&self, value: &str) -> Option<&'static str> {
        match self.meaning {
            Works => None,
            AlreadySo { values, otherwise } => {
                (!values.is_empty() && !values.contains(&value)).then_some(otherwise)
            }
            Refused(why) => (self.takes == Value || value != "false").then_some(why),
        }
    }
}

fn undeclared() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|flag| !matches!(flag.meaning, Works))
}

impl clap::Args for Compatibility {
    fn augment_args(command: Command) -> Command {
        command.args(undeclared().map(Flag::argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Compatibility {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        for flag in undeclared() {
            for value in matches.get_many::<String>(flag.name).into_iter().flatten() {
                if let Some(why) = flag.refusal(value) {
                    return Err(Error::raw(
                        ErrorKind::InvalidValue,
                        format!("--{}: {why}\n", flag.name),
                    ));
                }
            }
        }
        Ok(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        Self::from_arg_matches(matches).map(|_nothing_to_keep| ())
    }
}

#[cfg(test)]
mod tests;
