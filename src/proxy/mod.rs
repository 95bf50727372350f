//! The request path.

pub mod identify;
pub mod origin;
pub mod route;
pub mod sanitize;
