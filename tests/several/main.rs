//! Several Larders with one cache: the built binary three times over a real Redis, histories of reads and purges on all of
//! them while something breaks, and the checker of `tests/history` over them.
//!
//! A purge that was acknowledged by any node binds all of them: a read that started later, anywhere, gives what was purged for
//! or newer. A write whose purge could not be logged yet binds its own node at once. `LARDER_HISTORY` says how many reads each
//! history makes at least, other than six hundred.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

mod between;
#[path = "../history/check.rs"]
mod check;
mod entries;
mod events;
mod examples;
mod faults;
mod fill;
mod full;
mod nodes;
mod report;
mod rows;
mod servers;
#[path = "../history/shop.rs"]
#[allow(dead_code)] // the histories of one node use the rest of it
mod shop;
mod source;
#[path = "../support/mod.rs"]
mod support;
mod traffic;
mod wire;
