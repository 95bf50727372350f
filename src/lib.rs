#![forbid(unsafe_code)]
//! Larder is a caching reverse proxy for multi-tenant web applications.

pub mod clock;
pub mod config;
pub mod error;
pub mod http;
pub mod identity;
pub mod policy;
pub mod proxy;
pub mod server;
