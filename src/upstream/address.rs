//! Which addresses a registry may send us to.
//!
//! A redirect, a token realm or a paging link is a peer's text. Followed blindly, it lets whoever controls an upstream
//! reach what only this machine can: the cloud's metadata service, the admin listener, the cluster's network
//! (CVE-2020-15157 and its kin).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of network an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Reachable by everybody.
    Public,
    /// RFC 1918, and the unique and site local ranges of IPv6.
    Private,
    /// RFC 6598, carrier-grade NAT.
    Shared,
    /// This machine.
    Loopback,
    /// RFC 3927 and `fe80::/10`.
    LinkLocal,
    /// Metadata services, multicast, unspecified, reserved, documentation: no registry is there.
    Never,
}

/// Services of clouds that hand out credentials to whoever asks.
const METADATA_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x23),
];

/// Whether an upstream that itself answers at `own` may send us to `target`.
///
/// Public addresses may always be reached; others only if the upstream was configured in the same kind of network, so
/// that a registry in the cluster may use the storage beside it and yet not this machine. `own` is `None` while it is
/// unknown, as behind a proxy.
pub(super) fn may_be_sent_to(target: IpAddr, own: Option<IpAddr>) -> bool {
    match classify(target) {
        Class::Public => true,
        Class::Never => false,
        class @ (Class::Private | Class::Shared | Class::Loopback | Class::LinkLocal) => {
            own.is_some_and(|own| classify(own) == class)
        }
    }
}

/// Returns true if everybody can reach the address.
pub(super) fn is_public(address: IpAddr) -> bool {
    classify(address) == Class::Public
}

/// Returns true if an upstream may send us to `target` because the operator listed its host. Metadata services and
/// link-local addresses stay out of reach: a listed name must not lead there when its address changes.
pub(super) fn may_be_listed(target: IpAddr) -> bool {
    match classify(target) {
        Class::Public | Class::Private | Class::Shared | Class::Loopback => true,
        Class::LinkLocal | Class::Never => false,
    }
}

fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    if METADATA_V4.contains(&address) {
        return Class::Never;
    }
    match address.octets() {
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        [100, 64..=127, ..] => Class::Shared,
        [127, ..] => Class::Loopback,
        [169, 254, ..] => Class::LinkLocal,
        // "This network", protocol assignments, documentation, 6to4 relays, benchmarks, multicast, reserved (IANA
        // special-purpose registry, RFC 6890).
        [0 | 224..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Class::Never,
        _ => Class::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> Class {
    if let Some(address) = embedded_v4(address) {
        return classify_v4(address);
    }
    if METADATA_V6.contains(&address) {
        return Class::Never;
    }
    if address.is_loopback() {
        return Class::Loopback;
    }
    match address.segments() {
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Class::Private,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        // Teredo, documentation.
        [0x2001, 0 | 0x0db8, ..] | [0x3fff, ..] => Class::Never,
        // Global unicast; everything outside is multicast, reserved or translation.
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Never,
    }
}

/// The IPv4 address that packets to this IPv6 address end up at: mapped (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(join(high, low))
        }
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_upstream_sends_us_to_public_addresses_only() {
        for text in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            let target = text.parse().unwrap();
            assert!(may_be_sent_to(target, None), "{text}");
            assert!(
                may_be_sent_to(target, Some(Ipv4Addr::LOCALHOST.into())),
                "{text}"
            );
        }
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.1.1",
            "169.254.169.254",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.0.192",
            "168.63.129.16",
            "198.18.0.1",
            "203.0.113.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!may_be_sent_to(text.parse().unwrap(), None), "{text}");
            assert!(
                !may_be_sent_to(text.parse().unwrap(), Some("1.1.1.1".parse().unwrap())),
                "{text}"
            );
        }
    }

    #[test]
    fn listed_host_may_have_an_inner_address_but_no_metadata_service() {
        for (text, expected) in [
            ("8.8.8.8", true),
            ("10.0.0.1", true),
            ("100.64.0.1", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("fd12::1", true),
            ("::ffff:10.0.0.1", true),
            ("169.254.169.254", false),
            ("169.254.1.1", false),
            ("fe80::1", false),
            ("100.100.100.200", false),
            ("fd00:ec2::254", false),
            ("::ffff:169.254.169.254", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
        ] {
            assert_eq!(may_be_listed(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn an_inner_upstream_sends_us_to_its_own_kind_of_network() {
        for (own, target, expected) in [
            ("127.0.0.1", "127.0.0.2", true),
            ("127.0.0.1", "::1", true),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "10.0.0.1", false),
            ("10.0.0.1", "192.168.0.1", true),
            ("10.0.0.1", "fd12::1", true),
            ("10.0.0.1", "127.0.0.1", false),
            ("10.0.0.1", "100.64.0.1", false),
            ("10.0.0.1", "169.254.169.254", false),
            ("169.254.1.1", "169.254.169.254", false),
            ("169.254.1.1", "169.254.1.2", true),
            ("100.64.0.1", "100.100.100.200", false),
            ("fd12::1", "fd00:ec2::254", false),
            ("0.0.0.0", "0.0.0.0", false),
        ] {
            let (from, to) = (own.parse().unwrap(), target.parse().unwrap());
            assert_eq!(
                may_be_sent_to(to, Some(from)),
                expected,
                "{own} to {target}"
            );
        }
    }
}
