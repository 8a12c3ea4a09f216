//! Certificates made at run time, right in everything that a test does not change.

use std::sync::Arc;
use std::time::Duration;

use x509_cert::der::asn1::{BitString, Ia5String, ObjectIdentifier, OctetString, UtcTime};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate, Version};

use super::forge::{Key, LOG_TIME, pem};

const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
const SERVER_AUTHENTICATION: &str = "1.3.6.1.5.5.7.3.1";
const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";

/// A certificate authority with its certificate.
pub(super) struct Issuer {
    name: String,
    key: Arc<Key>,
    pub(super) pem: String,
}

impl Issuer {
    /// Self-signed, and valid for long.
    pub(super) fn root(name: &str) -> Self {
        Self::self_signed(&Request::authority(name), Arc::new(Key::generate()))
    }

    pub(super) fn root_of(request: &Request) -> Self {
        Self::self_signed(request, Arc::new(Key::generate()))
    }

    /// The same name and key with another certificate.
    pub(super) fn renewed(&self, valid: (i64, i64)) -> Self {
        let request = Request {
            valid,
            ..Request::authority(&self.name)
        };
        Self::self_signed(&request, Arc::clone(&self.key))
    }

    /// Another certificate for an authority, by this one.
    pub(super) fn cross_signed(&self, other: &Self, valid: (i64, i64)) -> Self {
        let request = Request {
            valid,
            ..Request::authority(&other.name)
        };
        Self {
            pem: pem(
                "CERTIFICATE",
                &request.signed(&self.name, &self.key, &other.key),
            ),
            name: other.name.clone(),
            key: Arc::clone(&other.key),
        }
    }

    fn self_signed(request: &Request, key: Arc<Key>) -> Self {
        Self {
            pem: pem("CERTIFICATE", &request.signed(&request.name, &key, &key)),
            name: request.name.clone(),
            key,
        }
    }

    /// Another authority below this one.
    pub(super) fn intermediate(&self, request: Request) -> Self {
        let key = Arc::new(Key::generate());
        Self {
            pem: pem("CERTIFICATE", &request.signed(&self.name, &self.key, &key)),
            name: request.name,
            key,
        }
    }

    /// A certificate for `key`, in DER.
    pub(super) fn issue(&self, request: &Request, key: &Key) -> Vec<u8> {
        request.signed(&self.name, &self.key, key)
    }
}

/// What a certificate shall say.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) name: String,
    /// URIs.
    pub(super) identities: Vec<&'static str>,
    pub(super) oidc_issuer: Option<&'static str>,
    pub(super) usage: Option<&'static str>,
    pub(super) more_usages: &'static [&'static str],
    pub(super) is_usage_critical: bool,
    pub(super) serial: u32,
    pub(super) is_authority: bool,
    pub(super) path_length: Option<u8>,
    /// In DER.
    pub(super) key_usage: Option<&'static [u8]>,
    /// In DER.
    pub(super) name_constraints: Option<&'static [u8]>,
    /// In seconds around the time in the log.
    pub(super) valid: (i64, i64),
    /// The number of bytes of an extension that nobody knows.
    pub(super) padding: usize,
}

impl Request {
    pub(super) fn leaf(identity: &'static str) -> Self {
        Self {
            name: "leaf".to_owned(),
            identities: vec![identity],
            oidc_issuer: None,
            usage: Some(CODE_SIGNING),
            more_usages: &[],
            is_usage_critical: false,
            serial: 0x00ab_cdef,
            is_authority: false,
            path_length: None,
            key_usage: None,
            name_constraints: None,
            valid: (-60, 540),
            padding: 0,
        }
    }

    pub(super) fn authority(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            identities: Vec::new(),
            oidc_issuer: None,
            usage: None,
            more_usages: &[],
            is_usage_critical: false,
            serial: 0x00ab_cdef,
            is_authority: true,
            path_length: None,
            key_usage: None,
            name_constraints: None,
            valid: (-1_000_000, 1_000_000),
            padding: 0,
        }
    }

    pub(super) fn for_code(self) -> Self {
        Self {
            usage: Some(CODE_SIGNING),
            ..self
        }
    }

    pub(super) fn for_servers(self) -> Self {
        Self {
            usage: Some(SERVER_AUTHENTICATION),
            ..self
        }
    }

    fn signed(&self, issuer: &str, by: &Key, key: &Key) -> Vec<u8> {
        let algorithm = || AlgorithmIdentifierOwned {
            oid: ObjectIdentifier::new_unwrap(ECDSA_WITH_SHA256),
            parameters: None,
        };
        let name = |name: &str| format!("CN={name}").parse().unwrap();
        let time = |seconds: i64| {
            let seconds = u64::try_from(LOG_TIME + seconds).unwrap();
            Time::UtcTime(UtcTime::from_unix_duration(Duration::from_secs(seconds)).unwrap())
        };
        let body = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::from(self.serial),
            signature: algorithm(),
            issuer: name(issuer),
            validity: Validity {
                not_before: time(self.valid.0),
                not_after: time(self.valid.1),
            },
            subject: name(&self.name),
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(&key.der()).unwrap(),
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(self.extensions()),
        };
        let signature = by.sign(&body.to_der().unwrap());
        let certificate = Certificate {
            tbs_certificate: body,
            signature_algorithm: algorithm(),
            signature: BitString::from_bytes(&signature).unwrap(),
        };
        certificate.to_der().unwrap()
    }

    fn extensions(&self) -> Vec<Extension> {
        let mut extensions = Vec::new();
        if self.is_authority {
            let constraints = BasicConstraints {
                ca: true,
                path_len_constraint: self.path_length,
            };
            extensions.push(extension("2.5.29.19", true, constraints.to_der().unwrap()));
        }
        if let Some(usage) = self.key_usage {
            extensions.push(extension("2.5.29.15", true, usage.to_vec()));
        }
        if let Some(constraints) = self.name_constraints {
            extensions.push(extension("2.5.29.30", true, constraints.to_vec()));
        }
        if let Some(usage) = self.usage {
            let usages = [usage].into_iter().chain(self.more_usages.iter().copied());
            let usages = ExtendedKeyUsage(usages.map(ObjectIdentifier::new_unwrap).collect());
            let usages = usages.to_der().unwrap();
            extensions.push(extension("2.5.29.37", self.is_usage_critical, usages));
        }
        if self.padding > 0 {
            extensions.push(extension("1.2.3.4.5", false, vec![0; self.padding]));
        }
        if !self.identities.is_empty() {
            let uri = |text: &&str| {
                GeneralName::UniformResourceIdentifier(Ia5String::new(*text).unwrap())
            };
            let names = SubjectAltName(self.identities.iter().map(uri).collect());
            extensions.push(extension("2.5.29.17", true, names.to_der().unwrap()));
        }
        if let Some(issuer) = self.oidc_issuer {
            let value = issuer.as_bytes().to_vec();
            extensions.push(extension("1.3.6.1.4.1.57264.1.1", false, value));
        }
        extensions
    }
}

fn extension(identifier: &str, critical: bool, value: Vec<u8>) -> Extension {
    Extension {
        extn_id: ObjectIdentifier::new_unwrap(identifier),
        critical,
        extn_value: OctetString::new(value).unwrap(),
    }
}
