//! Each kind of key with each algorithm, in signatures and certificates that another library made.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::forge::decoded;
use crate::verify::PublicKey;
use crate::verify::algorithm::{Algorithm, Hash, KeyKind};
use crate::verify::issuing::CODE_SIGNING;
use crate::verify::path::{self, PathError, Usage};

const USAGE: Usage = Usage {
    purpose: CODE_SIGNING,
    name: "code signing",
};

#[derive(Deserialize)]
struct Signatures {
    message: String,
    rows: Vec<SignatureRow>,
}

#[derive(Deserialize)]
struct SignatureRow {
    kind: String,
    algorithm: String,
    public_key: String,
    signature: String,
    counts: bool,
}

#[derive(Deserialize)]
struct Certificates {
    time: Timestamp,
    rows: Vec<CertificateRow>,
}

#[derive(Deserialize)]
struct CertificateRow {
    name: String,
    counts: bool,
    root: String,
    leaf: String,
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/algorithms");
    let text = std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn algorithm(name: &str) -> Option<Algorithm> {
    let hash = match name.rsplit('-').next()? {
        "sha256" => Some(Hash::Sha256),
        "sha384" => Some(Hash::Sha384),
        "sha512" => Some(Hash::Sha512),
        _ => None,
    };
    match name.split('-').next()? {
        "ecdsa" => hash.map(Algorithm::Ecdsa),
        "pkcs1" => hash.map(Algorithm::RsaPkcs1),
        "pss" => hash.map(Algorithm::RsaPss),
        "ed25519" => Some(Algorithm::Ed25519),
        _ => None,
    }
}

fn every_algorithm() -> impl Iterator<Item = Algorithm> {
    let kinds = [
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::P521,
        KeyKind::Rsa,
        KeyKind::Ed25519,
    ];
    kinds
        .into_iter()
        .flat_map(|kind| kind.algorithms().iter().copied())
}

#[test]
fn key_verifies_a_signature_by_its_own_algorithm_and_no_other() {
    let Signatures { message, rows } = read("signatures.json");
    let message = message.as_bytes();
    assert!(rows.iter().filter(|row| row.counts).count() > 25);
    for row in rows.iter().filter(|row| row.counts) {
        let what = format!("{} {}", row.kind, row.algorithm);
        let key = PublicKey::from_der(&decoded(&row.public_key)).unwrap();
        let signature = decoded(&row.signature);
        assert!(key.verifies(message, &signature), "{what}");
        let own = algorithm(&row.algorithm).unwrap();
        for other in every_algorithm() {
            let verifies = key.verifies_by(other, message, &signature);
            assert_eq!(verifies, other == own, "{what} as {other:?}");
        }
        assert!(!key.verifies(b"another message", &signature), "{what}");
    }
}

#[test]
fn altered_signature_of_any_algorithm_is_refused() {
    let Signatures { message, rows } = read("signatures.json");
    let message = message.as_bytes();
    for row in rows.iter().filter(|row| row.counts) {
        let key = PublicKey::from_der(&decoded(&row.public_key)).unwrap();
        let signature = decoded(&row.signature);
        let mut altered = vec![Vec::new(), [signature.as_slice(), &[0]].concat()];
        altered.push(signature[..signature.len() - 1].to_vec());
        for position in (0..signature.len()).step_by(signature.len() / 8) {
            let mut flipped = signature.clone();
            flipped[position] ^= 1;
            altered.push(flipped);
        }
        if row.algorithm.starts_with("ecdsa") {
            altered.extend(other_forms_of_ecdsa(&signature));
        }
        for altered in altered {
            let what = format!("{} {}: {}", row.kind, row.algorithm, hex::encode(&altered));
            assert!(!key.verifies(message, &altered), "{what}");
        }
    }
}

/// The same two numbers in forms that are not DER.
fn other_forms_of_ecdsa(signature: &[u8]) -> Vec<Vec<u8>> {
    let header = if signature[1] == 0x81 { 3 } else { 2 };
    let body = &signature[header..];
    let (r, rest) = body[2..].split_at(usize::from(body[1]));
    let s = &rest[2..];
    let number = |bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[2, length], bytes].concat()
    };
    let pair = |length: &[u8], r: &[u8], s: &[u8]| [&[0x30], length, r, s].concat();
    let short = |content: usize| u8::try_from(content).unwrap();
    let padded = number(&[&[0], r].concat());
    let (r_number, s_number) = (number(r), number(s));
    let length = r_number.len() + s_number.len();
    let mut forms = vec![
        // The length in more bytes than it needs.
        pair(&[0x82, 0, short(length)], &r_number, &s_number),
        // Both numbers one after the other, as in JSON Web Signatures.
        [r, s].concat(),
        // In the other order.
        if length < 128 {
            pair(&[short(length)], &s_number, &r_number)
        } else {
            pair(&[0x81, short(length)], &s_number, &r_number)
        },
    ];
    if r[0] < 0x80 && length + 1 < 128 {
        forms.push(pair(&[short(length + 1)], &padded, &s_number));
    }
    forms
}

#[test]
fn weak_and_unknown_kinds_of_key_and_hash_are_refused() {
    let Signatures { message, rows } = read("signatures.json");
    let mut refused_keys = std::collections::BTreeSet::new();
    for row in rows.iter().filter(|row| !row.counts) {
        match PublicKey::from_der(&decoded(&row.public_key)) {
            Ok(key) => {
                let verifies = key.verifies(message.as_bytes(), &decoded(&row.signature));
                assert!(!verifies, "{} {}", row.kind, row.algorithm);
                assert!(row.algorithm.ends_with("sha1"), "{}", row.kind);
            }
            Err(_error) => {
                refused_keys.insert(row.kind.as_str());
            }
        }
    }
    let refused_keys: Vec<_> = refused_keys.into_iter().collect();
    assert_eq!(refused_keys, ["brainpool", "dsa", "rsa1024", "secp256k1"]);
}

