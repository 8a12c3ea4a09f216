//! The HTTP clients of one upstream, and how they find and trust what they connect to.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use url::{Host, Url};

use super::address;
use super::config::BuildError;
use super::proxies::Proxies;
use crate::limits::Limits;

/// Where an upstream answered last, which tells what kind of network it was configured in.
#[derive(Debug, Default)]
pub(super) struct OwnAddress(Mutex<Option<IpAddr>>);

/// A name that leads to addresses we must not be sent to, and to no other.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("leads to an address that an upstream may not send us to")]
pub(super) struct ForbiddenAddress(());

/// Resolves the names that peers gave us, leaving only addresses they may send us to. Resolving and checking are one
/// step, so a name cannot change its mind between check and connection (DNS rebinding).
struct PeerResolver {
    reach: Reach,
    own: Arc<OwnAddress>,
    proxies: Proxies,
}

/// The hosts to which an upstream may send us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To public addresses, and to its own kind of network.
    Any,
    /// To public addresses only.
    Public,
    /// To a host that the operator listed, which may also have an inner address.
    Listed,
}

const USER_AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

const H2_PING_INTERVAL: Duration = Duration::from_secs(10);

/// The certificates that the platform trusts, or Mozilla's where it has none, as in an image made from scratch.
pub(crate) fn platform_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// `roots` and the certificates in `pem`. `None` when there is none or one is broken.
pub(crate) fn add_certificates(mut roots: RootCertStore, pem: &[u8]) -> Option<RootCertStore> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.ok()?).ok()?;
    }
    (roots.len() > before).then_some(roots)
}

/// TLS with these roots, HTTP/2 preferred.
pub(crate) fn tls(roots: RootCertStore) -> Result<ClientConfig, BuildError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| BuildError::Client(error.into()))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A client for the upstream itself and what the operator named: connects to whatever address the name has.
pub(super) fn own_client(
    tls: ClientConfig,
    proxies: &Proxies,
    limits: &Limits,
) -> Result<reqwest::Client, BuildError> {
    build(builder(tls, proxies, limits))
}

/// A client for where the upstream sends us.
pub(super) fn peer_client(
    tls: ClientConfig,
    reach: Reach,
    proxies: &Proxies,
    own: &Arc<OwnAddress>,
    limits: &Limits,
) -> Result<reqwest::Client, BuildError> {
    let resolver = PeerResolver {
        reach,
        own: Arc::clone(own),
        proxies: proxies.clone(),
    };
    build(builder(tls, proxies, limits).dns_resolver(Arc::new(resolver)))
}

fn builder(tls: ClientConfig, proxies: &Proxies, limits: &Limits) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Requests of all purposes share an HTTP/2 connection; a dead one must not hang them all.
        .http2_keep_alive_interval(H2_PING_INTERVAL)
        .http2_keep_alive_timeout(limits.connect_time_max)
        .connect_timeout(limits.connect_time_max);
    proxies.apply(builder)
}

fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, BuildError> {
    builder
        .build()
        .map_err(|error| BuildError::Client(error.into()))
}

impl OwnAddress {
    /// The upstream answered from there.
    pub(super) fn learn(&self, address: IpAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    fn get(&self) -> Option<IpAddr> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks what a resolver never sees: a literal address, and a proxy's own name, which [`PeerResolver`] lets through.
pub(super) fn check_peer_url(
    url: &Url,
    reach: Reach,
    own: &OwnAddress,
    proxies: &Proxies,
) -> Result<(), ForbiddenAddress> {
    let allowed = match url.host() {
        Some(Host::Ipv4(address)) => reach.includes(address.into(), own.get()),
        Some(Host::Ipv6(address)) => reach.includes(address.into(), own.get()),
        Some(Host::Domain(name)) => proxies.intercept(url) || !proxies.is_proxy(name),
        None => false,
    };
    if allowed {
        Ok(())
    } else {
        Err(ForbiddenAddress(()))
    }
}

impl Reach {
    fn includes(self, target: IpAddr, own: Option<IpAddr>) -> bool {
        match self {
            Self::Any => address::may_be_sent_to(target, own),
            Self::Public => address::is_public(target),
            Self::Listed => address::may_be_listed(target),
        }
    }
}

impl Resolve for PeerResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, own) = (self.reach, self.own.get());
        let is_proxy = self.proxies.is_proxy(name.as_str());
        Box::pin(async move {
            let mut addresses: Vec<_> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            addresses.retain(|address| is_proxy || reach.includes(address.ip(), own));
            if addresses.is_empty() {
                return Err(ForbiddenAddress(()).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
