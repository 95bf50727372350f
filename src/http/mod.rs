//! Leaves of HTTP: the body type, field lists, connection-specific fields, structured fields, cookies, queries, references,
//! the peer of a connection, non-final responses to it.

pub mod body;
pub mod cookies;
pub mod fields;
pub mod interim;
pub mod peer;
pub mod query;
pub mod reference;
pub mod structured;

pub use body::Body;
pub use interim::Interim;
pub use peer::Peer;