#[test]
fn what_counts_as_a_key_counts_in_a_certificate() {
    let Certificates { time, rows } = read("certificates.json");
    for row in rows {
        let (root, leaf) = (decoded(&row.root), decoded(&row.leaf));
        let root = CertificateDer::from(root);
        let anchor = webpki::anchor_from_trusted_cert(&root).unwrap();
        let built = path::build(&leaf, &[], std::slice::from_ref(&anchor), time, USAGE);
        assert_eq!(built.is_ok(), row.counts, "{}: {built:?}", row.name);
        if !row.counts {
            continue;
        }
        // Any other byte under the signature, and it is another certificate.
        let mut altered = leaf.clone();
        let serial = altered.windows(2).position(|it| it == [2, 20]).unwrap();
        altered[serial + 5] ^= 1;
        let built = path::build(&altered, &[], std::slice::from_ref(&anchor), time, USAGE);
        assert_eq!(built, Err(PathError::Signature), "{}", row.name);
    }
}

#[test]
fn certificate_that_names_another_algorithm_than_it_was_signed_with_is_refused() {
    let Certificates { time, rows } = read("certificates.json");
    // The last byte of ecdsa-with-SHA256, SHA384 and SHA512, and of the same for RSA.
    for (name, prefix, hashes) in [
        (
            "p256-sha256",
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03],
            [2, 3, 4],
        ),
        (
            "p384-sha384",
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03],
            [2, 3, 4],
        ),
        (
            "p521-sha512",
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03],
            [2, 3, 4],
        ),
        (
            "rsa2048-sha256",
            [0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01],
            [11, 12, 13],
        ),
    ] {
        let row = rows.iter().find(|row| row.name == name).unwrap();
        let root = CertificateDer::from(decoded(&row.root));
        let anchor = webpki::anchor_from_trusted_cert(&root).unwrap();
        let leaf = decoded(&row.leaf);
        let places = leaf.windows(8).enumerate();
        let places: Vec<_> = places
            .filter(|(_, it)| it[..7] == prefix && hashes.contains(&it[7]))
            .map(|(place, _)| place + 7)
            .collect();
        assert!(places.len() >= 2, "{name}");
        let (inner, outer) = (places[0], places[places.len() - 1]);
        for hash in hashes.into_iter().filter(|it| *it != leaf[outer]) {
            // In one of the two places it contradicts itself, in both the hash is wrong.
            for altered in [vec![outer], vec![inner, outer]] {
                let mut certificate = leaf.clone();
                for place in &altered {
                    certificate[*place] = hash;
                }
                let built = path::build(
                    &certificate,
                    &[],
                    std::slice::from_ref(&anchor),
                    time,
                    USAGE,
                );
                assert!(built.is_err(), "{name} as {hash} at {altered:?}");
            }
        }
    }
}

#[test]
fn rsa_key_in_pkcs1_is_the_same_key() {
    let Signatures { rows, .. } = read("signatures.json");
    let row = rows.iter().find(|row| row.kind == "rsa2048").unwrap();
    let info = decoded(&row.public_key);
    let key = PublicKey::from_der(&info).unwrap();
    // The key is the last 270 bytes of its SubjectPublicKeyInfo.
    let bare = &info[info.len() - 270..];
    let text = super::forge::pem("RSA PUBLIC KEY", bare);
    let read = PublicKey::from_pem(&text).unwrap();
    assert_eq!(read.fingerprint, key.fingerprint);
    let with_note = format!("release key\r\n{}", text.replace('\n', "\r\n"));
    assert_eq!(
        PublicKey::from_pem(&with_note).unwrap().fingerprint,
        key.fingerprint
    );
    let wrong = super::forge::pem("RSA PUBLIC KEY", &info);
    assert!(PublicKey::from_pem(&wrong).is_err());
    assert!(PublicKey::from_pem(&super::forge::pem("PUBLIC KEY", bare)).is_err());
    assert!(PublicKey::from_pem(&super::forge::pem("RSA PRIVATE KEY", bare)).is_err());
    assert!(PublicKey::from_pem(&text.repeat(2)).is_err());
    let short = rows.iter().find(|row| row.kind == "rsa1024").unwrap();
    let short = decoded(&short.public_key);
    let short = super::forge::pem("RSA PUBLIC KEY", &short[short.len() - 140..]);
    let error = PublicKey::from_pem(&short).unwrap_err();
    assert!(error.0.contains("between 2048 and 4096"), "{error}");
}

#[test]
fn rsa_keys_with_weak_exponents_are_refused() {
    let Signatures { rows, .. } = read("signatures.json");
    let row = rows.iter().find(|row| row.kind == "rsa2048").unwrap();
    let info = decoded(&row.public_key);
    let bare = &info[info.len() - 270..];
    // The exponent 65537 is the last five bytes, tag and length included.
    let with = |exponent: &[u8]| {
        let mut key = bare[..265].to_vec();
        key.extend_from_slice(exponent);
        let length = u16::try_from(key.len() - 4).unwrap().to_be_bytes();
        key[2..4].copy_from_slice(&length);
        PublicKey::from_rsa_der(&key)
    };
    assert!(with(&[2, 3, 1, 0, 1]).is_ok());
    for exponent in [
        [2, 1, 0].as_slice(),
        &[2, 1, 1],
        &[2, 1, 2],
        &[2, 3, 1, 0, 0],
        &[2, 0],
    ] {
        assert!(with(exponent).is_err(), "{exponent:?}");
    }
}
