//! Signature algorithms: the one place that verifies signatures, by keys, in certificates, in logs and in timestamps.
//!
//! Every place takes the same algorithms, so that a kind of key that is accepted in one is accepted in all.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::{self, Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
pub(super) const RSA_ENCRYPTION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const RSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");

const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// A hash function. SHA-1 and MD5 prove nothing and are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// A way of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Ecdsa(Hash),
    /// PKCS#1 v1.5.
    RsaPkcs1(Hash),
    /// With a salt as long as the hash, and the same hash in MGF1.
    RsaPss(Hash),
    Ed25519,
    /// RFC 8032's pre-hashed variant, with an empty context.
    Ed25519Prehashed,
}

/// A kind of public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
}

impl Hash {
    /// Returns the hash function of an object identifier, if it is one of those that count.
    pub(super) fn of(identifier: ObjectIdentifier) -> Option<Self> {
        match identifier {
            SHA256 => Some(Self::Sha256),
            SHA384 => Some(Self::Sha384),
            SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Returns the hash of `bytes`.
    pub(super) fn digest(self, bytes: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes)
    }

    fn bytes(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl Algorithm {
    /// Returns the algorithm that an `AlgorithmIdentifier` names (RFC 4055, RFC 5758, RFC 8410), if it counts.
    pub(super) fn of(identifier: AlgorithmIdentifierRef<'_>) -> Option<Self> {
        let has_parameters = identifier.parameters.is_some_and(|it| !it.is_null());
        if identifier.oid == RSA_PSS {
            return pss_hash(identifier.parameters?).ok()?.map(Self::RsaPss);
        }
        if has_parameters {
            return None;
        }
        match identifier.oid {
            ECDSA_WITH_SHA256 => Some(Self::Ecdsa(Hash::Sha256)),
            ECDSA_WITH_SHA384 => Some(Self::Ecdsa(Hash::Sha384)),
            ECDSA_WITH_SHA512 => Some(Self::Ecdsa(Hash::Sha512)),
            RSA_WITH_SHA256 => Some(Self::RsaPkcs1(Hash::Sha256)),
            RSA_WITH_SHA384 => Some(Self::RsaPkcs1(Hash::Sha384)),
            RSA_WITH_SHA512 => Some(Self::RsaPkcs1(Hash::Sha512)),
            ED25519_KEY => Some(Self::Ed25519),
            _ => None,
        }
    }

    /// Returns the algorithm of a CMS signature. There the identifier may name the kind of key only, and the hash stands
    /// beside it (RFC 5652, 5.3; RFC 3370, 3.2).
    pub(super) fn of_cms(identifier: AlgorithmIdentifierRef<'_>, hash: Hash) -> Option<Self> {
        match identifier.oid {
            RSA_ENCRYPTION if identifier.parameters.is_none_or(AnyRef::is_null) => {
                Some(Self::RsaPkcs1(hash))
            }
            EC_PUBLIC_KEY => Some(Self::Ecdsa(hash)),
            _ => Self::of(identifier),
        }
    }

    fn with(self, kind: KeyKind) -> Option<&'static dyn VerificationAlgorithm> {
        use Hash::{Sha256, Sha384, Sha512};
        Some(match (kind, self) {
            (KeyKind::P256, Self::Ecdsa(Sha256)) => &ECDSA_P256_SHA256_ASN1,
            (KeyKind::P256, Self::Ecdsa(Sha384)) => &ECDSA_P256_SHA384_ASN1,
            (KeyKind::P256, Self::Ecdsa(Sha512)) => &ECDSA_P256_SHA512_ASN1,
            (KeyKind::P384, Self::Ecdsa(Sha256)) => &ECDSA_P384_SHA256_ASN1,
            (KeyKind::P384, Self::Ecdsa(Sha384)) => &ECDSA_P384_SHA384_ASN1,
            (KeyKind::P384, Self::Ecdsa(Sha512)) => &ECDSA_P384_SHA512_ASN1,
            (KeyKind::P521, Self::Ecdsa(Sha256)) => &ECDSA_P521_SHA256_ASN1,
            (KeyKind::P521, Self::Ecdsa(Sha384)) => &ECDSA_P521_SHA384_ASN1,
            (KeyKind::P521, Self::Ecdsa(Sha512)) => &ECDSA_P521_SHA512_ASN1,
            (KeyKind::Rsa, Self::RsaPkcs1(Sha256)) => &RSA_PKCS1_2048_8192_SHA256,
            (KeyKind::Rsa, Self::RsaPkcs1(Sha384)) => &RSA_PKCS1_2048_8192_SHA384,
            (KeyKind::Rsa, Self::RsaPkcs1(Sha512)) => &RSA_PKCS1_2048_8192_SHA512,
            (KeyKind::Rsa, Self::RsaPss(Sha256)) => &RSA_PSS_2048_8192_SHA256,
            (KeyKind::Rsa, Self::RsaPss(Sha384)) => &RSA_PSS_2048_8192_SHA384,
            (KeyKind::Rsa, Self::RsaPss(Sha512)) => &RSA_PSS_2048_8192_SHA512,
            (KeyKind::Ed25519, Self::Ed25519) => &ED25519,
            // aws-lc-rs does not have the pre-hashed variant; `PublicKey` does it with another library.
            (_, Self::Ed25519Prehashed)
            | (
                KeyKind::P256 | KeyKind::P384 | KeyKind::P521,
                Self::RsaPkcs1(_) | Self::RsaPss(_) | Self::Ed25519,
            )
            | (KeyKind::Rsa, Self::Ecdsa(_) | Self::Ed25519)
            | (KeyKind::Ed25519, Self::Ecdsa(_) | Self::RsaPkcs1(_) | Self::RsaPss(_)) => {
                return None;
            }
        })
    }
}

impl KeyKind {
    /// Returns the kind of a SubjectPublicKeyInfo, if it is one of those that count.
    pub(super) fn of(info: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, &'static str> {
        match info.algorithm.oid {
            EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
                Ok(P256) => Ok(Self::P256),
                Ok(P384) => Ok(Self::P384),
                Ok(P521) => Ok(Self::P521),
                Ok(_) | Err(_) => Err("the curve is none of P-256, P-384 and P-521"),
            },
            RSA_ENCRYPTION => Ok(Self::Rsa),
            ED25519_KEY => Ok(Self::Ed25519),
            _ => Err("the algorithm of the key is not supported"),
        }
    }

    /// Returns the algorithms that such a key signs with, those first that signers use most.
    pub(super) fn algorithms(self) -> &'static [Algorithm] {
        use Hash::{Sha256, Sha384, Sha512};
        match self {
            Self::P256 => &[
                Algorithm::Ecdsa(Sha256),
                Algorithm::Ecdsa(Sha384),
                Algorithm::Ecdsa(Sha512),
            ],
            // cosign signs with the hash of the curve's size; before 2.6 it signed with SHA-256.
            Self::P384 => &[
                Algorithm::Ecdsa(Sha384),
                Algorithm::Ecdsa(Sha256),
                Algorithm::Ecdsa(Sha512),
            ],
            Self::P521 => &[
                Algorithm::Ecdsa(Sha512),
                Algorithm::Ecdsa(Sha256),
                Algorithm::Ecdsa(Sha384),
            ],
            Self::Rsa => &[
                Algorithm::RsaPkcs1(Sha256),
                Algorithm::RsaPss(Sha256),
                Algorithm::RsaPkcs1(Sha512),
                Algorithm::RsaPss(Sha512),
                Algorithm::RsaPkcs1(Sha384),
                Algorithm::RsaPss(Sha384),
            ],
            Self::Ed25519 => &[Algorithm::Ed25519, Algorithm::Ed25519Prehashed],
        }
    }

