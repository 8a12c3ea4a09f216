//! The configured upstreams as seen from each other.
//!
//! A redirect is a peer's text. The owner of one upstream could redirect a blob to another upstream that only this proxy
//! can reach, and so hand out under its own name what `clients` keeps from everybody. So a redirect leads to another
//! configured upstream only where everybody can reach that one, unless the operator listed it (`redirect_hosts`).

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use url::{Origin, Url};

use super::address;

/// Addresses that are remembered at most.
const ADDRESSES_MAX: usize = 10_000;

/// Where all configured upstreams are.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    origins: HashSet<Origin>,
    /// Inner addresses at which upstreams answered over plain HTTP, where any name of theirs leads to them.
    plain: Mutex<HashMap<SocketAddr, HashSet<Origin>>>,
}

impl Neighbours {
    pub(super) fn new(bases: impl Iterator<Item = Url>) -> Self {
        Self {
            origins: bases.map(|base| base.origin()).collect(),
            plain: Mutex::default(),
        }
    }

    /// Tells whether `url` is at an upstream other than the one at `own`.
    pub(super) fn are_at(&self, url: &Url, own: &Url) -> bool {
        url.origin() != own.origin() && self.origins.contains(&url.origin())
    }

    /// Notes the address at which the upstream at `own` answered.
    pub(super) fn learn(&self, own: &Url, address: SocketAddr) {
        if own.scheme() != "http" || address::is_public(address.ip()) {
            return;
        }
        let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        if plain.len() < ADDRESSES_MAX || plain.contains_key(&address) {
            plain.entry(address).or_default().insert(own.origin());
        }
    }

    /// Tells whether the answer to `url` came from the inner address of another upstream, and of that one only. Over TLS
    /// the certificate already ties the answer to the name.
    pub(super) fn answered(&self, url: &Url, own: &Url, address: SocketAddr) -> bool {
        if url.scheme() != "http" {
            return false;
        }
        let plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        plain
            .get(&address)
            .is_some_and(|there| !there.contains(&own.origin()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_name_of_an_inner_upstream_over_plain_http_is_found_by_its_address() {
        let url = |text| Url::parse(text).unwrap();
        let (a, b) = (url("http://a.test:5000/"), url("https://b.test/"));
        let neighbours = Neighbours::new([a.clone(), b.clone()].into_iter());
        assert!(neighbours.are_at(&url("http://a.test:5000/v2/x"), &b));
        assert!(!neighbours.are_at(&url("http://a.test:5000/v2/x"), &a));
        assert!(!neighbours.are_at(&url("http://a.test:5001/v2/x"), &b));
        let address = "10.0.0.7:5000".parse().unwrap();
        neighbours.learn(&a, address);
        let alias = url("http://alias.test:5000/x");
        assert!(neighbours.answered(&alias, &b, address));
        assert!(!neighbours.answered(&alias, &b, "10.0.0.7:5001".parse().unwrap()));
        assert!(!neighbours.answered(&url("https://alias.test:5000/x"), &b, address));
        // An upstream at the same address may send us there.
        assert!(!neighbours.answered(&alias, &a, address));
        let public = "1.1.1.1:5000".parse().unwrap();
        neighbours.learn(&a, public);
        assert!(!neighbours.answered(&alias, &b, public));
    }
}
