//! The certificate of the registry API, which may be renewed while the process runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::Error;
use crate::config::TlsFiles;

/// The certificate in force. Clones are handles to the same.
#[derive(Debug, Clone)]
pub(super) struct Certificate(Arc<InForce>);

#[derive(Debug)]
struct InForce(ArcSwap<CertifiedKey>);

impl Certificate {
    /// The certificate in these files.
    pub(super) fn open(files: &TlsFiles) -> Result<Self, Error> {
        Ok(Self(Arc::new(InForce(ArcSwap::new(read(files)?)))))
    }

    /// Greets new connections with another certificate from now on.
    pub(super) fn renew(&self, key: Arc<CertifiedKey>) {
        self.0.0.store(key);
    }

    /// What greets connections with the certificate in force.
    pub(super) fn acceptor(&self, files: &TlsFiles) -> Result<TlsAcceptor, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let resolver = Arc::<InForce>::clone(&self.0);
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(files, Box::new(error)))?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(tls)))
    }
}

impl ResolvesServerCert for InForce {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// The certificate and key in the files, which belong together.
pub(super) fn read(files: &TlsFiles) -> Result<Arc<CertifiedKey>, Error> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(files, Box::new(error)))?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key)
        .map_err(|error| unusable(files, Box::new(error)))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
        .map(Arc::new)
        .map_err(|error| unusable(files, Box::new(error)))
}

fn unusable(files: &TlsFiles, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Tls {
        files: files.clone(),
        source,
    }
}
