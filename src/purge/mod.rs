//! The purge log and the fence: one purge is one record, whatever number of responses it covers.
//!
//! One node's view (docs/architecture.md, "The fence"): records are applied to a table in the order of their sequence
//! numbers; `current` is published after the row is in the table. A fill loads `current` before it contacts the origin
//! (`begun_at`), a reader loads `current` first, then looks at the rows, then at the floor.

pub mod coverage;
mod fence;
mod log;
mod record;
mod row;
mod table;

pub use coverage::{Coverage, Covering, Mode, Selector, Where};
pub use fence::{APPLY, Fence, LOOK, Look, RAISE};
pub use log::{LocalLog, PurgeLog};
pub use record::{Causer, Purge, Receipt, Record};
pub use table::Limits;
