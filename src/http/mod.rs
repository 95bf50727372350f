//! Leaves of HTTP: the body type, field lists, connection-specific fields, structured fields, cookies, queries, references,
//! the fields that decide about a request, the peer of a connection, non-final responses to it.

pub mod body;
pub mod cookies;
pub mod fields;
pub mod interim;
pub mod peer;
pub mod present;
pub mod query;
pub mod reference;
pub mod structured;

pub use body::Body;
pub use interim::Interim;
pub(crate) use peer::Connection;
pub use peer::Peer;
pub use present::Present;
