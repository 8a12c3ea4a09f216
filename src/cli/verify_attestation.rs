//! `countersign verify-attestation`: what somebody says about images, through the server's own engine.

use super::block_on;
use super::image_name::ImageName;
use super::question::Question;
use super::requirements::Demand;
use super::verify::verify_all;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign verify-attestation --key cosign.pub --type spdxjson \\
      ghcr.io/org/app:v1
  countersign verify-attestation --type slsaprovenance1 \\
      --certificate-identity https://github.com/org/… \\
      --certificate-oidc-issuer https://token.actions.githubusercontent.com \\
      --condition 'predicate.builder.id == \"https://builder.example\"' \\
      ghcr.io/org/app:v1
  countersign verify-attestation --key cosign.pub --type vuln --match newest \\
      --condition '…' ghcr.io/org/app:v1

Exit status: 0 admitted, 1 refused, 2 cannot be decided, 64 bad usage; of several images the worst.")]
pub(super) struct Arguments {
    /// The images, as for `docker pull` or as a Pod names them behind the proxy.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<ImageName>,
    /// The predicate type: custom, slsaprovenance (v0.2), slsaprovenance02, slsaprovenance1, link, spdx, spdxjson,
    /// cyclonedx, vuln, openvex, or an URI.
    #[arg(long = "type", value_name = "TYPE", default_value = "custom")]
    predicate_type: String,
    /// What must be true of an attestation, in CEL over `statement` and `predicate`.
    #[arg(long, value_name = "CEL")]
    condition: Option<String>,
    /// Of which attestations of the type by the signer it must be true.
    #[arg(long = "match", value_enum, default_value = "all")]
    quantifier: Quantifier,
    #[command(flatten)]
    question: Question,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Quantifier {
    /// All of them, as in cosign.
    All,
    /// One of them.
    Any,
    /// The one that was signed last, by verified time.
    Newest,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    arguments.question.log_to_stderr();
    let demand = Demand::Attestation {
        predicate_type: &arguments.predicate_type,
        condition: arguments.condition.as_deref(),
        quantifier: match arguments.quantifier {
            Quantifier::All => "all",
            Quantifier::Any => "any",
            Quantifier::Newest => "newest",
        },
    };
    block_on(verify_all(&arguments.images, &arguments.question, demand))
}
