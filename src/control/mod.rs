//! Side doors. Each holds the cache's handle, and nothing of the request path but the names of what it purges.

mod admin;
mod asked;
mod keys;
mod magento;
mod purging;
mod receipts;
mod token;
mod verbs;

pub use admin::AdminService;
pub use verbs::WithVerbs;
