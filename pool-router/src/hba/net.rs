//! Addresses with masks.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and a mask of the same family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// IPv4.
    V4 {
        /// The address; bits outside the mask are ignored.
        addr: Ipv4Addr,
        /// The bits that must agree.
        mask: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// The address; bits outside the mask are ignored.
        addr: Ipv6Addr,
        /// The bits that must agree.
        mask: Ipv6Addr,
    },
}

impl Network {
    /// The network of an address and a prefix length; `None` if it is longer than the address.
    #[must_use]
    pub fn from_prefix(addr: IpAddr, prefix: u8) -> Option<Self> {
        match addr {
            IpAddr::V4(addr) => {
                let hosts = u32::BITS.checked_sub(u32::from(prefix))?;
                let mask = Ipv4Addr::from_bits(u32::MAX.checked_shl(hosts).unwrap_or(0));
                Some(Self::V4 { addr, mask })
            }
            IpAddr::V6(addr) => {
                let hosts = u128::BITS.checked_sub(u32::from(prefix))?;
                let mask = Ipv6Addr::from_bits(u128::MAX.checked_shl(hosts).unwrap_or(0));
                Some(Self::V6 { addr, mask })
            }
        }
    }

    /// The network of an address and a mask; `None` if they are of different families.
    #[must_use]
    pub const fn from_mask(addr: IpAddr, mask: IpAddr) -> Option<Self> {
        match (addr, mask) {
            (IpAddr::V4(addr), IpAddr::V4(mask)) => Some(Self::V4 { addr, mask }),
            (IpAddr::V6(addr), IpAddr::V6(mask)) => Some(Self::V6 { addr, mask }),
            _ => None,
        }
    }

    /// Whether `client` is in the network. An IPv4 client that reached an IPv6 socket
    /// (`::ffff:a.b.c.d`) counts as the IPv4 client it is, and by its mapped address.
    #[must_use]
    pub fn contains(&self, client: IpAddr) -> bool {
        self.contains_exactly(client) || self.contains_exactly(client.to_canonical())
    }

    fn contains_exactly(&self, client: IpAddr) -> bool {
        match (*self, client) {
            (Self::V4 { addr, mask }, IpAddr::V4(client)) => {
                (addr.to_bits() ^ client.to_bits()) & mask.to_bits() == 0
            }
            // `::/0` is every IPv6 client; an IPv4 client in disguise is none.
            (Self::V6 { addr, mask }, IpAddr::V6(client)) => {
                let mapped = client.to_ipv4_mapped().is_some();
                (!mapped || addr.to_ipv4_mapped().is_some())
                    && (addr.to_bits() ^ client.to_bits()) & mask.to_bits() == 0
            }
            _ => false,
        }
    }
}

/// An address of this host and the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub addr: IpAddr,
    /// The prefix length, at most 32 (IPv4) or 128 (IPv6).
    pub prefix: u8,
}

impl InterfaceAddress {
    /// The address alone.
    #[must_use]
    pub const fn alone(addr: IpAddr) -> Self {
        Self { addr, prefix: if addr.is_ipv4() { 32 } else { 128 } }
    }

    /// The network that the address is in; `None` for a prefix that is too long. An interface
    /// without a mask is in no network: as in PostgreSQL, that is the address alone and not the
    /// whole internet.
    #[must_use]
    pub fn network(&self) -> Option<Network> {
        let Self { addr, prefix } = if self.prefix == 0 { Self::alone(self.addr) } else { *self };
        Network::from_prefix(addr, prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_without_a_mask_is_in_no_network() {
        for (addr, other) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            let (addr, other): (IpAddr, IpAddr) = (addr.parse().unwrap(), other.parse().unwrap());
            let network = InterfaceAddress { addr, prefix: 0 }.network().unwrap();
            assert!(network.contains(addr) && !network.contains(other), "{addr}");
        }
        assert_eq!(InterfaceAddress { addr: [10, 0, 0, 1].into(), prefix: 33 }.network(), None);
    }

    #[test]
    fn containment() {
        for (network, prefix, client, wanted) in [
            ("10.1.2.3", 8, "10.9.9.9", true),
            ("10.1.2.3", 8, "11.9.9.9", false),
            ("10.1.2.3", 32, "10.1.2.3", true),
            ("10.1.2.3", 32, "10.1.2.4", false),
            ("0.0.0.0", 0, "203.0.113.1", true),
            ("0.0.0.0", 0, "2001:db8::1", false),
            ("0.0.0.0", 0, "::ffff:203.0.113.1", true),
            ("::", 0, "2001:db8::1", true),
            ("::", 0, "203.0.113.1", false),
            ("::", 0, "::ffff:203.0.113.1", false),
            ("::ffff:10.0.0.0", 104, "::ffff:10.1.1.1", true),
            ("2001:db8::", 32, "2001:db8:1::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
            ("::1", 128, "::1", true),
        ] {
            let net = Network::from_prefix(network.parse().unwrap(), prefix).unwrap();
            let client = client.parse().unwrap();
            assert_eq!(net.contains(client), wanted, "{network}/{prefix} {client}");
        }
    }

    #[test]
    fn too_long_prefixes_are_none() {
        assert_eq!(Network::from_prefix("10.0.0.0".parse().unwrap(), 33), None);
        assert_eq!(Network::from_prefix("::".parse().unwrap(), 129), None);
    }
}
