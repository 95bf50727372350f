//! Who is at the other end of the connection that a request came on.

use std::net::{IpAddr, SocketAddr};

/// The other end of a client's connection; the server puts one into the extensions of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address that the connection came from: the client, or a proxy in front of Larder.
    pub addr: SocketAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
}

impl Peer {
    /// The address without the port; an IPv4 address that came mapped into IPv6 is an IPv4 address.
    pub fn ip(&self) -> IpAddr {
        self.addr.ip().to_canonical()
    }
}
