//! Policy: what may be stored, for how long, and what a request gets. Pure functions of
//! (request, response, now): no I/O, no async, no clock. Each clause cites its section of the RFCs.

pub mod cache_control;
pub mod date;
pub mod decide;
mod field_names;
pub mod freshness;
pub mod governing;
pub mod ranges;
pub mod reason;
pub mod search;
pub mod storable;
pub mod surrogate;
mod targeted;
pub mod validation;
pub mod vary;
pub mod weighted;

pub use cache_control::CacheControl;
pub use decide::{Decision, Validity, decide};
pub use freshness::{Freshness, Ttl};
pub use governing::Governing;
pub use reason::Reason;
pub use search::SearchRule;
pub use storable::{Overrides, Storable, storable};
