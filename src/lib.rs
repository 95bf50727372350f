#![forbid(unsafe_code)]
//! Larder is a caching reverse proxy for multi-tenant web applications.

pub mod app;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod demo;
pub mod error;
pub mod http;
pub mod identity;
pub mod key;
pub mod layer;
pub mod policy;
pub mod proxy;
pub mod purge;
pub mod server;
pub mod shared;
pub mod store;
pub mod stored;
pub mod tag;
