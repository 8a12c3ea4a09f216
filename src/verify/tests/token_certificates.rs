//! Timestamps by authorities whose own certificate is in the token, and not in the trusted root.

use serde_json::json;

use super::forge::{Key, base64};
use super::issue::{Issuer, Request};
use super::stamp::{
    Carried, Named, STAMPED, Stamp, attribute, certificates, digest, identifier, made_authority,
    sequence, signing_certificate, tlv,
};
use crate::verify::signing_certificate::SigningCertificateError;
use crate::verify::timestamp_authority::{ChainError, UselessAuthority};
use crate::verify::timestamp_token::{Token, TokenError};
use crate::verify::{TimestampChainError, TrustedRoot, timestamp, timestamp_chains};

const SERVER_AUTHENTICATION: &str = "1.3.6.1.5.5.7.3.1";
const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
const ANY_PURPOSE: &str = "2.5.29.37.0";
/// The attribute of the first version.
const VERSION_1: &str = "1.2.840.113549.1.9.16.2.12";

fn sha1(bytes: &[u8]) -> Vec<u8> {
    let sha1 = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
    aws_lc_rs::digest::digest(sha1, bytes).as_ref().to_vec()
}

/// The first version of the attribute, which names certificates by SHA-1.
fn version_1(hash: &[u8]) -> Vec<u8> {
    attribute(
        VERSION_1,
        &sequence(&[&sequence(&[&sequence(&[&tlv(4, hash)])])]),
    )
}

fn sha384() -> Vec<u8> {
    sequence(&[&identifier("2.16.840.1.101.3.4.2.2")])
}

/// `IssuerSerial` with one directory name.
fn issuer_and_serial(name: &str, serial: &[u8]) -> Vec<u8> {
    use x509_cert::der::Encode as _;
    let name: x509_cert::name::Name = name.parse().unwrap();
    let name = name.to_der().unwrap();
    sequence(&[&sequence(&[&tlv(0xa4, &name)]), &tlv(2, serial)])
}

const SERIAL: &[u8] = &[0, 0xab, 0xcd, 0xef];

#[test]
fn certificate_in_the_token_counts_if_it_leads_to_the_certificates_of_the_root() {
    let root = Issuer::root("clock root");
    let between = root.intermediate(Request::authority("clock between"));
    let stamp = Stamp::new();
    stamp.verified_below(&[&root]).unwrap();
    stamp.verified_below(&[&between, &root]).unwrap();
    // The order in the token does not matter, and neither do certificates of other kinds.
    let crowded = Stamp {
        carried: |signer| {
            let other = signer.issuer.issue(
                &Request {
                    serial: 7,
                    ..signer.request.clone()
                },
                &Key::generate(),
            );
            vec![
                tlv(0xa3, b"another form"),
                other,
                signer.certificate.to_vec(),
            ]
        },
        ..Stamp::new()
    };
    crowded.verified_below(&[&between, &root]).unwrap();
}

#[test]
fn certificate_in_the_token_by_another_root_proves_nothing() {
    let root = Issuer::root("clock root");
    // The names are those of the root that is trusted.
    let namesake = Issuer::root("clock root");
    let (token, _leaf) = Stamp::new().made_by(&namesake);
    let authority = made_authority(&certificates(&root.pem), None);
    let refused = Token::parse(&token).unwrap().verify(STAMPED, &authority);
    assert!(
        matches!(refused, Err(TokenError::Chain(ChainError::Path(_)))),
        "{refused:?}"
    );
    // A certificate between them counts only if the trusted root names it.
    let between = root.intermediate(Request::authority("clock between"));
    let (token, _leaf) = Stamp::new().made_by(&between);
    let refused = Token::parse(&token).unwrap().verify(STAMPED, &authority);
    assert!(
        matches!(refused, Err(TokenError::Chain(ChainError::Path(_)))),
        "{refused:?}"
    );
}

