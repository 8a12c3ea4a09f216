//! New keys.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};

pub(in crate::keys) fn ec_p256() -> String {
    ec(&ECDSA_P256_SHA256_ASN1_SIGNING)
}

pub(in crate::keys) fn ec_p384() -> String {
    ec(&ECDSA_P384_SHA384_ASN1_SIGNING)
}

pub(in crate::keys) fn ed25519() -> String {
    let pair = Ed25519KeyPair::generate().unwrap();
    let key: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    pem_of("PUBLIC KEY", key.as_ref())
}

pub(in crate::keys) fn rsa(size: KeySize) -> String {
    let pair = aws_lc_rs::signature::RsaKeyPair::generate(size).unwrap();
    let key: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    pem_of("PUBLIC KEY", key.as_ref())
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> String {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let key: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    pem_of("PUBLIC KEY", key.as_ref())
}

pub(in crate::keys) fn pem_of(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}
