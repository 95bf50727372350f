//! The purge log and the fence: one purge is one record, whatever number of responses it covers.
//!
//! One node's view (docs/architecture.md, "The fence"): records are applied to a table in the order of their sequence
//! numbers; `current` is published after the row is in the table. A fill loads `current` before it contacts the origin
//! (`begun_at`), a reader loads `current` first, then looks at the rows, then at the floor.

pub mod coverage;
mod epoch;
mod fence;
#[cfg(test)]
mod fence_shared_tests;
mod log;
mod provisional;
mod record;
mod row;
pub mod shared;
mod table;
mod underway;
pub mod wire;

pub use coverage::{Coverage, Covering, Mode, Selector, Where};
pub use epoch::{Incarnation, Mark};
pub use fence::{APPLY, Fence, LOOK, Look, RAISE};
pub use log::{Compared, Handling, LocalLog, Once, PurgeLog, Recorded, Recording, SharedLog, random_id};
pub use record::{Causer, Nodes, Purge, Receipt, Record};
pub use table::Limits;
pub use underway::{Underway, Unlogged};
