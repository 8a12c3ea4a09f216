//! The party that a share belongs to.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// A place in the order in which shares are granted: parties take turns, and so do the connections of one party.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Turn {
    pub(super) party: Party,
    /// The port of the client, which tells its connections apart. 0 for work that is done on behalf of no connection.
    pub(super) connection: u16,
}

/// The unit of fairness: a client, or the proxy itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// A client by its authenticated name.
    Identity(Arc<str>),
    /// A client by its network: an IPv4 address, or the /64 of an IPv6 address, because a host may choose any address
    /// within it.
    Network(IpAddr),
    /// The proxy's own work: refreshes, repairs, look-aheads.
    Proxy,
}

impl Party {
    /// Returns the party of a client: its identity if it has one, else its network.
    #[must_use]
    pub fn client(identity: Option<&Arc<str>>, address: IpAddr) -> Self {
        match identity {
            Some(identity) => Self::Identity(Arc::clone(identity)),
            None => Self::network(address),
        }
    }

    /// Returns the party of an address. An IPv4 address mapped into IPv6 counts as the IPv4 address.
    #[must_use]
    pub fn network(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}
