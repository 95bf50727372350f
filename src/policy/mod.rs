//! Policy: what may be stored, for how long, and what a request gets. Pure functions of
//! (request, response, now): no I/O, no async, no clock. Each clause cites its section of the RFCs.

pub mod cache_control;
pub mod decide;
pub mod freshness;
pub mod ranges;
pub mod reason;
pub mod storable;
pub mod validation;
pub mod vary;

pub use cache_control::CacheControl;
pub use decide::{Decision, Validity, decide};
pub use freshness::{Freshness, Ttl};
pub use reason::Reason;
pub use storable::{Overrides, storable};
