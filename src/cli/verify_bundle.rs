//! `countersign verify-bundle`: the Sigstore client protocol.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::output::tell;
use super::{EXIT_NO, EXIT_USAGE, chain, read_file};
use crate::oci::Digest;
use crate::trust;
use crate::verify::TrustedRoot;
use crate::verify::file::{Artifact, Signer, verify_bundle};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign verify-bundle --bundle app.sigstore.json \\
      --certificate-identity me@example.com \\
      --certificate-oidc-issuer https://accounts.google.com app.tar.gz
  countersign verify-bundle --bundle app.sigstore.json --key cosign.pub \\
      --trusted-root trusted_root.json sha256:…

Exit status: 0 verified, 1 not (a malformed bundle, key or trusted root included), 64 bad usage or unreadable path.")]
pub(super) struct Arguments {
    /// The Sigstore bundle.
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// PEM file of the public key that must have signed.
    #[arg(long, value_name = "FILE", required_unless_present = "certificate_identity",
        conflicts_with_all = ["certificate_identity", "certificate_oidc_issuer"])]
    key: Option<PathBuf>,
    /// The identity that must have signed.
    #[arg(long, value_name = "IDENTITY", requires = "certificate_oidc_issuer")]
    certificate_identity: Option<String>,
    /// The OIDC issuer that must have vouched for the identity.
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
    /// Sigstore `trusted_root.json` to believe instead of the public-good one.
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<PathBuf>,
    /// The signed file, or its digest as `sha256:<hex>` or `sha512:<hex>`.
    #[arg(value_name = "FILE_OR_DIGEST")]
    artifact: String,
}

/// A bundle with a large attestation; what is larger is none.
const BUNDLE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The file is held in memory: some signatures are over its bytes and not over its digest.
const ARTIFACT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Why the answer is not yes, and the exit code for that.
struct Failure(u8, String);

pub(super) fn run(arguments: &Arguments) -> u8 {
    match verify(arguments) {
        Ok(()) => {
            tell("the bundle verifies");
            0
        }
        Err(Failure(code, message)) => {
            tell(&message);
            code
        }
    }
}

fn verify(arguments: &Arguments) -> Result<(), Failure> {
    let bundle = read(&arguments.bundle, BUNDLE_BYTES_MAX)?;
    let bundle = String::from_utf8(bundle)
        .map_err(|_not_text| no(format!("{} is no bundle", arguments.bundle.display())))?;
    let trusted_root = trusted_root(arguments.trusted_root.as_deref())?;
    let key = match &arguments.key {
        Some(path) => Some(trust::read_text(path).map_err(|error| of_trust(&error))?),
        None => None,
    };
    let signer = match (
        &key,
        &arguments.certificate_identity,
        &arguments.certificate_oidc_issuer,
    ) {
        (Some(pem), _, _) => Signer::Key { pem },
        (None, Some(identity), Some(oidc_issuer)) => Signer::Identity {
            identity,
            oidc_issuer,
        },
        (None, _, _) => {
            return Err(Failure(
                EXIT_USAGE,
                "who must have signed? give --key, or --certificate-identity and --certificate-oidc-issuer"
                    .to_owned(),
            ));
        }
    };
    let bytes;
    let artifact = match arguments.artifact.parse::<Digest>() {
        Ok(digest) => Artifact::Digest(digest),
        Err(_not_a_digest) => {
            bytes = read(Path::new(&arguments.artifact), ARTIFACT_BYTES_MAX)?;
            Artifact::Bytes(&bytes)
        }
    };
    verify_bundle(&bundle, artifact, signer, &trusted_root).map_err(|error| no(chain(&error)))
}

fn trusted_root(path: Option<&Path>) -> Result<Arc<TrustedRoot>, Failure> {
    match path {
        Some(path) => trust::load_trusted_root(path),
        None => trust::built_in_trusted_root(),
    }
    .map_err(|error| of_trust(&error))
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    read_file(path, bytes_max).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure(EXIT_USAGE, message)
    })
}

fn no(message: String) -> Failure {
    Failure(EXIT_NO, message)
}

/// A path that cannot be read is bad usage; what is read and is no key or root proves nothing.
fn of_trust(error: &trust::Error) -> Failure {
    let code = match error {
        trust::Error::Read { .. } => EXIT_USAGE,
        trust::Error::TooLarge { .. }
        | trust::Error::NotText { .. }
        | trust::Error::Key { .. }
        | trust::Error::TrustedRoot { .. }
        | trust::Error::CertificateAuthorities { .. }
        | trust::Error::BuiltIn(_) => EXIT_NO,
    };
    Failure(code, chain(error))
}