    /// Returns what verifies signatures of a kind of key by an algorithm, if aws-lc-rs does.
    pub(super) fn verifier(
        self,
        algorithm: Algorithm,
    ) -> Option<&'static dyn VerificationAlgorithm> {
        algorithm.with(self)
    }

    /// Returns true if raw key bytes have the one form that is accepted in a certificate: an uncompressed point (RFC 5480, 2.2),
    /// or an RSA key of 2048 to 8192 bits.
    pub(super) fn is_well_formed(self, raw: &[u8]) -> bool {
        match self {
            Self::P256 | Self::P384 | Self::P521 => raw.first() == Some(&UNCOMPRESSED),
            Self::Rsa => rsa_bits(raw).is_ok_and(|bits| (RSA_BITS_MIN..=8192).contains(&bits)),
            Self::Ed25519 => raw.len() == 32,
        }
    }
}

/// The first byte of a point in uncompressed form (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// The shortest RSA keys that count, in bits.
pub(super) const RSA_BITS_MIN: usize = 2048;

/// Returns the length of the modulus of a PKCS#1 `RSAPublicKey`, in bits. An exponent of 1, under which everything is
/// signed, or an even one, which belongs to no key, is an error.
pub(super) fn rsa_bits(key: &[u8]) -> der::Result<usize> {
    let modulus = AnyRef::from_der(key)?.sequence(|fields| {
        let modulus = UintRef::decode(fields)?;
        let exponent = UintRef::decode(fields)?;
        match exponent.as_bytes() {
            [0 | 1] => Err(Tag::Integer.value_error()),
            [.., last] if last % 2 == 1 => Ok(modulus),
            _ => Err(Tag::Integer.value_error()),
        }
    })?;
    let leading_zeros = modulus
        .as_bytes()
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    Ok(modulus.as_bytes().len() * 8 - leading_zeros)
}

