//! Who is at the other end of the connection that a request came on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::interim::Line;

/// The other end of a client's connection. The requests that [`Server`](crate::server::Server) serves tell it by
/// [`Body::peer`](super::Body::peer). Where another server stands in front of Larder, or something that makes another body of
/// a request's (a limit, a decompression), it puts one into the extensions of the request: that one counts. Without either
/// nobody is trusted, and the connection is taken for one without TLS.
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

/// A client's connection, as its requests know it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    /// HTTP/1 only.
    pub(crate) line: Option<Arc<Line>>,
}
