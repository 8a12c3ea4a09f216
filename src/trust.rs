//! Trusted roots and keys: from files, and roots kept fresh from TUF repositories.
//!
//! Files are read with a limit and parsed by [`crate::verify`]; nothing here is believed because of where it lies.

pub mod archive;
mod entry;
mod metadata;
mod mirror;
mod repository;
pub mod roots;
pub mod status;
mod stored;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::verify::{
    CertificateAuthorities, CertificateAuthoritiesError, KeyError, PublicKey, TrustedRoot,
    TrustedRootError,
};

pub use metadata::Summary;
pub use mirror::AddressError;
pub use roots::{InitialRoot, ROOT_MAX_STALE, Roots, Source};
pub use status::RootStatus;

/// The most bytes of a trusted root or key file.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A file of trusted material cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than [`FILE_BYTES_MAX`].
    #[error("{} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not text.
    #[error("{} is not text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// It holds no usable key.
    #[error("{} holds no usable public key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: KeyError,
    },
    /// It holds no usable certificate authorities.
    #[error("{} holds no usable certificate authorities", path.display())]
    CertificateAuthorities {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: CertificateAuthoritiesError,
    },
    /// It holds no usable trusted root.
    #[error("{} holds no usable trusted root", path.display())]
    TrustedRoot {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: TrustedRootError,
    },
    /// The trusted root that this version was built with does not load.
    #[error("the built-in trusted root does not load")]
    BuiltIn(#[source] TrustedRootError),
}

/// Loads one PEM public key.
///
/// # Errors
/// When the file cannot be read, is too large, or is not exactly one usable key.
pub fn load_key(path: &Path) -> Result<PublicKey, Error> {
    PublicKey::from_pem(&read_text(path)?).map_err(|source| Error::Key {
        path: path.to_owned(),
        source,
    })
}

/// Loads PEM certificates of authorities.
///
/// # Errors
/// When the file cannot be read, is too large, or has no root among its certificates.
pub fn load_certificate_authorities(path: &Path) -> Result<CertificateAuthorities, Error> {
    CertificateAuthorities::from_pem(&read_text(path)?).map_err(|source| {
        Error::CertificateAuthorities {
            path: path.to_owned(),
            source,
        }
    })
}

/// Loads a Sigstore `trusted_root.json`.
///
/// # Errors
/// When the file cannot be read, is too large, or is not a usable trusted root.
pub fn load_trusted_root(path: &Path) -> Result<Arc<TrustedRoot>, Error> {
    let root = TrustedRoot::from_json(&read_text(path)?).map_err(|source| Error::TrustedRoot {
        path: path.to_owned(),
        source,
    })?;
    Ok(Arc::new(root))
}

/// The public-good root that this version was built with.
///
/// # Errors
/// Never in a released build.
pub fn built_in_trusted_root() -> Result<Arc<TrustedRoot>, Error> {
    TrustedRoot::public_good()
        .map(Arc::new)
        .map_err(Error::BuiltIn)
}

/// Reads a text file of at most [`FILE_BYTES_MAX`] bytes.
///
/// # Errors
/// When it cannot be read, is larger, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, Error> {
    let read = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(read)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::TooLarge {
            path: path.to_owned(),
        });
    }
    String::from_utf8(bytes).map_err(|_not_text| Error::NotText {
        path: path.to_owned(),
    })
}
