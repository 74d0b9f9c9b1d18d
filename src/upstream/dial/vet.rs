//! Which addresses a provider's key may be sent to.
//!
//! Base URLs are the operator's own, so an address written there is meant. A public name is different: whoever controls
//! its DNS could point it into the operator's network, and the key and the prompt would go there. Hence a public name may
//! stand for public addresses only, unless `allow_private` says otherwise. The metadata services of clouds hand out
//! credentials; no name reaches them, and their addresses only what mints credentials (`upstream::credentials`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::connector::DialError;

/// How far a host may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses.
    Public,
    /// Private ones too.
    Private,
}

/// What kind of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Public,
    /// Private, loopback, link-local, shared, multicast, reserved or unspecified.
    Private,
    /// A service that hands out credentials to whoever asks.
    Metadata,
}

/// Ends of names that no public DNS answers for: RFC 6761, 6762 and 8375, ICANN's `internal` and the names it will
/// never delegate, and those of Kubernetes.
const PRIVATE_ENDS: [&str; 11] =
    ["localhost", "local", "internal", "lan", "home.arpa", "svc", "cluster.local", "test", "corp", "home", "intranet"];

/// Returns how far `host` may lead where the provider has not set `allow_private`.
pub fn reach_of(host: &str) -> Reach {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let private = PRIVATE_ENDS.iter().any(|end| host.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')));
    if private || !host.contains('.') { Reach::Private } else { Reach::Public }
}

/// Returns whether `address` is one where a cloud hands out credentials.
pub fn is_metadata(address: IpAddr) -> bool {
    kind_of(address) == Kind::Metadata
}

/// Returns the addresses of the name `host` that may be connected to, in their order.
pub fn vet(host: &str, addresses: &[IpAddr], reach: Reach) -> Result<Vec<IpAddr>, DialError> {
    let fits = |address: &&IpAddr| match kind_of(**address) {
        Kind::Public => true,
        Kind::Private => reach == Reach::Private,
        Kind::Metadata => false,
    };
    let fitting: Vec<IpAddr> = addresses.iter().filter(fits).copied().collect();
    if !fitting.is_empty() {
        return Ok(fitting);
    }
    let host = host.to_owned();
    let metadata = addresses.iter().find(|address| kind_of(**address) == Kind::Metadata);
    Err(match (metadata, addresses.first()) {
        (Some(address), _) => DialError::Metadata { host, address: *address },
        (None, Some(address)) => DialError::Private { host, address: *address },
        (None, None) => DialError::Unresolved { host, why: "it has no address".into() },
    })
}

fn kind_of(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => kind_of_v4(address),
        IpAddr::V6(address) => kind_of_v6(address),
    }
}

fn kind_of_v4(address: Ipv4Addr) -> Kind {
    // AWS, Azure, Google and others; AWS containers and pods; Alibaba; Azure's agent; Oracle's old one.
    const METADATA: [[u8; 4]; 6] = [
        [169, 254, 169, 254],
        [169, 254, 170, 2],
        [169, 254, 170, 23],
        [100, 100, 100, 200],
        [168, 63, 129, 16],
        [192, 0, 0, 192],
    ];
    let octets = address.octets();
    if METADATA.contains(&octets) {
        return Kind::Metadata;
    }
    // The special-purpose registry of IANA (RFC 6890), with everything that is not globally reachable.
    let private = match octets {
        [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] | [198, 18 | 19, ..] | [224..=255, ..] => true,
        [100, second, ..] => (64..128).contains(&second),
        [172, second, ..] => (16..32).contains(&second),
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        _ => false,
    };
    if private { Kind::Private } else { Kind::Public }
}

fn kind_of_v6(address: Ipv6Addr) -> Kind {
    // AWS; AWS pods; Google.
    const METADATA: [Ipv6Addr; 3] = [
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
        Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    ];
    if METADATA.contains(&address) {
        return Kind::Metadata;
    }
    let within = |high: u16, low: u16| kind_of_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Kind::Private,
        // An IPv4 address in another dress is what it is underneath: mapped, compatible, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => within(high, low),
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => within(high, low),
        [0x2002, high, low, ..] => within(high, low),
        // Only 2000::/3 is handed out as global; within it Teredo, benchmarks and documentation are not.
        [0x2001, 0 | 2 | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Kind::Private,
        [0x2000..=0x3fff, ..] => Kind::Public,
        _ => Kind::Private,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn private_addresses_are_known_in_every_dress() {
        let private = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::7f00:1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:0:1::1",
        ];
        for address in private {
            assert_eq!(kind_of(ip(address)), Kind::Private, "{address}");
        }
    }

    #[test]
    fn metadata_services_are_known() {
        let metadata =
            ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"];
        for address in metadata {
            assert_eq!(kind_of(ip(address)), Kind::Metadata, "{address}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for address in ["1.1.1.1", "100.63.0.1", "172.32.0.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::101:101"] {
            assert_eq!(kind_of(ip(address)), Kind::Public, "{address}");
        }
    }

    #[test]
    fn names_that_no_public_dns_answers_for_may_be_private() {
        for host in
            ["localhost", "ollama", "a.localhost", "gpu.LOCAL", "x.internal.", "m.ns.svc", "m.svc.cluster.local"]
        {
            assert_eq!(reach_of(host), Reach::Private, "{host}");
        }
        for host in ["api.example.com", "notlocal.com", "x.mylocal", "internal.example.com", "0x7f.1"] {
            assert_eq!(reach_of(host), Reach::Public, "{host}");
        }
    }

    #[test]
    fn a_public_name_with_a_private_address_is_refused_with_the_way_out() {
        let refused = vet("api.example.com", &[ip("10.0.0.1")], Reach::Public).unwrap_err().to_string();

        assert!(refused.contains("api.example.com") && refused.contains("10.0.0.1"), "{refused}");
        assert!(refused.contains("allow_private = true"), "{refused}");
    }

    #[test]
    fn of_mixed_addresses_only_the_public_ones_are_used() {
        let vetted = vet("api.example.com", &[ip("10.0.0.1"), ip("1.1.1.1")], Reach::Public).unwrap();

        assert_eq!(vetted, [ip("1.1.1.1")]);
    }

    #[test]
    fn no_name_reaches_a_metadata_service() {
        let refused = vet("metadata.internal", &[ip("169.254.169.254")], Reach::Private).unwrap_err().to_string();

        assert!(refused.contains("metadata"), "{refused}");
        assert!(!refused.contains("allow_private"), "{refused}");
    }
}
