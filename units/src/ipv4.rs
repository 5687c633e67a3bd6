//! Arithmetic of IPv4 subnets (RFC 950, RFC 4632).

use std::fmt;
use std::net::Ipv4Addr;

use crate::spec::Ipv4Net;

impl Ipv4Net {
    /// The first address: the subnet's own.
    pub fn network(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() & self.mask())
    }

    /// The last address.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !self.mask())
    }

    /// The first address that a host may have.
    pub fn first_host(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network().to_bits().saturating_add(1))
    }

    /// The last address that a host may have.
    pub fn last_host(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.broadcast().to_bits().saturating_sub(1))
    }

    /// Addresses that hosts may have, the gateway among them.
    pub fn hosts(&self) -> u32 {
        (!self.mask()).saturating_sub(1)
    }

    /// Whether the address lies in the subnet.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.network().to_bits()
    }

    /// Whether a host of the subnet may have the address.
    pub fn is_host(&self, address: Ipv4Addr) -> bool {
        (self.first_host()..=self.last_host()).contains(&address)
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.network()) || other.contains(self.network())
    }

    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let net = |text: &str, prefix| Ipv4Net { address: text.parse().unwrap(), prefix };
        let apps = net("10.89.0.0", 24);
        assert_eq!(
            (apps.first_host().to_string(), apps.last_host().to_string()),
            ("10.89.0.1".into(), "10.89.0.254".into())
        );
        assert_eq!(apps.hosts(), 254);
        assert!(apps.is_host("10.89.0.254".parse().unwrap()) && !apps.is_host(apps.broadcast()));
        assert!(apps.overlaps(&net("10.88.0.0", 13)) && net("10.88.0.0", 13).overlaps(&apps));
        assert!(!apps.overlaps(&net("10.89.1.0", 24)));
        assert!(net("0.0.0.0", 0).contains(Ipv4Addr::BROADCAST));
        assert_eq!(net("1.2.3.4", 32).network(), net("1.2.3.4", 32).broadcast());
    }
}