#[test]
fn timestamps_need_a_certificate_for_timestamps_alone() {
    let root = Issuer::root("clock root");
    for (usage, more_usages, is_usage_critical, counts) in [
        (Some(TIME_STAMPING), [].as_slice(), true, true),
        (Some(TIME_STAMPING), &[], false, false),
        (Some(TIME_STAMPING), &[CODE_SIGNING], true, false),
        (Some(SERVER_AUTHENTICATION), &[TIME_STAMPING], true, false),
        (Some(TIME_STAMPING), &[TIME_STAMPING], true, false),
        (Some(CODE_SIGNING), &[], true, false),
        (Some(ANY_PURPOSE), &[], true, false),
        (None, &[], false, false),
    ] {
        let stamp = || Stamp {
            request: Request {
                usage,
                more_usages,
                is_usage_critical,
                ..Stamp::new().request
            },
            ..Stamp::new()
        };
        for verified in [stamp().verified(), stamp().verified_below(&[&root])] {
            let what = format!("{usage:?} {more_usages:?} {is_usage_critical}: {verified:?}");
            assert_eq!(verified.is_ok(), counts, "{what}");
            let is_for_that = matches!(verified, Err(TokenError::Chain(ChainError::Purpose)));
            assert_eq!(is_for_that, !counts, "{what}");
        }
    }
}

#[test]
fn certificate_in_the_token_must_be_valid_at_its_time_and_no_authority() {
    let root = Issuer::root("clock root");
    for (valid, is_authority) in [((60, 540), false), ((-540, -60), false), ((-60, 540), true)] {
        let stamp = Stamp {
            request: Request {
                valid,
                is_authority,
                ..Stamp::new().request
            },
            ..Stamp::new()
        };
        let refused = stamp.verified_below(&[&root]);
        assert!(
            matches!(refused, Err(TokenError::Chain(ChainError::Path(_)))),
            "{valid:?} {is_authority}: {refused:?}"
        );
    }
}

#[test]
fn token_without_its_certificate_cannot_be_verified_by_authorities_alone() {
    let root = Issuer::root("clock root");
    let carried: [Carried; 3] = [
        |_signer| Vec::new(),
        // Another certificate with the same key.
        |signer| {
            let request = Request {
                serial: 8,
                ..signer.request.clone()
            };
            vec![signer.issuer.issue(&request, signer.key)]
        },
        // So many that the right one is not reached.
        |signer| {
            let other = signer.issuer.issue(
                &Request {
                    serial: 9,
                    ..signer.request.clone()
                },
                &Key::generate(),
            );
            let mut all = vec![other; 16];
            all.push(signer.certificate.to_vec());
            all
        },
    ];
    for carried in carried {
        let stamp = Stamp {
            carried,
            ..Stamp::new()
        };
        let refused = stamp.verified_below(&[&root]);
        assert!(
            matches!(refused, Err(TokenError::NoCertificate)),
            "{refused:?}"
        );
        // The trusted root's own certificate needs none.
        stamp.verified().unwrap();
    }
}

#[test]
fn certificate_counts_by_each_form_of_the_attribute_that_names_it() {
    let root = Issuer::root("clock root");
    let good: [Named; 6] = [
        |signer| version_1(&sha1(signer.certificate)),
        |signer| {
            let both = [
                version_1(&sha1(signer.certificate)),
                signing_certificate(&[&tlv(4, &digest(signer.certificate))]),
            ];
            both.concat()
        },
        |signer| {
            let sha256 = super::stamp::sha256();
            signing_certificate(&[&sha256, &tlv(4, &digest(signer.certificate))])
        },
        |signer| {
            let sha384_of =
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, signer.certificate);
            signing_certificate(&[&sha384(), &tlv(4, sha384_of.as_ref())])
        },
        |signer| {
            let issuer = issuer_and_serial("CN=clock root", SERIAL);
            signing_certificate(&[&tlv(4, &digest(signer.certificate)), &issuer])
        },
        |signer| {
            // Identifiers of other certificates may follow.
            let own = sequence(&[&tlv(4, &digest(signer.certificate))]);
            let other = sequence(&[&tlv(4, &digest(b"another"))]);
            let value = sequence(&[&sequence(&[&own, &other])]);
            attribute("1.2.840.113549.1.9.16.2.47", &value)
        },
    ];
    for (number, named) in good.into_iter().enumerate() {
        let verified = Stamp {
            named,
            ..Stamp::new()
        }
        .verified_below(&[&root]);
        assert!(verified.is_ok(), "{number}: {verified:?}");
    }
}

