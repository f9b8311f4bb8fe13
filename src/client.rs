//! Who asks: what is known of a client before any of its bytes is understood.
//!
//! Made in the supervisor when a connection is accepted, and handed on with each of its requests. It must never hold anything
//! that the client could have written itself.

use std::net::IpAddr;

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    /// Where its connection comes from, as the kernel tells.
    pub address: IpAddr,
}

impl Client {
    /// This machine itself: `mayfly run`, which has no connection.
    pub const LOCAL: Self = Self { address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST) };
}
