//! Who a request is for: sources and their order, tokens and key sets, `ask` and its generations.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

mod ask;
mod jwt;
mod key_sets;
mod sources;
#[allow(unreachable_pub)]
mod support;