#[test]
fn signed_attributes_must_name_the_certificate_in_the_token() {
    use SigningCertificateError::{Malformed, Missing, OtherCertificate};
    let root = Issuer::root("clock root");
    let bad: [(Named, SigningCertificateError); 9] = [
        (|_signer| Vec::new(), Missing),
        (
            |_signer| signing_certificate(&[&tlv(4, &digest(b"another"))]),
            OtherCertificate,
        ),
        (|_signer| version_1(&sha1(b"another")), OtherCertificate),
        (
            |signer| version_1(&digest(signer.certificate)),
            OtherCertificate,
        ),
        // One of the two names another certificate.
        (
            |signer| {
                let other = version_1(&sha1(b"another"));
                let own = signing_certificate(&[&tlv(4, &digest(signer.certificate))]);
                [other, own].concat()
            },
            OtherCertificate,
        ),
        // The certificate of the signer comes second.
        (
            |signer| {
                let own = sequence(&[&tlv(4, &digest(signer.certificate))]);
                let other = sequence(&[&tlv(4, &digest(b"another"))]);
                let value = sequence(&[&sequence(&[&other, &own])]);
                attribute("1.2.840.113549.1.9.16.2.47", &value)
            },
            OtherCertificate,
        ),
        (
            |signer| {
                let issuer = issuer_and_serial("CN=another root", SERIAL);
                signing_certificate(&[&tlv(4, &digest(signer.certificate)), &issuer])
            },
            OtherCertificate,
        ),
        (
            |signer| {
                let issuer = issuer_and_serial("CN=clock root", &[1]);
                signing_certificate(&[&tlv(4, &digest(signer.certificate)), &issuer])
            },
            OtherCertificate,
        ),
        // SHA-1 in the second version.
        (
            |signer| {
                let algorithm = sequence(&[&identifier("1.3.14.3.2.26")]);
                signing_certificate(&[&algorithm, &tlv(4, &sha1(signer.certificate))])
            },
            Malformed,
        ),
    ];
    for (number, (named, expected)) in bad.into_iter().enumerate() {
        let stamp = || Stamp {
            named,
            ..Stamp::new()
        };
        match stamp().verified_below(&[&root]) {
            Err(TokenError::SigningCertificate(found)) => assert_eq!(found, expected, "{number}"),
            other => panic!("{number}: {other:?}"),
        }
        // The root's own certificate is believed without it, as before.
        stamp().verified().unwrap();
    }
}

/// Another certificate with the key, issuer and serial number of the one that signed is what the attribute is for.
#[test]
fn certificate_that_was_put_into_the_token_later_is_refused() {
    let root = Issuer::root("clock root");
    let stamp = Stamp {
        carried: |signer| {
            let request = Request {
                valid: (-900, 900),
                ..signer.request.clone()
            };
            vec![signer.issuer.issue(&request, signer.key)]
        },
        ..Stamp::new()
    };
    let refused = stamp.verified_below(&[&root]);
    assert!(
        matches!(
            refused,
            Err(TokenError::SigningCertificate(
                SigningCertificateError::OtherCertificate
            ))
        ),
        "{refused:?}"
    );
}

