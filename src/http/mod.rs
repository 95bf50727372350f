//! Leaves of HTTP: the body type, field lists, connection-specific fields, cookies.

pub mod body;
pub mod cookies;
pub mod fields;
pub mod query;

pub use body::Body;
