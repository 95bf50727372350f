//! Leaves of HTTP: the body type, field lists, connection-specific fields, cookies.

pub mod body;
pub mod fields;

pub use body::Body;
