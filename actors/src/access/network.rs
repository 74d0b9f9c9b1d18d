//! A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or a single address.

// `core::net` has addresses and no sockets.
use core::net::{IpAddr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bits by which an IPv4 address follows its prefix `::ffff:0:0` as an IPv6 address.
const MAPPED: u8 = 96;

/// A range of addresses. An IPv4 address is in a range of IPv4 also where a socket reports it as an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: u128,
    /// Of the 128 bits.
    prefix: u8,
}

impl Network {
    /// Returns whether `address` lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        (bits(address) ^ self.first) & mask(self.prefix) == 0
    }

    /// Returns the smaller of two ranges, or nothing where they have no address in common.
    pub fn overlap(self, other: Self) -> Option<Self> {
        let (small, large) = if self.prefix >= other.prefix { (self, other) } else { (other, self) };
        ((small.first ^ large.first) & mask(large.prefix) == 0).then_some(small)
    }

    /// Returns whether every address of `other` lies in the range.
    pub fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.overlap(other).is_some()
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no network; write for example 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (offset, most) = if address.is_ipv4() { (MAPPED, 32) } else { (0, 128) };
        let length = length.unwrap_or(most);
        if length > most {
            return Err(wrong());
        }
        let (first, prefix) = (bits(address), offset + length);
        if first & !mask(prefix) != 0 {
            let meant = Self { first: first & mask(prefix), prefix };
            return Err(format!("`{text}` has bits behind its first {length}; write {meant}"));
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.first);
        match address.to_ipv4_mapped().filter(|_| self.prefix >= MAPPED) {
            Some(address) if self.prefix == 128 => write!(f, "{address}"),
            Some(address) => write!(f, "{address}/{}", self.prefix - MAPPED),
            None if self.prefix == 128 => write!(f, "{address}"),
            None => write!(f, "{address}/{}", self.prefix),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_in_its_network_in_either_form() {
        let inside = |range: &str, address: &str| network(range).contains(address.parse().unwrap());

        assert!(inside("10.1.0.0/16", "10.1.255.7") && inside("10.1.0.0/16", "::ffff:10.1.2.3"));
        assert!(!inside("10.1.0.0/16", "10.2.0.0") && !inside("10.1.0.0/16", "2001:db8::1"));
        assert!(inside("2001:db8::/32", "2001:db8:7::1") && !inside("2001:db8::/32", "2001:db9::1"));
        assert!(inside("0.0.0.0/0", "8.8.8.8") && !inside("0.0.0.0/0", "::1"));
        assert!(inside("::/0", "8.8.8.8") && inside("192.0.2.7", "192.0.2.7"));
    }

    #[test]
    fn a_network_is_written_as_it_was_read() {
        for text in ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "0.0.0.0/0", "::/0"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert!("10.0.0.1/8".parse::<Network>().unwrap_err().ends_with("write 10.0.0.0/8"));
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "localhost", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_nested_or_apart() {
        assert_eq!(network("10.0.0.0/8").overlap(network("10.1.0.0/16")), Some(network("10.1.0.0/16")));
        assert_eq!(network("10.2.0.0/16").overlap(network("10.1.0.0/16")), None);
        assert!(network("10.0.0.0/8").covers(network("10.1.0.0/16")));
        assert!(!network("10.1.0.0/16").covers(network("10.0.0.0/8")));
    }
}