#[test]
fn authority_that_can_prove_nothing_is_named() {
    use UselessAuthority as Useless;
    let window = |from: i64, to: i64| {
        let at = |seconds| jiff::Timestamp::from_second(super::forge::LOG_TIME + seconds).unwrap();
        Some(sigstore_types::TimeRange::new(at(from), Some(at(to))))
    };
    let root = Issuer::root("clock root");
    let leaf = |request: Request| root.issue(&request, &Key::generate()).into();
    let useless = |chain: &[rustls_pki_types::CertificateDer<'static>], window| {
        made_authority(chain, window).useless()
    };
    let good = Stamp::new().request;
    let roots = certificates(&root.pem);
    let with_root =
        |first: rustls_pki_types::CertificateDer<'static>| [vec![first], roots.clone()].concat();
    assert!(useless(&with_root(leaf(good.clone())), window(-60, 60)).is_none());
    assert!(useless(&roots, window(-60, 60)).is_none());
    let found = useless(&roots, window(60, -60));
    assert!(matches!(found, Some(Useless::NeverValid)), "{found:?}");
    let found = useless(
        &with_root(leaf(Request {
            is_usage_critical: false,
            ..good.clone()
        })),
        window(-60, 60),
    );
    let for_more = matches!(found, Some(Useless::Chain(ChainError::Purpose)));
    assert!(for_more, "{found:?}");
    // A root that did not issue the certificate, and one that is missing.
    let other = certificates(&Issuer::root("another root").pem);
    for chain in [[vec![leaf(good.clone())], other].concat(), vec![leaf(good)]] {
        let found = useless(&chain, window(-60, 60));
        let leads_nowhere = matches!(found, Some(Useless::Chain(ChainError::Path(_))));
        assert!(leads_nowhere, "{found:?}");
    }
    // The certificate of an authority that may issue none for timestamps.
    let for_code = Issuer::root_of(&Request::authority("clock root").for_code());
    let found = useless(&certificates(&for_code.pem), window(-60, 60));
    assert!(matches!(found, Some(Useless::Issuer(_))), "{found:?}");
}

#[test]
fn chain_of_authorities_alone_is_one_for_each_root() {
    let root = Issuer::root("clock root");
    let between = root.intermediate(Request::authority("clock between"));
    let text = [between.pem.as_str(), root.pem.as_str()].concat();
    let expected = certificates(&text);
    for text in [text.clone(), [root.pem.as_str(), &between.pem].concat()] {
        assert_eq!(
            timestamp_chains(&text).unwrap(),
            std::slice::from_ref(&expected)
        );
    }
    let useless = [
        Issuer::root_of(&Request::authority("root").for_code()).pem,
        [
            super::forge::pem(
                "CERTIFICATE",
                &root.issue(&Request::leaf("https://clock.example"), &Key::generate()),
            ),
            root.pem,
        ]
        .concat(),
    ];
    for text in useless {
        let refused = timestamp_chains(&text).unwrap_err();
        assert!(
            matches!(refused, TimestampChainError::Useless(_)),
            "{refused:?}"
        );
    }
}

#[test]
fn authority_whose_certificates_may_issue_none_for_timestamps_proves_nothing() {
    const SIGNATURES: &[u8] = &[3, 2, 7, 0x80];
    const CERTIFICATES: &[u8] = &[3, 2, 1, 0x06];
    let root = Issuer::root("clock root");
    for (key_usage, counts) in [(CERTIFICATES, true), (SIGNATURES, false)] {
        let between = root.intermediate(Request {
            key_usage: Some(key_usage),
            ..Request::authority("clock between")
        });
        let (token, _leaf) = Stamp::new().made_by(&between);
        let chain = certificates(&[between.pem.as_str(), &root.pem].concat());
        let chain = chain.iter().map(|der| json!({ "rawBytes": base64(der) }));
        let document = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "timestampAuthorities": [{
                "uri": "https://clock.example",
                "certChain": { "certificates": chain.collect::<Vec<_>>() },
            }],
        });
        let trusted = TrustedRoot::from_json(&document.to_string()).unwrap();
        let token = sigstore_types::TimestampToken::new(token);
        let time = timestamp::check_token(&token, STAMPED, &trusted);
        assert_eq!(time.is_ok(), counts);
        let notes = trusted.notes().join("; ");
        assert_eq!(notes.is_empty(), counts, "{notes}");
        assert!(counts || notes.contains("clock.example"), "{notes}");
    }
}
