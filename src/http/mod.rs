//! Leaves of HTTP: the body type, field lists, connection-specific fields, who is at the other end.

pub mod body;
pub mod fields;
pub mod peer;

pub use body::Body;
pub use peer::Peer;
