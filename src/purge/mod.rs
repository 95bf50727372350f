//! The purge log and the fence: one purge is one record, whatever number of responses it covers.
//!
//! One node's view (docs/architecture.md, "The fence"): records are applied to a table in the order of their sequence
//! numbers; `current` is published after the row is in the table. A fill loads `current` before it contacts the origin
//! (`begun_at`), a reader loads `current` first, then looks at the rows, then at the floor.

pub mod coverage;
mod fence;
mod record;

pub use coverage::{Coverage, Covering, Mode, Selector, Where};
pub use fence::{Fence, Limits};
pub use record::{Causer, Purge, Receipt};
