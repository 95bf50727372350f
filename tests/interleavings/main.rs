//! Thousands of seeded orders of events: requests, busts, writes with their purges, refreshes, fills that fail or die.
//!
//! `model` walks the steps of a fill by hand over the real cache, so that a step can be left out: each omission must be
//! found. `proxy` runs the real request path, `parts` the same for ranges. Every run is repeated exactly by its seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

mod executor;
mod model;
mod parts;
mod proxy;
mod random;
#[allow(unreachable_pub, dead_code)]
#[path = "../review/support.rs"]
mod support;
