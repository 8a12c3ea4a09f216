use super::*;
use crate::keys::fake_service::{der_of, keys};

#[test]
fn tells_the_kind() {
    for (pem, kind) in [
        (keys::P256, Some(Kind::P256)),
        (keys::P384, Some(Kind::P384)),
        (keys::P521, Some(Kind::P521)),
        (keys::P256K, None),
        (keys::RSA_2048, Some(Kind::Rsa { bits: 2048 })),
        (keys::RSA_3072, Some(Kind::Rsa { bits: 3072 })),
        (keys::RSA_4096, Some(Kind::Rsa { bits: 4096 })),
        (keys::ED25519, Some(Kind::Ed25519)),
    ] {
        assert_eq!(Kind::of(&der_of(pem)), kind);
    }
    assert_eq!(Kind::of(b""), None);
}

#[test]
fn parses_what_a_pem_file_holds() {
    for pem in [keys::P256, keys::RSA_4096, keys::ED25519] {
        let expected = PublicKey::from_pem(pem).unwrap();
        let parsed = parse(&der_of(pem)).unwrap();
        assert_eq!(parsed.fingerprint, expected.fingerprint);
    }
}

#[test]
fn writes_what_openssl_writes() {
    for (pem, kind, length) in [
        (keys::P256, Kind::P256, 32),
        (keys::P384, Kind::P384, 48),
        (keys::P521, Kind::P521, 66),
    ] {
        let der = der_of(pem);
        let (x, y) = der[der.len() - 2 * length..].split_at(length);
        assert_eq!(from_point(kind, x, y), Some(der.clone()));
        assert_eq!(from_point(kind, &x[1..], y), None);
        assert_eq!(from_point(kind, x, &[y, &[0]].concat()), None);
    }
    for (pem, length) in [(keys::RSA_2048, 256), (keys::RSA_4096, 512)] {
        let der = der_of(pem);
        // The exponent 65537 takes five bytes at the end.
        let modulus = &der[der.len() - 5 - length..der.len() - 5];
        assert_eq!(from_rsa(modulus, &[1, 0, 1]), der);
        assert_eq!(from_rsa(&[&[0], modulus].concat(), &[0, 1, 0, 1]), der);
    }
    let der = der_of(keys::ED25519);
    assert_eq!(from_ed25519(&der[der.len() - 32..]), der);
}
