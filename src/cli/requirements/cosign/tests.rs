use clap::{CommandFactory as _, Parser as _};

use super::*;
use crate::cli::Arguments;

/// The flags in cosign 3.1's own reference of `verify` and `verify-attestation`, and those that its 2.x had.
const OF_COSIGN: &str = "allow-certificate-chain allow-http-registry allow-insecure-registry annotations attachment \
    attachment-tag-prefix ca-intermediates ca-roots certificate certificate-chain certificate-github-workflow-name \
    certificate-github-workflow-ref certificate-github-workflow-repository certificate-github-workflow-sha \
    certificate-github-workflow-trigger certificate-identity certificate-identity-regexp certificate-oidc-issuer \
    certificate-oidc-issuer-regexp check-claims experimental-oci11 insecure-ignore-sct insecure-ignore-tlog \
    k8s-keychain key local-image max-workers new-bundle-format offline output output-file payload policy \
    private-infrastructure registry-cacert registry-client-cert registry-client-key registry-password \
    registry-server-name registry-token registry-username rekor-url sct signature signature-digest-algorithm sk slot \
    timeout timestamp-certificate-chain trusted-root type use-signed-timestamps verbose";

#[test]
fn every_flag_of_cosign_is_known() {
    let known: Vec<_> = FLAGS.iter().map(|flag| flag.name).collect();
    assert_eq!(known, OF_COSIGN.split_whitespace().collect::<Vec<_>>());
    let command = Arguments::command();
    for name in ["verify", "verify-attestation"] {
        let command = command.find_subcommand(name).unwrap();
        for flag in FLAGS {
            // Only attestations have a type.
            let is_declared = command
                .get_arguments()
                .any(|argument| argument.get_long() == Some(flag.name));
            assert!(
                is_declared || (flag.name == "type" && name == "verify"),
                "{name} --{}",
                flag.name
            );
        }
    }
}

fn parse(flag: &str) -> Result<Arguments, Error> {
    Arguments::try_parse_from(["countersign", "verify", flag, "ghcr.io/org/app"])
}

#[test]
fn what_is_refused_says_why_and_what_instead() {
    for flag in FLAGS {
        let value = match flag.takes {
            Switch => "",
            Value => "=x",
        };
        let parsed = parse(&format!("--{}{value}", flag.name));
        match flag.meaning {
            Works => {}
            Refused(why) => {
                let error = parsed.unwrap_err().to_string();
                assert!(
                    error.contains(&format!("--{}: {why}", flag.name)),
                    "{error}"
                );
                assert!(why.len() > 20, "{why}");
            }
            AlreadySo { values: ANY, .. } => drop(parsed.unwrap()),
            AlreadySo { values, otherwise } => {
                for value in values {
                    parse(&format!("--{}={value}", flag.name)).unwrap();
                }
                let error = parse(&format!("--{}=other", flag.name)).unwrap_err();
                assert!(error.to_string().contains(otherwise), "{error}");
            }
        }
    }
}

#[test]
fn switches_are_as_in_cosign() {
    for accepted in [
        "--check-claims",
        "--check-claims=true",
        "--offline",
        "--new-bundle-format=false",
        "--experimental-oci11",
        "--sk=false",
        "--local-image=false",
        "--rekor-url=https://rekor.sigstore.dev",
    ] {
        parse(accepted).unwrap();
    }
    for refused in ["--check-claims=false", "--offline=false", "--sk=true"] {
        assert!(parse(refused).is_err(), "{refused}");
    }
}
