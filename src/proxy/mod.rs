//! The request path: sanitize, route, identify, key, lookup, decide, fill, respond. `service` is the list of the steps.

mod access_log;
pub mod event;
mod exceptions;
mod explain;
mod fetch;
mod fill;
pub mod identify;
mod keyed;
pub mod origin;
mod origin_request;
mod pass;
mod plan;
mod rescue;
mod respond;
pub mod route;
pub mod sanitize;
mod service;
mod shared;
mod tee;
mod told;
mod visit;
mod wishes;
mod write;

pub use access_log::{AccessLog, Record};
pub use explain::{Cached, Explanation};
pub use keyed::{Keyed, keyed_query, target};
pub use origin_request::SAFE;
pub use rescue::rescue;
pub use respond::{Source, Verdict, XCache};
pub use service::ProxyFuture;
pub use shared::{Inner, Shared};
pub use visit::Proxy;
pub use wishes::CHOICE;
