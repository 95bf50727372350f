//! Side doors. Each holds the cache's handle, and nothing of the request path but the names of what it purges.

mod admin;
mod asked;
mod clear;
mod hooks;
mod keys;
mod magento;
mod purging;
mod receipts;
mod stat;
mod timed;
mod token;
mod verbs;
mod webhook;

pub use admin::AdminService;
pub use hooks::WithHooks;
pub use timed::timed_purges;
pub use verbs::WithVerbs;
