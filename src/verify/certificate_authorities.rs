//! Certificate authorities of one's own, in place of those of a trusted root.

mod member;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::oci::Digest;
use crate::signature::{CertificateError, Intermediate};

use member::Member;

/// Certificates of authorities: roots, and intermediates each of which was signed by another, up to one of them.
///
/// All of them are believed while they are valid, because a bundle holds the signing certificate alone.
#[derive(Debug)]
pub struct CertificateAuthorities {
    /// SHA-256 over the certificates in their order; white space and comments around them do not count.
    pub digest: Digest,
    /// A certificate with those above it up to a root, for each of the certificates and each way up.
    pub(super) chains: Vec<Vec<Intermediate>>,
}

/// The text does not hold usable certificate authorities.
#[derive(Debug, thiserror::Error)]
pub enum CertificateAuthoritiesError {
    /// Not PEM.
    #[error("not PEM certificates")]
    NotPem(#[source] rustls_pki_types::pem::Error),
    /// More certificates than [`CertificateAuthorities::CERTIFICATES_MAX`].
    #[error("more than {} certificates", CertificateAuthorities::CERTIFICATES_MAX)]
    TooMany,
    /// One of them cannot be read.
    #[error("the certificate number {position} is broken")]
    Broken {
        /// From 1.
        position: usize,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// One of them may not sign others.
    #[error("the certificate number {position} is not one of a certificate authority")]
    NotAnAuthority {
        /// From 1.
        position: usize,
    },
    /// There is none to lead to.
    #[error("no self-signed root certificate is among them")]
    NoRoot,
    /// An intermediate without those above it is not believed.
    #[error("the certificate {subject:?} was not signed by any other among them, up to a root")]
    NoIssuer {
        /// Its name.
        subject: String,
    },
    /// An authority above it may not have it below.
    #[error(
        "the certificate {subject:?} is further below a root than the path length there allows"
    )]
    PathLength {
        /// Its name.
        subject: String,
    },
    /// Its key is for something else.
    #[error("the key of the certificate {subject:?} may not sign certificates")]
    KeyUsage {
        /// Its name.
        subject: String,
    },
    /// What it issues is for something else.
    #[error(
        "the certificate {subject:?} is for other purposes than signing code (extended key usage)"
    )]
    Purpose {
        /// Its name.
        subject: String,
    },
    /// It restricts names, which is not applied.
    #[error("the certificate {subject:?} has name constraints, which are not supported")]
    NameConstraints {
        /// Its name.
        subject: String,
    },
    /// They sign each other in too many ways.
    #[error("too many ways lead from the certificate {subject:?} to a root")]
    TooManyWays {
        /// Its name.
        subject: String,
    },
}

/// The most steps from one certificate up to roots, all ways together.
const STEPS_MAX: usize = 256;

impl CertificateAuthorities {
    /// The most certificates, roots and intermediates together.
    pub const CERTIFICATES_MAX: usize = 32;

    /// Reads PEM certificates. Those that name themselves as their issuer are roots; each of the others must be signed
    /// by one of the file, up to a root, within the path lengths of those above it.
    ///
    /// # Errors
    /// When there is no root, or a certificate is broken, not one of an authority, leads to no root,
    /// or restricts names.
    pub fn from_pem(text: &str) -> Result<Self, CertificateAuthoritiesError> {
        let mut contents = Vec::new();
        let mut members: Vec<Member> = Vec::new();
        for (certificate, position) in CertificateDer::pem_slice_iter(text.as_bytes()).zip(1..) {
            if position > Self::CERTIFICATES_MAX {
                return Err(CertificateAuthoritiesError::TooMany);
            }
            let der = certificate.map_err(CertificateAuthoritiesError::NotPem)?;
            contents.extend_from_slice(&der);
            let member = Member::read(&der, position)?;
            let is_known = |it: &Member| it.certificate.der == member.certificate.der;
            if !members.iter().any(is_known) {
                members.push(member);
            }
        }
        if !members.iter().any(Member::is_root) {
            return Err(CertificateAuthoritiesError::NoRoot);
        }
        let mut chains = Vec::new();
        for member in &members {
            chains.extend(ways(member, &members)?);
        }
        Ok(Self {
            digest: Digest::sha256(&contents),
            chains,
        })
    }
}

/// The certificate and those above it, for each way to a root. When a root is renewed there may be several.
fn ways(
    first: &Member,
    members: &[Member],
) -> Result<Vec<Vec<Intermediate>>, CertificateAuthoritiesError> {
    let subject = || first.subject.clone();
    let mut ways = Vec::new();
    let mut begun = vec![vec![first]];
    let (mut steps, mut is_too_long) = (0, false);
    while let Some(way) = begun.pop() {
        steps += 1;
        if steps > STEPS_MAX {
            return Err(CertificateAuthoritiesError::TooManyWays { subject: subject() });
        }
        let Some(last) = way.last().filter(|last| !last.is_root()) else {
            ways.push(way.iter().map(|it| it.certificate.clone()).collect());
            continue;
        };
        for issuer in members {
            // Two that sign each other lead nowhere.
            let is_new = !way.iter().any(|known| std::ptr::eq(*known, issuer));
            if !is_new || !last.is_signed_by(issuer) {
                continue;
            }
            if !issuer.may_have_below(way.len()) {
                is_too_long = true;
                continue;
            }
            begun.push(way.iter().copied().chain([issuer]).collect());
        }
    }
    match (ways.is_empty(), is_too_long) {
        (false, _) => Ok(ways),
        (true, true) => Err(CertificateAuthoritiesError::PathLength { subject: subject() }),
        (true, false) => Err(CertificateAuthoritiesError::NoIssuer { subject: subject() }),
    }
}
