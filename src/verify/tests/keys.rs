//! Which keys are taken, and what they verify.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use ed25519_dalek::Digest as _;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use super::forge::{Key, pem};
use super::issue::Issuer;
use crate::verify::PublicKey;

const MESSAGE: &[u8] = b"what is signed";

/// A DER value of at most 65,535 bytes.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, content].concat()
}

fn rsa_info(pkcs1: &[u8]) -> Vec<u8> {
    let algorithm = hex::decode("300d06092a864886f70d0101010500").unwrap();
    let bits = der(0x03, &[&[0], pkcs1].concat());
    der(0x30, &[algorithm, bits].concat())
}

fn canonical(info: &[u8]) -> bool {
    PublicKey::from_pem(&pem("PUBLIC KEY", info)).is_ok()
}

#[test]
fn ed25519_verifies_pure_and_prehashed() {
    let secret = [7; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&secret).unwrap();
    let info = [
        hex::decode("302a300506032b6570032100").unwrap(),
        pair.public_key().as_ref().to_vec(),
    ]
    .concat();
    let key = PublicKey::from_pem(&pem("PUBLIC KEY", &info)).unwrap();
    assert!(key.verifies(MESSAGE, pair.sign(MESSAGE).as_ref()));
    assert!(!key.verifies(b"something else", pair.sign(MESSAGE).as_ref()));
    let prehashing = ed25519_dalek::SigningKey::from_bytes(&secret);
    let hash = ed25519_dalek::Sha512::new_with_prefix(MESSAGE);
    let signature = prehashing.sign_prehashed(hash, None).unwrap();
    assert!(key.verifies(MESSAGE, &signature.to_bytes()));
    assert!(!key.verifies(b"something else", &signature.to_bytes()));
    let hash = ed25519_dalek::Sha512::new_with_prefix(MESSAGE);
    let elsewhere = prehashing
        .sign_prehashed(hash, Some(b"another protocol"))
        .unwrap();
    assert!(!key.verifies(MESSAGE, &elsewhere.to_bytes()));
    assert!(!key.verifies(MESSAGE, &[]));
}

#[test]
fn rsa_verifies_both_paddings() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let info = rsa_info(pair.public_key().as_ref());
    let key = PublicKey::from_der(&info);
    let Ok(key) = key else {
        panic!("{key:?}");
    };
    for padding in [&RSA_PKCS1_SHA256, &RSA_PSS_SHA256] {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), MESSAGE, &mut signature)
            .unwrap();
        assert!(key.verifies(MESSAGE, &signature));
        assert!(!key.verifies(b"something else", &signature));
    }
}

#[test]
fn rsa_of_other_sizes_is_refused() {
    let key_of = |bytes: usize, first: u8| {
        let mut modulus = vec![0xff; bytes];
        modulus[0] = first;
        // A first byte with its highest bit set would make the number negative.
        let sign: &[u8] = if first < 0x80 { &[] } else { &[0] };
        let integer = der(0x02, &[sign, &modulus].concat());
        let exponent = hex::decode("0203010001").unwrap();
        rsa_info(&der(0x30, &[integer, exponent].concat()))
    };
    for (bytes, first) in [(128, 0xff), (256, 0x7f), (513, 0x01), (1024, 0xff)] {
        let error = PublicKey::from_der(&key_of(bytes, first)).unwrap_err();
        assert!(error.0.contains("2048"), "{bytes}: {error}");
    }
    for (bytes, first) in [(256, 0x80), (512, 0xff)] {
        assert!(
            PublicKey::from_der(&key_of(bytes, first)).is_ok(),
            "{bytes}"
        );
    }
}

#[test]
fn only_one_public_key_is_a_key() {
    let right = Key::generate().pem();
    assert!(PublicKey::from_pem(&right).is_ok());
    let key = Key::generate();
    assert_eq!(key.public().fingerprint, key.public().fingerprint);
    assert_ne!(
        key.public().fingerprint,
        Key::generate().public().fingerprint
    );
    let two = format!("{right}{}", Key::generate().pem());
    let certificate = right.replace("PUBLIC KEY", "CERTIFICATE");
    for text in ["", "not a key", &two, &certificate, &right[..60]] {
        assert!(PublicKey::from_pem(text).is_err(), "{text}");
    }
    // A curve that nobody signs images with (secp256k1), an algorithm that is none of ours (X25519), trailing bytes.
    let key = Key::generate().der();
    let other_curve = hex::encode(&key).replace("2a8648ce3d030107", "2b8104000a000000");
    assert!(!canonical(&hex::decode(other_curve).unwrap()));
    let x25519 = [
        hex::decode("302a300506032b656e032100").unwrap(),
        vec![9; 32],
    ]
    .concat();
    assert!(!canonical(&x25519));
    assert!(!canonical(&[key.as_slice(), &[0]].concat()));
    // A point that is not on the curve.
    let mut off_curve = key;
    off_curve[40] ^= 1;
    assert!(!canonical(&off_curve));
}

#[test]
fn the_key_of_a_certificate_is_the_one_it_is_for() {
    let text = Issuer::root("root").pem;
    let der = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
    let certificate = Certificate::from_der(&der).unwrap();
    let signed = certificate.tbs_certificate.to_der().unwrap();
    let signature = certificate.signature.as_bytes().unwrap();
    // It is self-signed.
    let key = PublicKey::from_certificate(&text).unwrap();
    assert!(key.verifies(&signed, signature));
    assert!(!key.verifies(MESSAGE, signature));
    let info = pem("PUBLIC KEY", key.der());
    for (what, text) in [
        ("two", text.repeat(2)),
        ("none", String::new()),
        ("a key", info),
        ("no certificate", pem("CERTIFICATE", b"nonsense")),
    ] {
        assert!(PublicKey::from_certificate(&text).is_err(), "{what}");
    }
}