/// Returns true if `signature` over `message` was made by this algorithm with the key of a DER SubjectPublicKeyInfo.
pub(super) fn verifies(
    public_key: &[u8],
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    SubjectPublicKeyInfoRef::from_der(public_key).is_ok_and(|info| {
        let raw = info.subject_public_key.as_bytes().unwrap_or_default();
        let kind = KeyKind::of(&info).ok();
        let kind = kind.filter(|kind| kind.is_well_formed(raw));
        let verifier = kind.and_then(|kind| kind.verifier(algorithm));
        verifier.is_some_and(|it| it.verify_sig(public_key, message, signature).is_ok())
    })
}

/// Returns the hash of RSASSA-PSS parameters (RFC 4055, 3.1) of the one form that is in use: MGF1 with the same hash and a
/// salt as long as the hash.
fn pss_hash(parameters: AnyRef<'_>) -> der::Result<Option<Hash>> {
    parameters.sequence(|fields| {
        let mut parameter = |number: u8| {
            let field: AnyRef<'_> = fields.decode()?;
            let number = TagNumber::new(number);
            let expected = Tag::ContextSpecific {
                constructed: true,
                number,
            };
            field.tag().assert_eq(expected)?;
            Ok::<_, der::Error>(field.value())
        };
        let hash = AlgorithmIdentifierRef::from_der(parameter(0)?)?.oid;
        let mask = AlgorithmIdentifierRef::from_der(parameter(1)?)?;
        let Some(mask_hash) = mask.parameters else {
            return Ok(None);
        };
        let mask_hash: AlgorithmIdentifierRef<'_> = mask_hash.decode_as()?;
        let salt = u8::from_der(parameter(2)?)?;
        if !fields.is_finished() {
            let trailer: AnyRef<'_> = fields.decode()?;
            if u8::from_der(trailer.value())? != 1 {
                return Ok(None);
            }
        }
        let hash = Hash::of(hash);
        Ok(hash.filter(|hash| {
            mask.oid == MGF1 && Hash::of(mask_hash.oid) == Some(*hash) && salt == hash.bytes()
        }))
    })
}

/// Reads one DER value and nothing after it.
pub(super) fn whole(der: &[u8]) -> der::Result<AnyRef<'_>> {
    let mut reader = SliceReader::new(der)?;
    let value = reader.decode()?;
    reader.finish(value)
}
