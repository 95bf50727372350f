//! What an adversary, an unlucky order of events or an odd origin could do, each tried through the public surface.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

mod fills;
mod forwarding;
mod isolation;
mod order;
mod purge;
#[allow(unreachable_pub)]
mod support;
