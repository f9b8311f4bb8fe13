//! Who asks: what is known of a client before any of its bytes is understood.
//!
//! Made in the supervisor when a connection is accepted, and handed on with each of its requests. It must never hold anything
//! that the client could have written itself: only a proxy that a setting names may say whom it speaks for.

use std::net::IpAddr;

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    /// Where its connection comes from: as the kernel tells, or as the proxy does.
    pub address: IpAddr,
    /// The proxy that told so, if there is one.
    pub proxy: Option<IpAddr>,
}

impl Client {
    /// This machine itself: `mayfly run`, which has no connection.
    pub const LOCAL: Self = Self::at(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    /// Who connects from this address, by the kernel's word.
    #[must_use]
    pub const fn at(address: IpAddr) -> Self {
        Self { address, proxy: None }
    }

    /// Whoever this one, a proxy, speaks for.
    #[must_use]
    pub const fn naming(self, address: IpAddr) -> Self {
        Self { address, proxy: Some(self.address) }
    }
}

/// Whom a client shares its turns with: an IPv4 address, or a network of 64 bits, which is what one IPv6 customer has at least
/// (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Client {
    /// The network it is in.
    #[must_use]
    pub fn network(&self) -> Network {
        match self.address.to_canonical() {
            IpAddr::V6(address) => Network(IpAddr::V6((address.to_bits() >> 64 << 64).into())),
            address @ IpAddr::V4(_) => Network(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_customer_are_one_network() {
        let network = |text: &str| Client::at(text.parse().expect("an address")).network();
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        let proxy = Client::at("10.0.0.1".parse().expect("an address"));
        assert_eq!(proxy.naming("192.0.2.1".parse().expect("an address")).network(), network("192.0.2.1"));
    }
}
