//! Logs and timestamp authorities in place of those of a trusted root, and the certificates of the latter.

use serde_json::{Value, json};

use super::corpus::root_json;
use crate::verify::{RootParts, TimestampChainError, TrustedRole, TrustedRoot, timestamp_chains};

/// The lists of a trusted root, and whom each of them is believed as.
const LISTS: [(&str, TrustedRole); 3] = [
    ("tlogs", TrustedRole::TransparencyLog),
    ("ctlogs", TrustedRole::CertificateTransparencyLog),
    ("timestampAuthorities", TrustedRole::TimestampAuthority),
];

fn operators(root: &TrustedRoot, role: TrustedRole) -> Vec<String> {
    let known = root.authorities().iter().filter(|it| it.role == role);
    known.map(|it| it.operator.clone()).collect()
}

#[test]
fn what_is_there_replaces_what_the_root_has_and_nothing_else_does() {
    let root = TrustedRoot::from_json(&root_json().to_string()).unwrap();
    for (list, replaced) in LISTS {
        let mut one = root_json()[list][0].clone();
        let address = if list == "timestampAuthorities" {
            "uri"
        } else {
            "baseUrl"
        };
        one[address] = json!("https://own.example");
        let parts = json!({ "mediaType": root_json()["mediaType"], list: [one] });
        let parts = RootParts::from_json(&parts.to_string()).unwrap();
        let own = root.with_parts(&parts).unwrap();
        assert_ne!(own.digest, root.digest);
        let certified = TrustedRole::CertificateAuthority;
        for role in LISTS.map(|(_, role)| role).into_iter().chain([certified]) {
            let expected = if role == replaced {
                vec!["own.example".to_owned()]
            } else {
                operators(&root, role)
            };
            assert_eq!(operators(&own, role), expected, "{list} {role:?}");
        }
        // What else is in it is of no interest.
        assert!(!own.has_own_authorities());
    }
}

#[test]
fn certificate_authorities_are_no_such_parts() {
    let root = TrustedRoot::from_json(&root_json().to_string()).unwrap();
    let mut rogue: Value = root_json();
    for (list, _) in LISTS {
        rogue[list] = json!([]);
    }
    rogue["certificateAuthorities"][0]["uri"] = json!("https://own.example");
    let parts = RootParts::from_json(&rogue.to_string()).unwrap();
    let own = root.with_parts(&parts).unwrap();
    let certified = TrustedRole::CertificateAuthority;
    assert_eq!(operators(&own, certified), operators(&root, certified));
}

fn blocks(file: &str) -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/corpus/trust");
    let text = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    text.split_inclusive(end)
        .filter(|it| it.ends_with(end))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_certificates_of_a_timestamp_authority_are_put_in_order() {
    let chain = blocks("tsa-chain.pem");
    let [signer, between, root] = chain.as_slice() else {
        panic!("{chain:?}");
    };
    let sorted = timestamp_chains(&chain.concat()).unwrap();
    assert_eq!(sorted.len(), 1);
    assert_eq!(sorted[0].len(), 3);
    for order in [[root, between, signer], [between, signer, root]] {
        let text: String = order.into_iter().map(String::as_str).collect();
        assert_eq!(timestamp_chains(&text).unwrap(), sorted);
    }
    // A root that the certificate does not lead to makes no chain.
    let other = &blocks("roguetsa-chain.pem")[2];
    let both = timestamp_chains(&[chain.concat(), other.clone()].concat()).unwrap();
    assert_eq!(both, sorted);
    let refused = timestamp_chains(&[chain[0].as_str(), &chain[1], other].concat());
    assert!(
        matches!(refused, Err(TimestampChainError::Useless(_))),
        "{refused:?}"
    );
    // Without the certificate of the authority itself, each root is the end of a chain.
    let roots = timestamp_chains(&[chain[2].as_str(), other].concat()).unwrap();
    assert_eq!(roots.len(), 2);
}

#[test]
fn what_is_no_timestamp_authority_is_refused() {
    use TimestampChainError as Error;
    let chain = blocks("tsa-chain.pem");
    let other = blocks("roguetsa-chain.pem");
    let of = |parts: &[&String]| -> Error {
        let text: String = parts.iter().map(|it| it.as_str()).collect();
        timestamp_chains(&text).unwrap_err()
    };
    assert!(matches!(of(&[]), Error::NoRoot));
    assert!(matches!(of(&[&chain[1]]), Error::NoRoot));
    assert!(matches!(of(&[&chain[0], &chain[1]]), Error::NoRoot));
    assert!(matches!(
        of(&[&chain[0], &other[0], &chain[2]]),
        Error::SeveralSigners
    ));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    assert!(matches!(
        of(&[&chain[0], &broken]),
        Error::Broken { position: 2, .. }
    ));
    let cut = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".to_owned();
    assert!(matches!(of(&[&cut]), Error::NotPem(_)));
    let mut many = vec![&chain[0], &chain[1]];
    many.extend(std::iter::repeat_n(&chain[2], 10));
    let text = |of: &[&String]| of.iter().map(|it| it.as_str()).collect::<String>();
    assert!(timestamp_chains(&text(&many)).is_ok());
    many.push(&chain[2]);
    assert!(matches!(of(&many), Error::TooMany));
}
